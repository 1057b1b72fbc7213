//! `purgefront pause` and `purgefront resume`: stop and start sending while intake continues.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::{client::AdminClient, say};

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    /// The distribution; all distributions if omitted.
    distribution_id: Option<String>,
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
    scope.call("/resume")?;
    say(format_args!("Sending is resumed for {}.", scope.name()));
    Ok(())
}

impl PauseArguments {
    fn call(&self, path: &str) -> anyhow::Result<()> {
        let id = self.distribution_id.as_ref();
        let body = id.map(|id| json!({ "distribution_id": id }));
        self.client.call(Method::POST, path, body)?;
        Ok(())
    }

    fn name(&self) -> &str {
        self.distribution_id
            .as_deref()
            .unwrap_or("all distributions")
    }
}
