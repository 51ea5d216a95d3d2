//! TLS, ours and theirs.

use std::path::PathBuf;

use abide_persistence::runtime::redis::connector::{ConnectError, Connector, Role};
use abide_persistence::runtime::redis::{Dial, Setup};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::places::{dial, fault, setup};
use crate::server::{Server, file};

/// An authority with certificates for a server and for us.
struct Papers {
    dir: TempDir,
}

impl Papers {
    fn of(server_name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.distinguished_name.push(DnType::CommonName, "an authority of this test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        file(dir.path(), "ca.pem", &authority.pem());
        for (who, name) in [("server", server_name), ("client", "abide")] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            file(dir.path(), &format!("{who}.pem"), &certificate.pem());
            file(dir.path(), &format!("{who}.key"), &key.serialize_pem());
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self, ask_clients: &str) -> Server {
        let path = |name| self.path(name).display().to_string();
        let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
        Server::with_tls(&[
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            ask_clients,
        ])
    }

    fn trusting(&self, server: &Server) -> Setup {
        let url = format!("rediss://127.0.0.1:{}", server.port);
        Setup { tls_ca: Some(self.path("ca.pem")), ..setup(&url) }
    }

    fn known_as_client(&self, setup: Setup) -> Setup {
        Setup { tls_cert: Some(self.path("client.pem")), tls_key: Some(self.path("client.key")), ..setup }
    }
}

async fn reach(dial: &Dial) {
    dial.connect(&dial.seeds()[0], Role::Write).await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn a_trusted_server_is_reached() {
    let papers = Papers::of("127.0.0.1");
    let server = papers.server("no");
    reach(&dial(&papers.trusting(&server))).await;
    // The key says the same as the scheme.
    let url = format!("redis://127.0.0.1:{}", server.port);
    reach(&dial(&Setup { urls: vec![url], tls: Some(true), ..papers.trusting(&server) })).await;
}

#[tokio::test]
async fn an_unknown_authority_or_another_name_is_refused() {
    let (papers, strangers) = (Papers::of("db.example"), Papers::of("127.0.0.1"));
    let server = papers.server("no");
    let strange = Setup { tls_ca: Some(strangers.path("ca.pem")), ..papers.trusting(&server) };
    for (setup, words) in [(papers.trusting(&server), "tls_server_name"), (strange, "tls_ca")] {
        let error = fault(&dial(&setup)).await;
        let text = error.to_string();
        assert!(matches!(error, ConnectError::Refused(_)), "{text}");
        assert!(text.contains(words) && text.contains(&server.port.to_string()), "{text}");
    }
    let named = Setup { tls_server_name: Some("db.example".to_owned()), ..papers.trusting(&server) };
    reach(&dial(&named)).await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let papers = Papers::of("127.0.0.1");
    let server = papers.server("yes");
    let error = fault(&dial(&papers.trusting(&server))).await;
    assert!(matches!(&error, ConnectError::Refused(text) if text.contains("tls_cert")), "{error:?}");
    reach(&dial(&papers.known_as_client(papers.trusting(&server)))).await;
}

#[tokio::test]
async fn renewed_certificates_are_used_without_a_restart() {
    let papers = Papers::of("127.0.0.1");
    let server = papers.server("yes");
    let dial = dial(&papers.known_as_client(papers.trusting(&server)));
    reach(&dial).await;
    let strangers = Papers::of("127.0.0.1");
    for name in ["client.pem", "client.key"] {
        std::fs::copy(strangers.path(name), papers.path(name)).expect("copied");
    }
    let error = fault(&dial).await;
    assert!(matches!(&error, ConnectError::Refused(_)), "the new one was shown: {error:?}");
}

#[tokio::test]
async fn tls_on_one_side_only_is_said() {
    let papers = Papers::of("127.0.0.1");
    let (with, without) = (papers.server("no"), Server::start());
    let error = fault(&dial(&papers.trusting(&without))).await;
    assert!(error.to_string().contains("redis:// meant"), "{error}");
    let error = fault(&dial(&setup(&with.url()))).await.to_string();
    assert!(error.contains("rediss://"), "{error}");
}

#[tokio::test]
async fn faults_of_files_show_before_anybody_is_called() {
    let papers = Papers::of("127.0.0.1");
    let url = "rediss://127.0.0.1:1";
    let cases = [
        (Setup { tls_ca: Some(papers.path("none.pem")), ..setup(url) }, "tls_ca"),
        (Setup { tls_ca: Some(papers.path("client.key")), ..setup(url) }, "no certificate in PEM"),
        (
            Setup {
                tls_cert: Some(papers.path("client.pem")),
                tls_key: Some(papers.path("ca.pem")),
                ..setup(url)
            },
            "no private key",
        ),
        (
            Setup {
                tls_cert: Some(papers.path("client.pem")),
                tls_key: Some(papers.path("server.key")),
                ..setup(url)
            },
            "does not go with",
        ),
    ];
    for (setup, words) in cases {
        let errors = Dial::new(&setup).expect_err(words).to_string();
        assert!(errors.contains(words), "{errors}");
        assert!(!errors.contains("PRIVATE KEY-----"), "{errors}");
    }
}
