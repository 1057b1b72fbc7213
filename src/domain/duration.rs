//! Durations, as the configuration and callers write them.

use std::time::Duration;

use jiff::{SpanRelativeTo, Unit};

/// Parses a duration such as `500ms`, `36h` or `30d`, with a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
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
