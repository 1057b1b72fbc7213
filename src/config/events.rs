//! `[events]`: which S3 events invalidate.

use super::Reader;
use crate::domain::event_names;

/// `[events]`
#[derive(Debug, Clone)]
pub struct EventsConfig {
    /// S3 event names; a trailing `*` matches any ending.
    pub invalidate_on: Vec<String>,
}

impl EventsConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let default = [
            "ObjectCreated:*",
            "ObjectRemoved:*",
            "LifecycleExpiration:*",
            "ReducedRedundancyLostObject",
            "ObjectRestore:Completed",
            "ObjectRestore:Delete",
            "ObjectAcl:Put",
        ];
        let wanted = "a list of S3 event names, optionally ending in \"*\"";
        let default = default.map(str::to_owned).to_vec();
        let key = "events.invalidate_on";
        let invalidate_on = reader.take::<Vec<String>>(key, wanted, default);
        if invalidate_on.is_empty() {
            let text = format!("it is empty, so that no event would invalidate: expected {wanted}");
            reader.refuse(key, text);
        }
        for pattern in &invalidate_on {
            if !is_pattern(pattern) {
                let text = format!("{pattern:?} is not an event name: expected {wanted}");
                reader.refuse(key, text);
            } else if !event_names::is_known(pattern) {
                reader.refuse(
                    key,
                    format!("{pattern:?} matches no event of S3{}", hint(pattern)),
                );
            }
        }
        Self { invalidate_on }
    }
}

fn is_pattern(text: &str) -> bool {
    let stem = text.strip_suffix('*').unwrap_or(text);
    !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':')
}

/// The nearest pattern, if one is near.
fn hint(written: &str) -> String {
    let near = |known: &String| strsim::damerau_levenshtein(known, written);
    match event_names::patterns().min_by_key(near) {
        Some(known) if near(&known) <= written.len() / 3 => format!(": did you mean {known:?}?"),
        _ => String::new(),
    }
}
