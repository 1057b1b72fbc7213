//! `purgefront why`: tells what became of an object's changes.

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ConfigFile, DONE, FAILED,
    client::{ApiClient, Session},
    complain, encoded,
    request::{held_by, list, skipped, text},
    say,
};
use crate::app;

/// How many pages are read at most: each looks at no more than some of the changes.
const MOST_PAGES: usize = 50;

#[derive(Debug, Args)]
pub(super) struct WhyArguments {
    /// The object's bucket.
    bucket: String,
    /// The object's key, not encoded.
    key: String,
    /// The most changes to show; the newest come first.
    #[arg(long, value_name = "NUMBER", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    client: ApiClient,
}

pub(super) fn run(arguments: &WhyArguments) -> anyhow::Result<u8> {
    let WhyArguments {
        bucket, key, limit, ..
    } = arguments;
    let session = arguments.client.session_from(&arguments.file)?;
    let path = format!("/changes?bucket={}&key={}", encoded(bucket), encoded(key));
    let page = app::block_on(newest(&session, &path, (*limit).into()))?
        .context("the changes could not be read")?;
    let is_empty = list(&page, "changes").next().is_none();
    let has_more = page["next_cursor"].is_string();
    if arguments.json {
        say(&page);
    } else if is_empty && has_more {
        complain(format_args!(
            "None of the newest changes of this object may be seen: the search ended after {MOST_PAGES} pages. \
             GET /changes goes on with cursor={}.",
            text(&page, "next_cursor")
        ));
    } else if is_empty {
        complain(
            "No change of this object is known: none came within store.keep, or only such as \
             events.invalidate_on leaves out; keys are matched exactly.",
        );
    } else {
        for change in list(&page, "changes") {
            show(change);
        }
        if has_more {
            say(format_args!(
                "Older changes are left out: --limit shows more."
            ));
        }
    }
    Ok(if is_empty { FAILED } else { DONE })
}

/// The newest changes, up to a number, and where older ones begin. A page can be short although there are
/// more.
async fn newest(session: &Session, path: &str, limit: usize) -> anyhow::Result<Value> {
    let mut changes: Vec<Value> = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..MOST_PAGES {
        let mut path = format!("{path}&limit={}", limit - changes.len());
        if let Some(cursor) = cursor.as_str() {
            path = format!("{path}&cursor={}", encoded(cursor));
        }
        let page = session.send(Method::GET, &path, None).await?;
        let mut page = page.success()?;
        changes.extend(list(&page, "changes").cloned());
        cursor = page["next_cursor"].take();
        if changes.len() >= limit || !cursor.is_string() {
            break;
        }
    }
    Ok(json!({"changes": changes, "next_cursor": cursor}))
}

fn show(change: &Value) {
    say(format_args!(
        "{}: {}: {}",
        text(change, "accepted_at"),
        source(change),
        text(change, "state")
    ));
    for held in list(change, "held_by") {
        say(format_args!("  {}", held_by(held)));
    }
    for target in list(change, "targets") {
        show_target(target);
    }
    for skip in list(change, "skipped") {
        say(format_args!("  {}", skipped(skip)));
    }
}

/// Where a change came from.
fn source(change: &Value) -> String {
    let optional = |name: &str, member: &str| match change[member].as_str() {
        Some(text) => format!(", {name} {text}"),
        None => String::new(),
    };
    if change["kind"] == "event" {
        format!(
            "{} (message {}{}{})",
            text(change, "event"),
            text(change, "message_id"),
            optional("sequencer", "sequencer"),
            optional("event of", "time")
        )
    } else {
        format!(
            "requested by {} (request {}{})",
            text(change, "token"),
            text(change, "request_id"),
            optional("reason:", "reason")
        )
    }
}

fn show_target(target: &Value) {
    let id = target["distribution_id"].as_str();
    let id = id.unwrap_or("all distributions");
    let item = target["item"].as_str();
    let item = item.map_or(String::new(), |item| format!(" {item}"));
    let wildcard = target["covered_by"].as_str();
    let wildcard = wildcard.map_or(String::new(), |item| format!(" covered by {item}"));
    let because = target["because"].as_str();
    let because = because.map_or(String::new(), |why| format!(" ({why})"));
    let at = match target["completed_at"].as_str() {
        Some(time) => format!(" {time}"),
        None => String::new(),
    };
    say(format_args!(
        "  {id}{item}{wildcard}{because}: {}{at}",
        text(target, "state")
    ));
    if let Some(invalidation) = target["invalidation_id"].as_str() {
        let cloudfront_id = target["cloudfront_id"].as_str();
        let cloudfront_id =
            cloudfront_id.map_or(String::new(), |id| format!(", CloudFront's {id}"));
        let submitted = target["submitted_at"].as_str();
        let submitted = submitted.map_or(String::new(), |time| format!(", submitted {time}"));
        say(format_args!(
            "    invalidation {invalidation}{cloudfront_id}{submitted}"
        ));
    }
    let letter = &target["dead_letter"];
    if letter.is_object() {
        let (id, why) = (&letter["id"], text(letter, "why"));
        say(format_args!("    dead letter {id}: {why}"));
    }
    if let Some(failure) = target["failure"].as_str() {
        say(format_args!("    {failure}"));
    }
    for held in list(target, "held_by") {
        say(format_args!("    {}", held_by(held)));
    }
}
