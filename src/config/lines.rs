//! Where each key stands in the file.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The line of each dotted key. The tables of a list and their keys have the table's index in it, from
/// 0: `rule.1.match`.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The lines of a valid file; none if it is invalid.
    pub(super) fn of(text: &str) -> Self {
        let mut lines = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            lines.add(text, "", table.get_ref());
        }
        lines
    }

    pub(super) fn get(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }

    fn add(&mut self, text: &str, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match section {
                "" => name.get_ref().to_string(),
                _ => format!("{section}.{}", name.get_ref()),
            };
            self.0.insert(key.clone(), line(text, name.span().start));
            match value.get_ref() {
                DeValue::Table(table) => self.add(text, &key, table),
                DeValue::Array(values) => {
                    for (index, value) in values.iter().enumerate() {
                        let key = format!("{key}.{index}");
                        self.0.insert(key.clone(), line(text, value.span().start));
                        if let DeValue::Table(table) = value.get_ref() {
                            self.add(text, &key, table);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The number of the line with the byte `at`, from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sections_and_tables_of_lists_have_lines() {
        let lines = Lines::of(
            "[server]\nlisten = \"x\"\n\n[[rule]]\nbucket = \"b\"\n[[rule]]\nmatch = \"m\"\n\
             [sns]\ntopics = [\n\"a\",\n\"b\"]\n",
        );
        for (key, line) in [
            ("server", 1),
            ("server.listen", 2),
            ("rule.0", 4),
            ("rule.0.bucket", 5),
            ("rule.1", 6),
            ("rule.1.match", 7),
            ("sns.topics", 9),
            ("sns.topics.1", 11),
        ] {
            assert_eq!(lines.get(key), Some(line), "{key}");
        }
        assert_eq!(lines.get("server.drain"), None);
    }
}
