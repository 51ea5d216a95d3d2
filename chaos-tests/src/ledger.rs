//! What a ledger must hold, given what its writers saw.
//!
//! Source of the rules: an acknowledged event is never lost, doubled or reordered. An append whose answer
//! did not come is *unknown*: it may be there once or not at all, never twice.

use std::collections::{BTreeMap, BTreeSet};

/// One append, as its writer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Unique among all appends to this ledger.
    pub value: String,
    /// The place that was acknowledged; `None` if the answer did not come or said "unknown".
    pub index: Option<usize>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An acknowledged value is not at its place.
    Lost(Append),
    /// A value is there more than once.
    Doubled(String),
    /// A value is there that nobody sent.
    Invented(String),
    /// Two values of one writer are in the other order.
    Reordered(String, String),
}

/// Checks what a ledger holds against the appends of its writers, each in the order of sending.
pub fn check(values: &[String], writers: &[Vec<Append>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, value) in values.iter().enumerate() {
        if places.insert(value, at).is_some() {
            faults.push(Fault::Doubled(value.clone()));
        }
    }
    let sent: BTreeSet<&str> = writers.iter().flatten().map(|append| append.value.as_str()).collect();
    faults.extend(
        places
            .keys()
            .filter(|value| !sent.contains(**value))
            .map(|value| Fault::Invented((*value).to_owned())),
    );
    for writer in writers {
        let mut before: Option<(&str, usize)> = None;
        for append in writer {
            let place = places.get(append.value.as_str()).copied();
            if append.index.is_some() && append.index != place {
                faults.push(Fault::Lost(append.clone()));
            }
            if let (Some((value, earlier)), Some(place)) = (before, place)
                && place < earlier
            {
                faults.push(Fault::Reordered(value.to_owned(), append.value.clone()));
            }
            before = place.map(|place| (append.value.as_str(), place)).or(before);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(value: &str, index: Option<usize>) -> Append {
        Append { value: value.to_owned(), index }
    }

    fn values(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_acknowledged_is_there_and_what_was_not_may_be() {
        let writers =
            [vec![append("a", Some(0)), append("b", None)], vec![append("c", Some(1)), append("d", None)]];
        assert_eq!(check(&values(&["a", "c"]), &writers), []);
        assert_eq!(check(&values(&["a", "c", "b"]), &writers), []);
    }

    #[test]
    fn each_broken_rule_is_found() {
        let writers = [vec![append("a", Some(0)), append("b", Some(1)), append("c", None)]];
        assert_eq!(check(&values(&["a"]), &writers), [Fault::Lost(append("b", Some(1)))]);
        assert_eq!(check(&values(&["a", "b", "c", "c"]), &writers), [Fault::Doubled("c".to_owned())]);
        assert_eq!(check(&values(&["a", "b", "x"]), &writers), [Fault::Invented("x".to_owned())]);
        let unknown = [vec![append("a", None), append("b", None)]];
        let reordered = Fault::Reordered("a".to_owned(), "b".to_owned());
        assert_eq!(check(&values(&["b", "a"]), &unknown), [reordered]);
    }
}
