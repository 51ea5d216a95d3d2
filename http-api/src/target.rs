//! What a request's target says: entity type, entity id, query.
//!
//! Ids are read by hand, strictly: `%2F` stays inside an id, `+` is a plus, and what is not well-formed is
//! refused. A lenient decoder would let two spellings that a client holds for different meet in one entity.

use std::borrow::Cow;

/// Everything before the entity type.
pub(crate) const ENTITIES: &str = "/v1/entities/";

/// Why a part of the target cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// The bytes are no UTF-8.
    Utf8,
}

impl Malformed {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Escape => "a `%` in the path or query must be followed by two hexadecimal digits",
            Self::Utf8 => "the path or query is not UTF-8 once its percent-encoding is removed",
        }
    }
}

/// An entity's type and id.
pub(crate) type Parts<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Splits `/v1/entities/{type}/{id}` into its decoded parts. `None` if it is another path.
pub(crate) fn entity(path: &str) -> Option<Result<Parts<'_>, Malformed>> {
    let (entity_type, id) = path.strip_prefix(ENTITIES)?.split_once('/')?;
    if id.contains('/') {
        return None;
    }
    let both = || Ok((decode(entity_type)?, decode(id)?));
    Some(both())
}

/// Splits `/v1/entities/{type}/{id}/events` likewise.
pub(crate) fn events(path: &str) -> Option<Result<Parts<'_>, Malformed>> {
    entity(path.strip_suffix("/events")?)
}

/// Splits `/v1/entities/{type}/{id}/release` likewise.
pub(crate) fn release(path: &str) -> Option<Result<Parts<'_>, Malformed>> {
    entity(path.strip_suffix("/release")?)
}

/// The shard in `/v1/shards/{shard}/accept-loss` or `/v1/shards/{shard}/release`, as it is written.
pub(crate) fn shard(path: &str) -> Option<&str> {
    let (shard, _order) = path.strip_prefix("/v1/shards/")?.split_once('/')?;
    Some(shard)
}

/// The decoded type in `/v1/entities/{type}`.
pub(crate) fn entity_type(path: &str) -> Option<Result<Cow<'_, str>, Malformed>> {
    path.strip_prefix(ENTITIES).filter(|name| !name.contains('/')).map(decode)
}

/// The decoded values of a key in a query.
pub(crate) fn values<'a>(
    query: Option<&'a str>,
    key: &'a str,
) -> impl Iterator<Item = Result<Cow<'a, str>, Malformed>> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| decode(value))
    })
}

/// Removes percent-encoding.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    let Some(first) = text.find('%') else { return Ok(Cow::Borrowed(text)) };
    let mut decoded = text.as_bytes()[..first].to_vec();
    let mut rest = text.as_bytes()[first..].iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|&byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Malformed::Escape) };
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Malformed::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_slash_stays_inside_the_id_and_a_raw_one_ends_it() {
        let parts = entity("/v1/entities/counter/a%2Fb%2fc");
        assert_eq!(parts, Some(Ok(("counter".into(), "a/b/c".into()))));
        assert_eq!(entity("/v1/entities/counter/a/b"), None);
        assert_eq!(entity("/v1/entities/counter"), None);
    }

    #[test]
    fn only_percent_signs_are_special() {
        for plain in ["a+b", "..", ".", "a|b", "a:b;c=d", "~", "ü"] {
            assert_eq!(decode(plain), Ok(plain.into()));
        }
        assert_eq!(decode("%2B%20%25"), Ok("+ %".into()));
        assert_eq!(decode("%F0%9F%A6%80"), Ok("🦀".into()));
        assert_eq!(decode("%252F"), Ok("%2F".into()));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for bad in ["%", "a%2", "%zz", "%+1", "% 1", "%%41"] {
            assert_eq!(decode(bad), Err(Malformed::Escape), "{bad}");
        }
        for bad in ["%FF", "%C3", "%ED%A0%80", "%C0%AF"] {
            assert_eq!(decode(bad), Err(Malformed::Utf8), "{bad}");
        }
    }

    #[test]
    fn every_value_of_a_key_is_found() {
        let found: Result<Vec<_>, _> = values(Some("tag=a&x=1&tag=b%20c&tag"), "tag").collect();
        assert_eq!(found, Ok(vec!["a".into(), "b c".into(), "".into()]));
        assert_eq!(values(None, "tag").count(), 0);
    }
}
