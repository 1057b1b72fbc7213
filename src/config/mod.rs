//! The configuration: every key, its default, and its allowed values.

mod economy;
mod emulator;
mod environment;
mod events;
mod limits;
mod lines;
mod mapping;
mod notify;
mod reader;
pub mod reference;
mod sns;
mod tables;

use std::{fs, io, net::SocketAddr, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    domain::{economy::Economy, store_location::StoreLocation},
    secret::SecretHash,
};

pub use emulator::Emulator;
pub use events::EventsConfig;
pub use limits::LimitsConfig;
pub use mapping::MappingConfig;
pub use notify::NotifyConfig;
pub use reader::ConfigErrors;
use reader::Reader;
pub use sns::SnsConfig;

/// Read if it exists and no other file is given.
const DEFAULT_FILE: &str = "purgefront.toml";
/// The environment variable for one token without restrictions.
const TOKEN_VARIABLE: &str = "PURGEFRONT_API_TOKEN";
/// In characters; also the minimum for the Basic password.
const SHORTEST_TOKEN: usize = 16;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerConfig,
    pub store: StoreConfig,
    pub sns: SnsConfig,
    pub events: EventsConfig,
    pub catalogue: CatalogueConfig,
    pub mapping: MappingConfig,
    pub batching: BatchingConfig,
    pub planning: PlanningConfig,
    pub dispatch: DispatchConfig,
    pub limits: LimitsConfig,
    /// `[economy]`, but for the guard, which is in `mapping`.
    pub economy: Economy,
    pub api: ApiConfig,
    pub notify: Vec<NotifyConfig>,
    /// What is ignored although it looks like a setting.
    pub warnings: Vec<String>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// How long requests are still accepted after SIGTERM, while readiness fails.
    pub drain: Duration,
    /// How long running requests and calls may take to finish after that.
    pub grace: Duration,
    /// Open connections per listener; further ones wait to be accepted.
    pub max_connections: usize,
    /// The longest a connection may be idle, and the longest a request's headers may take.
    pub idle_timeout: Duration,
    /// Requests served at a time; further ones are answered with 503 immediately.
    pub max_requests: usize,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `store.url`
    pub location: StoreLocation,
    /// The retention of history.
    pub keep: Duration,
}

/// `[catalogue]`
#[derive(Debug, Clone)]
pub struct CatalogueConfig {
    /// The interval at which the distributions are read.
    pub refresh: Duration,
}

/// `[batching]`
#[derive(Debug, Clone)]
pub struct BatchingConfig {
    /// A distribution is due when no change has arrived for this long,
    pub quiet: Duration,
    /// or when its oldest waiting change has waited this long.
    pub max_wait: Duration,
}

/// `[planning]`
#[derive(Debug, Clone)]
pub struct PlanningConfig {
    /// The most waiting changes that are planned together.
    pub window: usize,
}

/// `[dispatch]`
#[derive(Debug, Clone, Copy)]
pub struct DispatchConfig {
    /// Plan and record everything, but send nothing.
    pub shadow: bool,
}

/// `[[api.tokens]]` and `PURGEFRONT_API_TOKEN`
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub tokens: Vec<TokenConfig>,
}

/// Which keys are required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Service,
    /// For commands that never receive messages, so `sns.topics` may be empty.
    Mapping,
}

/// An API token. Only its hash is kept.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// Identifies the token in history and logs.
    pub name: String,
    pub sha256: SecretHash,
    /// The distributions that it may see and act on; `None` means all.
    pub distributions: Option<Vec<String>>,
    /// Whether it may ask for wildcards.
    pub wildcards: bool,
}

impl Config {
    /// Like [`Config::load`], but without requiring `sns.topics`: for `plan` and similar commands.
    pub fn load_for_mapping(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_for(Purpose::Mapping, file, environment)
    }

    /// Reads `file` (by default `purgefront.toml`, if it exists) and the environment, which takes
    /// precedence. The error lists every fault, not just the first.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_for(Purpose::Service, file, environment)
    }

    /// Like [`Config::load`], with the contents of the file as `text`.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::read(Purpose::Service, Path::new(DEFAULT_FILE), text, environment)
    }

    fn load_for(
        purpose: Purpose,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => return Err(Reader::unreadable(path, &error.to_string())),
        };
        Self::read(purpose, path, &text, environment)
    }

    fn read(
        purpose: Purpose,
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let environment: Vec<_> = environment.into_iter().collect();
        let token = environment.iter().find(|(name, _)| name == TOKEN_VARIABLE);
        let token = token.map(|(_, token)| token.clone());
        let mut reader = Reader::new(path, text, environment);
        let mut config = Self {
            server: ServerConfig::read(&mut reader),
            store: StoreConfig::read(&mut reader),
            sns: SnsConfig::read(&mut reader, purpose),
            events: EventsConfig::read(&mut reader),
            catalogue: CatalogueConfig {
                refresh: positive(&mut reader, "catalogue.refresh", Duration::from_mins(10)),
            },
            mapping: MappingConfig::read(&mut reader),
            batching: BatchingConfig::read(&mut reader),
            planning: PlanningConfig {
                window: at_least_one(&mut reader, "planning.window", 100_000),
            },
            dispatch: DispatchConfig::read(&mut reader),
            limits: LimitsConfig::read(&mut reader),
            economy: economy::read(&mut reader),
            api: ApiConfig::read(&mut reader, token.as_deref()),
            notify: NotifyConfig::read(&mut reader, purpose),
            warnings: Vec::new(),
        };
        // A message that is deleted from history could be replayed.
        let replayable = config.sns.max_age.saturating_add(config.sns.max_skew);
        if config.store.keep < replayable {
            reader.refuse(
                "store.keep",
                "must be at least sns.max_age plus sns.max_skew, or a message could be replayed \
                   after its record is deleted",
            );
        }
        config.warnings = reader.finish()?;
        Ok(config)
    }
}

impl ServerConfig {
    fn read(reader: &mut Reader) -> Self {
        let address = "an address and a port, such as \"127.0.0.1:8080\"";
        let server = Self {
            listen: reader.take("server.listen", address, ([0, 0, 0, 0], 8080).into()),
            admin_listen: reader.take(
                "server.admin_listen",
                address,
                ([127, 0, 0, 1], 9090).into(),
            ),
            drain: reader.take_duration("server.drain", Duration::from_secs(5)),
            grace: reader.take_duration("server.grace", Duration::from_secs(20)),
            max_connections: at_least_one(reader, "server.max_connections", 4096),
            idle_timeout: positive(reader, "server.idle_timeout", Duration::from_secs(75)),
            max_requests: at_least_one(reader, "server.max_requests", 1024),
        };
        if server.listen == server.admin_listen && server.listen.port() != 0 {
            reader.refuse("server.admin_listen", "must differ from server.listen");
        }
        server
    }
}

impl StoreConfig {
    fn read(reader: &mut Reader) -> Self {
        let wanted = "\"sqlite://\" followed by the path of a file on a local disk, or \
                      \"postgres://user@host/database\"";
        let default = StoreLocation::File("purgefront.db".into());
        let location = reader.take_with("store.url", wanted, default, |value| {
            StoreLocation::parse(value.as_str().ok_or("not a string")?)
        });
        let keep = positive(reader, "store.keep", Duration::from_hours(30 * 24));
        Self { location, keep }
    }
}

impl BatchingConfig {
    fn read(reader: &mut Reader) -> Self {
        let batching = Self {
            quiet: reader.take_duration("batching.quiet", Duration::from_secs(1)),
            max_wait: reader.take_duration("batching.max_wait", Duration::from_secs(10)),
        };
        if batching.quiet > batching.max_wait {
            reader.refuse(
                "batching.quiet",
                "must not be longer than batching.max_wait",
            );
        }
        batching
    }
}

impl DispatchConfig {
    fn read(reader: &mut Reader) -> Self {
        let wanted = "\"live\" or \"shadow\"";
        let shadow = reader.take_with("dispatch.mode", wanted, false, |value| {
            match value.as_str() {
                Some("live") => Ok(false),
                Some("shadow") => Ok(true),
                _ => Err("unknown mode".to_owned()),
            }
        });
        Self { shadow }
    }
}

/// `[[api.tokens]]` as written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    name: String,
    sha256: String,
    distributions: Option<Vec<String>>,
    #[serde(default = "yes")]
    wildcards: bool,
}

fn yes() -> bool {
    true
}

impl ApiConfig {
    fn read(reader: &mut Reader, token: Option<&str>) -> Self {
        let key = "api.tokens";
        let wanted = "[[api.tokens]] tables in the file, each with a name, a sha256 and optionally \
                                    distributions and wildcards";
        let written: Vec<WrittenToken> = tables::secret_tables(reader, key, wanted);
        let mut tokens: Vec<TokenConfig> = Vec::new();
        for WrittenToken {
            name,
            sha256,
            distributions,
            wildcards,
        } in written
        {
            if name.is_empty() || tokens.iter().any(|token| token.name == name) {
                reader.refuse(
                    key,
                    format!("the name {name:?} is empty or repeated: names must be unique"),
                );
            }
            match SecretHash::from_hex(&sha256) {
                Some(sha256) => tokens.push(TokenConfig {
                    name,
                    sha256,
                    distributions,
                    wildcards,
                }),
                None => reader.refuse(
                    key,
                    format!(
                        "the sha256 of {name:?} is not 64 hex digits: `purgefront token` generates \
                              a token and its table"
                    ),
                ),
            }
        }
        if let Some(token) = token {
            if token.len() < SHORTEST_TOKEN {
                let text = format!(
                    "shorter than {SHORTEST_TOKEN} characters: use a longer one, such as the \
                                     output of `openssl rand -hex 32`"
                );
                reader.refuse(TOKEN_VARIABLE, text);
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let text = "contains a character that cannot be sent in a request: only visible \
                                        ASCII characters are allowed";
                reader.refuse(TOKEN_VARIABLE, text);
            }
            tokens.push(TokenConfig {
                name: TOKEN_VARIABLE.to_owned(),
                sha256: SecretHash::of(token.as_bytes()),
                distributions: None,
                wildcards: true,
            });
        }
        Self { tokens }
    }
}

fn positive(reader: &mut Reader, key: &str, default: Duration) -> Duration {
    let duration = reader.take_duration(key, default);
    if duration.is_zero() {
        reader.refuse(key, "must be longer than zero");
    }
    duration
}

fn at_least_one<T>(reader: &mut Reader, key: &str, default: T) -> T
where
    T: DeserializeOwned + Default + PartialEq,
{
    let number = reader.take(key, "a whole number of at least 1", default);
    if number == T::default() {
        reader.refuse(key, "must be at least 1");
    }
    number
}

#[cfg(test)]
mod tests;
