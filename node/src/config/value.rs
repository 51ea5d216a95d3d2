//! How a value of the tree is read and written.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use abide_persistence::ShardCount;

use super::byte_size::ByteSize;

/// A value as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// From the environment or a flag: text that has no type of its own.
    Untyped(String),
    /// A string of TOML.
    String(String),
    /// An integer of TOML.
    Integer(i64),
    /// A number with a point of TOML.
    Float(f64),
    /// A truth value of TOML.
    Bool(bool),
    /// A list of strings of TOML.
    List(Vec<String>),
    /// Something else of TOML that no key takes, by its name.
    Other(&'static str),
}

impl Raw {
    /// What it is, for "found …". Untyped text is shown as it is anyway.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Untyped(_) => None,
            Self::String(_) => Some("a string"),
            Self::Integer(_) => Some("a number"),
            Self::Float(_) => Some("a number with a point"),
            Self::Bool(_) => Some("a truth value"),
            Self::List(_) => Some("a list"),
            Self::Other(kind) => Some(kind),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::String(text) => Some(text),
            Self::Integer(_) | Self::Float(_) | Self::Bool(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// Several texts: a list, or one text with commas between them.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::List(texts) => Some(texts.clone()),
            _ => {
                let parts = self.text()?.split(',').map(str::trim).filter(|part| !part.is_empty());
                Some(parts.map(str::to_owned).collect())
            }
        }
    }

    pub(super) fn number<N: TryFrom<i64>>(&self) -> Option<N> {
        let number = match self {
            Self::Untyped(text) => text.parse().ok()?,
            Self::Integer(number) => *number,
            Self::String(_) | Self::Float(_) | Self::Bool(_) | Self::List(_) | Self::Other(_) => return None,
        };
        N::try_from(number).ok()
    }
}

/// A type that a key may have.
pub(super) trait Value: Sized {
    /// What to write, to follow "must be".
    const EXPECTED: &'static str;

    /// `None` if it is not what is expected.
    fn read(raw: &Raw) -> Option<Self>;

    /// As TOML.
    fn write(&self) -> String;
}

/// Writes a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Value for String {
    const EXPECTED: &'static str = "a string";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text().map(str::to_owned)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text().filter(|text| !text.is_empty()).map(Self::from)
    }

    fn write(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Option<SocketAddr> {
    const EXPECTED: &'static str = "an address with a port, such as \"127.0.0.1:8081\", or \"none\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("none") => Some(None),
            _ => SocketAddr::read(raw).map(Some),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quoted("none"), Value::write)
    }
}

impl Value for Option<String> {
    const EXPECTED: &'static str = "a string, or \"none\"";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text().map(|text| (text != "none").then(|| text.to_owned()))
    }

    fn write(&self) -> String {
        quoted(self.as_deref().unwrap_or("none"))
    }
}

impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path, or \"none\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("none") => Some(None),
            _ => PathBuf::read(raw).map(Some),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quoted("none"), Value::write)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(value) => Some(*value),
            Raw::Untyped(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<bool> {
    const EXPECTED: &'static str = "true, false or \"auto\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("auto") => Some(None),
            _ => bool::read(raw).map(Some),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quoted("auto"), Value::write)
    }
}

impl Value for Option<u32> {
    const EXPECTED: &'static str = "a whole number of at least 0, or \"none\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("none") => Some(None),
            _ => raw.number().map(Some),
        }
    }

    fn write(&self) -> String {
        self.map_or_else(|| quoted("none"), |number| number.to_string())
    }
}

impl Value for f64 {
    const EXPECTED: &'static str = "a number such as 2 or 1.5";

    fn read(raw: &Raw) -> Option<Self> {
        let number = match raw {
            Raw::Untyped(text) => text.parse().ok()?,
            Raw::Integer(number) => *number as Self,
            Raw::Float(number) => *number,
            Raw::String(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => return None,
        };
        number.is_finite().then_some(number)
    }

    fn write(&self) -> String {
        // With its point, so that it stays a float of TOML.
        format!("{self:?}")
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a length of time with its unit, such as \"200ms\", \"5s\" or \"2m\"";

    fn read(raw: &Raw) -> Option<Self> {
        humantime::parse_duration(raw.text()?).ok()
    }

    fn write(&self) -> String {
        quoted(&humantime::format_duration(*self).to_string())
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64KiB\" or \"1MiB\", or a number of bytes";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some(text) => Self::parse(text),
            None => raw.number().map(Self),
        }
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for usize {
    const EXPECTED: &'static str = "a whole number of at least 0";

    fn read(raw: &Raw) -> Option<Self> {
        raw.number()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn read(raw: &Raw) -> Option<Self> {
        raw.number().and_then(Self::new)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<NonZeroUsize> {
    const EXPECTED: &'static str = "a whole number of at least 1, or \"none\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("none") => Some(None),
            _ => NonZeroUsize::read(raw).map(Some),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quoted("none"), Value::write)
    }
}

impl Value for ShardCount {
    const EXPECTED: &'static str = "a whole number from 1 to 65536";

    fn read(raw: &Raw) -> Option<Self> {
        raw.number().and_then(Self::new)
    }

    fn write(&self) -> String {
        self.get().to_string()
    }
}

/// An enum of which each variant is one word.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $Name:ident ($expected:literal) { $($(#[$variant_meta:meta])* $Variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $($(#[$variant_meta])* $Variant,)+ }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$Variant => $word,)+
                })
            }
        }

        impl $crate::config::value::Value for $Name {
            const EXPECTED: &'static str = $expected;

            fn read(raw: &$crate::config::value::Raw) -> Option<Self> {
                match <String as $crate::config::value::Value>::read(raw)?.as_str() {
                    $($word => Some(Self::$Variant),)+
                    _ => None,
                }
            }

            fn write(&self) -> String {
                $crate::config::value::quoted(&self.to_string())
            }
        }
    };
}
pub(super) use words;
