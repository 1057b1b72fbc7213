//! `purgefront status`: shows how far a request is, or how the work of each distribution stands.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ConfigFile, DONE, USAGE,
    client::{ApiClient, Session},
    complain,
    request::{self, held_by, list, text},
    say,
};
use crate::app;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The id of a request; without it, all distributions are shown.
    request_id: Option<String>,
    #[command(flatten)]
    waiting: request::Waiting,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    client: ApiClient,
}

pub(super) fn run(arguments: &StatusArguments) -> anyhow::Result<u8> {
    if let Some(fault) = arguments.waiting.fault(&arguments.request_id) {
        complain(fault);
        return Ok(USAGE);
    }
    let session = arguments.client.session_from(&arguments.file)?;
    if let Some(id) = &arguments.request_id {
        let wait = arguments.waiting.begin();
        let view = app::block_on(request::fetch(&session, id, wait))??;
        let followed = wait.follow(&session, view)?;
        request::show(&followed.view, arguments.json);
        return Ok(followed.code());
    }
    let (distributions, read_since) = app::block_on(all(&session))??;
    if arguments.json {
        say(json!({"distributions": distributions, "read_since": read_since}));
        return Ok(DONE);
    }
    for one in &distributions {
        show(one);
    }
    Ok(DONE)
}

/// All distributions, and since when the account is known like that.
async fn all(session: &Session) -> anyhow::Result<(Vec<Value>, Value)> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/distributions?limit=200&cursor={cursor}");
        let mut page = session.send(Method::GET, &path, None).await?.success()?;
        if let Value::Array(more) = page["distributions"].take() {
            all.extend(more);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = super::encoded(next).to_string(),
            None => return Ok((all, page["read_since"].take())),
        }
    }
}

fn show(one: &Value) {
    let aliases: Vec<_> = list(one, "aliases").filter_map(Value::as_str).collect();
    let aliases = if aliases.is_empty() {
        String::new()
    } else {
        format!(" ({})", aliases.join(", "))
    };
    let sum = |member: &str, parts: &[&str]| -> u64 {
        let parts = parts.iter().map(|part| one[member][part].as_u64());
        parts.map(Option::unwrap_or_default).sum()
    };
    let waiting = ["paths", "wildcards", "manual_paths", "manual_wildcards"];
    let since = match one["waiting"]["since"].as_str() {
        Some(time) => format!(" since {time}"),
        None => String::new(),
    };
    let id = text(one, "id");
    if one["waiting"].is_null() {
        say(format_args!(
            "{id}{aliases}: another replica leads, and knows what waits and what is in progress"
        ));
    } else {
        say(format_args!(
            "{id}{aliases}: waiting {}{since}, batches without an answer {}, in progress {}",
            sum("waiting", &waiting),
            sum("unresolved", &["batches"]),
            sum("in_progress", &["paths", "wildcards"])
        ));
    }
    if let Some(why) = one["not_invalidated"].as_str() {
        say(format_args!("  nothing is invalidated: {why}"));
    }
    for held in list(one, "held_by") {
        say(format_args!("  {}", held_by(held)));
    }
}
