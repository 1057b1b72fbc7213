//! `purgefront deadletters`: lists, replays and drops dead letters.

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;

use super::{client::AdminClient, output::is_lost, say, say_lines};
use crate::printable::printable;

/// List, replay and drop dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List dead letters, newest first.
    List {
        /// Print one page as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: AdminClient,
    },
    /// Retry dead letters.
    Replay(Chosen),
    /// Delete dead letters permanently.
    Drop(Chosen),
}

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// The id of one, as shown by `list`.
    #[arg(required_unless_present_any = ["all", "why"])]
    id: Option<i64>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["id", "why"])]
    all: bool,
    /// Those whose reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "id")]
    why: Option<String>,
    #[command(flatten)]
    client: AdminClient,
}

impl Chosen {
    /// Makes one call for each page, and returns the sums of two counts of the answers.
    fn for_all(&self, method: &Method, path: &str, counts: [&str; 2]) -> anyhow::Result<[u64; 2]> {
        let chosen = match &self.why {
            Some(why) => format!("why={}", utf8_percent_encode(why, NON_ALPHANUMERIC)),
            None => "all=true".to_owned(),
        };
        let mut sums = [0; 2];
        let mut cursor = String::new();
        loop {
            let url = format!("{path}?{chosen}{cursor}");
            let answer = self.client.call(method.clone(), &url, None)?;
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += answer[count].as_u64().unwrap_or_default();
            }
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(sums),
            }
        }
    }
}

pub(super) fn run(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::List { json, client } => list(client, *json),
        Action::Replay(chosen) => replay(chosen),
        Action::Drop(chosen) => discard(chosen),
    }
}

fn replay(chosen: &Chosen) -> anyhow::Result<()> {
    if let Some(id) = chosen.id {
        let path = format!("/deadletters/{id}/replay");
        chosen.client.call(Method::POST, &path, None)?;
        say(format_args!("Dead letter {id} will be retried."));
        return Ok(());
    }
    let counts = ["replayed", "kept"];
    let [replayed, kept] = chosen.for_all(&Method::POST, "/deadletters/replay", counts)?;
    say(format_args!(
        "Dead letters that will be retried: {replayed}."
    ));
    if kept > 0 {
        say(format_args!(
            "Dead letters that cannot be retried and stay: {kept}."
        ));
    }
    Ok(())
}

fn discard(chosen: &Chosen) -> anyhow::Result<()> {
    if let Some(id) = chosen.id {
        let path = format!("/deadletters/{id}");
        chosen.client.call(Method::DELETE, &path, None)?;
        say(format_args!("Dead letter {id} was dropped."));
        return Ok(());
    }
    let [dropped, _] = chosen.for_all(&Method::DELETE, "/deadletters", ["dropped", ""])?;
    say(format_args!("Dead letters that were dropped: {dropped}."));
    Ok(())
}

fn list(client: &AdminClient, json: bool) -> anyhow::Result<()> {
    let mut path = "/deadletters?limit=1000".to_owned();
    loop {
        let page = client.call(Method::GET, &path, None)?;
        if json {
            say(&page);
            return Ok(());
        }
        for letter in page["dead_letters"].as_array().into_iter().flatten() {
            say_lines(line(letter));
        }
        if is_lost() {
            return Ok(());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/deadletters?limit=1000&cursor={cursor}"),
            None => return Ok(()),
        }
    }
}

/// One line of the listing. Keys and records are untrusted, so they are escaped for the terminal.
fn line(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    let about = [
        text("distribution_id"),
        text("bucket"),
        text("key"),
        text("content"),
    ];
    let about: Vec<_> = about
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| shorten(part))
        .collect();
    format!(
        "{}\t{}\t{}\t{}\t{}",
        letter["id"],
        printable(text("created_at")),
        printable(text("kind")),
        printable(about.join(" ")),
        printable(text("why"))
    )
}

fn shorten(text: &str) -> String {
    const MOST: usize = 120;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}
