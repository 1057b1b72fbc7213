//! The chart of a distribution's propagation times: 24 bars, one for each of the last hours.

use jiff::SignedDuration;
use maud::{Markup, html};

use super::words;
use crate::domain::propagation::{HOURS, Propagation, Times};

/// In the units of the chart, which is as wide as all hours together.
const HEIGHT: u32 = 28;
const STEP: u32 = 5;
const BAR: u32 = 4;

/// An hour's bar: the part up to the median, and the rest up to the longest time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    x: u32,
    /// Heights from the ground.
    median: u32,
    longest: u32,
    /// What a pointer shows.
    text: String,
}

/// The chart, with a text for who cannot see it.
pub(super) fn render(propagation: &Propagation) -> Markup {
    let width = STEP * u32::try_from(HOURS).unwrap_or(24);
    html! {
        svg.chart role="img" aria-label=(alternative(propagation)) viewBox=(format!("0 0 {width} {}", HEIGHT + 1))
            width=(width) height=(HEIGHT + 1) {
            @for bar in bars(&propagation.hours) {
                g {
                    title { (bar.text) }
                    rect.longest x=(bar.x) y=(HEIGHT - bar.longest) width=(BAR) height=(bar.longest) {}
                    rect.median x=(bar.x) y=(HEIGHT - bar.median) width=(BAR) height=(bar.median) {}
                }
            }
            rect.ground x="0" y=(HEIGHT) width=(width) height="1" {}
        }
    }
}

fn bars(hours: &[Option<Times>; HOURS]) -> Vec<Bar> {
    let longest = hours.iter().flatten().map(|times| times.longest).max();
    let scale = longest.unwrap_or_default();
    let bar = |(at, times): (usize, &Option<Times>)| {
        let times = times.as_ref()?;
        Some(Bar {
            x: STEP * u32::try_from(at).ok()?,
            median: height(times.median, scale),
            longest: height(times.longest, scale),
            text: format!("{}: {}", hour(at), told(times)),
        })
    };
    hours.iter().enumerate().filter_map(bar).collect()
}

/// Never nothing, so that a quick invalidation can be seen.
fn height(time: SignedDuration, scale: SignedDuration) -> u32 {
    let (time, scale) = (time.as_millis().max(0), scale.as_millis().max(1));
    let height = i128::from(HEIGHT) * time / scale;
    u32::try_from(height).unwrap_or(HEIGHT).clamp(1, HEIGHT)
}

/// An hour by its place.
fn hour(at: usize) -> String {
    match HOURS - 1 - at {
        0 => "the last hour".to_owned(),
        1 => "1 hour before".to_owned(),
        hours => format!("{hours} hours before"),
    }
}

fn told(times: &Times) -> String {
    format!(
        "{}, median {}, longest {}",
        words::counted(times.count as u64, "invalidation"),
        words::span(times.median),
        words::span(times.longest)
    )
}

fn alternative(propagation: &Propagation) -> String {
    let busy = propagation.hours.iter().flatten().count();
    let slowest = propagation.hours.iter().enumerate();
    let slowest = slowest.filter_map(|(at, times)| Some((times.as_ref()?.longest, at)));
    let slowest = slowest.max().map_or(String::new(), |(_, at)| {
        format!("; the longest in {}", hour(at))
    });
    format!(
        "Propagation times by hour of the last day, in {}: {}{slowest}",
        words::counted(busy as u64, "hour"),
        told(&propagation.day)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(median: i64, longest: i64) -> Times {
        Times {
            count: 3,
            median: SignedDuration::from_secs(median),
            longest: SignedDuration::from_secs(longest),
        }
    }

    fn hours() -> [Option<Times>; HOURS] {
        let mut hours = [None; HOURS];
        hours[0] = Some(times(0, 14));
        hours[23] = Some(times(7, 28));
        hours
    }

    #[test]
    fn bars_stand_at_their_hour_and_are_as_high_as_their_times() {
        let bars = bars(&hours());
        let shape = |bar: &Bar| (bar.x, bar.median, bar.longest);
        let shapes: Vec<_> = bars.iter().map(shape).collect();
        assert_eq!(shapes, [(0, 1, 14), (115, 7, 28)], "zero can be seen");
        assert_eq!(
            bars[0].text,
            "23 hours before: 3 invalidations, median 0 s, longest 14 s"
        );
        assert!(bars[1].text.starts_with("the last hour: "));
    }

    #[test]
    fn nothing_and_no_time_at_all_have_a_chart() {
        assert!(bars(&[None; HOURS]).is_empty());
        let mut hours = [None; HOURS];
        hours[5] = Some(times(0, 0));
        let bars = bars(&hours);
        assert_eq!((bars[0].median, bars[0].longest), (1, 1));
        assert_eq!(
            height(SignedDuration::MAX, SignedDuration::from_secs(1)),
            HEIGHT
        );
    }

    #[test]
    fn a_text_says_what_the_chart_shows() {
        let propagation = Propagation {
            day: times(7, 28),
            hours: hours(),
        };
        let text = "Propagation times by hour of the last day, in 2 hours: 3 invalidations, \
                    median 7 s, longest 28 s; the longest in the last hour";
        assert_eq!(alternative(&propagation), text);
        let svg = render(&propagation).into_string();
        assert!(svg.contains(text) && svg.contains("role=\"img\""));
        assert!(
            !svg.contains("style="),
            "the policy allows no inline styles"
        );
        assert_eq!(svg.matches("<rect").count(), 5);
    }
}
