//! URLs of servers: `redis://[user[:password]@]host[:port][/database]`, `rediss://` for TLS.
//!
//! Pure. The same URLs as those of the `redis` crate, `valkey://` and `valkeys://` among them, with faults that
//! say what to write instead. No fault shows a password.

use super::connector::Address;
use super::credentials::Secret;

/// The port where nobody names one.
pub const DEFAULT_PORT: u16 = 6379;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Where the server listens.
    pub address: Address,
    /// Whether the scheme asks for TLS.
    pub tls: bool,
    /// The user, if there is one.
    pub username: Option<String>,
    /// The password, if there is one.
    pub password: Option<Secret>,
    /// The number of the database, if there is one.
    pub database: Option<u32>,
}

/// What is wrong with a URL, and what to write. Shows no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {fault}")]
pub struct UrlError {
    /// The URL, masked.
    pub url: String,
    /// What is wrong, and what to write.
    pub fault: String,
}

const FORM: &str = "a URL looks like redis://user:password@host:6379, or rediss:// for TLS";

/// Takes a URL apart.
///
/// # Errors
/// What is wrong with it.
pub fn parse(url: &str) -> Result<ServerUrl, UrlError> {
    take_apart(url).map_err(|fault| UrlError { url: masked(url), fault })
}

fn take_apart(url: &str) -> Result<ServerUrl, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("there is no scheme; {FORM}"));
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "unix" | "redis+unix" | "valkey+unix" => {
            return Err("a Unix socket reaches one machine only; give the server's host and port".to_owned());
        }
        other => return Err(format!("\"{other}\" is not a scheme of Redis; {FORM}")),
    };
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("there is a blank in it; in a user or password write it as %20".to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') {
        return Err(
            "in a user or password write '/' as %2F, '?' as %3F, '#' as %23 and '@' as %40".to_owned()
        );
    }
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (decoded(user, "user")?, decoded(password, "password")?),
        None => (None, None),
    };
    Ok(ServerUrl {
        address: address(place)?,
        tls,
        username,
        password: password.map(Secret::new),
        database: database(tail)?,
    })
}

fn address(place: &str) -> Result<Address, String> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("the ']' after the IPv6 address is missing")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("\"{host}\" is not an IPv6 address"))?;
        (host, port)
    } else if place.matches(':').count() > 1 {
        return Err("an IPv6 address is written in brackets: redis://[::1]:6379".to_owned());
    } else {
        place.split_at(place.find(':').unwrap_or(place.len()))
    };
    if host.is_empty() {
        return Err(format!("there is no host; {FORM}"));
    }
    if host == "0.0.0.0" || host == "::" {
        return Err(
            "servers listen at that address, but nobody can be reached there; name the host".to_owned()
        );
    }
    let allowed = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
    if let Some(odd) = host.chars().find(|c| !allowed(*c)) {
        return Err(format!("a host has no '{odd}'; several servers are several URLs"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => DEFAULT_PORT,
        Some(number) => match number.parse::<u16>() {
            Ok(number) if number > 0 => number,
            _ => return Err(format!("the port \"{number}\" is not a number from 1 to 65535")),
        },
        None => return Err("after an IPv6 address only a port may stand: redis://[::1]:6379".to_owned()),
    };
    Ok(Address::new(host, port))
}

fn database(tail: &str) -> Result<Option<u32>, String> {
    let (path, rest) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    match rest.chars().next() {
        Some('?') => return Err("nothing is set after '?'; there is a key for everything else".to_owned()),
        Some(_) => return Err("nothing is set after '#'; certificates are always checked".to_owned()),
        None => {}
    }
    match path.trim_matches('/') {
        "" => Ok(None),
        number => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("the database \"{number}\" is not a number")),
        },
    }
}

/// Percent signs taken back; nothing for what is empty.
fn decoded(text: &str, what: &str) -> Result<Option<String>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        bytes.push(match first {
            b'%' => {
                let (digits, others) = rest.split_at_checked(2).unwrap_or((&[], rest));
                rest = others;
                let digits =
                    std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(|| {
                    format!("after '%' in the {what} two hexadecimal digits must stand; write '%' as %25")
                })?
            }
            other => *other,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the {what} is not UTF-8"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A URL without its password, whatever else is wrong with it.
pub fn masked(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    // A query or a fragment is not ours to read; people put passwords there.
    let place = match place.find(['?', '#']) {
        Some(at) => format!("{}***", &place[..=at]),
        None => place.to_owned(),
    };
    match login.map(|login| login.split_once(':')) {
        None => format!("{scheme}{place}"),
        // Without a scheme nothing says which part is the user.
        Some(Some((user, _))) if !scheme.is_empty() => format!("{scheme}{user}:***@{place}"),
        Some(None) if !scheme.is_empty() => format!("{scheme}{}@{place}", login.unwrap_or_default()),
        Some(_) => format!("***@{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> ServerUrl {
        parse(url).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_url_says_where_how_and_as_whom() {
        let plain = parsed("redis://db.example");
        assert_eq!(plain.address, Address::new("db.example", 6379));
        assert_eq!((plain.tls, plain.username, plain.password, plain.database), (false, None, None, None));
        let full = parsed("rediss://ab%40c:p%2Fw%25@10.0.0.7:6380/3");
        assert_eq!(full.address, Address::new("10.0.0.7", 6380));
        assert!(full.tls);
        assert_eq!(full.username.as_deref(), Some("ab@c"));
        assert_eq!(full.password, Some(Secret::new("p/w%".to_owned())));
        assert_eq!(full.database, Some(3));
        let alone = parsed("valkeys://:secret@[::1]:7000/");
        assert_eq!(alone.address, Address::new("::1", 7000));
        assert_eq!((alone.tls, alone.username, alone.database), (true, None, None));
        assert_eq!(alone.password, Some(Secret::new("secret".to_owned())));
        assert_eq!(parsed("redis://[fe80::1]").address, Address::new("fe80::1", 6379));
    }

    #[test]
    fn what_the_crate_takes_we_take_alike() {
        for url in
            ["redis://h", "redis://u:p%40@h:1/2", "redis://:p@[::1]:7", "valkey://h:9", "redis://u@h/0"]
        {
            let theirs = redis::IntoConnectionInfo::into_connection_info(url).expect("a URL of the crate");
            let ours = parsed(url);
            let redis::ConnectionAddr::Tcp(host, port) = theirs.addr() else { panic!("{url}") };
            assert_eq!((&ours.address.host, &ours.address.port), (host, port), "{url}");
            assert_eq!(ours.username.as_deref(), theirs.redis_settings().username(), "{url}");
            let password = ours.password.as_ref().map(Secret::reveal);
            assert_eq!(password, theirs.redis_settings().password(), "{url}");
        }
    }

    #[test]
    fn a_fault_says_what_to_write_and_never_the_password() {
        for (url, words) in [
            ("localhost:6379", "no scheme"),
            ("redis:/host", "no scheme"),
            ("rdis://u:hunter2@h", "\"rdis\" is not a scheme"),
            ("http://u:hunter2@h", "not a scheme of Redis"),
            ("redis://", "no host"),
            ("redis://:hunter2@:6379", "no host"),
            ("redis://u:hunter2@h:70000", "the port \"70000\""),
            ("redis://u:hunter2@h:", "the port \"\""),
            ("redis://u:hunter2@h/main", "the database \"main\""),
            ("redis://u:hunt/er2@h", "write '/' as %2F"),
            ("redis://u:hunter2#@h", "'#' as %23"),
            ("redis://u:hunter2%zz@h", "'%' as %25"),
            ("redis://u:hunt er2@h", "%20"),
            ("redis://::1:6379", "in brackets"),
            ("redis://[::1:6379", "']'"),
            ("redis://[::1]6379", "only a port"),
            ("redis://h?password=hunter2", "after '?'"),
            ("rediss://u:hunter2@h#insecure", "after '#'"),
            ("unix:///run/redis.sock?pass=hunter2", "a Unix socket"),
            ("u:hunter2@h", "no scheme"),
            ("redis://a:1,b:2", "in brackets"),
            ("redis://a,b", "several servers are several URLs"),
            ("redis://0.0.0.0", "name the host"),
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(error.contains(words), "{url}: {error}");
            for part in ["hunter2", "er2"] {
                assert!(!error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_masked_url_keeps_what_is_not_secret() {
        assert_eq!(masked("redis://u:p@h:1/2"), "redis://u:***@h:1/2");
        assert_eq!(masked("redis://:p@h"), "redis://:***@h");
        assert_eq!(masked("redis://h:1"), "redis://h:1");
        assert_eq!(masked("redis://u@h"), "redis://u@h");
        assert_eq!(masked("redis://u:a@b@h"), "redis://u:***@h");
    }
}
