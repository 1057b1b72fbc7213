//! Whose credentials these are, and whether the clock is right.

use std::time::Duration;

use jiff::Timestamp;

use super::{Check, Finding, Seen, Unseen};
use crate::domain::{
    cdn::{CdnError, Missing},
    topic::TopicArn,
};

/// Whose credentials these are, as AWS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub account: String,
    /// The ARN of a user, or of a role's session.
    pub arn: String,
    /// The time by AWS's clock.
    pub date: Option<Timestamp>,
}

/// What is tolerable, but not right.
const NOTICED: Duration = Duration::from_mins(1);

pub fn credentials(seen: &Seen<Identity>) -> Finding {
    let what = "AWS credentials";
    match seen {
        Ok(identity) => Finding::ok(Check::Credentials, what, format!("of {}", identity.arn)),
        Err(Unseen::Credentials(text)) => Finding::failure(Check::Credentials, what, text).mended_by(
            "provide credentials that have not expired, from a source that the AWS SDK supports, such \
             as a role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and check the clock",
        ),
        Err(
            Unseen::Denied(text)
            | Unseen::Missing(text)
            | Unseen::Elsewhere(text)
            | Unseen::Failed(text),
        ) => Finding::failure(Check::Credentials, what, text)
            .mended_by("check network, DNS, HTTPS_PROXY, SSL_CERT_FILE and AWS_ENDPOINT_URL"),
    }
}

/// Whether the topics are in the credentials' account.
pub fn account(identity: &Identity, topics: &[TopicArn]) -> Finding {
    let what = format!("account {}", identity.account);
    let others = topics.iter();
    let others = others.filter(|topic| topic.account() != identity.account);
    let others: Vec<_> = others.map(TopicArn::as_str).collect();
    if others.is_empty() {
        return Finding::ok(Check::Account, what, "has the topics of sns.topics");
    }
    let why = format!("another account has the topics {}", others.join(", "));
    Finding::warning(Check::Account, what, why).mended_by(
        "use credentials of the topics' account, or correct sns.topics; if it is meant so, the other \
         account's topic policy has to allow what is missing below",
    )
}

/// Whether CloudFront can be called for all that the process knows of a region, by why it could not.
pub fn region(failure: Option<&CdnError>) -> Finding {
    let (check, what) = (Check::Region, "AWS region");
    match failure {
        Some(
            error @ CdnError::NotConfigured {
                missing: Missing::Region,
                ..
            },
        ) => Finding::failure(check, what, error.to_string())
            .mended_by("set AWS_REGION for the service, for example to us-east-1"),
        _ => Finding::ok(check, what, "is set"),
    }
}

/// What another party's clock showed, and ours then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    pub ours: Timestamp,
    pub theirs: Timestamp,
    pub whose: &'static str,
}

/// Judges our clock.
pub fn clock(compared: Option<Comparison>, max_skew: Duration) -> Finding {
    let what = "clock of this machine";
    let Some(Comparison {
        ours,
        theirs,
        whose,
    }) = compared
    else {
        let why = "skipped, because neither AWS nor the endpoint has told the time";
        return Finding::skipped(Check::Clock, what, why);
    };
    let skew = ours.duration_since(theirs);
    let seconds = skew.as_secs().unsigned_abs();
    // A date is in whole seconds.
    let why = format!(
        "{seconds} s {} {whose}",
        if skew.is_negative() {
            "behind that of"
        } else {
            "ahead of that of"
        }
    );
    let mend = "synchronize the clock by NTP (chrony or systemd-timesyncd)";
    if Duration::from_secs(seconds) > max_skew {
        let why = format!("{why}: messages are refused beyond sns.max_skew, and AWS refuses calls");
        Finding::failure(Check::Clock, what, why).mended_by(mend)
    } else if Duration::from_secs(seconds) > NOTICED {
        Finding::warning(Check::Clock, what, why).mended_by(mend)
    } else {
        Finding::ok(Check::Clock, what, why)
    }
}
