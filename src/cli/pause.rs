//! `purgefront pause` and `purgefront resume`: stop and start sending while intake continues.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{client::AdminClient, say};

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    /// The distribution; all distributions if omitted.
    distribution_id: Option<String>,
    /// Also accept a distribution that the account does not have, as far as it has been read.
    #[arg(long, requires = "distribution_id")]
    force: bool,
    #[command(flatten)]
    client: AdminClient,
}

pub(super) fn pause(scope: &PauseArguments) -> anyhow::Result<()> {
    scope.call("/pause")?;
    say(format_args!(
        "Sending is paused for {}; new changes are still accepted and wait.",
        scope.name()
    ));
    Ok(())
}

pub(super) fn resume(scope: &PauseArguments) -> anyhow::Result<()> {
    let sending = scope.call("/resume")?;
    let paused = sending["paused"].as_array();
    let paused = paused.into_iter().flatten().filter_map(Value::as_str);
    let paused: Vec<_> = paused.collect();
    match &scope.distribution_id {
        Some(id) if sending["paused_for_all"] == true => say(format_args!(
            "The pause of {id} is over, but sending is still paused for all distributions: \
             `purgefront resume` continues."
        )),
        None if !paused.is_empty() => say(format_args!(
            "Sending is resumed, except for {}, paused by name: `purgefront resume ID` continues.",
            paused.join(", ")
        )),
        _ => say(format_args!("Sending is resumed for {}.", scope.name())),
    }
    if scope.distribution_id.is_none() && sending["daily_limit_lifted"] == true {
        say("The daily limit is lifted until the day is over (UTC).");
    }
    Ok(())
}

impl PauseArguments {
    fn call(&self, path: &str) -> anyhow::Result<Value> {
        let id = self.distribution_id.as_ref();
        let body = id.map(|id| json!({ "distribution_id": id, "force": self.force }));
        self.client.call(Method::POST, path, body)
    }

    fn name(&self) -> &str {
        self.distribution_id
            .as_deref()
            .unwrap_or("all distributions")
    }
}
