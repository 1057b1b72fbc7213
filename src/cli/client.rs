//! A client for the admin listener of a running service.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{ConfigFile, environment};

#[derive(Debug, Args)]
pub(super) struct AdminClient {
    /// The admin listener of the running service; by default, the `server.admin_listen` of the
    /// configuration.
    #[arg(long, env = "PURGEFRONT_ADMIN_URL", value_name = "URL")]
    admin_url: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    /// A file with an API token, which is needed if the listener is not on a loopback address. Default:
    /// the value of `PURGEFRONT_API_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AdminClient {
    /// Makes a call and returns the response's JSON, or null if it has none.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.call_async(method, path, body))
    }

    async fn call_async(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let base = self.base()?;
        let url = format!("{}{path}", base.trim_end_matches('/'));
        // No proxy: the service is on this machine or in its network.
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = client.request(method, &url);
        if let Some(token) = self.token()? {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.with_context(|| {
            format!("the service does not answer at {url}; is --admin-url, or else server.admin_listen, right?")
        })?;
        let status = answer.status();
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        if !status.is_success() {
            let detail = json["detail"].as_str().unwrap_or("no reason given");
            let faults = json["errors"].as_array().into_iter().flatten();
            let faults = faults.filter_map(|fault| {
                let (at, why) = (fault["pointer"].as_str()?, fault["detail"].as_str()?);
                Some(format!("{}: {why}", at.trim_start_matches('/')))
            });
            let faults: Vec<_> = faults.collect();
            let detail = if faults.is_empty() {
                detail.to_owned()
            } else {
                faults.join("; ")
            };
            bail!("{status}: {detail}");
        }
        Ok(json)
    }

    /// The URL of the admin listener.
    fn base(&self) -> anyhow::Result<String> {
        if let Some(url) = &self.admin_url {
            return Ok(url.clone());
        }
        let listen = self.file.load_for_mapping()?.server.admin_listen;
        ensure!(
            listen.port() != 0,
            "server.admin_listen leaves the port to the system: give the service's as --admin-url"
        );
        Ok(own_url(listen))
    }

    fn token(&self) -> anyhow::Result<Option<SecretString>> {
        let Some(file) = &self.token_file else {
            let mut variables = environment();
            let token = variables.find(|(name, _)| name == "PURGEFRONT_API_TOKEN");
            return Ok(token.map(|(_, token)| token.into()));
        };
        let text = fs::read_to_string(file)
            .with_context(|| format!("the token file {} cannot be read", file.display()))?;
        Ok(Some(text.trim().into()))
    }
}

/// The URL at which a service listening on `listen` can be reached from the same machine.
pub(super) fn own_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}
