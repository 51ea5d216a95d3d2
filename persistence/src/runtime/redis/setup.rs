//! What a connection is to be made with: URLs and keys put together, and refused where they disagree.
//!
//! Pure: no file is read here and nobody is called, so a configuration can be checked before anything starts.
//! A fault names the keys as the configuration does.

use std::fmt;
use std::path::PathBuf;

use super::connector::Address;
use super::credentials::{DEFAULT_USER, Login};
use super::managed;
use super::options::Deployment;
use super::tls::TlsFiles;
use super::url::{self, ServerUrl};

/// What somebody may say about the servers and the way to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Servers to ask first; the others are found through them. With `sentinel_master`: Sentinels.
    pub urls: Vec<String>,
    /// User of the servers' access list.
    pub username: Option<String>,
    /// File that holds the password; read again and again.
    pub password_file: Option<PathBuf>,
    /// Number of the database.
    pub database: Option<u32>,
    /// Whether TLS is used; without it the scheme of the URLs says so, and a known managed host.
    pub tls: Option<bool>,
    /// Authorities to trust instead of those of the system, in PEM.
    pub tls_ca: Option<PathBuf>,
    /// Our certificate, in PEM, for servers that ask for one.
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The name that every server's certificate must have, where it is not that of its address.
    pub tls_server_name: Option<String>,
    /// The name under which Sentinels watch the primary.
    pub sentinel_master: Option<String>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFault {
    /// The key to look at first.
    pub key: &'static str,
    /// What is wrong, and what to do. Shows no secret.
    pub rule: String,
}

/// Every fault of a [`Setup`]; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupErrors(pub Vec<SetupFault>);

impl fmt::Display for SetupErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, fault) in self.0.iter().enumerate() {
            let between = if nth == 0 { "" } else { "; " };
            write!(f, "{between}{}: {}", fault.key, fault.rule)?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupErrors {}

/// Where the password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginFrom {
    Nowhere,
    Url(Login),
    File { username: Option<String>, path: PathBuf },
}

/// What a [`Setup`] comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seeds: Vec<Address>,
    pub(super) deployment: Deployment,
    pub(super) servers: LoginFrom,
    pub(super) sentinels: LoginFrom,
    pub(super) database: u32,
    pub(super) tls: Option<TlsFiles>,
    /// Name to expect of servers that are reached by a bare address.
    pub(super) server_name: Option<ExpectedName>,
    /// A host for which TLS was switched on though the URL did not ask for it.
    pub(super) upgraded: Option<String>,
}

/// A name that a server's certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExpectedName {
    /// Whatever the server's address is.
    Always(String),
    /// Only where the address is a bare one: managed clusters tell their nodes so.
    ForBareAddresses(String),
}

impl Setup {
    /// The rules between URLs and keys.
    ///
    /// # Errors
    /// Every fault.
    pub fn check(&self) -> Result<(), SetupErrors> {
        self.plan(false).map(|_| ())
    }

    /// What it comes to. `own_credentials`: the host program brings logins of its own.
    pub(super) fn plan(&self, own_credentials: bool) -> Result<Plan, SetupErrors> {
        let mut faults = Faults::default();
        let urls = self.read_urls(&mut faults);
        let login = self.url_login(&urls, &mut faults);
        let username = one_of_all(&urls, |url| url.username.clone());
        let sentinel = self.sentinel_master.is_some();
        if sentinel && self.sentinel_master.as_deref().is_some_and(str::is_empty) {
            faults.add("sentinel_master", "must be the name under which Sentinels watch the primary");
        }
        // With Sentinels the URLs are theirs, and so is the login in them.
        if !sentinel {
            self.one_login(login.is_some(), username.as_deref(), own_credentials, &mut faults);
        } else if own_credentials && (self.username.is_some() || self.password_file.is_some()) {
            faults.add(
                "password_file",
                "the program brings credentials of its own; leave username and password_file out",
            );
        }
        let (tls, upgraded) = self.tls(&urls, &mut faults);
        let database = self.one_database(&urls, &mut faults);
        faults.end()?;

        let of_urls = login.map_or(LoginFrom::Nowhere, LoginFrom::Url);
        let of_keys = match &self.password_file {
            Some(path) => {
                let username = self.username.clone().or(username.filter(|_| !sentinel));
                LoginFrom::File { username, path: path.clone() }
            }
            None => LoginFrom::Nowhere,
        };
        let (servers, sentinels) = match (&of_keys, sentinel) {
            (_, true) => (of_keys, of_urls),
            (LoginFrom::Nowhere, false) => (of_urls, LoginFrom::Nowhere),
            (_, false) => (of_keys, LoginFrom::Nowhere),
        };
        let managed = urls.iter().map(|url| &url.address.host).find(|host| managed::speaks_tls(host));
        let server_name = match &self.tls_server_name {
            Some(name) => Some(ExpectedName::Always(name.clone())),
            None => managed.map(|host| ExpectedName::ForBareAddresses(host.clone())),
        };
        let mut seeds: Vec<Address> = Vec::new();
        for url in urls {
            if !seeds.contains(&url.address) {
                seeds.push(url.address);
            }
        }
        let deployment = match &self.sentinel_master {
            Some(master) => Deployment::Sentinel { master: master.clone() },
            None => Deployment::Direct,
        };
        Ok(Plan { seeds, deployment, servers, sentinels, database, tls, server_name, upgraded })
    }

    fn read_urls(&self, faults: &mut Faults) -> Vec<ServerUrl> {
        let mut urls = Vec::new();
        for url in &self.urls {
            match url::parse(url) {
                Ok(url) => urls.push(url),
                Err(error) => faults.add("urls", error.to_string()),
            }
        }
        if self.urls.is_empty() {
            faults.add("urls", "names no server; give at least one, such as redis://127.0.0.1:6379");
        }
        urls
    }

    /// The one login of all URLs.
    fn url_login(&self, urls: &[ServerUrl], faults: &mut Faults) -> Option<Login> {
        let password = one_of_all(urls, |url| url.password.clone());
        for (what, differ) in [
            ("users", differ(urls, |url| url.username.as_ref())),
            ("passwords", differ(urls, |url| url.password.as_ref())),
        ] {
            if differ {
                let words = format!(
                    "the URLs have different {what}; one is used for all servers, so write one, in one of them or in all"
                );
                faults.add("urls", words);
            }
        }
        let username = one_of_all(urls, |url| url.username.clone());
        // `username` is for the servers, and Sentinels are none.
        let of_key = self.username.clone().filter(|_| self.sentinel_master.is_none());
        let username = username.or(of_key).unwrap_or_else(|| DEFAULT_USER.to_owned());
        password.map(|password| Login::user(username, password.reveal()))
    }

    /// One place that says the password, one user.
    fn one_login(&self, in_urls: bool, user: Option<&str>, own_credentials: bool, faults: &mut Faults) {
        if in_urls && self.password_file.is_some() {
            faults.add(
                "password_file",
                "there is a password in urls too; keep one of the two, better the file",
            );
        }
        if own_credentials
            && (in_urls || user.is_some() || self.password_file.is_some() || self.username.is_some())
        {
            let words = "the program brings credentials of its own; leave username, password_file and the login in urls out";
            faults.add("password_file", words);
            return;
        }
        if let (Some(key), Some(url)) = (&self.username, user)
            && key != url
        {
            faults.add("username", format!("is \"{key}\", but urls say \"{url}\"; keep one of the two"));
        }
        if (self.username.is_some() || user.is_some()) && !in_urls && self.password_file.is_none() {
            let key = if self.username.is_some() { "username" } else { "urls" };
            faults.add(key, "there is a user without a password; set password_file, or leave the user out");
        }
    }

    fn tls(&self, urls: &[ServerUrl], faults: &mut Faults) -> (Option<TlsFiles>, Option<String>) {
        let asked = urls.iter().find(|url| url.tls);
        let plain = urls.iter().find(|url| !url.tls);
        if let (Some(asked), Some(plain), None) = (asked, plain, self.tls) {
            faults.add(
                "urls",
                format!(
                    "{} is to be reached with TLS and {} without; write the same scheme",
                    asked.address, plain.address
                ),
            );
        }
        if let (Some(asked), Some(false)) = (asked, self.tls) {
            let words = format!(
                "is false, but urls ask for TLS with rediss://{}; keep one of the two",
                asked.address
            );
            faults.add("tls", words);
        }
        let managed = urls.iter().map(|url| &url.address.host).find(|host| managed::speaks_tls(host));
        let upgraded = managed.filter(|_| self.tls.is_none() && asked.is_none()).cloned();
        let on = self.tls.unwrap_or(asked.is_some() || managed.is_some());
        let files = [("tls_ca", &self.tls_ca), ("tls_cert", &self.tls_cert), ("tls_key", &self.tls_key)];
        let set = files.iter().filter(|(_, file)| file.is_some()).map(|(key, _)| *key);
        for key in set.chain(self.tls_server_name.as_ref().map(|_| "tls_server_name")) {
            if !on && !urls.is_empty() {
                faults.add(key, "is set, but TLS is not used; write rediss:// in urls, or tls = true");
            }
        }
        let client = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                faults.add("tls_key", "tls_cert is set, but not its key; set both or none");
                None
            }
            (None, Some(_)) => {
                faults.add("tls_cert", "tls_key is set, but not its certificate; set both or none");
                None
            }
        };
        if let Some(name) = &self.tls_server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            faults.add("tls_server_name", format!("\"{name}\" is neither a host name nor an address"));
        }
        (on.then(|| TlsFiles { ca: self.tls_ca.clone(), client }), upgraded)
    }

    fn one_database(&self, urls: &[ServerUrl], faults: &mut Faults) -> u32 {
        let in_urls = one_of_all(urls, |url| url.database);
        if differ(urls, |url| url.database.as_ref()) {
            faults.add("urls", "the URLs have different databases; all servers use one, so write one");
        }
        match (self.database, in_urls) {
            (Some(key), Some(url)) if key != url => {
                faults.add("database", format!("is {key}, but urls say {url}; keep one of the two"));
                key
            }
            (key, url) => key.or(url).unwrap_or(0),
        }
    }
}

/// What one of them says, or all of them alike.
fn one_of_all<T>(urls: &[ServerUrl], of: impl Fn(&ServerUrl) -> Option<T>) -> Option<T> {
    urls.iter().find_map(of)
}

fn differ<'a, T: PartialEq + 'a>(urls: &'a [ServerUrl], of: impl Fn(&'a ServerUrl) -> Option<&'a T>) -> bool {
    let mut said = urls.iter().filter_map(of);
    said.next().is_some_and(|first| said.any(|other| other != first))
}

#[derive(Default)]
struct Faults(Vec<SetupFault>);

impl Faults {
    fn add(&mut self, key: &'static str, rule: impl Into<String>) {
        self.0.push(SetupFault { key, rule: rule.into() });
    }

    fn end(self) -> Result<(), SetupErrors> {
        if self.0.is_empty() { Ok(()) } else { Err(SetupErrors(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(urls: &[&str]) -> Setup {
        Setup { urls: urls.iter().map(|url| (*url).to_owned()).collect(), ..Setup::default() }
    }

    fn path(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn what_disagrees_is_refused_and_both_are_named() {
        let base = || setup(&["redis://ann:hunter2@h/1"]);
        let cases: [(Setup, &str, &str); 14] = [
            (Setup { password_file: path("p"), ..base() }, "password_file", "in urls too"),
            (
                Setup { username: Some("bob".to_owned()), ..base() },
                "username",
                "\"bob\", but urls say \"ann\"",
            ),
            (Setup { database: Some(2), ..base() }, "database", "is 2, but urls say 1"),
            (Setup { tls: Some(false), ..setup(&["rediss://h"]) }, "tls", "rediss://h:6379"),
            (Setup { tls_ca: path("ca"), ..base() }, "tls_ca", "TLS is not used"),
            (Setup { tls_cert: path("c"), ..setup(&["rediss://h"]) }, "tls_key", "set both or none"),
            (Setup { tls_key: path("k"), ..setup(&["rediss://h"]) }, "tls_cert", "set both or none"),
            (
                setup(&["redis://a", "rediss://b"]),
                "urls",
                "b:6379 is to be reached with TLS and a:6379 without",
            ),
            (setup(&["redis://:hunter2@a", "redis://:other@b"]), "urls", "different passwords"),
            (setup(&["redis://a/1", "redis://b/2"]), "urls", "different databases"),
            (setup(&["redis://ann@a"]), "urls", "without a password"),
            (
                Setup { username: Some("ann".to_owned()), ..setup(&["redis://a"]) },
                "username",
                "without a password",
            ),
            (setup(&[]), "urls", "names no server"),
            (setup(&["redis://u:hunter2@h:x"]), "urls", "the port \"x\""),
        ];
        for (setup, key, words) in cases {
            let errors = setup.check().expect_err(words);
            let text = errors.to_string();
            assert!(errors.0.iter().any(|f| f.key == key && f.rule.contains(words)), "{words}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faulty = Setup { database: Some(3), tls: Some(false), ..setup(&["rediss://h/1", "redis:"]) };
        assert_eq!(faulty.check().expect_err("three faults").0.len(), 3);
    }

    #[test]
    fn many_seeds_share_one_login() {
        let plan = setup(&["redis://:pw@a", "redis://b:7000", "redis://:pw@a"]).plan(false).expect("a plan");
        assert_eq!(plan.seeds, [Address::new("a", 6379), Address::new("b", 7000)]);
        assert_eq!(plan.servers, LoginFrom::Url(Login::password("pw")));
        assert_eq!((plan.tls, plan.database), (None, 0));
    }

    #[test]
    fn a_managed_host_gets_tls_unless_somebody_says_no() {
        let azure = || setup(&["redis://shop.redis.cache.windows.net:6380"]);
        let plan = azure().plan(false).expect("a plan");
        let host = "shop.redis.cache.windows.net".to_owned();
        assert_eq!(plan.upgraded.as_ref(), Some(&host));
        assert_eq!(plan.tls, Some(TlsFiles::default()));
        assert_eq!(plan.server_name, Some(ExpectedName::ForBareAddresses(host)));
        let plain = Setup { tls: Some(false), ..azure() }.plan(false).expect("a plan");
        assert_eq!((plain.tls, plain.upgraded), (None, None));
    }

    #[test]
    fn with_sentinels_the_urls_and_their_login_are_theirs() {
        let setup = Setup {
            sentinel_master: Some("shop".to_owned()),
            username: Some("ann".to_owned()),
            password_file: path("p"),
            ..setup(&["redis://:watch@s1:26379", "redis://s2:26379"])
        };
        let plan = setup.plan(false).expect("a plan");
        assert_eq!(plan.sentinels, LoginFrom::Url(Login::password("watch")));
        assert_eq!(plan.servers, LoginFrom::File { username: Some("ann".to_owned()), path: "p".into() });
        assert_eq!(plan.deployment, Deployment::Sentinel { master: "shop".to_owned() });
    }

    #[test]
    fn a_program_with_credentials_of_its_own_says_nothing_else() {
        assert!(setup(&["redis://h"]).plan(true).is_ok());
        assert!(setup(&["redis://:pw@h"]).plan(true).is_err());
        assert!(Setup { password_file: path("p"), ..setup(&["redis://h"]) }.plan(true).is_err());
    }
}
