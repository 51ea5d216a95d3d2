//! Certificates of a ground that speaks TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Who must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Servers only.
    OneWay,
    /// Clients too.
    Mutual,
}

/// Files in PEM, for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Signed all others.
    pub ca: PathBuf,
    /// A certificate for servers and clients alike.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Where they are in a server's folder.
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { ca: dir.join("ca.pem"), cert: dir.join("cert.pem"), key: dir.join("key.pem") }
    }
}

/// One authority and one certificate that it signed, for all servers and clients of a ground.
#[derive(Debug)]
pub(super) struct Signed {
    ca: String,
    cert: String,
    key: String,
}

impl Signed {
    /// Valid at some addresses.
    pub(super) fn make(addresses: impl Iterator<Item = IpAddr>) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "test ground");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &authority)?.pem();
        Ok(Self { ca: authority.pem(), cert, key: key.serialize_pem() })
    }

    pub(super) fn write_to(&self, dir: &Path) -> Result<()> {
        let files = Certificates::in_folder(dir);
        for (path, text) in [(files.ca, &self.ca), (files.cert, &self.cert), (files.key, &self.key)] {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
