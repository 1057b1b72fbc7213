//! `purgefront redrive`: the messages of a dead-letter queue go to the service again.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    DONE, FAILED, USAGE, agree,
    client::{AdminClient, Session},
    complain, complain_with_code, say,
};
use crate::{
    app,
    domain::queue::QueueAddress,
    recovery::{Delivery, Redrive, Redriven},
};

/// How often a message is posted while the service says to try again, and the pauses in between.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// For so long, a run hides what it has received.
const INVISIBLE: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(super) struct RedriveArguments {
    /// The queue's name, URL or ARN.
    queue: QueueAddress,
    /// Take at most this many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    #[command(flatten)]
    client: AdminClient,
    #[command(flatten)]
    consent: agree::Consent,
}

pub(super) fn run(arguments: &RedriveArguments) -> u8 {
    let consent = arguments.consent;
    if let Some(fault) = consent.fault() {
        complain(fault);
        return USAGE;
    }
    let session = match arguments.client.session() {
        Ok(session) => session,
        Err(error) => {
            complain_with_code(&error);
            return USAGE;
        }
    };
    match app::block_on(redrive(arguments, &session)) {
        Ok(Ok(code)) => code,
        Ok(Err(why)) => {
            complain(&why);
            if consent.json() {
                say(json!({"outcome": "failed", "error": why}));
            }
            FAILED
        }
        Err(error) => {
            complain(error);
            FAILED
        }
    }
}

async fn redrive(arguments: &RedriveArguments, session: &Session) -> Result<u8, String> {
    let RedriveArguments {
        queue,
        max,
        consent,
        ..
    } = arguments;
    let name = &queue.name;
    let redrive = app::redrive(queue).await.map_err(|why| why.to_string())?;
    let count = redrive.count().await.map_err(|why| why.to_string())?;
    if !consent.json() {
        say(format_args!("{name} has about {count} messages"));
    }
    let end = |outcome: &str, text: &str| {
        if consent.json() {
            say(json!({"outcome": outcome, "queue": name, "messages": count}));
        } else {
            say(text);
        }
        Ok(DONE)
    };
    if consent.is_dry_run() {
        return end("dry run", "Dry run: no message was taken.");
    }
    if count == 0 {
        return end("nothing to do", "Nothing to do.");
    }
    if !consent.agreed() {
        complain("Not agreed to: no message was taken.");
        return Ok(FAILED);
    }
    let most = max.unwrap_or(u64::MAX);
    let stop = app::interruption().map_err(|why| why.to_string())?;
    let deliver = async |body| deliver(session, body).await;
    let (done, mut result) = redrive.run(most, &stop, deliver).await;
    let mut missed = 0;
    if result.is_ok() && done.taken() < most {
        match missed_by(&redrive, &done).await {
            Ok(count) => missed = count,
            Err(why) => result = Err(why),
        }
    }
    if consent.json() {
        let mut told = json!(done);
        told["missed"] = Value::from(missed);
        told["outcome"] = Value::from(match &result {
            Err(_) => "stopped",
            Ok(()) if missed > 0 => "incomplete",
            Ok(()) => "done",
        });
        told["error"] = json!(result.as_ref().err());
        say(told);
    } else {
        show(name, &done);
    }
    if let Err(why) = &result {
        complain(format_args!("Stopped: {why}"));
    }
    if missed > 0 {
        complain(format_args!(
            "About {missed} other messages are still in {name}, and invisible: another run, or another reader, \
             has received them. Run it again after {}, or when the queue's visibility timeout is over.",
            format_args!("{:.0}", app::now() + INVISIBLE)
        ));
    }
    let all_taken = done.refused.is_empty() && done.not_deleted == 0 && missed == 0;
    Ok(if result.is_ok() && all_taken {
        DONE
    } else {
        FAILED
    })
}

/// About how many messages the run has not seen, since somebody else has received them.
async fn missed_by(redrive: &Redrive, done: &Redriven) -> Result<u64, String> {
    let mut missed = 0;
    // SQS's counts are approximate, and lag behind.
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            app::pause(PAUSE).await;
        }
        let count = redrive.count().await.map_err(|why| why.to_string())?;
        missed = count.saturating_sub(done.staying());
        if missed == 0 {
            break;
        }
    }
    Ok(missed)
}

/// Posts one message. An error means that the others would fare alike.
async fn deliver(session: &Session, body: String) -> Result<Delivery, String> {
    for attempt in 1.. {
        let answer = session
            .send(Method::POST, "/redrive", Some(body.clone()))
            .await
            .map_err(|error| format!("{error:#}"))?;
        if answer.status.is_success() {
            // The message is deleted only on the service's own word.
            return match answer.json["outcome"].as_str() {
                Some("accepted") => Ok(Delivery::Accepted),
                Some("duplicate") => Ok(Delivery::Duplicate),
                _ => Err(not_ours(answer.status)),
            };
        }
        let reason = answer.problem();
        let not_about_it = ["foreign-origin", "token-limited"].contains(&reason)
            || [StatusCode::UNAUTHORIZED, StatusCode::METHOD_NOT_ALLOWED].contains(&answer.status);
        let later = !not_about_it
            && (reason == "not-in-time"
                || [
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::TOO_MANY_REQUESTS,
                ]
                .contains(&answer.status));
        if later && attempt < ATTEMPTS {
            app::pause(PAUSE).await;
            continue;
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Err(
                "the service has no /redrive: it is older than this command, or \
                        --admin-url is not its admin listener"
                    .to_owned(),
            );
        }
        if reason.is_empty() && !later {
            return Err(not_ours(answer.status));
        }
        if later || not_about_it {
            return Err(format!("{:#}", answer.failure()));
        }
        return Ok(Delivery::Refused {
            reason: reason.to_owned(),
            detail: answer.json["detail"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        });
    }
    unreachable!("the last attempt returns")
}

fn not_ours(status: StatusCode) -> String {
    format!(
        "what answered {status} is not purgefront: --admin-url, or else server.admin_listen, has to be its \
         admin listener"
    )
}

fn show(name: &str, done: &Redriven) {
    let Redriven {
        accepted,
        duplicates,
        refused,
        not_deleted,
        hidden,
    } = done;
    say(format_args!(
        "{accepted} messages accepted, {duplicates} that the service already had"
    ));
    if *not_deleted > 0 {
        say(format_args!(
            "{not_deleted} of them could not be deleted from {name}: the next run finds them as duplicates"
        ));
    }
    if *hidden > 0 {
        say(format_args!(
            "{hidden} were not taken, and are invisible for two minutes"
        ));
    }
    for group in refused {
        say(format_args!(
            "{} refused, which stay in {name}: {}: {} (such as {})",
            group.count,
            group.reason,
            group.detail,
            group.examples.join(", ")
        ));
    }
    if refused.iter().any(|group| group.reason == "raw-delivery") {
        say(
            "Messages without a signature can't be verified: disable raw message delivery, and find what \
             they were about with purgefront resync.",
        );
    }
}
