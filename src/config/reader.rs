//! Reads settings from the file and the environment, and collects all faults.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use jiff::{SpanRelativeTo, Unit};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::printable::printable;

/// All faults of a configuration, one or more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Fault>);

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// The key and where it was set; or the file, if the file itself is at fault.
    place: String,
    /// What is wrong and how to fix it.
    text: String,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        write!(f, "The configuration has {count} {faults}:")?;
        for Fault { place, text } in &self.0 {
            let (place, text) = (printable(place), printable(text));
            write!(f, "\n  {place}\n    {text}")?;
        }
        Ok(())
    }
}

/// Without `Debug`, because the value may be secret.
#[derive(Clone)]
struct Setting {
    value: Value,
    origin: SettingOrigin,
}

#[derive(Debug, Clone)]
enum SettingOrigin {
    File,
    /// Carries the variable's name.
    Environment(String),
}

/// Hands out settings by key, records which keys exist, and collects faults. Settings that are
/// left at the end have unknown keys.
pub(super) struct Reader {
    file: String,
    settings: BTreeMap<String, Setting>,
    known: Vec<String>,
    faults: ConfigErrors,
}

/// Only variables with this prefix and a double underscore are keys: orchestrators inject others
/// with the prefix, such as `PURGEFRONT_PORT`.
const PREFIX: &str = "PURGEFRONT_";
const SEPARATOR: &str = "__";

impl Reader {
    /// Parses `text`, the contents of `file`; settings in `environment` override it.
    pub(super) fn new(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut reader = Self {
            file: file.display().to_string(),
            settings: BTreeMap::new(),
            known: Vec::new(),
            faults: ConfigErrors::default(),
        };
        match text.parse::<Table>() {
            Ok(table) => reader.add_table("", table),
            Err(error) => {
                // Leave out the line itself: it may contain a password.
                let before = text.get(..error.span().map_or(0, |span| span.start));
                let line = before.unwrap_or_default().matches('\n').count() + 1;
                let text = format!("invalid TOML at line {line}: {}", error.message());
                reader.fault(reader.file.clone(), text);
            }
        }
        for (name, text) in environment {
            let Some((section, key)) = name
                .strip_prefix(PREFIX)
                .and_then(|key| key.split_once(SEPARATOR))
            else {
                continue;
            };
            let key = format!("{section}.{key}").to_ascii_lowercase();
            let origin = SettingOrigin::Environment(name);
            let value = Value::String(text);
            reader.settings.insert(key, Setting { value, origin });
        }
        reader
    }

    /// The error for a file that could not be read.
    pub(super) fn unreadable(file: &Path, why: &str) -> ConfigErrors {
        let place = file.display().to_string();
        let text = format!("cannot be read: {why}");
        ConfigErrors(vec![Fault { place, text }])
    }

    /// Flattens sections into dotted keys. Lists of tables stay values.
    fn add_table(&mut self, section: &str, table: Table) {
        for (name, value) in table {
            let key = if section.is_empty() {
                name
            } else {
                format!("{section}.{name}")
            };
            match value {
                Value::Table(table) => self.add_table(&key, table),
                value => {
                    let origin = SettingOrigin::File;
                    self.settings.insert(key, Setting { value, origin });
                }
            }
        }
    }

    /// Takes the value of a key. Returns `default` if it is not set, or if it is invalid, which is
    /// recorded as a fault. `wanted` describes valid values.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str, wanted: &str, default: T) -> T {
        self.take_with(key, wanted, default, read)
    }

    /// Like [`Reader::take`], for values that may be secret: the fault does not quote the value.
    pub(super) fn take_secret<T: DeserializeOwned>(
        &mut self,
        key: &str,
        wanted: &str,
        default: T,
    ) -> T {
        self.take_with(key, wanted, default, |value| {
            let hidden = |_| "invalid value (not shown, because it may be secret)".to_owned();
            value.clone().try_into().map_err(hidden)
        })
    }

    /// Takes a duration such as `500ms`, `10s`, `24h` or `30d`.
    pub(super) fn take_duration(&mut self, key: &str, default: Duration) -> Duration {
        let wanted = "a duration such as \"500ms\", \"10s\" or \"24h\"";
        self.take_with(key, wanted, default, |value| {
            value
                .as_str()
                .and_then(parse_duration)
                .ok_or_else(|| "not a duration".to_owned())
        })
    }

    /// Like [`Reader::take`], with a custom parser.
    pub(super) fn take_with<T>(
        &mut self,
        key: &str,
        wanted: &str,
        default: T,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        self.known.push(key.to_owned());
        let Some(setting) = self.settings.remove(key) else {
            return default;
        };
        read(&setting.value).unwrap_or_else(|why| {
            let place = self.place(key, &setting.origin);
            self.fault(place, format!("{}: expected {wanted}", why.trim_end()));
            default
        })
    }

    /// Records a fault of a key whose value has already been taken.
    pub(super) fn refuse(&mut self, key: &str, text: impl Into<String>) {
        self.fault(key.to_owned(), text.into());
    }

    /// Reports settings that were never taken as unknown keys, and returns all faults.
    pub(super) fn finish(mut self) -> Result<(), ConfigErrors> {
        for (key, setting) in std::mem::take(&mut self.settings) {
            let near = |known: &&String| strsim::damerau_levenshtein(known, &key);
            let hint = match self.known.iter().min_by_key(near) {
                Some(known) if near(&known) <= key.len() / 2 => format!("did you mean {known}?"),
                _ => "see the README for all keys".to_owned(),
            };
            let place = self.place(&key, &setting.origin);
            self.fault(place, format!("unknown key: {hint}"));
        }
        if self.faults.0.is_empty() {
            Ok(())
        } else {
            Err(self.faults)
        }
    }

    fn place(&self, key: &str, origin: &SettingOrigin) -> String {
        match origin {
            SettingOrigin::File => format!("{key} (in {})", self.file),
            SettingOrigin::Environment(name) => format!("{key} (in the environment, {name})"),
        }
    }

    fn fault(&mut self, place: String, text: String) {
        self.faults.0.push(Fault { place, text });
    }
}

/// Converts a value. Environment variables are always strings, so numbers, booleans and lists
/// are written there as JSON.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let plain = value.clone().try_into::<T>();
    let error = match plain {
        Ok(read) => return Ok(read),
        Err(error) => error.message().to_owned(),
    };
    let json = value
        .as_str()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    json.and_then(|json| json.try_into().ok()).ok_or(error)
}

fn parse_duration(text: &str) -> Option<Duration> {
    // jiff also accepts ISO 8601 durations and signs.
    let span: jiff::Span = text
        .parse()
        .ok()
        .filter(|_| !text.starts_with(['P', '-', '+']))?;
    let nanos = span
        .total((Unit::Nanosecond, SpanRelativeTo::days_are_24_hours()))
        .ok()?;
    (nanos >= 0.0).then(|| Duration::from_secs_f64(nanos / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m 30s", 90_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "10", "ten", "-5s", "5 parsecs", "PT5S"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
