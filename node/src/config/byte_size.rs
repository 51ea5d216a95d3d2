//! A number of bytes that people write as `1MiB`.

use std::fmt;

/// A number of bytes, written as `512`, `64KiB`, `1MiB` or `2GiB`.
///
/// Powers of two only: `1MB` means two different things to two readers, so it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteSize {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1));
        let count: usize = digits.trim_end().parse().ok()?;
        count.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_its_largest_whole_unit() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("1KiB", 1024), ("1025KiB", 1_049_600), ("2GiB", 2 << 30)]
        {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(ByteSize::parse("1024 KiB").map(|size| size.to_string()), Some("1MiB".to_owned()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_size() {
        for bad in ["", "MiB", "1MB", "1.5MiB", "-1", "1M", "99999999999GiB"] {
            assert_eq!(ByteSize::parse(bad), None, "{bad}");
        }
    }
}
