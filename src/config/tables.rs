//! Lists of tables, such as `[[rule]]`: every fault of every table is told.

use serde::de::DeserializeOwned;
use toml::Table;

use super::Reader;

/// Reads the tables of a list. Invalid ones are recorded as faults and left out.
pub(super) fn tables<T: DeserializeOwned>(reader: &mut Reader, key: &str, wanted: &str) -> Vec<T> {
    let mut read = Vec::new();
    for (index, table) in reader.take_tables(key, wanted) {
        match parse(table) {
            Ok(one) => read.push(one),
            Err(faults) => {
                for text in faults {
                    reader.refuse_at(key, index, format!("{text}: expected {wanted}"));
                }
            }
        }
    }
    read
}

/// Like [`tables`], for tables that may contain secrets: faults quote neither values nor unknown keys.
pub(super) fn secret_tables<T: DeserializeOwned>(
    reader: &mut Reader,
    key: &str,
    wanted: &str,
) -> Vec<T> {
    let numbered = numbered_secret_tables(reader, key, wanted).into_iter();
    numbered.map(|(_, table)| table).collect()
}

/// The same, each with its index.
pub(super) fn numbered_secret_tables<T: DeserializeOwned>(
    reader: &mut Reader,
    key: &str,
    wanted: &str,
) -> Vec<(usize, T)> {
    let mut read = Vec::new();
    for (index, table) in reader.take_tables(key, wanted) {
        match parse(table) {
            Ok(one) => read.push((index, one)),
            Err(faults) => {
                for text in faults {
                    let what = if text.starts_with("missing field") {
                        text
                    } else if text.starts_with(UNKNOWN) {
                        "an unknown key (not shown, because it may be secret)".to_owned()
                    } else {
                        "an invalid value (not shown, because it may be secret)".to_owned()
                    };
                    reader.refuse_at(key, index, format!("{what}: expected {wanted}"));
                }
            }
        }
    }
    read
}

/// How serde begins to tell of a key that a table does not have.
const UNKNOWN: &str = "unknown field";

/// Reads a table, or tells its unknown keys and what else is wrong first.
fn parse<T: DeserializeOwned>(mut table: Table) -> Result<T, Vec<String>> {
    let mut faults = Vec::new();
    loop {
        let why = match table.clone().try_into::<T>() {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok(_) => return Err(faults),
            Err(error) => error.message().trim_end().replace("a sequence", "a list"),
        };
        let name = why
            .strip_prefix(UNKNOWN)
            .and_then(|rest| rest.split('`').nth(1));
        let removed = name.and_then(|name| table.remove(name));
        faults.push(why);
        if removed.is_none() {
            return Err(faults);
        }
    }
}
