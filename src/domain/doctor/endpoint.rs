//! The endpoint, as SNS meets it.

use super::{Check, Finding, Level};

/// What came of asking the endpoint, like a client that knows nothing but the public CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// The status of its health check.
    Answered(u16),
    /// TLS failed.
    Untrusted(String),
    /// No connection, or no answer in time.
    Not(String),
}

/// What the endpoint answers to a message that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The `type` of its problem+json, if that is what it is.
    pub problem: Option<String>,
}

/// Judges whether SNS can deliver to the endpoint. `emulated` says that no real SNS is used.
pub fn reachable(endpoint: &str, emulated: bool, reached: &Reached) -> Finding {
    let check = Check::EndpointReachable;
    let what = format!("endpoint {endpoint}");
    let is_plain = endpoint.starts_with("http://");
    if is_plain && !emulated {
        let why = "is not HTTPS: everybody on the way can read the messages and the password";
        return Finding::failure(check, what, why).mended_by(
            "put something before purgefront that terminates TLS with a certificate of a public CA, \
             and subscribe the https:// URL",
        );
    }
    match reached {
        Reached::Answered(200) if is_plain => {
            Finding::warning(check, what, "answers, but without TLS")
                .mended_by("this is for emulators alone (sns.emulator)")
        }
        Reached::Answered(200) => Finding::ok(check, what, "answers over TLS that is trusted"),
        Reached::Answered(status @ 300..=399) => Finding::failure(
            check,
            what,
            format!("its /healthz answers {status}, but SNS follows no redirects"),
        )
        .mended_by("subscribe the URL that it redirects to"),
        Reached::Answered(status) => Finding::failure(
            check,
            what,
            format!("its /healthz answers {status} instead of 200"),
        )
        .mended_by("start purgefront, and check that what stands before it passes /healthz on"),
        Reached::Untrusted(text) => {
            Finding::failure(check, what, format!("its certificate is not trusted: {text}"))
                .mended_by(
                    "give it a certificate of a public CA for this host name, with all intermediate \
                     certificates; SNS accepts no other",
                )
        }
        Reached::Not(text) => Finding::failure(check, what, format!("cannot be reached: {text}"))
            .mended_by(
                "check DNS, firewall and load balancer: SNS comes from the public internet; run this \
                 where the internet can be reached",
            ),
    }
}

/// Judges whether it is purgefront that answers there.
pub fn is_purgefront(endpoint: &str, answer: &Result<Answer, String>) -> Finding {
    let check = Check::EndpointPurgefront;
    let what = format!("endpoint {endpoint}");
    let mend = "subscribe the URL whose path is passed on to purgefront's /sns";
    match answer {
        Ok(Answer {
            status: 400 | 401,
            problem: Some(problem),
        }) if problem.starts_with("urn:purgefront:problem:") => {
            Finding::ok(check, what, "purgefront takes messages there")
        }
        Ok(Answer {
            status,
            problem: Some(problem),
        }) if problem.starts_with("urn:purgefront:problem:") => {
            let why = format!("purgefront answers {status} ({problem}) to messages there");
            let finding = Finding::failure(check, what, why);
            match status {
                404 | 405 => finding.mended_by(mend),
                _ => finding.mended_by("see its /readyz on the admin listener"),
            }
        }
        Ok(Answer { status, .. }) => {
            let why = format!("something else than purgefront answers {status} there");
            Finding::failure(check, what, why).mended_by(mend)
        }
        Err(text) => {
            let why = format!("skipped, because it does not answer: {text}");
            Finding::new(check, Level::Skipped, what, why)
        }
    }
}
