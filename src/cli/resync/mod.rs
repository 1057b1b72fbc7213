//! `purgefront resync`: after an outage, requests what may be stale in a bucket.

mod report;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use report::{Report, counted};

use super::{
    ConfigFile, DONE, FAILED, USAGE, agree,
    client::{ApiClient, Session},
    complain, complain_of, complain_with_code, say,
};
use crate::{
    app,
    config::Config,
    dispatch::ReadScope,
    domain::{
        catalogue::Catalogue,
        duration::parse_duration,
        path::Item,
        resync::{Found, Orders},
    },
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
    /// When the outage began: a time such as 2026-11-26T08:00:00Z, or how long ago, such as 36h
    /// or 3d. For objects that are uploaded in parts, S3 tells when the upload began: allow for that.
    #[arg(long, value_name = "TIME", value_parser = since,
          required_unless_present = "prefix_wildcard")]
    since: Option<Timestamp>,
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

/// Reads a time, or how long ago it was. S3 tells times to the second.
fn since(text: &str) -> Result<Timestamp, String> {
    let now = app::now();
    let at = if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else {
        let span = parse_duration(text).filter(|span| !span.is_zero());
        let span =
            span.ok_or("expected a time such as 2026-11-26T08:00:00Z, or how long ago: 36h, 3d")?;
        now.checked_sub(span).unwrap_or(Timestamp::MIN)
    };
    if at > now {
        return Err("it is in the future".to_owned());
    }
    if at < Timestamp::UNIX_EPOCH {
        return Err("it is before 1970".to_owned());
    }
    Timestamp::from_second(at.as_second()).map_err(|error| error.to_string())
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
            let code = complain_with_code(&error);
            if arguments.consent.json() {
                say(json!({"outcome": "failed", "error": format!("{error:#}")}));
            }
            code
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
    if !consent.is_dry_run() {
        app::block_on(may_call(&session))??;
    }
    let reading = app::read_account(config, &ReadScope::Buckets(vec![bucket.clone()]))?;
    for warning in &reading.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let catalogue = &reading.catalogue;
    let prefix = prefix.as_deref().unwrap_or_default();
    let mut report = Report::new(consent.json());
    let (orders, mut reason) = if let Some(since) = arguments.since {
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
        return Ok(report.finish("nothing to do", "Nothing to do."));
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
    if let Err(Stopped { error, is_refused }) = sent {
        complain(format_args!(
            "Stopped after {} of {}: {error:#}.{}",
            report.sent,
            counted(orders.paths, "item"),
            hint(is_refused, report.sent)
        ));
        report.json["error"] = Value::from(format!("{error:#}"));
        report.end("stopped", "");
        return Ok(FAILED);
    }
    Ok(report.finish("done", "Requested. GET /requests/ID shows how far it is."))
}

/// Finds out whether requests can work, before a long listing: the service answers and knows the token.
async fn may_call(session: &Session) -> anyhow::Result<()> {
    let answer = session.send(Method::GET, "/invalidations?limit=1", None);
    let answer = answer.await?;
    if answer.status == StatusCode::UNAUTHORIZED {
        return Err(answer.failure()).context(
            "the service needs an API token that it knows: set PURGEFRONT_API_TOKEN or --token-file",
        );
    }
    if answer.status != StatusCode::OK {
        return Err(answer.failure()).context("the service cannot take requests");
    }
    Ok(())
}

/// Why not all was requested.
struct Stopped {
    error: anyhow::Error,
    /// The same request would be refused again.
    is_refused: bool,
}

fn hint(is_refused: bool, sent: usize) -> &'static str {
    match (is_refused, sent) {
        (true, 0) => "",
        (true, _) => " What was requested counts as covered in the next run.",
        (false, _) => " Run it again: the history leaves out what was requested.",
    }
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
) -> Result<(), Stopped> {
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
            let answer = session.send(Method::POST, "/invalidate", body).await;
            let answer = answer.map_err(|error| Stopped {
                error,
                is_refused: false,
            })?;
            if answer.status != StatusCode::ACCEPTED {
                let status = answer.status;
                return Err(Stopped {
                    error: answer.failure(),
                    is_refused: status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS,
                });
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
        let at = "2026-01-26T08:00:00.5Z";
        assert_eq!(since(at), Ok("2026-01-26T08:00:00Z".parse().unwrap()));
        for (text, hours) in [("36h", 36), ("3d", 72), ("1d 12h", 36)] {
            let ago = app::now().duration_since(since(text).unwrap());
            assert_eq!(ago.as_hours(), hours, "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "-36h",
            "0s",
            "36",
            "2026-11-26",
            "9999-01-01T00:00:00Z",
            "1960-01-01T00:00:00Z",
            "7000000d",
            "99999999999h",
        ] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn again_is_only_said_where_it_may_help() {
        assert_eq!(hint(true, 0), "");
        assert!(hint(true, 1).contains("next run"));
        assert!(hint(false, 0).contains("Run it again"));
    }
}
