//! Clients for both listeners of a running service.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use reqwest::{Method, Response, StatusCode, header::RETRY_AFTER, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::{ConfigFile, UsageFault, environment};
use crate::{app, config::Config};

const CONNECT: Duration = Duration::from_secs(5);
/// For a whole call. The service itself gives up sooner.
const WHOLE: Duration = Duration::from_mins(1);
/// The most bytes of an answer, so that whatever answers cannot fill the memory.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct AdminClient {
    /// The admin listener of the running service; by default, the `server.admin_listen` of the
    /// configuration.
    #[arg(
        long,
        env = "PURGEFRONT_ADMIN_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    admin_url: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    token: Token,
}

/// The public listener of a running service.
#[derive(Debug, Args)]
pub(super) struct ApiClient {
    /// The running service; by default, the `server.listen` of the configuration.
    #[arg(
        long,
        env = "PURGEFRONT_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: Option<String>,
    #[command(flatten)]
    token: ApiToken,
}

#[derive(Debug, Args)]
struct ApiToken {
    /// A file with an API token. Default: the value of `PURGEFRONT_API_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ApiToken {
    fn read(&self) -> anyhow::Result<Option<SecretString>> {
        let token_file = self.token_file.clone();
        Token { token_file }.read()
    }
}

#[derive(Debug, Args)]
struct Token {
    /// A file with an API token; the admin listener needs none if it is on a loopback address. Default:
    /// the value of `PURGEFRONT_API_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ApiClient {
    pub(super) fn session(&self, config: &Config) -> anyhow::Result<Session> {
        let base = match &self.url {
            Some(url) => url.clone(),
            None => listening(config)?,
        };
        self.session_at(&base)
    }

    /// For commands that need nothing of the configuration but the address.
    pub(super) fn session_from(&self, file: &ConfigFile) -> anyhow::Result<Session> {
        let base = match &self.url {
            Some(url) => url.clone(),
            None => listening(&file.load_for_mapping()?)?,
        };
        self.session_at(&base)
    }

    fn session_at(&self, base: &str) -> anyhow::Result<Session> {
        Session::new(
            base,
            self.token.read()?,
            "--url (or PURGEFRONT_URL, or else server.listen)",
        )
    }
}

/// The URL of the public listener.
fn listening(config: &Config) -> anyhow::Result<String> {
    let listen = config.server.listen;
    ensure!(
        listen.port() != 0,
        "server.listen leaves the port to the system: give the service's as --url"
    );
    Ok(own_url(listen))
}

impl AdminClient {
    /// Makes a call and returns the response's JSON, or null if it has none.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let session = self.session()?;
        let body = body.map(|body| body.to_string());
        app::block_on(session.send(method, path, body))??.success()
    }

    /// For more than one call.
    pub(super) fn session(&self) -> anyhow::Result<Session> {
        Session::new(
            &self.base()?,
            self.token.read()?,
            "--admin-url (or PURGEFRONT_ADMIN_URL, or else server.admin_listen)",
        )
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
}

impl Token {
    fn read(&self) -> anyhow::Result<Option<SecretString>> {
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

/// What is special about a call.
#[derive(Debug, Default)]
pub(super) struct Terms<'a> {
    /// With the same key, the call can be repeated safely.
    pub(super) idempotency_key: Option<&'a str>,
    /// The time for the whole call, if it is less than a minute.
    pub(super) most: Option<Duration>,
}

/// Where a listener is reached.
pub(super) struct Address(Url);

impl Address {
    /// `settings` are those that say the address. The fault quotes nothing: there may be a password.
    pub(super) fn read(text: &str, settings: &str) -> Result<Self, UsageFault> {
        match Url::parse(text) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(Self(url)),
            _ => Err(UsageFault(format!(
                "{settings} must be a URL with http:// or https://, such as http://127.0.0.1:8080"
            ))),
        }
    }

    /// The URL of a path, with its query.
    pub(super) fn with(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }

    /// The same to be printed: without a user and a password.
    pub(super) fn shown(&self, path: &str) -> String {
        let mut url = self.0.clone();
        // They fail only for URLs without a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self(url).with(path)
    }
}

/// Calls of one listener.
pub(super) struct Session {
    http: reqwest::Client,
    address: Address,
    token: Option<SecretString>,
    /// The settings that say where the listener is.
    settings: &'static str,
}

impl Session {
    fn new(
        base: &str,
        token: Option<SecretString>,
        settings: &'static str,
    ) -> anyhow::Result<Self> {
        Self::patient(base, token, settings, WHOLE)
    }

    fn patient(
        base: &str,
        token: Option<SecretString>,
        settings: &'static str,
        whole: Duration,
    ) -> anyhow::Result<Self> {
        // No proxy: the service is on this machine or in its network. No redirects: it sends none, so
        // they are another's.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(whole);
        Ok(Self {
            address: Address::read(base, settings)?,
            http: http.build()?,
            token,
            settings,
        })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<Answer> {
        self.send_with(method, path, body, &Terms::default()).await
    }

    /// Sends a request on terms of its own.
    pub(super) async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        terms: &Terms<'_>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method, self.address.with(path));
        let url = self.address.shown(path);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        if let Some(key) = terms.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(most) = terms.most {
            request = request.timeout(most.min(WHOLE));
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let answer = answer.with_context(|| {
            format!(
                "the service does not answer at {url}; is {} right?",
                self.settings
            )
        })?;
        let status = answer.status();
        let seconds = answer.headers().get(RETRY_AFTER);
        let seconds = seconds.and_then(|text| text.to_str().ok()?.trim().parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let text = text_of(answer)
            .await
            .with_context(|| format!("the answer of {url} cannot be read"))?;
        let json = serde_json::from_slice(&text).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            retry_after,
            json,
        })
    }
}

async fn text_of(mut answer: Response) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        ensure!(
            text.len() + chunk.len() <= LONGEST_ANSWER,
            "it is longer than any of purgefront"
        );
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// A response, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// After how long the service wants to be asked again, if it says so.
    pub(super) retry_after: Option<Duration>,
    /// Null if it has none.
    pub(super) json: Value,
}

impl Answer {
    /// The body of a success; otherwise the problem as an error.
    pub(super) fn success(self) -> anyhow::Result<Value> {
        if self.status.is_success() {
            Ok(self.json)
        } else {
            Err(self.failure())
        }
    }

    /// The short name of the problem; empty if it is none.
    pub(super) fn problem(&self) -> &str {
        let kind = self.json["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:purgefront:problem:")
            .unwrap_or_default()
    }

    /// The problem in words, with all faults.
    pub(super) fn failure(&self) -> anyhow::Error {
        let Self { status, json, .. } = self;
        let detail = json["detail"].as_str().unwrap_or("no reason given");
        let faults = json["errors"].as_array().into_iter().flatten();
        let faults = faults.filter_map(|fault| {
            let (at, why) = (fault["pointer"].as_str()?, fault["detail"].as_str()?);
            Some(format!("{}: {why}", at.trim_start_matches('/')))
        });
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() {
            anyhow!("{status}: {detail}")
        } else {
            anyhow!("{status}: {}", faults.join("; "))
        }
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn asked(listener: &TcpListener, whole: Duration) -> anyhow::Result<Answer> {
        let base = own_url(listener.local_addr().unwrap());
        let session = Session::patient(&base, None, "--admin-url", whole).unwrap();
        app::block_on(session.send(Method::GET, "/deadletters", None)).unwrap()
    }

    #[test]
    fn a_service_that_says_nothing_is_not_waited_for_forever() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = asked(&silent, Duration::from_millis(100)).err().unwrap();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    #[test]
    fn an_endless_answer_is_not_read_to_its_end() {
        let endless = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = endless.try_clone().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let block = vec![b' '; 1024 * 1024];
            // Until the client has gone.
            while stream.write_all(&block).is_ok() {}
        });
        let error = asked(&endless, WHOLE).err().unwrap();
        assert!(format!("{error:#}").contains("longer than any"), "{error}");
        server.join().unwrap();
    }
}
