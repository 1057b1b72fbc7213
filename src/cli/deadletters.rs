//! `purgefront deadletters`: lists, replays and drops dead letters.

use clap::{Args, Subcommand};
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
    /// Retry a dead letter.
    Replay(One),
    /// Delete a dead letter permanently.
    Drop(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The id, as shown by `list`.
    id: i64,
    #[command(flatten)]
    client: AdminClient,
}

pub(super) fn run(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::List { json, client } => list(client, *json),
        Action::Replay(one) => {
            let path = format!("/deadletters/{}/replay", one.id);
            one.client.call(Method::POST, &path, None)?;
            say(format_args!("Dead letter {} will be retried.", one.id));
            Ok(())
        }
        Action::Drop(one) => {
            let path = format!("/deadletters/{}", one.id);
            one.client.call(Method::DELETE, &path, None)?;
            say(format_args!("Dead letter {} was dropped.", one.id));
            Ok(())
        }
    }
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
