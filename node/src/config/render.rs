//! The tree as TOML: what is in force, and the sample file.

use super::schema::Key;
use super::source::Source;
use super::tree::{Config, SECTIONS, keys};

const SAMPLE_HEAD: &str = r#"# Every key of Abide with its default. Keep what you change: what is left out keeps its default.
#
# A variable ABIDE__SECTION__KEY wins over this file, and a flag --set section.key=value over both.
# Times are written as "200ms", "5s" or "2m", sizes as "64KiB", "1MiB" or a number of bytes.
# Unknown keys are refused. `abide config` prints what is in force.
"#;

impl Config {
    /// What is in force, with a line on each key and where it came from. Loads to the same tree.
    pub fn to_toml(&self) -> String {
        let line = |key: &Key| {
            let value = (key.write)(self);
            match self.source(key.path) {
                Source::Default => format!("{} = {value}\n", key.name),
                // A file may be called anything, but a comment must stay on its line.
                source => format!(
                    "{} = {value}  # {}\n",
                    key.name,
                    source.to_string().replace(char::is_control, "?")
                ),
            }
        };
        render(
            "# The configuration in force. A value that is not the default says where it was set.\n",
            1,
            line,
        )
    }

    /// The sample file: every key with its default and all that is to be known about it.
    pub fn sample() -> String {
        let defaults = Self::default();
        render(SAMPLE_HEAD, usize::MAX, |key| format!("{} = {}\n", key.name, (key.write)(&defaults)))
    }
}

fn render(head: &str, doc_lines: usize, line: impl Fn(&Key) -> String) -> String {
    let mut out = head.to_owned();
    for (section, doc) in SECTIONS {
        out.push('\n');
        comment(&mut out, doc);
        out.push_str(&format!("[{section}]\n"));
        for (nth, key) in keys().filter(|key| key.section == *section).enumerate() {
            // Paragraphs only where there is something to read.
            if doc_lines > 1 && nth > 0 {
                out.push('\n');
            }
            comment(&mut out, &key.doc[..key.doc.len().min(doc_lines)]);
            out.push_str(&line(key));
        }
    }
    out
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(&format!("# {}\n", line.trim()));
    }
}
