//! `[[notify]]`: who is told of completed and failed invalidations and of dead letters.

use std::{fmt, fs, net::IpAddr, path::PathBuf};

use serde::Deserialize;
use url::{Host, Url};

use super::{Purpose, Reader, tables};
use crate::{
    addresses::is_global,
    domain::notice::{NoticeKind, UnknownKind},
    secret::{SigningSecret, sha256},
};

const KEY: &str = "notify";
/// The most secrets of one target.
const MOST_SECRETS: usize = 8;
/// In bytes.
const MOST_NAME: usize = 100;

/// A valid `[[notify]]`.
#[derive(Clone)]
pub struct NotifyConfig {
    /// Identifies the target across restarts: a hash of its name or, without one, of the URL.
    pub key: String,
    /// Scheme, host and port of the URL.
    pub origin: String,
    /// The host as the URL has it.
    pub host: String,
    /// May be secret.
    pub url: String,
    /// Empty for commands that send nothing.
    pub secrets: Vec<SigningSecret>,
    pub events: Vec<NoticeKind>,
    /// `None` means all.
    pub distributions: Option<Vec<String>>,
    pub allow_private: bool,
}

impl fmt::Debug for NotifyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyConfig")
            .field("origin", &self.origin)
            .field("events", &self.events)
            .field("distributions", &self.distributions)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// `[[notify]]` as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTarget {
    name: Option<String>,
    url: String,
    secret_file: PathBuf,
    events: Option<Vec<String>>,
    distributions: Option<Vec<String>>,
    #[serde(default)]
    allow_private: bool,
}

impl NotifyConfig {
    pub(super) fn read(reader: &mut Reader, purpose: Purpose) -> Vec<Self> {
        let wanted = "[[notify]] tables in the file, each with a url, a secret_file and optionally \
                      name, events, distributions and allow_private";
        let mut read: Vec<Self> = Vec::new();
        for (index, written) in tables::numbered_secret_tables(reader, KEY, wanted) {
            match Self::check(written, purpose) {
                Ok(one) if read.iter().any(|other| other.key == one.key) => {
                    reader.refuse_at(
                        KEY,
                        index,
                        "another [[notify]] has the same name, or the same url and no name",
                    );
                }
                Ok(one) => read.push(one),
                Err(faults) => {
                    for fault in faults {
                        reader.refuse_at(KEY, index, fault);
                    }
                }
            }
        }
        read
    }

    fn check(written: WrittenTarget, purpose: Purpose) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let url = check_url(&written.url, written.allow_private);
        let url = url.map_err(|fault| faults.push(format!("url: {fault}")));
        let events = check_events(written.events);
        let events = events.map_err(|fault| faults.push(format!("events: {fault}")));
        let ids = written.distributions.as_ref();
        if ids.is_some_and(|ids| ids.is_empty() || ids.iter().any(String::is_empty)) {
            faults.push("distributions: must be ids; leave it out to mean all".to_owned());
        }
        let name = written.name.as_deref();
        if name.is_some_and(|name| !(1..=MOST_NAME).contains(&name.len())) {
            faults.push(format!("name: must have 1 to {MOST_NAME} bytes"));
        }
        // Whoever runs another command may have no right to read it.
        let secrets = match purpose {
            Purpose::Mapping => Ok(Vec::new()),
            Purpose::Service => read_secrets(&written.secret_file)
                .map_err(|fault| faults.push(format!("secret_file: {fault}"))),
        };
        match (url, events, secrets) {
            (Ok(url), Ok(events), Ok(secrets)) if faults.is_empty() => Ok(Self {
                key: key(name, &url),
                origin: url.origin().ascii_serialization(),
                host: url.host_str().unwrap_or_default().to_owned(),
                url: url.into(),
                secrets,
                events,
                distributions: written.distributions,
                allow_private: written.allow_private,
            }),
            _ => Err(faults),
        }
    }
}

fn key(name: Option<&str>, url: &Url) -> String {
    // A URL has no space, so it is nobody's name.
    let identity = name.map_or_else(|| url.to_string(), |name| format!("name {name}"));
    hex::encode(sha256(identity.as_bytes()))
}

/// The faults do not quote the URL, because it may be secret.
fn check_url(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let (is_loopback, address) = match url.host() {
        Some(Host::Domain(name)) => (name == "localhost", None),
        Some(Host::Ipv4(address)) => (address.is_loopback(), Some(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => (address.is_loopback(), Some(IpAddr::V6(address))),
        None => return Err("it has no host".to_owned()),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err("must be https: http is for loopback addresses only".to_owned()),
        _ => return Err("must be https".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user, password or fragment".to_owned());
    }
    if !allow_private && (is_loopback || address.is_some_and(|address| !is_global(address))) {
        return Err("its address is private, which needs allow_private = true".to_owned());
    }
    Ok(url)
}

fn check_events(names: Option<Vec<String>>) -> Result<Vec<NoticeKind>, UnknownKind> {
    let Some(names) = names else {
        return Ok(NoticeKind::ALL.into());
    };
    if names.is_empty() {
        return Err(UnknownKind);
    }
    names.iter().map(|name| name.parse()).collect()
}

/// Reads one secret a line.
fn read_secrets(file: &PathBuf) -> Result<Vec<SigningSecret>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let secrets = lines.map(|(at, line)| {
        let wanted = || format!("line {} is not {}", at + 1, SigningSecret::WANTED);
        SigningSecret::read(line).ok_or_else(wanted)
    });
    let secrets: Vec<_> = secrets.collect::<Result<_, _>>()?;
    if (1..=MOST_SECRETS).contains(&secrets.len()) {
        Ok(secrets)
    } else {
        Err(format!(
            "must have 1 to {MOST_SECRETS} lines, each {}",
            SigningSecret::WANTED
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;
    use crate::config::Config;

    const TOPICS: &str = "[sns]\ntopics = [\"arn:aws:sns:us-east-1:123456789012:t\"]\n";

    fn secrets(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn secret(byte: u8) -> String {
        format!("whsec_{}\n", STANDARD.encode([byte; 32]))
    }

    fn table(url: &str, file: &Path, more: &str) -> String {
        let file = file.display();
        format!("[[notify]]\nurl = \"{url}\"\nsecret_file = \"{file}\"\n{more}\n")
    }

    fn parse(tables: &str) -> Result<Vec<NotifyConfig>, String> {
        let config = Config::parse(&format!("{TOPICS}{tables}"), Vec::new());
        let notify = config.map(|config| config.notify);
        notify.map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_target_has_a_url_and_secrets() {
        let file = secrets(&format!("{}\n{}", secret(1), secret(2)));
        let url = "https://hooks.example.com/secret-path?a=1";
        let more = "events = [\"dead_letter\"]\ndistributions = [\"E1\"]";
        let read = parse(&table(url, file.path(), more)).unwrap();
        let [one] = read.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(one.url, url);
        assert_eq!(one.origin, "https://hooks.example.com");
        assert_eq!(one.secrets.len(), 2);
        assert_eq!(one.events, [NoticeKind::DeadLetter]);
        assert_eq!(one.distributions.as_deref(), Some(&["E1".to_owned()][..]));
        assert!(!format!("{one:?}").contains("secret-path"));
        let named = |url: &str| {
            let read = parse(&table(url, file.path(), "name = \"ops\"")).unwrap();
            read[0].key.clone()
        };
        assert_eq!(named(url), named("https://example.com"));
        assert_ne!(named(url), one.key);
        let all = parse(&table("https://example.com", file.path(), "")).unwrap();
        assert_eq!(all[0].events, NoticeKind::ALL);
        assert!(!all[0].allow_private);
    }

    #[test]
    fn an_address_is_public_unless_it_may_be_private() {
        for (url, public, private) in [
            ("https://example.com", true, true),
            ("https://8.8.8.8/x", true, true),
            ("https://10.1.2.3/x", false, true),
            ("https://169.254.169.254/latest", false, true),
            ("https://[::ffff:10.1.2.3]/x", false, true),
            ("https://0x7f000001/x", false, true),
            ("https://localhost/x", false, true),
            ("http://localhost:8000/x", false, true),
            ("http://127.0.0.1:8000/x", false, true),
            ("http://[::1]:8000/x", false, true),
            ("http://10.1.2.3/x", false, false),
            ("http://example.com/x", false, false),
            ("https://user:pass@example.com/x", false, false),
            ("https://example.com/#x", false, false),
            ("ftp://example.com/x", false, false),
            ("example.com", false, false),
        ] {
            assert_eq!(check_url(url, false).is_ok(), public, "{url}");
            assert_eq!(check_url(url, true).is_ok(), private, "{url}");
        }
    }

    #[test]
    fn all_faults_are_told_without_what_may_be_secret() {
        let (good, bad) = (secrets(&secret(1)), secrets("whsec_c2hvcnQ=\n"));
        let text = [
            table(
                "http://example.com/secret-path",
                bad.path(),
                "events = [\"x\"]",
            ),
            table(
                "https://example.com",
                Path::new("no/such/file"),
                "distributions = []",
            ),
            table("https://example.com/a", good.path(), "other = 1"),
            table("https://example.com/b", good.path(), ""),
            table("https://example.com/b", good.path(), ""),
            table("https://example.com/c", secrets("\n").path(), ""),
        ];
        let told = parse(&text.concat()).unwrap_err();
        for part in [
            "url: must be https",
            "secret_file: line 1 is not whsec_",
            "events: an event is one of",
            "secret_file: cannot be read",
            "distributions: must be ids",
            "an unknown key",
            "notify 5",
            "another [[notify]] has the same name, or the same url and no name",
            "notify 6",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(
            !told.contains("secret-path") && !told.contains("c2hvcnQ"),
            "{told}"
        );
    }

    #[test]
    fn a_command_that_sends_nothing_reads_no_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = table("https://example.com", Path::new("no/such/file"), "");
        fs::write(file.path(), text).unwrap();
        let config = Config::load_for_mapping(Some(file.path()), Vec::new()).unwrap();
        assert!(config.notify[0].secrets.is_empty());
    }
}
