//! Follows a request of the API to its end, and prints it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    DONE, FAILED,
    client::{Answer, Session},
    complain, say,
};
use crate::{app, config::parse_duration, printable::printable};

/// The longest wait of one call, in seconds: on a terminal, where somebody reads the progress, and elsewhere.
const WATCHED: u64 = 5;
const UNWATCHED: u64 = 50;
/// The least time between two calls, whatever the service answers.
const PAUSE: Duration = Duration::from_secs(1);
/// The time after a call that failed, and how many may fail in a row: enough for a service that is started
/// again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
const PATIENCE: u32 = 24;

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
    /// Waits as wanted, and returns the request as it is then.
    pub(super) fn follow(&self, session: &Session, view: Value) -> anyhow::Result<Value> {
        match self.wait {
            Some(most) if !is_settled(&view) => app::block_on(follow(session, view, most))?,
            _ => Ok(view),
        }
    }

    /// The exit code for a request that was followed.
    pub(super) fn code(&self, view: &Value) -> u8 {
        if view["state"] == "failed" {
            return FAILED;
        }
        if self.wait.is_some() && !is_settled(view) {
            complain("The request had not settled when the wait ended: it continues.");
            return FAILED;
        }
        DONE
    }
}

/// The request with this id.
pub(super) async fn fetch(session: &Session, id: &str, wait: u64) -> anyhow::Result<Value> {
    let path = path(id, wait);
    session.send(Method::GET, &path, None).await?.success()
}

fn path(id: &str, wait: u64) -> String {
    let id = super::encoded(id);
    format!("/requests/{id}?wait={wait}")
}

fn is_settled(view: &Value) -> bool {
    ["completed", "shadowed", "failed"]
        .iter()
        .any(|state| view["state"] == *state)
}

async fn follow(session: &Session, mut view: Value, most: Limit) -> anyhow::Result<Value> {
    let id = view["id"].as_str().unwrap_or_default().to_owned();
    let until = match most {
        Limit::For(span) => app::now().saturating_add(span)?,
        Limit::Forever => Timestamp::MAX,
    };
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {wide_msg} ({elapsed})");
    bar.set_style(style.context("the progress line")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let longest = if bar.is_hidden() { UNWATCHED } else { WATCHED };
    let mut failures = 0;
    while !is_settled(&view) {
        bar.set_message(progress(&view));
        let begin = app::now();
        let left = until.duration_since(begin);
        if left <= SignedDuration::ZERO {
            break;
        }
        // Rounded up: a wait of less than a second is one.
        let seconds = u64::try_from(left.as_secs()).unwrap_or(0) + 1;
        let path = path(&id, seconds.min(longest));
        let answer = session.send(Method::GET, &path, None).await;
        let pause = match answer.and_then(read) {
            Ok(Some(now)) => {
                failures = 0;
                view = now;
                let took = app::now().duration_since(begin).unsigned_abs();
                PAUSE.saturating_sub(took)
            }
            Ok(None) => return Err(anyhow!("the service does not know the request any more")),
            Err(error) if failures == PATIENCE => return Err(error),
            Err(_) => {
                failures += 1;
                PAUSE_AFTER_FAILURE
            }
        };
        if !is_settled(&view) {
            app::pause(pause).await;
        }
    }
    bar.finish_and_clear();
    Ok(view)
}

/// The request in an answer; `None` if there is none with its id. Other problems may pass.
fn read(answer: Answer) -> anyhow::Result<Option<Value>> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    answer.success().map(Some)
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
    let again = match held["retry_at"].as_str() {
        Some(time) => format!(" (until {time})"),
        None => String::new(),
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
