//! Every key of the configuration in words: the reader knows no others, and docs/configuration.md is
//! written from them.

mod sections;
mod tables;

use std::{fmt::Write as _, path::Path};

use sections::SECTIONS;
use tables::TABLES;

use super::{
    Config, Purpose,
    environment::{PREFIX, SEPARATOR},
};

/// A section, or a list of tables.
struct Section {
    name: &'static str,
    about: &'static str,
    keys: &'static [Key],
}

struct Key {
    name: &'static str,
    /// What can be written. Empty for keys of sections: there, the reader's own words are used.
    values: &'static str,
    /// As written in the file; empty if there is none.
    default: &'static str,
    meaning: &'static str,
}

/// A key of a section.
const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    field(name, "", default, meaning)
}

/// A key of a table of a list.
const fn field(
    name: &'static str,
    values: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        values,
        default,
        meaning,
    }
}

/// The dotted names of all keys of sections.
pub(super) fn keys() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|section| {
        let keys = section.keys.iter();
        keys.map(|key| format!("{}.{}", section.name, key.name))
    })
}

/// The names of all lists of tables.
pub(super) fn lists() -> impl Iterator<Item = String> {
    TABLES.iter().map(|table| table.name.to_owned())
}

/// The reference of the configuration, in Markdown.
pub fn markdown() -> String {
    let mut text = "# Configuration\n\n\
        <!-- Written from src/config/reference by `make reference`. -->\n\n\
        `purgefront serve` and the other commands read `purgefront.toml` in the working directory, or\n\
        `--config FILE`. Variables of the environment take precedence: their names are in the tables, and\n\
        numbers, booleans and lists are written as in JSON. Lists of tables can only be set in the file.\n\
        `purgefront check` reports all faults at once, with their lines; a key that does not exist is a\n\
        fault. Durations are written as `500ms`, `10s`, `1m 30s`, `24h` or `30d`.\n\n\
        `PURGEFRONT_API_TOKEN` sets one token without restrictions. AWS credentials, region, endpoints,\n\
        proxies (`HTTPS_PROXY`, `NO_PROXY`) and trusted roots (`SSL_CERT_FILE`) come from the same places\n\
        as for the AWS SDK; `RUST_LOG` sets the log filter.\n"
        .to_owned();
    // Writing into a String never fails.
    for Section { name, about, keys } in SECTIONS {
        let _ = write!(text, "\n## [{name}]\n\n{about}\n\n{HEAD}");
        for key in *keys {
            let variable = format!("{PREFIX}{name}{SEPARATOR}{}", key.name).to_uppercase();
            let values = wanted(&format!("{name}.{}", key.name));
            let named = format!("`{}`<br>`{variable}`", key.name);
            let _ = writeln!(text, "{}", row(key, &named, &values));
        }
    }
    for Section { name, about, keys } in TABLES {
        let _ = write!(text, "\n## [[{name}]]\n\n{about}\n\n{HEAD}");
        for key in *keys {
            let named = format!("`{}`", key.name);
            let _ = writeln!(text, "{}", row(key, &named, key.values));
        }
    }
    text
}

const HEAD: &str = "| key | values | default | meaning |\n| --- | --- | --- | --- |\n";

fn row(key: &Key, name: &str, values: &str) -> String {
    let default = match key.default {
        "" => "none".to_owned(),
        code if code.starts_with('`') || code == "all" => code.to_owned(),
        code => format!("`{code}`"),
    };
    format!("| {name} | {values} | {default} | {} |", key.meaning)
}

/// What the reader expects of a key, as it tells whoever writes something else.
fn wanted(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    // No key takes a list of lists.
    let text = format!("[{section}]\n{name} = [[1]]\n");
    let Err(faults) = Config::read(Purpose::Mapping, Path::new(""), &text, []) else {
        return String::new();
    };
    let told = faults.to_string();
    let wanted = told
        .split_once(": expected ")
        .map_or("", |(_, wanted)| wanted);
    wanted.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{WrittenToken, notify::WrittenTarget},
        *,
    };

    fn read(text: &str) -> Result<Config, String> {
        let file = Path::new("test.toml");
        Config::read(Purpose::Mapping, file, text, []).map_err(|faults| faults.to_string())
    }

    #[test]
    fn documented_defaults_are_the_defaults() {
        let mut text = String::new();
        for Section { name, keys, .. } in SECTIONS {
            let _ = writeln!(text, "[{name}]");
            for Key { name, default, .. } in keys.iter().filter(|key| !key.default.is_empty()) {
                let _ = writeln!(text, "{name} = {default}");
            }
        }
        let (documented, defaults) = (read(&text).unwrap(), read("").unwrap());
        assert_eq!(format!("{documented:?}"), format!("{defaults:?}"));
    }

    /// A key that is documented, but that the reader never takes, is unknown to it.
    #[test]
    fn every_documented_key_is_read_and_says_what_it_takes() {
        for key in keys() {
            assert!(wanted(&key).len() > 5, "{key}: {:?}", wanted(&key));
        }
        assert_eq!(wanted("server.listens"), "");
    }

    #[test]
    fn tables_have_the_documented_fields_and_no_others() {
        for Section { name, keys, .. } in TABLES {
            let unknown = "no-such-key = 1";
            let told = match *name {
                // Faults of the reader do not quote what may be secret.
                "api.tokens" => toml::from_str::<WrittenToken>(unknown)
                    .unwrap_err()
                    .to_string(),
                "notify" => match toml::from_str::<WrittenTarget>(unknown) {
                    Ok(_) => panic!("{unknown} is read"),
                    Err(error) => error.to_string(),
                },
                _ => read(&format!("[[{name}]]\n{unknown}\n")).unwrap_err(),
            };
            let names: Vec<_> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
            let some = format!("expected one of {}", names.join(", "));
            let two = format!("expected {}", names.join(" or "));
            let fields = told.lines().any(|line| {
                let expected = line.split_once("unknown field `no-such-key`, ");
                let expected = expected.map(|(_, rest)| rest.split(": expected").next().unwrap());
                expected.is_some_and(|list| list == some || list == two)
            });
            assert!(fields, "{some}: {told}");
        }
    }

    #[test]
    fn defaults_and_required_fields_of_tables_are_as_documented() {
        let secrets = tempfile::NamedTempFile::new().unwrap();
        let secret = format!("whsec_{}", "A".repeat(32));
        fs::write(secrets.path(), secret).unwrap();
        for Section { name, keys, .. } in TABLES {
            let value = |key: &Key| match (key.name, key.values) {
                ("url", _) => "\"https://example.com\"".to_owned(),
                ("secret_file", _) => format!("{:?}", secrets.path()),
                ("sha256", _) => format!("\"{}\"", "0".repeat(64)),
                ("also", _) => "[\"/a\"]".to_owned(),
                _ => "\"a\"".to_owned(),
            };
            let required: Vec<_> = keys.iter().filter(|key| key.default.is_empty()).collect();
            let table = |keys: &[&Key]| {
                let lines = keys
                    .iter()
                    .map(|key| format!("{} = {}\n", key.name, value(key)));
                format!("[[{name}]]\n{}", lines.collect::<String>())
            };
            let least = read(&table(&required)).unwrap();
            for left in 0..required.len() {
                let mut others = required.clone();
                others.remove(left);
                assert!(
                    read(&table(&others)).is_err(),
                    "{name}: {}",
                    required[left].name
                );
            }
            let mut whole = table(&required);
            let given = keys.iter().filter(|key| !key.default.is_empty());
            for key in given.filter(|key| !key.default.starts_with('`') && key.default != "all") {
                let _ = writeln!(whole, "{} = {}", key.name, key.default);
            }
            assert_eq!(
                format!("{:?}", read(&whole).unwrap()),
                format!("{least:?}"),
                "{name}"
            );
        }
    }

    #[test]
    fn the_reference_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        #[expect(clippy::disallowed_methods, reason = "set by `make reference` alone")]
        let rewrite = std::env::var_os("REWRITE_REFERENCE").is_some();
        if rewrite {
            fs::write(&file, markdown()).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        let is_current = written == markdown();
        assert!(
            is_current,
            "docs/configuration.md is stale: `make reference` rewrites it"
        );
    }
}
