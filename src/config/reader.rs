//! Reads settings from the file and the environment, and collects all faults.

use std::{collections::BTreeMap, fmt, mem, path::Path, time::Duration};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    environment::{PREFIX, SEPARATOR, near_miss},
    lines::{Lines, line},
    reference,
};
use crate::{domain::duration::parse_duration, printable::printable};

/// All faults of a configuration, one or more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    faults: Vec<Fault>,
    /// What is ignored, and may be the reason for a fault.
    warnings: Vec<String>,
}

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
        let count = self.faults.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        write!(f, "The configuration has {count} {faults}:")?;
        for Fault { place, text } in &self.faults {
            let (place, text) = (printable(place), printable(text));
            write!(f, "\n  {place}\n    {text}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  note: {}", printable(warning))?;
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

/// Hands out settings by key, which have to be in the reference, and collects faults. Settings that are
/// left at the end have unknown keys.
pub(super) struct Reader {
    file: String,
    lines: Lines,
    settings: BTreeMap<String, Setting>,
    /// Where the settings that were taken came from.
    taken: BTreeMap<String, SettingOrigin>,
    known: Vec<String>,
    /// The keys of lists of tables.
    lists: Vec<String>,
    /// Variables that are not keys.
    variables: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Parses `text`, the contents of `file`; settings in `environment` override it.
    pub(super) fn new(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut reader = Self {
            file: file.display().to_string(),
            lines: Lines::of(text),
            settings: BTreeMap::new(),
            taken: BTreeMap::new(),
            known: reference::keys().collect(),
            lists: reference::lists().collect(),
            variables: Vec::new(),
            faults: Vec::new(),
        };
        match text.parse::<Table>() {
            Ok(table) => reader.add_table("", table),
            Err(error) => {
                // Leave out the line itself: it may contain a password.
                let line = line(text, error.span().map_or(0, |span| span.start));
                let text = format!("invalid TOML at line {line}: {}", error.message());
                reader.fault(reader.file.clone(), text);
            }
        }
        for (name, text) in environment {
            let Some((section, key)) = name
                .strip_prefix(PREFIX)
                .and_then(|key| key.split_once(SEPARATOR))
            else {
                reader.variables.push(name);
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
        ConfigErrors {
            faults: vec![Fault { place, text }],
            warnings: Vec::new(),
        }
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
        debug_assert!(
            self.known.iter().any(|known| known == key),
            "{key} is not documented"
        );
        let Some(setting) = self.settings.remove(key) else {
            return default;
        };
        self.taken.insert(key.to_owned(), setting.origin.clone());
        read(&setting.value).unwrap_or_else(|why| {
            let place = self.place(key, &setting.origin);
            self.fault(place, format!("{}: expected {wanted}", why.trim_end()));
            default
        })
    }

    /// Takes a list of tables, each with its index. What is not a table is recorded as a fault.
    pub(super) fn take_tables(&mut self, key: &str, wanted: &str) -> Vec<(usize, Table)> {
        debug_assert!(
            self.lists.iter().any(|list| list == key),
            "{key} is not documented"
        );
        let Some(Setting { value, origin }) = self.settings.remove(key) else {
            return Vec::new();
        };
        let place = self.place(key, &origin);
        if matches!(origin, SettingOrigin::Environment(_)) {
            let text = format!("lists of tables can only be set in the file: expected {wanted}");
            self.fault(place, text);
            return Vec::new();
        }
        let Value::Array(values) = value else {
            self.fault(place, format!("not a list of tables: expected {wanted}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::Table(table) => tables.push((index, table)),
                _ => self.refuse_at(key, index, format!("not a table: expected {wanted}")),
            }
        }
        tables
    }

    /// Records a fault of a key whose value has already been taken.
    pub(super) fn refuse(&mut self, key: &str, text: impl Into<String>) {
        let place = match self.taken.get(key) {
            Some(origin) => self.place(key, origin),
            None => key.to_owned(),
        };
        self.fault(place, text.into());
    }

    /// Records a fault of a table of a list.
    pub(super) fn refuse_at(&mut self, key: &str, index: usize, text: impl Into<String>) {
        let place = format!(
            "{key} {}{}",
            index + 1,
            self.in_file(&format!("{key}.{index}"))
        );
        self.fault(place, text.into());
    }

    /// Reports settings that were never taken as unknown keys, and returns all faults; or else what
    /// the environment has that is ignored although it looks like a setting.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        let mut told = None;
        for (key, setting) in mem::take(&mut self.settings) {
            let single = self
                .lists
                .iter()
                .find(|list| is_within(&key, list))
                .cloned();
            if single.is_some() && single == told {
                continue;
            }
            let place = self.place(&key, &setting.origin);
            let hint = self.hint(&key);
            self.fault(place, format!("unknown key: {hint}"));
            told = single;
        }
        let warnings = self.variables.iter().filter_map(|name| {
            let why = near_miss(name, &self.known, &self.lists)?;
            Some(format!("{name}: {why}"))
        });
        let warnings: Vec<_> = warnings.collect();
        if self.faults.is_empty() {
            return Ok(warnings);
        }
        Err(ConfigErrors {
            faults: self.faults,
            warnings,
        })
    }

    /// What an unknown key was probably meant to be.
    fn hint(&self, key: &str) -> String {
        if let Some(list) = self.lists.iter().find(|list| is_within(key, list)) {
            return format!("a list of tables is written [[{list}]]");
        }
        if self.known.iter().any(|known| is_within(known, key)) {
            return format!("a section is written [{key}]");
        }
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let near = |known: &&String| strsim::damerau_levenshtein(known, key);
        let all = self.known.iter().chain(&self.lists);
        if let Some(known) = all.min_by_key(near)
            && near(&known) <= (name.len() / 3).max(1)
        {
            return format!("did you mean {known}?");
        }
        let others = self.known.iter().filter(|known| is_within(known, section));
        let others: Vec<_> = others.map(String::as_str).collect();
        if others.is_empty() {
            "docs/configuration.md has all keys".to_owned()
        } else {
            format!("[{section}] has {}", others.join(", "))
        }
    }

    fn place(&self, key: &str, origin: &SettingOrigin) -> String {
        match origin {
            SettingOrigin::File => format!("{key}{}", self.in_file(key)),
            SettingOrigin::Environment(name) => format!("{key} (in the environment, {name})"),
        }
    }

    fn in_file(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!(" (in {}, line {line})", self.file),
            None => format!(" (in {})", self.file),
        }
    }

    fn fault(&mut self, place: String, text: String) {
        self.faults.push(Fault { place, text });
    }
}

/// Whether a key is in a section.
fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// Converts a value. Environment variables are always strings, so numbers, booleans and lists
/// are written there as JSON.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    if let Ok(read) = value.clone().try_into() {
        return Ok(read);
    }
    let json = value
        .as_str()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    json.and_then(|json| json.try_into().ok())
        .ok_or_else(|| format!("{} is not valid", shorten(&shown(value))))
}

/// A value as a fault quotes it.
fn shown(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "the value".to_owned())
}

fn shorten(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
