//! Where the store is: a file, or a database of PostgreSQL.

use std::{fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// The parameters of a URL of PostgreSQL that are known.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// SQLite, for one process.
    File(PathBuf),
    /// PostgreSQL, for several.
    Server(ServerUrl),
}

/// The URL of a database. `Debug` and `Display` hide the password.
#[derive(Clone)]
pub struct ServerUrl {
    url: SecretString,
    shown: String,
}

impl StoreLocation {
    /// Reads `store.url`. The faults do not quote it, because it may have a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return if path.is_empty() || path.contains('?') {
                Err("the URL does not name a file".to_owned())
            } else {
                Ok(Self::File(path.into()))
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return ServerUrl::parse(text).map(Self::Server);
        }
        Err("neither a file of SQLite nor a database of PostgreSQL".to_owned())
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => url.fmt(f),
        }
    }
}

impl ServerUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("not a URL ({error}; in a password, `/`, `?`, `#`, `@`, `:` and `%` are written as %2F, %3F, %23, %40, %3A and %25)")
        })?;
        if url.fragment().is_some() {
            return Err("it has a fragment: a `#` in a password is written as %23".to_owned());
        }
        let database = url.path().trim_start_matches('/');
        if database.contains('/') {
            return Err(
                "it names more than one database: a `/` in a password is written as %2F".to_owned(),
            );
        }
        let host = url.host_str().unwrap_or_default();
        for part in [
            url.username(),
            url.password().unwrap_or_default(),
            host,
            database,
        ] {
            if percent_decode_str(part).decode_utf8().is_err() {
                return Err("an escape such as %FF is not UTF-8".to_owned());
            }
        }
        let mut named_host = None;
        for (name, value) in url.query_pairs() {
            check_parameter(&name, &value)?;
            if name == "host" {
                named_host = Some(value.into_owned());
            }
        }
        let user = match url.username() {
            "" => String::new(),
            user => format!("{user}@"),
        };
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let host = named_host.as_deref().unwrap_or(host);
        Ok(Self {
            shown: format!("postgres://{user}{host}{port}/{database}"),
            url: text.into(),
        })
    }

    /// With the password: to connect, and for nothing else.
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }
}

/// What is not known would be ignored, and may have been meant to protect the connection.
fn check_parameter(name: &str, value: &str) -> Result<(), String> {
    if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
        return Err(format!(
            "it has a parameter that is not known; these are: {} (a `?` in a password is written as %3F)",
            PARAMETERS.join(", ")
        ));
    }
    let allowed = match name {
        "sslmode" => SSL_MODES.contains(&value),
        "port" => value.parse::<u16>().is_ok(),
        "statement-cache-capacity" => value.parse::<usize>().is_ok(),
        _ => true,
    };
    match (allowed, name) {
        (true, _) => Ok(()),
        (false, "sslmode") => Err(format!("its sslmode is none of {}", SSL_MODES.join(", "))),
        (false, "port") => Err("its port is not a number up to 65535".to_owned()),
        (false, _) => Err("its statement-cache-capacity is not a number".to_owned()),
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({})", self.shown)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match StoreLocation::parse(text).unwrap() {
            StoreLocation::Server(url) => {
                assert_eq!(url.expose(), text);
                assert!(!format!("{url:?}").contains("secret"), "{url:?}");
                url.to_string()
            }
            StoreLocation::File(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn a_file_and_a_database_are_told_apart() {
        let file = StoreLocation::parse("sqlite:///var/lib/purgefront.db").unwrap();
        assert!(matches!(&file, StoreLocation::File(path) if path.ends_with("purgefront.db")));
        assert_eq!(file.to_string(), "/var/lib/purgefront.db");
        assert_eq!(shown("postgres://app@db/purge"), "postgres://app@db/purge");
        assert_eq!(shown("postgresql://db"), "postgres://db/");
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, expected) in [
            (
                "postgres://app:secret@db:5433/purge",
                "postgres://app@db:5433/purge",
            ),
            (
                "postgres://app:se%40cret@db/purge?sslmode=verify-full",
                "postgres://app@db/purge",
            ),
            (
                "postgres://db/purge?user=app&password=secret",
                "postgres://db/purge",
            ),
            (
                "postgres:///purge?host=/run/postgresql",
                "postgres:///run/postgresql/purge",
            ),
            (
                "postgres://app@%2Frun%2Fpostgresql/purge",
                "postgres://app@%2Frun%2Fpostgresql/purge",
            ),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn faults_are_told_and_nothing_of_the_url_is() {
        for (url, part) in [
            ("mysql://app:secret@db/purge", "neither"),
            ("sqlite://", "a file"),
            ("sqlite://a?mode=secret", "a file"),
            ("postgres://app:secret@db:port/purge", "not a URL"),
            ("postgres://app:secret#@db/purge", "not a URL"),
            ("postgres://app@db/purge#secret", "fragment"),
            ("postgres://app:/secret@db/purge", "more than one"),
            ("postgres://app/secret@db/purge", "more than one"),
            ("postgres://app:%FFsecret@db/purge", "not UTF-8"),
            ("postgres://app?secret@db/purge", "not known"),
            (
                "postgres://db/purge?connect_timeout=secret",
                "sslmode, sslrootcert",
            ),
            ("postgres://db/purge?sslmode=secret", "verify-full"),
            ("postgres://db/purge?port=secret", "65535"),
            (
                "postgres://db/purge?statement-cache-capacity=secret",
                "not a number",
            ),
        ] {
            let fault = StoreLocation::parse(url).unwrap_err();
            assert!(fault.contains(part), "{url}: {fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }
}
