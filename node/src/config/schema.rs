//! From one description of the tree: its structs, their docs and defaults, and the list of keys.

use super::tree::Config;
use super::value::{Raw, Value};

/// One key of the tree, its type erased.
pub(super) struct Key {
    /// `section.name`.
    pub(super) path: &'static str,
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Its doc, line by line; the first says what it means.
    pub(super) doc: &'static [&'static str],
    /// What must be written, to follow "must be".
    pub(super) expected: &'static str,
    /// Sets it; `None` if the value is not what is expected.
    pub(super) read: fn(&mut Config, &Raw) -> Option<()>,
    /// Its value as TOML.
    pub(super) write: fn(&Config) -> String,
    /// The rule for its value alone.
    pub(super) check: fn(&Config) -> Result<(), String>,
}

/// A value that the program itself gives as text.
pub(super) fn builtin<T: Value>(text: &str) -> T {
    T::read(&Raw::Untyped(text.to_owned()))
        .expect("a value in the description of the tree has its key's type")
}

/// Describes the tree:
///
/// ```text
/// /// Doc of the section.
/// section: StructName {
///     /// What the key means. Lines that follow: what more or less of it costs.
///     key: Type = "default", rule;
/// }
/// ```
///
/// A section of a section has its path behind its field, `journal_redis at "journal.redis"`, and sections with
/// the same keys stand before one struct, with commas between them.
macro_rules! tree {
    ($(
        $($(#[doc = $section_doc:literal])+ $section:ident $(at $path:literal)?),+ : $Section:ident $keys:tt
    )+) => {
        /// The whole configuration of a node.
        ///
        /// Two are equal if their values are, wherever those came from.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $section_doc])+ pub $section: $Section,)+)+
            pub(super) sources: $crate::config::source::Sources,
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($($section: $Section::default(),)+)+ sources: Default::default() }
            }
        }

        impl PartialEq for Config {
            fn eq(&self, other: &Self) -> bool {
                true $($(&& self.$section == other.$section)+)+
            }
        }

        $($crate::config::schema::section_struct! { $($(#[doc = $section_doc])+)+ $Section $keys })+

        /// The sections with their docs, in the order of the file.
        pub(super) const SECTIONS: &[(&str, &[&str])] =
            &[$($(($crate::config::schema::section_path!($section [$($path)?]), &[$($section_doc),+]),)+)+];

        /// The keys, in the order of the file.
        pub(super) fn keys() -> impl Iterator<Item = &'static $crate::config::schema::Key> {
            const SECTIONS: &[&[$crate::config::schema::Key]] =
                &[$($($crate::config::schema::section_keys!($section [$($path)?] $keys),)+)+];
            SECTIONS.iter().flat_map(|section| *section)
        }
    };
}
pub(super) use tree;

/// Path of a section.
macro_rules! section_path {
    ($section:ident []) => {
        stringify!($section)
    };
    ($section:ident [$path:literal]) => {
        $path
    };
}
pub(super) use section_path;

/// The struct of one section, or of several with the same keys.
macro_rules! section_struct {
    (
        $(#[doc = $section_doc:literal])+
        $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $Type:ty = $default:literal, $rule:expr;
            )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Section {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Default: `", $default, "`.")]
                pub $key: $Type,
            )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $($key: $crate::config::schema::builtin($default),)+ }
            }
        }
    };
}
pub(super) use section_struct;

/// The keys of one section.
macro_rules! section_keys {
    ($section:ident $path:tt {
        $(
            $(#[doc = $doc:literal])+
            $key:ident: $Type:ty = $default:literal, $rule:expr;
        )+
    }) => {
        &[$(
            $crate::config::schema::Key {
                path: concat!($crate::config::schema::section_path!($section $path), ".", stringify!($key)),
                section: $crate::config::schema::section_path!($section $path),
                name: stringify!($key),
                doc: &[$($doc),+],
                expected: <$Type as $crate::config::value::Value>::EXPECTED,
                read: |config, raw| {
                    config.$section.$key = $crate::config::value::Value::read(raw)?;
                    Some(())
                },
                write: |config| $crate::config::value::Value::write(&config.$section.$key),
                check: |config| $rule(&config.$section.$key),
            },
        )+]
    };
}
pub(super) use section_keys;
