//! TLS for connections: whom we trust, and who we are.
//!
//! The files are read for each connection, so that renewed certificates are used without a restart. The
//! cryptography is *ring*; certificates are always checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The files of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Authorities to trust, in PEM; without it those of the system.
    pub(super) ca: Option<PathBuf>,
    /// Our certificate and those above it, in PEM, and its key: for servers that ask for one.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Makes a connection a TLS one.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    /// Read once: it is large, and the system's.
    system: OnceLock<RootCertStore>,
}

impl Tls {
    /// Reads all files once, so that faults show at start.
    pub(super) fn new(files: TlsFiles) -> Result<Self, String> {
        let tls = Self { files, system: OnceLock::new() };
        tls.config()?;
        Ok(tls)
    }

    /// What a connection is made with. Reads files.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let roots = match &self.files.ca {
            Some(path) => authorities(path)?,
            None => match self.system.get() {
                Some(roots) => roots.clone(),
                None => {
                    let roots = authorities_of_the_system()?;
                    self.system.get_or_init(|| roots).clone()
                }
            },
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match &self.files.client {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates("tls_cert", cert)?;
                let key_fault = |fault: String| format!("tls_key {}: {fault}", key.display());
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    key_fault(format!("holds no private key in PEM that can be read ({error})"))
                })?;
                config.with_client_auth_cert(chain, private).map_err(|error| {
                    key_fault(format!("does not go with tls_cert {} ({error})", cert.display()))
                })?
            }
        };
        Ok(Arc::new(config))
    }
}

/// Shakes hands, as a client that expects this name in the server's certificate.
pub(super) async fn shake_hands(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(name, stream).await
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fault = |fault: String| format!("{key} {}: {fault}", path.display());
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| fault(format!("cannot be read: {error}")))?;
    if found.is_empty() {
        return Err(fault("holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_ca", path)? {
        roots.add(certificate).map_err(|error| {
            format!("tls_ca {}: not the certificate of an authority ({error})", path.display())
        })?;
    }
    Ok(roots)
}

fn authorities_of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's store may hold what is too old to be understood; the others still serve.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this system knows no certificate authority{why}; install its ca-certificates or set tls_ca"
        ));
    }
    Ok(roots)
}
