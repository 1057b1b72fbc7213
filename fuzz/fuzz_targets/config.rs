//! Parses a configuration: a file and, after a line `#environment`, one variable per line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purgefront::config::Config;

fuzz_target!(|text: &str| {
    let (file, environment) = text.split_once("\n#environment\n").unwrap_or((text, ""));
    let environment = environment.lines().filter_map(|line| line.split_once('='));
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = match Config::parse(file, environment) {
        Ok(config) => config,
        Err(faults) => {
            assert!(
                !faults.to_string().contains(" 0 faults"),
                "an error without any fault"
            );
            return;
        }
    };
    assert!(!config.sns.topics.is_empty());
    assert!(!config.sns.max_age.is_zero());
    assert!(config.batching.quiet <= config.batching.max_wait);
    let limits = &config.limits;
    for rate in [
        limits.calls_per_second,
        limits.paths_per_second,
        limits.wildcards_per_second,
    ] {
        assert!(rate.is_finite() && rate > 0.0);
    }
    assert!((1..=3_000).contains(&limits.items_per_call));
    assert!(limits.reserve_paths < limits.paths_in_progress);
    assert!(limits.reserve_wildcards < limits.wildcards_in_progress);
    let policy = &config.mapping.policy;
    for one in policy.distributions.values() {
        let ways = one
            .spellings
            .iter()
            .map(|(_, texts)| texts.len() as f64 + 1.0);
        assert!(
            ways.product::<f64>() <= 16.0,
            "too many ways to write one path"
        );
    }
    for document in &policy.index_documents {
        assert!(!document.is_empty() && !document.contains('/'));
    }
});
