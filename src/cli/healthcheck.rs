//! `purgefront healthcheck`: checks that the service in this container answers.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{ConfigFile, DONE, FAILED, client::own_url, complain, complain_of};

/// The timeout of the whole check. The container engine's own timeout should be longer.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// The service's URL; by default, the `server.listen` of the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Prints nothing on success. Exits with 1 even if the configuration is invalid: container
/// engines reserve 2, so only wrong usage exits with it.
pub(super) fn run(probe: &Probe) -> u8 {
    let url = match &probe.url {
        Some(url) => url.clone(),
        None => match probe.file.load() {
            Ok(config) => own_url(config.server.listen),
            Err(faults) => {
                complain_of(&faults);
                return FAILED;
            }
        },
    };
    match ask(&url) {
        Ok(()) => DONE,
        Err(error) => {
            complain(format_args!("{error:#}"));
            FAILED
        }
    }
}

fn ask(url: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let url = format!("{}/healthz", url.trim_end_matches('/'));
        // Only the service itself counts, not a proxy or the target of a redirect.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()?;
        let answer = client.get(&url).send().await;
        let status = answer.context("the service does not answer")?.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(())
    })
}
