//! `purgefront healthcheck`: checks that the service in this container answers.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{
    ConfigFile, DONE, FAILED,
    client::{Address, own_url},
    complain_of, complain_with_code,
};

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
        Err(error) => complain_with_code(&error),
    }
}

fn ask(url: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = Address::read(url, "--url")?;
        // Only the service itself counts, not a proxy or the target of a redirect.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()?;
        let answer = client.get(address.with("/healthz")).send().await;
        let answer = answer.map_err(reqwest::Error::without_url);
        let url = address.shown("/healthz");
        let answer = answer.with_context(|| format!("the service does not answer at {url}"))?;
        let status = answer.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(())
    })
}
