//! `purgefront resync`: after an outage, requests what may be stale in a bucket.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ConfigFile, DONE, FAILED, USAGE, agree,
    client::{ApiClient, Session},
    complain, complain_of, say,
};
use crate::{
    app,
    config::Config,
    dispatch::ReadScope,
    domain::{
        catalogue::Catalogue,
        path::Item,
        preview::price,
        resync::{Found, Orders},
    },
    printable::printable,
};

/// The most items and bytes of one request, within the API's limits of 10,000 items and 1 MiB.
const MOST_ITEMS: usize = 10_000;
const MOST_BYTES: usize = 1_000_000;

#[derive(Debug, Args)]
pub(super) struct ResyncArguments {
    /// The bucket's name.
    #[arg(value_parser = agree::bucket_name)]
    bucket: String,
    /// Only keys that begin with this.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// When the outage began: a time such as 2026-11-26T08:00:00Z, or how long ago, such as 36h. For
    /// objects that are uploaded in parts, S3 tells when the upload began: allow for that.
    #[arg(long, value_name = "TIME", value_parser = since,
          required_unless_present = "prefix_wildcard")]
    since: Option<Since>,
    /// Instead of looking at objects, request one wildcard for each distribution, which drops
    /// everything below the prefix from the caches. The way to clear deleted objects where the bucket
    /// has no versions. With --prefix "", that is everything.
    #[arg(long, requires = "prefix", conflicts_with = "since")]
    prefix_wildcard: bool,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    client: ApiClient,
    #[command(flatten)]
    consent: agree::Consent,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    let span: Option<SignedDuration> = text.parse().ok();
    let span = span.filter(|span| span.is_positive() && !text.starts_with(['P', '+']));
    span.map(Since::Ago)
        .ok_or_else(|| "expected a time such as 2026-11-26T08:00:00Z, or 36h".to_owned())
}

pub(super) fn run(arguments: &ResyncArguments) -> u8 {
    if let Some(fault) = arguments.consent.fault() {
        complain(fault);
        return USAGE;
    }
    let config = match arguments.file.load_for_mapping() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    match resync(arguments, &config) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{error:#}"));
            if arguments.consent.json() {
                say(json!({"outcome": "failed", "error": format!("{error:#}")}));
            }
            FAILED
        }
    }
}

fn resync(arguments: &ResyncArguments, config: &Config) -> anyhow::Result<u8> {
    let ResyncArguments {
        bucket,
        prefix,
        consent,
        ..
    } = arguments;
    let session = arguments.client.session(config)?;
    let reading = app::read_account(config, &ReadScope::Buckets(vec![bucket.clone()]))?;
    for warning in &reading.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let catalogue = &reading.catalogue;
    let prefix = prefix.as_deref().unwrap_or_default();
    let mut report = Report::new(consent.json());
    let (orders, mut reason) = if let Some(since) = arguments.since {
        let now = app::now();
        let since = match since {
            Since::At(at) => at,
            Since::Ago(span) => now - span,
        };
        anyhow::ensure!(since <= now, "--since is in the future");
        let since = Timestamp::from_second(since.as_second())?;
        let (found, sees_deletes) = look(bucket, prefix, since, config, catalogue)?;
        report.found(bucket, since, &found);
        report.deletes(bucket, sees_deletes.then_some(found.deleted));
        let reason = format!("resync {bucket} since {since}");
        (found.orders(catalogue), reason)
    } else {
        let policy = &config.mapping.policy;
        let (orders, whys) = Orders::below((catalogue, policy), bucket, prefix);
        for why in whys {
            report.note(&why);
        }
        (orders, format!("resync {bucket}, all below {prefix:?}"))
    };
    if orders.is_empty() {
        report.json["paths"] = 0.into();
        report.end("nothing to do", "Nothing to do.");
        return Ok(DONE);
    }
    report.orders(&orders);
    if consent.is_dry_run() {
        report.end("dry run", "Dry run: nothing was requested.");
        return Ok(DONE);
    }
    if !consent.agreed() {
        complain("Not agreed to: nothing was requested.");
        return Ok(FAILED);
    }
    // The API's limit is 1,000 bytes.
    reason.truncate(reason.floor_char_boundary(1_000));
    let sent = app::block_on(send(&session, &orders, &reason, &mut report))?;
    if let Err(error) = sent {
        complain(format_args!(
            "Stopped after {} of {} items: {error:#}. Run it again: the history leaves out what was \
             requested.",
            report.sent, orders.paths
        ));
        report.json["error"] = Value::from(format!("{error:#}"));
        report.end("stopped", "");
        return Ok(FAILED);
    }
    report.end("done", "Requested. GET /requests/ID shows how far it is.");
    Ok(DONE)
}

/// Lists the bucket; with progress, if somebody watches.
fn look(
    bucket: &str,
    prefix: &str,
    since: Timestamp,
    config: &Config,
    catalogue: &Catalogue,
) -> anyhow::Result<(Found, bool)> {
    // Hidden where standard error is no terminal. How many objects there are is not known before.
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    bar.set_style(style.context("the progress bar")?);
    let found = app::block_on(async {
        let mut resync = app::resync(config, bucket, prefix, since).await?;
        let policy = (catalogue, &config.mapping.policy);
        let tell = |found: &Found| {
            bar.tick();
            bar.set_message(format!(
                "{} objects looked at, {} changed, {} of them covered",
                found.looked_at, found.changed, found.covered
            ));
        };
        let found = resync.look(policy, tell).await?;
        anyhow::Ok((found, resync.sees_deletes()))
    })?;
    bar.finish_and_clear();
    found
}

async fn send(
    session: &Session,
    orders: &Orders,
    reason: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (id, items) in &orders.by_distribution {
        for chunk in chunks(items) {
            let (tags, paths): (Vec<_>, Vec<_>) = chunk.iter().partition(|item| item.is_tag());
            let tags: Vec<_> = tags.iter().map(|tag| &tag.as_str()[1..]).collect();
            let body = json!({
                "distribution_id": id,
                "paths": paths,
                "tags": tags,
                "reason": reason,
            });
            let body = Some(body.to_string());
            let answer = session.send(Method::POST, "/invalidate", body).await?;
            if answer.status != StatusCode::ACCEPTED {
                return Err(answer.failure());
            }
            let request = answer.json["id"].as_str().unwrap_or_default();
            report.sent(id, chunk.len(), request);
        }
    }
    Ok(())
}

/// Parts that each fit into one request.
fn chunks(items: &[Item]) -> Vec<&[Item]> {
    let mut chunks = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        // In JSON, a quotation mark or a backslash of a tag takes two bytes.
        let size = 2 * item.as_str().len() + 3;
        if at - begin == MOST_ITEMS || bytes + size > MOST_BYTES {
            chunks.push(&items[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += size;
    }
    if begin < items.len() {
        chunks.push(&items[begin..]);
    }
    chunks
}

/// What is told, as text or as JSON.
struct Report {
    is_json: bool,
    json: Value,
    sent: usize,
}

impl Report {
    fn new(is_json: bool) -> Self {
        Self {
            is_json,
            json: json!({"notes": [], "requests": []}),
            sent: 0,
        }
    }

    fn say(&self, line: impl std::fmt::Display) {
        if !self.is_json {
            say(line);
        }
    }

    fn note(&mut self, line: &str) {
        self.say(format_args!("note     {line}"));
        if let Some(notes) = self.json["notes"].as_array_mut() {
            notes.push(line.into());
        }
    }

    fn found(&mut self, bucket: &str, since: Timestamp, found: &Found) {
        let Found {
            looked_at,
            changed,
            covered,
            requested,
            ..
        } = found;
        self.say(format_args!(
            "found    {bucket}: {looked_at} objects looked at, {changed} changed since {since}"
        ));
        self.say(format_args!(
            "found    {covered} of them covered by later changes in the history, {} possibly stale",
            found.stale()
        ));
        if *requested > 0 {
            self.say(format_args!(
                "found    {requested} items that were requested since"
            ));
        }
        for (key, value) in [
            ("looked_at", *looked_at),
            ("changed", *changed),
            ("covered", *covered),
            ("stale", found.stale()),
            ("requested", *requested),
        ] {
            self.json[key] = value.into();
        }
        for (why, count) in &found.unreachable {
            self.note(&format!("{count} keys without an item: {why}"));
        }
    }

    /// `seen` is the number of deleted objects, if deletes can be seen.
    fn deletes(&mut self, bucket: &str, seen: Option<u64>) {
        self.json["deleted"] = json!(seen);
        match seen {
            Some(seen) => self.say(format_args!("found    {seen} of the stale ones are deleted")),
            None => self.note(&format!(
                "deletes cannot be seen: the bucket keeps no versions. If objects may have been deleted, \
                 clear the part that they were in, with one path for each distribution: purgefront resync \
                 {bucket} --prefix PREFIX --prefix-wildcard"
            )),
        }
    }

    fn orders(&mut self, orders: &Orders) {
        let mut shown = BTreeMap::new();
        for (id, items) in &orders.by_distribution {
            let wildcards = items.iter().filter(|item| item.is_wildcard()).count();
            self.say(format_args!(
                "to do    {}: {} items, {wildcards} of them wildcards{}",
                printable(id),
                items.len(),
                examples(items)
            ));
            shown.insert(id, json!({"items": items.len(), "wildcards": wildcards}));
        }
        let Orders {
            paths, wildcards, ..
        } = orders;
        let price = price(*paths);
        self.say(format_args!(
            "price    {paths} paths, {wildcards} of them wildcards: {price} after the month's first 1,000; how \
             many of those are spent is not known"
        ));
        self.json["distributions"] = json!(shown);
        self.json["paths"] = json!(paths);
        self.json["wildcards"] = json!(wildcards);
        self.json["price_usd"] = json!(price.trim_start_matches('$'));
    }

    fn sent(&mut self, distribution_id: &str, items: usize, request: &str) {
        self.sent += items;
        self.say(format_args!(
            "sent     {distribution_id}: {items} items, request {request}"
        ));
        if let Some(requests) = self.json["requests"].as_array_mut() {
            let id = distribution_id;
            requests.push(json!({"id": request, "distribution_id": id, "items": items}));
        }
    }

    fn end(&mut self, outcome: &str, text: &str) {
        if self.is_json {
            self.json["outcome"] = outcome.into();
            say(&self.json);
        } else if !text.is_empty() {
            say(text);
        }
    }
}

/// A few, so that one can see what is meant.
fn examples(items: &[Item]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = items.iter().take(SHOWN).map(Item::as_str).collect();
    let more = if items.len() > SHOWN { ", …" } else { "" };
    format!(" ({}{more})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_within_the_limits_of_the_api() {
        let items = |count: usize, length: usize| -> Vec<_> {
            let item = |at| Item::parse(&format!("/{at:0length$}")).unwrap();
            (0..count).map(item).collect()
        };
        let sizes =
            |items: &[Item]| -> Vec<_> { chunks(items).iter().map(|one| one.len()).collect() };
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&items(20_001, 8)), [10_000, 10_000, 1]);
        let long = items(1_000, 3_900);
        for chunk in chunks(&long) {
            let body = serde_json::to_string(chunk).unwrap();
            assert!((300_000..1_000_000).contains(&body.len()) || chunk.last() == long.last());
        }
        assert_eq!(chunks(&long).concat(), long);
    }

    #[test]
    fn since_is_a_time_or_a_span() {
        assert!(matches!(since("2026-11-26T08:00:00Z"), Ok(Since::At(_))));
        assert!(matches!(since("36h"), Ok(Since::Ago(span)) if span.as_hours() == 36));
        for wrong in ["", "yesterday", "-36h", "36", "2026-11-26"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
