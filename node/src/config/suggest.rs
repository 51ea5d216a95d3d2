//! What a person may have meant who wrote a name that does not exist.

use super::tree::{SECTIONS, keys};

/// The nearest of the candidates, if it is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        // A third of the letters: beyond it nearly everything resembles something.
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(written.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The rule for a key that does not exist. `spell` writes a key as its source would.
pub(super) fn unknown(path: &str, spell: impl Fn(&str) -> String) -> String {
    let paths = || keys().map(|key| key.path);
    let sections = || SECTIONS.iter().map(|(section, _)| *section);
    let section = path.rsplit_once('.').map_or(path, |(section, _)| section);
    let name = path.rsplit('.').next().unwrap_or_default();
    // The right name in the wrong section, if no other section has it too.
    let elsewhere = || {
        let mut same = keys().filter(|key| key.name == name);
        same.next().filter(|_| same.next().is_none()).map(|key| key.path)
    };
    if let Some(meant) = nearest(path, paths().chain(sections())).or_else(elsewhere) {
        return format!("unknown key; did you mean {}?", spell(meant));
    }
    let inside: Vec<_> = keys().filter(|key| key.section == section).map(|key| key.name).collect();
    if inside.is_empty() {
        format!("unknown key; the sections are {}", sections().collect::<Vec<_>>().join(", "))
    } else {
        format!("unknown key; {section} has {}", inside.join(", "))
    }
}
