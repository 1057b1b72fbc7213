//! What `doctor` makes of what it has seen: findings, each with its level, its reason and its mend.

pub mod bucket;
pub mod catalogue;
mod check;
mod contradiction;
pub mod credentials;
pub mod endpoint;
mod mend;
pub mod permission;
pub mod store;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod topic;

use super::topic::TopicArn;

pub use check::Check;
pub use contradiction::settle;
pub use mend::{Command, Mend};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// Not tried, for a reason that another finding or the operator knows.
    Skipped,
    Warning,
    Failure,
}

impl Level {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The result of one check on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    pub level: Level,
    /// What was checked, such as a bucket. Untrusted, like the reason.
    pub what: String,
    pub why: String,
    pub mend: Option<Mend>,
}

impl Finding {
    fn new(check: Check, level: Level, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            check,
            level,
            what: what.into(),
            why: why.into(),
            mend: None,
        }
    }

    pub fn ok(check: Check, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, what, why)
    }

    pub fn skipped(check: Check, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Level::Skipped, what, why)
    }

    pub fn warning(check: Check, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, what, why)
    }

    pub fn failure(check: Check, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Level::Failure, what, why)
    }

    #[must_use]
    pub fn mended_by(mut self, mend: impl Into<Mend>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// A call did not show what this check needs.
    pub fn unseen(check: Check, what: impl Into<String>, unseen: &Unseen) -> Self {
        match unseen {
            Unseen::Denied(text) => Self::warning(check, what, format!("cannot be seen: {text}"))
                .mended_by(
                    "run doctor with an operator's credentials, or grant this permission to these",
                ),
            Unseen::Credentials(text) => Self::skipped(
                check,
                what,
                format!("skipped, because the credentials do not work: {text}"),
            ),
            Unseen::Missing(text) | Unseen::Failed(text) => {
                Self::warning(check, what, format!("cannot be seen: {text}"))
                    .mended_by("repeat this when the call succeeds")
            }
            Unseen::Elsewhere(region) => Self::skipped(
                check,
                what,
                format!("skipped, because it is in another region, {region}"),
            ),
        }
    }
}

/// The result of a call that only reads.
pub type Seen<T> = Result<T, Unseen>;

/// Why something could not be seen. The texts name the permission that the call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    Denied(String),
    /// There are no credentials, or AWS refuses them.
    Credentials(String),
    /// It does not exist.
    Missing(String),
    /// It is in this region.
    Elsewhere(String),
    Failed(String),
}

/// One bucket and the topic that gets its changes, for the commands that connect them.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// Empty if none is known.
    pub bucket: String,
    pub topic: TopicArn,
    /// Where SNS posts to.
    pub endpoint: Option<String>,
    /// Whether SNS has to send a password, which no command line shows.
    pub password: bool,
    /// The configuration file that was named.
    pub config: Option<String>,
}

impl Wiring {
    /// The command that connects the bucket, or repairs what `connect` has set up.
    pub fn connect(&self) -> Command {
        let topic = ["--topic", self.topic.as_str()];
        let command = Command::new(["purgefront", "connect", &self.bucket]).and(topic);
        let command = match &self.endpoint {
            Some(endpoint) if !self.password => command.and(["--endpoint", endpoint]),
            _ => command,
        };
        command.and(["--yes"])
    }

    /// The command that repairs the subscription.
    pub fn subscribe(&self) -> Mend {
        if self.bucket.is_empty() {
            return Mend::Words(format!(
                "connect a bucket: purgefront connect BUCKET --topic {} --endpoint URL",
                self.topic
            ));
        }
        match &self.endpoint {
            Some(endpoint) if self.password => Mend::Words(format!(
                "run this with the file that has the user:password: purgefront connect {} --topic {} \
                 --endpoint {endpoint} --basic-auth-file FILE",
                self.bucket, self.topic
            )),
            _ => self.connect().into(),
        }
    }

    /// The command that delivers what is in a dead-letter queue.
    pub fn redrive(&self, url: &str) -> Command {
        let command = Command::new(["purgefront", "redrive", url]);
        let command = match &self.config {
            Some(file) => command.and(["--config", file]),
            None => command,
        };
        command.and(["--yes"])
    }

    /// What repairs the subscription, with this dead-letter queue.
    pub fn with_queue(&self, queue: &str) -> Mend {
        match (self.subscribe(), &self.endpoint) {
            (Mend::Command(command), Some(_)) => command.and(["--dead-letter-queue", queue]).into(),
            (mend, _) => mend,
        }
    }
}

/// Whether this can be the name of a bucket, and is no option of a command.
pub fn is_bucket_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (3..=255).contains(&text.len())
        && text.bytes().all(allowed)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}
