//! The configuration: every key, its default, and what it may be.

mod emulator;
mod limits;
mod mapping;
mod reader;
mod sns;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::secret::SecretHash;

pub use emulator::Emulator;
pub use limits::Limits;
pub use mapping::Mapping;
pub use reader::ConfigErrors;
use reader::Reader;
pub use sns::Sns;

/// Read where no other file is named, if it exists.
const DEFAULT_FILE: &str = "purgefront.toml";
/// One token that may do everything, from the environment.
const TOKEN_VARIABLE: &str = "PURGEFRONT_API_TOKEN";
const SHORTEST_TOKEN: usize = 16;

/// A configuration that was found right.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and how it stops.
    pub server: Server,
    /// Where it keeps what it accepted.
    pub store: Store,
    /// Whose messages it believes.
    pub sns: Sns,
    /// What invalidates.
    pub events: Events,
    /// How it learns of distributions.
    pub catalogue: Catalogue,
    /// What the site's owner says of mapping.
    pub mapping: Mapping,
    /// When a distribution is due.
    pub batching: Batching,
    /// What is planned at once.
    pub planning: Planning,
    /// Whether anything is sent at all.
    pub dispatch: Dispatch,
    /// `CloudFront`'s limits.
    pub limits: Limits,
    /// Who may use the API.
    pub api: Api,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The operators' listener.
    pub admin_listen: SocketAddr,
    /// After SIGTERM, requests are still taken for this long, while readiness fails;
    pub drain: Duration,
    /// then what is in hand may end within this.
    pub grace: Duration,
    /// Connections at once, on each listener; more wait to be accepted.
    pub max_connections: usize,
    /// How long a connection may be idle, and how long a request's headers may take.
    pub idle_timeout: Duration,
    /// Requests in hand at once; more are answered 503 at once.
    pub max_requests: usize,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// The SQLite file, from `store.url`.
    pub path: PathBuf,
    /// How long history is kept.
    pub keep: Duration,
}

/// `[events]`
#[derive(Debug, Clone)]
pub struct Events {
    /// Event names, or their beginnings followed by `*`.
    pub invalidate_on: Vec<String>,
}

/// `[catalogue]`
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// How often it is read.
    pub refresh: Duration,
}

/// `[batching]`
#[derive(Debug, Clone)]
pub struct Batching {
    /// A distribution is due when it was quiet for so long,
    pub quiet: Duration,
    /// or when its first waiting change waited so long.
    pub max_wait: Duration,
}

/// `[planning]`
#[derive(Debug, Clone)]
pub struct Planning {
    /// How many waiting changes are planned at once.
    pub window: usize,
}

/// `[dispatch]`
#[derive(Debug, Clone, Copy)]
pub struct Dispatch {
    /// Plan and record everything, send nothing.
    pub shadow: bool,
}

/// `[[api.tokens]]` and `PURGEFRONT_API_TOKEN`
#[derive(Debug, Clone)]
pub struct Api {
    /// The tokens that may use the API.
    pub tokens: Vec<Token>,
}

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Service,
    Mapping,
}

/// A token that may use the API: never itself, only its hash.
#[derive(Debug, Clone)]
pub struct Token {
    /// What history calls whoever used it.
    pub name: String,
    /// The SHA-256 of the token.
    pub sha256: SecretHash,
    /// The only distributions that it may see and act on; `None`: all.
    pub distributions: Option<Vec<String>>,
}

impl Config {
    /// Reads the same, for those who only want to know where keys lead: no topic is needed.
    pub fn load_for_mapping(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_for(Purpose::Mapping, file, environment)
    }

    /// Reads `file` (by default `purgefront.toml`, where it exists) and the environment,
    /// which goes first; or says everything that is wrong with them.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_for(Purpose::Service, file, environment)
    }

    /// Reads the same out of what stands in the file, without looking for one.
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
        let config = Self {
            server: Server::read(&mut reader),
            store: Store::read(&mut reader),
            sns: Sns::read(&mut reader, purpose),
            events: Events::read(&mut reader),
            catalogue: Catalogue {
                refresh: positive(&mut reader, "catalogue.refresh", Duration::from_mins(10)),
            },
            mapping: Mapping::read(&mut reader),
            batching: Batching::read(&mut reader),
            planning: Planning {
                window: at_least_one(&mut reader, "planning.window", 100_000),
            },
            dispatch: Dispatch::read(&mut reader),
            limits: Limits::read(&mut reader),
            api: Api::read(&mut reader, token.as_deref()),
        };
        // What is forgotten is no longer known for a duplicate.
        let replayable = config.sns.max_age.saturating_add(config.sns.max_skew);
        if config.store.keep < replayable {
            reader.refuse(
                "store.keep",
                "less than sns.max_age and sns.max_skew together, so that a message could be \
                 taken twice: keep history for longer, or believe messages for less long",
            );
        }
        reader.finish()?;
        Ok(config)
    }
}

impl Server {
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
            reader.refuse(
                "server.admin_listen",
                "the same address as server.listen: give the operators' listener a port of its own",
            );
        }
        server
    }
}

impl Store {
    fn read(reader: &mut Reader) -> Self {
        let wanted = "\"sqlite://\" and the path of a file on a local disk";
        let default = PathBuf::from("purgefront.db");
        let path = reader.take_with("store.url", wanted, default, |value| {
            let path = value.as_str().and_then(|url| url.strip_prefix("sqlite://"));
            match path {
                Some(path) if !path.is_empty() && !path.contains('?') => Ok(path.into()),
                Some(_) => Err("it names no file".to_owned()),
                None => Err("not a store that this version knows".to_owned()),
            }
        });
        let keep = positive(reader, "store.keep", Duration::from_hours(30 * 24));
        Self { path, keep }
    }
}

impl Events {
    fn read(reader: &mut Reader) -> Self {
        let default = [
            "ObjectCreated:*",
            "ObjectRemoved:*",
            "LifecycleExpiration:*",
            "ReducedRedundancyLostObject",
            "ObjectRestore:Completed",
            "ObjectRestore:Delete",
            "ObjectAcl:Put",
        ];
        let wanted = "a list of S3 event names, each with or without a * at its end";
        let default = default.map(str::to_owned).to_vec();
        let key = "events.invalidate_on";
        let invalidate_on = reader.take::<Vec<String>>(key, wanted, default);
        for pattern in &invalidate_on {
            let stem = pattern.strip_suffix('*').unwrap_or(pattern);
            if stem.is_empty() || !stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':') {
                reader.refuse(key, format!("{pattern:?} is no event name: give {wanted}"));
            }
        }
        Self { invalidate_on }
    }
}

impl Batching {
    fn read(reader: &mut Reader) -> Self {
        let batching = Self {
            quiet: reader.take_duration("batching.quiet", Duration::from_secs(1)),
            max_wait: reader.take_duration("batching.max_wait", Duration::from_secs(10)),
        };
        if batching.quiet > batching.max_wait {
            reader.refuse(
                "batching.quiet",
                "longer than batching.max_wait, so it would never end a wait: make it shorter",
            );
        }
        batching
    }
}

impl Dispatch {
    fn read(reader: &mut Reader) -> Self {
        let wanted = "\"live\" or \"shadow\"";
        let shadow = reader.take_with("dispatch.mode", wanted, false, |value| {
            match value.as_str() {
                Some("live") => Ok(false),
                Some("shadow") => Ok(true),
                _ => Err("not a mode".to_owned()),
            }
        });
        Self { shadow }
    }
}

/// `[[api.tokens]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    name: String,
    sha256: String,
    distributions: Option<Vec<String>>,
}

impl Api {
    fn read(reader: &mut Reader, token: Option<&str>) -> Self {
        let key = "api.tokens";
        let wanted = "[[api.tokens]] tables in the file, each with a name, the sha256 of a token and, \
                      where it is limited, distributions";
        let written: Vec<WrittenToken> = reader.take_secret(key, wanted, Vec::new());
        let mut tokens: Vec<Token> = Vec::new();
        for WrittenToken {
            name,
            sha256,
            distributions,
        } in written
        {
            if name.is_empty() || tokens.iter().any(|token| token.name == name) {
                reader.refuse(
                    key,
                    format!("{name:?} is no name of its own: give each token one"),
                );
            }
            match SecretHash::from_hex(&sha256) {
                Some(sha256) => tokens.push(Token {
                    name,
                    sha256,
                    distributions,
                }),
                None => reader.refuse(
                    key,
                    format!(
                        "the sha256 of {name:?} is not 64 hex digits: purgefront token makes \
                             a token and its table"
                    ),
                ),
            }
        }
        if let Some(token) = token {
            if token.len() < SHORTEST_TOKEN {
                let text = format!(
                    "shorter than {SHORTEST_TOKEN} characters: give a longer one, \
                                    such as the output of openssl rand -hex 32"
                );
                reader.refuse(TOKEN_VARIABLE, text);
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let text = "a character that no request can show: give letters, digits and \
                            signs, without spaces and line ends";
                reader.refuse(TOKEN_VARIABLE, text);
            }
            tokens.push(Token {
                name: TOKEN_VARIABLE.to_owned(),
                sha256: SecretHash::of(token.as_bytes()),
                distributions: None,
            });
        }
        Self { tokens }
    }
}

fn positive(reader: &mut Reader, key: &str, default: Duration) -> Duration {
    let duration = reader.take_duration(key, default);
    if duration.is_zero() {
        reader.refuse(key, "zero: give a longer time");
    }
    duration
}

/// A whole number of something that has to be there at all.
fn at_least_one<T>(reader: &mut Reader, key: &str, default: T) -> T
where
    T: DeserializeOwned + Default + PartialEq,
{
    let number = reader.take(key, "a whole number from 1", default);
    if number == T::default() {
        reader.refuse(
            key,
            "zero would stop everything: give a whole number from 1",
        );
    }
    number
}

#[cfg(test)]
mod tests;
