//! `purgefront invalidate`: has the running service invalidate paths, tags or keys.

use std::io::{self, BufRead as _};

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    ConfigFile, DONE, USAGE,
    client::{ApiClient, Terms},
    complain,
    request::{self, list, text},
    say,
};
use crate::{app, domain::change::Idempotency};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["distribution", "alias", "bucket"]))]
pub(super) struct InvalidateArguments {
    /// The distribution's id.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
    /// An alias of the distribution, exactly as CloudFront has it.
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// A bucket; the arguments are keys of its objects, which are mapped like their events.
    #[arg(long, value_name = "NAME", conflicts_with = "tag")]
    bucket: Option<String>,
    /// A cache tag, without "#". Can be given several times.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Why; it is kept, and shown with every item.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only show what would be sent, and its price.
    #[arg(long, conflicts_with_all = ["wait", "idempotency_key"])]
    dry_run: bool,
    /// Makes a repeat of the same command within a day harmless.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    waiting: request::Waiting,
    /// Print the service's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    client: ApiClient,
    /// The paths, which are sent as given, or the keys; "-" reads them from standard input, one per line,
    /// where a key can also be "-". If nothing is there, nothing is requested or printed, with exit code 0.
    #[arg(value_name = "PATH|KEY")]
    items: Vec<String>,
}

fn idempotency_key(text: &str) -> Result<String, String> {
    if Idempotency::is_key(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("it must be {}", Idempotency::KEY))
    }
}

pub(super) fn run(arguments: &InvalidateArguments) -> anyhow::Result<u8> {
    if let Some(fault) = arguments.waiting.fault(&arguments.items) {
        complain(format_args!(
            "{fault}, or, if it is a key, give it on standard input, with \"-\""
        ));
        return Ok(USAGE);
    }
    let mut items = Vec::new();
    for item in &arguments.items {
        if item == "-" {
            items.extend(read_items().context("standard input cannot be read")?);
        } else {
            items.push(item.clone());
        }
    }
    if items.is_empty() && arguments.tag.is_empty() {
        // A script may have found that nothing changed.
        if !arguments.items.is_empty() {
            complain(
                "There is nothing to invalidate: standard input is empty. Nothing was requested.",
            );
            return Ok(DONE);
        }
        complain("there is nothing to invalidate: give paths, keys or tags");
        return Ok(USAGE);
    }
    for tag in arguments.tag.iter().filter(|tag| tag.starts_with('#')) {
        complain(format_args!(
            "note: the tag is sent as #{tag}: give it without \"#\", unless the tag itself begins so"
        ));
    }
    let session = arguments.client.session_from(&arguments.file)?;
    let body = body(arguments, &items).to_string();
    let wait = arguments.waiting.begin();
    let terms = Terms {
        idempotency_key: arguments.idempotency_key.as_deref(),
        most: wait.most(),
    };
    let answer = session.send_with(Method::POST, "/invalidate", Some(body), &terms);
    let answer = app::block_on(answer)??.success()?;
    if arguments.dry_run {
        show_preview(&answer, arguments.json);
        return Ok(DONE);
    }
    let followed = wait.follow(&session, answer)?;
    request::show(&followed.view, arguments.json);
    Ok(followed.code())
}

/// The lines of standard input, without empty ones.
fn read_items() -> io::Result<Vec<String>> {
    let lines = io::stdin().lock().lines();
    let filled = lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty));
    filled.collect()
}

fn body(arguments: &InvalidateArguments, items: &[String]) -> Value {
    let mut body = Map::new();
    let mut put = |member: &str, value: Value| body.insert(member.to_owned(), value);
    for (member, value) in [
        ("distribution_id", &arguments.distribution),
        ("alias", &arguments.alias),
        ("bucket", &arguments.bucket),
        ("reason", &arguments.reason),
    ] {
        if let Some(value) = value {
            put(member, json!(value));
        }
    }
    if !items.is_empty() {
        let member = if arguments.bucket.is_some() {
            "keys"
        } else {
            "paths"
        };
        put(member, json!(items));
    }
    if !arguments.tag.is_empty() {
        put("tags", json!(arguments.tag));
    }
    put("dry_run", json!(arguments.dry_run));
    Value::Object(body)
}

fn show_preview(preview: &Value, json: bool) {
    if json {
        say(preview);
        return;
    }
    for one in list(preview, "distributions") {
        let id = text(one, "distribution_id");
        for item in list(one, "items") {
            let why: Vec<_> = list(item, "why").filter_map(Value::as_str).collect();
            say(format_args!(
                "{id}: {} ({})",
                text(item, "item"),
                why.join("; ")
            ));
        }
        if let Some(why) = one["skipped"].as_str() {
            say(format_args!("{id}: nothing: {why}"));
        }
        for why in list(one, "dead_letters").filter_map(Value::as_str) {
            say(format_args!("{id}: cannot be invalidated: {why}"));
        }
    }
    say(format_args!(
        "Dry run: paths: {}, of which wildcards: {}; {} USD beyond the month's free paths.",
        preview["paths"], preview["wildcards"], preview["price_usd"]
    ));
}
