//! How values are written on the page: times, spans, numbers, and text from strangers.

use jiff::{SignedDuration, Timestamp, tz::Offset};
use maud::{Markup, html};

use crate::{domain::operations::day_of, printable::printable};

/// How many bytes of a long text a list shows.
const SHORT: usize = 160;
/// How many bytes of it there are on demand.
const WHOLE: usize = 64 * 1024;

/// Text that a stranger may have chosen. Control characters are visible, and its writing direction
/// does not reach beyond it.
pub(super) fn foreign(text: &str) -> Markup {
    html! { bdi { (printable(text).to_string()) } }
}

/// The same where only text can stand, such as in an option of a form.
pub(super) fn foreign_text(text: &str) -> String {
    printable(text).to_string()
}

/// The same for an id, a key or a path.
pub(super) fn code(text: &str) -> Markup {
    html! { code { (foreign(text)) } }
}

/// The beginning of an id, a key or a path, where a list has no room for all of it.
pub(super) fn short_code(text: &str) -> Markup {
    let begin = &text[..text.floor_char_boundary(SHORT)];
    html! { (code(begin)) @if begin.len() < text.len() { "…" } }
}

/// The beginning of a text, and all of it on demand. The script finds it by the id.
pub(super) fn unfolded(id: &str, text: &str) -> Markup {
    if text.len() <= SHORT {
        return code(text);
    }
    let whole = &text[..text.floor_char_boundary(WHOLE)];
    html! {
        details id=(id) {
            summary id={ (id) "-summary" } { (short_code(text)) }
            p { (code(whole)) }
            @if whole.len() < text.len() {
                p.muted { "These are its first 64 KiB of " (count(text.len())) " bytes: "
                    code { "purgefront deadletters list --json" } " shows all." }
            }
        }
    }
}

/// A sentence in which commands stand between backticks.
pub(super) fn sentence(text: &str) -> Markup {
    let parts = text.split('`').enumerate();
    html! {
        @for (at, part) in parts {
            @if at % 2 == 1 { (code(part)) } @else { (foreign(part)) }
        }
    }
}

/// A sentence that begins with a capital letter.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The same for a count.
pub(super) fn count(count: usize) -> String {
    number(count as u64)
}

/// A number of things: `1 item`, `2,000 items`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(count))
}

/// A span in at most two units.
pub(super) fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if minutes == 0 {
        format!("{seconds} s")
    } else if minutes < 10 && seconds % 60 != 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else if hours == 0 {
        format!("{minutes} min")
    } else if days < 2 && minutes % 60 != 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if days < 2 {
        format!("{hours} h")
    } else {
        format!("{days} days")
    }
}

/// How long ago a time is: `12 s ago`.
pub(super) fn ago(now: Timestamp, time: Timestamp) -> String {
    format!("{} ago", span(now.duration_since(time)))
}

/// A time of today as `14:02:10`, another as `2026-03-04 14:02:10`. All are in UTC.
pub(super) fn moment(now: Timestamp, time: Timestamp) -> Markup {
    let civil = Offset::UTC.to_datetime(time);
    let clock = civil.strftime("%H:%M:%S");
    let text = if day_of(now) == day_of(time) {
        clock.to_string()
    } else {
        format!("{} {clock}", civil.date())
    };
    html! { time datetime=(time) { (text) } }
}

/// A time, and how long ago it is.
pub(super) fn moment_ago(now: Timestamp, time: Timestamp) -> Markup {
    html! { (moment(now, time)) " " span.muted { "(" (ago(now, time)) ")" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let cases = [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (599, "9 min 59 s"),
            (601, "10 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (5_400, "1 h 30 min"),
            (86_400, "24 h"),
            (172_799, "47 h 59 min"),
            (172_800, "2 days"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(span(SignedDuration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(counted(1, "item"), "1 item");
        assert_eq!(counted(2_000, "item"), "2,000 items");
    }

    #[test]
    fn text_of_strangers_is_escaped_and_isolated() {
        let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[31m\"'&";
        let shown = foreign(hostile).into_string();
        assert!(shown.starts_with("<bdi>") && shown.ends_with("</bdi>"));
        assert!(!shown.contains("<script") && !shown.contains('\u{202e}'));
        assert!(shown.contains("&lt;script&gt;"), "{shown}");
        assert!(shown.contains("\\u202e\\u001b[31m&quot;"), "{shown}");
    }

    #[test]
    fn a_long_key_is_cut_between_characters() {
        let shown = short_code(&"é".repeat(500)).into_string();
        assert_eq!(shown.matches('é').count(), 80);
        assert!(shown.ends_with('…'));
        assert!(!short_code("a").into_string().contains('…'));
    }

    #[test]
    fn a_long_content_is_there_on_demand() {
        assert_eq!(
            unfolded("x", "<a>").into_string(),
            code("<a>").into_string()
        );
        let long = "é<".repeat(200);
        let shown = unfolded("x", &long).into_string();
        assert!(shown.starts_with("<details id=\"x\"><summary id=\"x-summary\">"));
        assert!(shown.contains(&"é&lt;".repeat(200)) && !shown.contains("64 KiB"));
        let longer = unfolded("x", &"é".repeat(40_000)).into_string();
        assert_eq!(longer.matches('é').count(), 32 * 1024 + 80);
        assert!(longer.contains("first 64 KiB of 80,000 bytes"));
    }

    #[test]
    fn commands_in_sentences_are_code() {
        let shown = sentence("paused: `purgefront resume <b>` continues").into_string();
        assert_eq!(
            shown,
            "<bdi>paused: </bdi><code><bdi>purgefront resume &lt;b&gt;</bdi></code><bdi> continues</bdi>"
        );
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let now = "2026-03-04T01:00:00Z".parse().unwrap();
        let shown = |time: &str| moment(now, time.parse().unwrap()).into_string();
        assert_eq!(
            shown("2026-03-04T00:59:59.5Z"),
            "<time datetime=\"2026-03-04T00:59:59.5Z\">00:59:59</time>"
        );
        assert!(shown("2026-03-03T23:00:00Z").contains(">2026-03-03 23:00:00<"));
        assert_eq!(ago(now, now - SignedDuration::from_secs(5)), "5 s ago");
    }
}
