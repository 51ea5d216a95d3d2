//! What is wrong with a configuration: all of it, not the first of it.

use std::fmt;

use super::source::Source;

/// One fault: which key, what it was set to, what must hold instead, and where that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, as `section.key`. Empty if the source as a whole is at fault.
    pub key: String,
    /// The value as it was written. `None` if there is none, or if it does not matter.
    pub value: Option<String>,
    /// What must hold.
    pub rule: String,
    /// Where it was written.
    pub source: Source,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        match &self.value {
            Some(value) => write!(f, "{} = {value}: ", self.key)?,
            None if self.key.is_empty() => {}
            None => write!(f, "{}: ", self.key)?,
        }
        f.write_str(&self.rule)
    }
}

/// Every fault of a configuration; never empty. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigFault>);

impl ConfigErrors {
    pub(super) fn check(faults: Vec<ConfigFault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault:")?,
            faults => write!(f, "the configuration has {faults} faults:")?,
        }
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigErrors {}
