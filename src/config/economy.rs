//! `[economy]`: what merging may cost. The guard's keys are read with `[mapping]`, which keeps to it as well.

use super::{Reader, positive};
use crate::domain::economy::Economy;

pub(super) fn read(reader: &mut Reader) -> Economy {
    let default = Economy::default();
    Economy {
        evictions_per_path: evictions_per_path(reader, default.evictions_per_path),
        max_delay: positive(reader, "economy.max_delay", default.max_delay),
        min_interval: reader.take_duration("economy.min_interval", default.min_interval),
        list_objects: reader.take(
            "economy.list_objects",
            "true or false",
            default.list_objects,
        ),
        widen_unlisted: widen_unlisted(reader, default.widen_unlisted),
        monthly_paths: reader.take(
            "economy.monthly_paths",
            "a whole number",
            default.monthly_paths,
        ),
    }
}

fn evictions_per_path(reader: &mut Reader, default: f64) -> f64 {
    let key = "economy.evictions_per_path";
    let number: f64 = reader.take(key, "a number of at least 0", default);
    if !(number.is_finite() && number >= 0.0) {
        reader.refuse(key, "must be a finite number of at least 0");
        return default;
    }
    // Not -0.
    number.abs()
}

fn widen_unlisted(reader: &mut Reader, default: bool) -> bool {
    let wanted = "\"never\" or \"backlog\"";
    reader.take_with(
        "economy.widen_unlisted",
        wanted,
        default,
        |value| match value.as_str() {
            Some("never") => Ok(false),
            Some("backlog") => Ok(true),
            _ => Err("unknown condition".to_owned()),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{TOPICS, faults, read};
    use super::*;

    #[test]
    fn what_merging_may_cost_is_read_from_the_file_and_the_environment() {
        assert_eq!(read(TOPICS, &[]).unwrap().economy, Economy::default());
        let file = format!(
            "{TOPICS}[economy]\nevictions_per_path = 5\nmax_delay = \"2m\"\nmin_interval = \"0s\"\n\
             list_objects = false\nwiden_unlisted = \"backlog\"\nmonthly_paths = 50000\nmin_stem = 3\n"
        );
        let config = read(&file, &[]).unwrap();
        let wanted = Economy {
            evictions_per_path: 5.0,
            max_delay: Duration::from_mins(2),
            min_interval: Duration::ZERO,
            list_objects: false,
            widen_unlisted: true,
            monthly_paths: 50_000,
        };
        assert_eq!(config.economy, wanted);
        assert_eq!(config.mapping.policy.wildcards.min_stem, 3);
        for (written, number) in [
            ("0", "0"),
            ("0.25", "0.25"),
            ("12500", "12500"),
            ("-0.0", "0"),
        ] {
            let config = read(
                &file,
                &[("PURGEFRONT_ECONOMY__EVICTIONS_PER_PATH", written)],
            );
            let found = config.unwrap().economy.evictions_per_path;
            assert_eq!(found.to_string(), number, "{written}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_merging_is_told_at_once() {
        let file = format!(
            "{TOPICS}[economy]\nevictions_per_path = -1\nmax_delay = \"0s\"\nmin_interval = 60\n\
             list_objects = \"yes\"\nwiden_unlisted = \"always\"\nmonthly_paths = -5\nprotect = []\n"
        );
        let told = faults(&file, &[]);
        for part in [
            "7 faults:",
            "economy.evictions_per_path (in test.toml, line 4)\n    must be a finite number of at least 0",
            "economy.max_delay (in test.toml, line 5)\n    must be longer than zero",
            "economy.min_interval (in test.toml, line 6)\n    not a duration",
            "economy.list_objects (in test.toml, line 7)\n    \"yes\" is not valid: expected true or false",
            "expected \"never\" or \"backlog\"",
            "economy.monthly_paths (in test.toml, line 9)\n    -5 is not valid: expected a whole number",
            "did you mean economy.protected?",
        ] {
            assert!(told.contains(part), "{part} is missing in:\n{told}");
        }
        for number in ["inf", "nan", "-inf", "\"many\""] {
            let file = format!("{TOPICS}[economy]\nevictions_per_path = {number}\n");
            assert!(faults(&file, &[]).contains("at least 0"), "{number}");
        }
    }
}
