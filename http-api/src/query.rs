//! The parameters of a query, strictly: one that is misspelt, repeated or impossible is refused, because the
//! answer would be another one than was asked for.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::problem::{Problem, ProblemKind};
use crate::target;

/// Parameters, each at most once.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads a query that may have these parameters.
    pub(crate) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Problem> {
        let mut all: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = target::decode(value)
                .map_err(|malformed| Problem::new(ProblemKind::BadTarget, malformed.words()))?;
            if !known.contains(&name) {
                let words = match known {
                    [] => "no parameter means anything here".to_owned(),
                    known => format!("the parameters here are {}", known.join(", ")),
                };
                return Err(refused(name.to_owned(), words));
            }
            if all.iter().any(|(own, _)| *own == name) {
                return Err(refused(name.to_owned(), format!("`{name}` is given more than once")));
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_ref())
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str, allowed: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match whole(text).filter(|number| allowed.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (from, to) = allowed.into_inner();
                let words = match to {
                    u64::MAX => format!("`{name}` is a whole number from {from} on"),
                    to => format!("`{name}` is a whole number from {from} to {to}"),
                };
                Err(refused(name.to_owned(), words))
            }
        }
    }
}

/// A number in digits and nothing else.
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A parameter that cannot be what it is.
pub(crate) fn refused(name: String, words: String) -> Problem {
    Problem::new(ProblemKind::BadParameter, words).with("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(result: Result<impl Sized, Problem>) -> &'static str {
        result.err().map_or("fine", |problem| problem.kind.slug())
    }

    #[test]
    fn what_is_known_once_and_in_range_is_read() {
        let query = Query::read(Some("from=7&&after=a%2Fb"), &["from", "after"]).expect("a good query");
        assert_eq!((query.number("from", 1..=7).ok(), query.text("after")), (Some(Some(7)), Some("a/b")));
        assert_eq!(query.number("limit", 1..=5).ok(), Some(None));
        assert!(Query::read(None, &[]).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for query in
            ["form=1", "from=1&from=1", "from", "from=", "from=0", "from=8", "from=+1", "from=1.0", "from=-1"]
        {
            let read = Query::read(Some(query), &["from"]).and_then(|query| query.number("from", 1..=7));
            assert_eq!(slug(read), "bad-parameter", "{query}");
        }
        let huge = Query::read(Some("from=18446744073709551616"), &["from"]).expect("well-formed");
        assert_eq!(slug(huge.number("from", 1..=u64::MAX)), "bad-parameter");
        assert_eq!(slug(Query::read(Some("from=%zz"), &["from"])), "bad-target");
    }
}
