//! As whom a connection is made: fixed, from a file that may change, or from whoever hands out tokens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::journal::{Pending, StoreError};

/// A password or a token. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The user that a server has when nobody made another.
pub const DEFAULT_USER: &str = "default";

/// A user with its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// A user of the server's access list.
    pub username: String,
    /// Its password, or a token.
    pub password: Secret,
    /// How long it is good for.
    pub validity: Validity,
}

/// How long a login is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Always.
    Unlimited,
    /// Until this moment, by the wall clock. It is asked for anew well before.
    Until(SystemTime),
    /// It may change at any time: ask again after this long.
    AskAgain(Duration),
}

impl Login {
    /// The user named `default`, for always.
    pub fn password(password: impl Into<String>) -> Self {
        Self::user(DEFAULT_USER, password)
    }

    /// A user, for always.
    pub fn user(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: Secret::new(password), validity: Validity::Unlimited }
    }

    /// The same, good until then.
    #[must_use]
    pub fn until(mut self, end: SystemTime) -> Self {
        self.validity = Validity::Until(end);
        self
    }
}

/// Gives the login that is good now.
///
/// It is asked before the first connection, again before the login ends, and when a server refuses it. New
/// connections use the newest; live ones are authenticated again with it. It is asked once for all
/// connections, and never twice at the same time.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use abide_persistence::journal::{Pending, StoreError};
/// use abide_persistence::runtime::redis::{Credentials, Login};
///
/// /// Tokens of Microsoft Entra ID: the user is the object id of the identity, the password its token for
/// /// `https://redis.azure.com/.default`.
/// struct EntraId<F> {
///     object_id: String,
///     /// Gets a token and the time of its end, by the SDK or from the instance's metadata service.
///     token: F,
/// }
///
/// impl<F, T> Credentials for EntraId<F>
/// where
///     F: Fn() -> T + Send + Sync + 'static,
///     T: Future<Output = Result<(String, SystemTime), String>> + Send + 'static,
/// {
///     fn login(&self) -> Pending<Result<Login, StoreError>> {
///         let (user, asked) = (self.object_id.clone(), (self.token)());
///         Box::pin(async move {
///             let (token, end) = asked.await.map_err(StoreError::new)?;
///             Ok(Login::user(user, token).until(end))
///         })
///     }
/// }
/// # let _ = EntraId { object_id: String::new(), token: || async { Ok((String::new(), SystemTime::now() + Duration::from_secs(3600))) } }.login();
/// ```
pub trait Credentials: Send + Sync + 'static {
    /// The login that is good now. An error names the fault, and no secret.
    fn login(&self) -> Pending<Result<Login, StoreError>>;
}

/// A login that never changes.
impl Credentials for Login {
    fn login(&self) -> Pending<Result<Login, StoreError>> {
        let login = self.clone();
        Box::pin(async move { Ok(login) })
    }
}

/// How often a password file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Largest password file; a larger one is surely another file.
const MAX_PASSWORD_BYTES: usize = 64 << 10;

/// A password in a file, which is read again and again.
#[derive(Clone, Debug)]
pub struct PasswordFile {
    username: String,
    path: PathBuf,
    look_every: Duration,
}

impl PasswordFile {
    /// The password of this user (without one, of `default`), in this file. A line break at its end is not
    /// part of it.
    pub fn new(username: Option<String>, path: impl Into<PathBuf>) -> Self {
        let username = username.unwrap_or_else(|| DEFAULT_USER.to_owned());
        Self { username, path: path.into(), look_every: LOOK_EVERY }
    }

    /// Sets how often it is looked at.
    #[must_use]
    pub fn look_every(mut self, period: Duration) -> Self {
        self.look_every = period;
        self
    }
}

impl Credentials for PasswordFile {
    fn login(&self) -> Pending<Result<Login, StoreError>> {
        let Self { username, path, look_every } = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_password(&path)).await;
            let password = read.map_err(StoreError::new)??;
            Ok(Login { username, password, validity: Validity::AskAgain(look_every) })
        })
    }
}

fn read_password(path: &Path) -> Result<Secret, StoreError> {
    let fault = |words: String| StoreError(format!("password_file {}: {words}", path.display()));
    let text = std::fs::read(path).map_err(|cause| fault(format!("cannot be read: {cause}")))?;
    if text.len() > MAX_PASSWORD_BYTES {
        return Err(fault(format!("{} bytes are no password; is it the right file?", text.len())));
    }
    let text =
        String::from_utf8(text).map_err(|_| fault("is not UTF-8; is it the right file?".to_owned()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(fault("is empty; write the password into it".to_owned())),
        password => Ok(Secret::new(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_holds_one_password() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("password");
        let read = |text: &[u8]| {
            std::fs::write(&path, text).expect("written");
            read_password(&path)
        };
        assert_eq!(read(b"hunter2\n"), Ok(Secret::new("hunter2")));
        assert_eq!(read(b" with blanks \r\n"), Ok(Secret::new(" with blanks ")));
        for (text, words) in
            [(&b"\n"[..], "is empty"), (b"\xff", "not UTF-8"), (&[b'x'; 70_000], "no password")]
        {
            let error = read(text).expect_err("no password").to_string();
            assert!(error.contains(words) && error.contains("password_file"), "{error}");
        }
        let missing = read_password(&dir.path().join("none")).expect_err("no file").to_string();
        assert!(missing.contains("none") && missing.contains("cannot be read"), "{missing}");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let shown = format!("{:?}", Login::user("ann", "hunter2"));
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    }
}
