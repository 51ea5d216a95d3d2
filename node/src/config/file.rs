//! From the text of a TOML file to single settings, each with its line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::ConfigFault;
use super::load::Setting;
use super::secret;
use super::source::Source;
use super::tree::{SECTIONS, keys};
use super::value::Raw;

/// Longest piece of a file that a fault quotes.
const QUOTED_CHARS: usize = 60;

/// Takes a file apart. What can be read is read, whatever stands beside it.
pub(super) fn settings(path: &Path, text: &str) -> (Vec<Setting>, Vec<ConfigFault>) {
    let file = File { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    let faults = errors.iter().map(|error| ConfigFault {
        key: String::new(),
        value: None,
        rule: format!("not TOML: {}", error.message()),
        source: file.source(error.span()),
    });
    let mut settings = Vec::new();
    file.flatten("", table.get_ref(), &mut settings);
    // The parser keeps tables sorted by name; a person reads from top to bottom.
    settings.sort_by_key(|(at, _)| *at);
    (settings.into_iter().map(|(_, setting)| setting).collect(), faults.collect())
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn source(&self, span: Option<Range<usize>>) -> Source {
        let line =
            span.and_then(|span| self.text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        Source::File { path: self.path.to_owned(), line }
    }

    fn flatten(&self, prefix: &str, table: &DeTable<'_>, settings: &mut Vec<(usize, Setting)>) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let is_key = keys().any(|known| known.path == key);
            let is_section = SECTIONS.iter().any(|(section, _)| *section == key);
            match value.get_ref() {
                // An empty section of ours says nothing; an empty one that is not ours is a misspelling.
                DeValue::Table(inner) if !is_key && (is_section || !inner.is_empty()) => {
                    self.flatten(&key, inner, settings);
                }
                _ => {
                    let source = self.source(Some(name.span()));
                    let shown = self.quote(value).map(|written| secret::hidden(&key, &written));
                    let shown = shown.map(|shown| first_line(&shown));
                    let setting = Setting { key, raw: raw(value), shown, source };
                    settings.push((name.span().start, setting));
                }
            }
        }
    }

    /// The value as it was written; of a table nothing, for its name says it all.
    fn quote(&self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        if value.get_ref().is_table() {
            return None;
        }
        Some(self.text.get(value.span()).unwrap_or_default().to_owned())
    }
}

fn first_line(written: &str) -> String {
    let line = written.lines().next().unwrap_or_default();
    match line.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < written.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number of more than 64 bits"), Raw::Integer),
        DeValue::Float(number) => {
            number.as_str().replace('_', "").parse().map_or(Raw::Other("a number with a point"), Raw::Float)
        }
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map_or(Raw::Other("a list"), Raw::List)
        }
        DeValue::Table(_) => Raw::Other("a table"),
    }
}
