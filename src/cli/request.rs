//! Follows a request of the API to its end, and prints it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    DONE, FAILED,
    client::{Answer, Session, Terms},
    complain, say,
};
use crate::{app, domain::duration::parse_duration, printable::printable};

/// The longest wait of one call, in seconds: on a terminal, where somebody reads the progress, and elsewhere.
const WATCHED: u64 = 5;
const UNWATCHED: u64 = 50;
/// The least time between two calls, whatever the service answers.
const PAUSE: Duration = Duration::from_secs(1);
/// The time after a call that failed or found no place for waiting, unless the service says how long; and
/// the longest that is done as it says.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// For how long calls may fail if no time was given: enough for a service that is started again.
const PATIENCE: Duration = Duration::from_mins(2);
/// For an answer that is on its way when the time is up.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Waiting {
    /// Wait until the request has settled; at most for so long (such as 90s or 10m), if given.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = FOREVER, hide_default_value = true, value_parser = limit)]
    wait: Option<Limit>,
}

/// For how long a client waits at most.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Forever,
    For(Duration),
}

const FOREVER: &str = "forever";

fn limit(text: &str) -> Result<Limit, String> {
    if text == FOREVER {
        return Ok(Limit::Forever);
    }
    let span = parse_duration(text).map(Limit::For);
    span.ok_or_else(|| "expected a duration such as 90s or 10m".to_owned())
}

impl Waiting {
    /// The fault if the time was given as a word of its own, which would be taken for something else, and
    /// the wait would have no end.
    pub(super) fn fault<'a>(&self, words: impl IntoIterator<Item = &'a String>) -> Option<String> {
        if !matches!(self.wait, Some(Limit::Forever)) {
            return None;
        }
        let mut words = words.into_iter();
        let time = words.find(|word| parse_duration(word).is_some())?;
        Some(format!(
            "{time:?} looks like the time for --wait: write --wait={}",
            time.replace(' ', "")
        ))
    }

    /// From now on, the time runs.
    pub(super) fn begin(&self) -> Wait {
        let until = match self.wait {
            Some(Limit::For(span)) => app::now().saturating_add(span).ok(),
            _ => None,
        };
        Wait {
            is_wanted: self.wait.is_some(),
            until,
        }
    }
}

/// Waiting for the end of a request, if it is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    is_wanted: bool,
    /// The end of the wait, if it has one.
    until: Option<Timestamp>,
}

impl Wait {
    /// What is left of the time; `None` if there is no end.
    fn left(&self) -> Option<Duration> {
        let left = self.until?.duration_since(app::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// The most time for one call, so that it ends with the wait.
    pub(super) fn most(&self) -> Option<Duration> {
        Some(self.left()?.saturating_add(GRACE))
    }

    /// Waits as wanted, and returns the request as it is then.
    pub(super) fn follow(self, session: &Session, view: Value) -> anyhow::Result<Followed> {
        if self.is_wanted && !is_settled(&view) {
            return app::block_on(follow(session, view, self))?;
        }
        Ok(Followed {
            view,
            is_awaited: self.is_wanted,
            unheard: None,
        })
    }
}

/// A request, and whether it was followed to its end.
pub(super) struct Followed {
    /// As it was last seen.
    pub(super) view: Value,
    is_awaited: bool,
    /// Why the last call failed, if it did.
    unheard: Option<anyhow::Error>,
}

impl Followed {
    /// The exit code. Says why it is a failure, if the request does not.
    pub(super) fn code(&self) -> u8 {
        if self.view["state"] == "failed" {
            return FAILED;
        }
        if !self.is_awaited || is_settled(&self.view) {
            return DONE;
        }
        match &self.unheard {
            Some(error) => complain(format_args!(
                "It is not known whether the request has settled: it had not when it was last seen, and \
                 then the service could not be asked: {error:#}"
            )),
            None => complain("The request had not settled when the wait ended: it continues."),
        }
        FAILED
    }
}

/// The request with this id, as it is now.
pub(super) async fn fetch(session: &Session, id: &str, wait: Wait) -> anyhow::Result<Value> {
    look(session, id, 0, wait).await?.success()
}

async fn look(session: &Session, id: &str, seconds: u64, wait: Wait) -> anyhow::Result<Answer> {
    let id = super::encoded(id);
    let path = format!("/requests/{id}?wait={seconds}");
    let terms = Terms {
        most: wait.most(),
        ..Terms::default()
    };
    session.send_with(Method::GET, &path, None, &terms).await
}

fn is_settled(view: &Value) -> bool {
    ["completed", "shadowed", "failed"]
        .iter()
        .any(|state| view["state"] == *state)
}

/// Calls that fail in a row.
struct Failing {
    since: Timestamp,
    last: anyhow::Error,
}

async fn follow(session: &Session, mut view: Value, wait: Wait) -> anyhow::Result<Followed> {
    let id = view["id"].as_str().unwrap_or_default().to_owned();
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {wide_msg} ({elapsed})");
    bar.set_style(style.context("the progress line")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut longest = if bar.is_hidden() { UNWATCHED } else { WATCHED };
    let mut spacing = PAUSE;
    let mut failing: Option<Failing> = None;
    // The last look is taken when the time is up.
    loop {
        bar.set_message(progress(&view));
        let begin = app::now();
        let seconds = wait
            .left()
            .map_or(longest, |left| left.as_secs().min(longest));
        let answer = look(session, &id, seconds, wait).await;
        let wanted = answer.as_ref().ok().and_then(|answer| answer.retry_after);
        let wanted = wanted.map_or(PAUSE_AFTER_FAILURE, |span| span.clamp(PAUSE, LONGEST_PAUSE));
        let pause = match answer.and_then(|answer| read(answer, seconds)) {
            Ok(Read::Request(now)) => {
                failing = None;
                view = now;
                let took = app::now().duration_since(begin).unsigned_abs();
                spacing.saturating_sub(took)
            }
            Ok(Read::Unknown) => {
                return Err(anyhow!("the service does not know the request any more"));
            }
            // It can be asked all the same, now and then.
            Ok(Read::NoPlaceToWait) => {
                (longest, spacing, failing) = (0, wanted, None);
                wanted
            }
            Err(last) => {
                let since = failing.map_or(begin, |failing| failing.since);
                failing = Some(Failing { since, last });
                wanted
            }
        };
        let left = match (wait.left(), &failing) {
            (Some(left), _) => left,
            (None, Some(failing)) => {
                let failed = app::now().duration_since(failing.since).unsigned_abs();
                PATIENCE.saturating_sub(failed)
            }
            (None, None) => Duration::MAX,
        };
        if is_settled(&view) || left.is_zero() {
            break;
        }
        app::pause(pause.min(left)).await;
    }
    bar.finish_and_clear();
    Ok(Followed {
        view,
        is_awaited: true,
        unheard: failing.map(|failing| failing.last),
    })
}

/// What an answer says about a request.
enum Read {
    Request(Value),
    /// There is none with its id.
    Unknown,
    /// As many others wait as may.
    NoPlaceToWait,
}

/// Reads the answer to a look that was to last for so many seconds. Its other problems may pass.
fn read(answer: Answer, seconds: u64) -> anyhow::Result<Read> {
    match answer.status {
        StatusCode::NOT_FOUND => Ok(Read::Unknown),
        StatusCode::TOO_MANY_REQUESTS if seconds > 0 => Ok(Read::NoPlaceToWait),
        _ => answer.success().map(Read::Request),
    }
}

/// One line for whoever watches.
fn progress(view: &Value) -> String {
    let held = view["held_by"].as_array().and_then(|held| held.first());
    let held = held.map_or(String::new(), |one| format!("; {}", held_by(one)));
    let text = format!("{}{held}", text(view, "state"));
    printable(text).to_string()
}

/// One reason why something does not move.
pub(super) fn held_by(held: &Value) -> String {
    let at = match held["distribution_id"].as_str() {
        Some(id) => format!("{id} is held"),
        None => "it is held".to_owned(),
    };
    let again = match (held["retry_at"].as_str(), text(held, "hold")) {
        (Some(time), "held" | "daily_limit") => format!(" (until {time})"),
        (Some(time), _) => format!(" (tried again at {time})"),
        (None, _) => String::new(),
    };
    format!(
        "{at}: {}: {}{again}",
        text(held, "hold"),
        text(held, "detail")
    )
}

/// A member that is text; otherwise empty.
pub(super) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// The elements of a member that is a list.
pub(super) fn list<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    value[member].as_array().into_iter().flatten()
}

/// Prints a request, as text or as JSON.
pub(super) fn show(view: &Value, json: bool) {
    if json {
        say(view);
        return;
    }
    say(format_args!(
        "request {}: {}",
        text(view, "id"),
        text(view, "state")
    ));
    for one in list(view, "invalidations") {
        let cloudfront_id = one["cloudfront_id"].as_str();
        let cloudfront_id =
            cloudfront_id.map_or(String::new(), |id| format!(", CloudFront's {id}"));
        say(format_args!(
            "  {}: {} (invalidation {}{cloudfront_id})",
            text(one, "distribution_id"),
            text(one, "status"),
            text(one, "id")
        ));
    }
    for one in list(view, "skipped") {
        say(format_args!("  {}", skipped(one)));
    }
    for one in list(view, "errors") {
        say(format_args!(
            "  error: {}",
            one.as_str().unwrap_or_default()
        ));
    }
    for one in list(view, "held_by") {
        say(format_args!("  {}", held_by(one)));
    }
}

/// Where nothing is needed, and why.
pub(super) fn skipped(skip: &Value) -> String {
    match skip["distribution_id"].as_str() {
        Some(id) => format!("{id}: nothing: {}", text(skip, "why")),
        None => format!("nothing: {}", text(skip, "why")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_time_of_a_hold_is_its_end_or_the_next_try() {
        for (hold, expected) in [
            ("held", "it is held: held: why (until 9:00)"),
            ("daily_limit", "it is held: daily_limit: why (until 9:00)"),
            ("refused", "it is held: refused: why (tried again at 9:00)"),
        ] {
            let held = json!({"hold": hold, "detail": "why", "retry_at": "9:00"});
            assert_eq!(held_by(&held), expected);
        }
        let paused = json!({"hold": "paused", "detail": "why", "distribution_id": "E1"});
        assert_eq!(held_by(&paused), "E1 is held: paused: why");
    }
}
