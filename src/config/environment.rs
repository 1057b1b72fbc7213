//! Environment variables that look like settings but are none.

/// Variables with this prefix and a double underscore are keys. Orchestrators inject others with the
/// prefix, such as `PURGEFRONT_PORT`, so those are never faults.
pub(super) const PREFIX: &str = "PURGEFRONT_";
pub(super) const SEPARATOR: &str = "__";

/// Why a variable that is not a key was probably meant as one. `known` are all keys, `lists` those of
/// lists of tables.
pub(super) fn near_miss(name: &str, known: &[String], lists: &[String]) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix(PREFIX)?;
    let flat = rest.replace(SEPARATOR, "_").to_ascii_lowercase();
    let same = |key: &&String| key.replace('.', "_") == flat;
    if lists.iter().any(|key| same(&key)) {
        return Some("it is ignored: lists of tables can only be set in the file".to_owned());
    }
    let key = known.iter().find(same)?;
    let right = format!(
        "{PREFIX}{}",
        key.replace('.', SEPARATOR).to_ascii_uppercase()
    );
    Some(format!("it is ignored: did you mean {right}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_probably_meant_as_a_setting_is_told() {
        let known = ["server.listen".to_owned(), "store.url".to_owned()];
        let lists = ["rule".to_owned(), "api.tokens".to_owned()];
        let told = |name| near_miss(name, &known, &lists);
        for (name, part) in [
            ("PURGEFRONT_SERVER_LISTEN", "PURGEFRONT_SERVER__LISTEN"),
            ("purgefront_server__listen", "PURGEFRONT_SERVER__LISTEN"),
            ("PURGEFRONT_RULE", "in the file"),
            ("PURGEFRONT_API_TOKENS", "in the file"),
        ] {
            assert!(told(name).unwrap().contains(part), "{name}");
        }
        for name in [
            "PURGEFRONT_PORT",
            "PURGEFRONT_SERVICE_HOST",
            "PURGEFRONT_URL",
            "HOME",
        ] {
            assert_eq!(told(name), None, "{name}");
        }
    }
}
