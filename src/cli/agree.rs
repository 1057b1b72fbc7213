//! Asking before anything is done; and what `connect` and `disconnect` share beside that: showing a
//! plan, and carrying it out.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;
use serde_json::json;

use super::{DONE, FAILED, complain, say};
use crate::{
    connect::{Connector, Error, Step, Wish},
    domain::{
        connection::{
            notification::Line,
            plan::{Plan, Refusal},
        },
        topic::TopicArn,
    },
};

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Consent {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Print one JSON object at the end; requires --yes or --dry-run.
    #[arg(long)]
    json: bool,
}

impl Consent {
    /// Why these flags do not go together.
    pub(super) fn fault(self) -> Option<&'static str> {
        (self.json && !self.yes && !self.dry_run)
            .then_some("--json asks nothing, so it requires --yes or --dry-run")
    }

    pub(super) fn json(self) -> bool {
        self.json
    }

    pub(super) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Whether the person agrees, now or by a flag.
    pub(super) fn agreed(self) -> bool {
        self.yes || agreed()
    }

    /// Shows what follows from the wish, and carries it out if that is agreed to.
    pub(super) async fn carry_out(self, connector: &Connector, wish: &Wish) -> u8 {
        let plan = match connector.look(wish).await {
            Ok(seen) => wish.plan(&seen).map_err(Error::from),
            Err(error) => Err(error),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return self.fail(&error),
        };
        if !self.json {
            show(&plan);
        }
        if plan.actions.is_empty() {
            self.end(&plan, "nothing to do", "Nothing to do.");
            return DONE;
        }
        if self.dry_run {
            self.end(&plan, "dry run", "Dry run: nothing was changed.");
            return DONE;
        }
        if !self.agreed() {
            complain("Not agreed to: nothing was changed.");
            return FAILED;
        }
        let mut tell = |step: Step<'_>| self.tell(step);
        match connector.carry_out(wish, &plan, &mut tell).await {
            Ok(()) => {
                let text = match wish {
                    Wish::Connect(_) => {
                        "Connected. S3 may need some minutes until it sends all changes."
                    }
                    Wish::Disconnect(_) => "Disconnected.",
                };
                self.end(&plan, "done", text);
                DONE
            }
            Err(error) => self.fail(&error),
        }
    }

    fn tell(self, step: Step<'_>) {
        if self.json {
            return;
        }
        match step {
            Step::Done(action) => say(format_args!("done     {action}")),
            Step::Waiting(why) => say(format_args!("waiting  {why}")),
            Step::Checked => say("checked  S3 returns the notifications as they were written"),
        }
    }

    fn end(self, plan: &Plan, outcome: &str, text: &str) {
        if !self.json {
            say(text);
            return;
        }
        let actions: Vec<_> = plan.actions.iter().map(ToString::to_string).collect();
        let difference: Vec<_> = plan.difference.iter().map(shown).collect();
        say(json!({
            "outcome": outcome,
            "found": plan.found,
            "notes": plan.notes,
            "difference": difference,
            "actions": actions,
        }));
    }

    pub(super) fn fail(self, error: &Error) -> u8 {
        match error {
            Error::Refused(Refusal::Overlap(lines)) => lines.iter().for_each(complain),
            Error::Race(lines) => {
                complain(error);
                lines.iter().map(shown).for_each(complain);
            }
            _ => complain(error),
        }
        if self.json {
            say(json!({"outcome": "failed", "error": error.to_string()}));
        }
        FAILED
    }
}

fn show(plan: &Plan) {
    for line in &plan.found {
        say(format_args!("found    {line}"));
    }
    for line in &plan.notes {
        say(format_args!("note     {line}"));
    }
    for line in &plan.difference {
        say(format_args!("  {}", shown(line)));
    }
    for action in &plan.actions {
        say(format_args!("to do    {action}"));
    }
}

fn shown(line: &Line) -> String {
    match line {
        Line::Added(text) => format!("+ {text}"),
        Line::Removed(text) => format!("- {text}"),
        Line::Kept(text) => format!("= {text}"),
    }
}

fn agreed() -> bool {
    let mut out = io::stdout();
    let _ = write!(out, "Do this? [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// A bucket's name. The rules of old buckets are wider, but none has anything else in it.
pub(super) fn bucket_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (3..=255).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("expected a bucket's name, without s3://".to_owned())
}

pub(super) fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("expected the 12 digits of an AWS account".to_owned())
}

pub(super) fn queue_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=80).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("expected the name of a standard SQS queue: letters, digits, - and _".to_owned())
}

/// A prefix or suffix, spelled as in S3's filters (Amazon S3 User Guide, "Configuring event
/// notifications using object key name filtering").
pub(super) fn filter(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err("S3 has no wildcards in prefixes and suffixes".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wanted =
            "S3 wants a space as + and other special characters percent-encoded (é: %C3%A9)";
        return Err(wanted.to_owned());
    }
    Ok(text.to_owned())
}

/// Queues' names have at most 80 characters.
pub(super) fn default_queue(topic: &TopicArn) -> String {
    let name = topic.name();
    format!("{}-dead-letters", name.get(..67).unwrap_or(name))
}

/// Where SNS can post to. Credentials have to come from a file, since arguments can be seen by
/// others and end up in the shell's history.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://");
    let rest = rest.or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?']).next());
    match host {
        Some(host) if host.contains('@') => {
            Err("credentials do not belong into the URL; use --basic-auth-file".to_owned())
        }
        Some(host) if host.contains('_') => {
            Err("SNS does not accept \"_\" in a host's name".to_owned())
        }
        Some(host)
            if !host.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic())
                && !text.contains('#') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected a URL, such as https://your-host/sns".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(bucket_name("my.Site_1-a").is_ok());
        for wrong in ["s3://site", "a", "site/x", "a b c", "site\u{1b}[m", "a;b"] {
            assert!(bucket_name(wrong).is_err(), "{wrong}");
        }
        assert!(filter("").is_ok() && filter("a+b/%C3%A9").is_ok());
        for wrong in ["img/*", "a b", "é", "a\n"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
        assert!(account("123456789012").is_ok());
        assert!(account("12345678901").is_err() && account("12345678901x").is_err());
        assert!(queue_name("letters-1_a").is_ok());
        assert!(queue_name("letters.fifo").is_err() && queue_name("").is_err());
        for right in ["https://a.example/sns", "http://127.0.0.1:1/", "https://h"] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in [
            "a.example",
            "ftp://a",
            "https://",
            "https:///sns",
            "https://a b",
            "https://a_b",
            "https://a#b",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        let refused = endpoint("https://user:password@a.example/").unwrap_err();
        assert!(refused.contains("--basic-auth-file") && !refused.contains("password"));
    }
}
