//! `purgefront verify`: runs the checks of `POST /sns` on a message and prints each result.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{ConfigFile, DONE, FAILED, USAGE, complain, complain_of, say};
use crate::{
    app,
    aws::{Fetch as _, HttpFetch, SigningCertificate},
    config::Config,
    domain::{
        sns_message::{Refusal, SnsMessage},
        topic::TopicArn,
    },
};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// A file with the body that SNS posted, or with a Lambda function's event or record.
    message: PathBuf,
    /// The signing certificate; by default, it is fetched.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The time of arrival to assume, such as 2026-11-23T10:00:00Z; by default, now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// The checks, in the service's order.
const CHECKS: [&str; 11] = [
    "JSON",
    "type",
    "topic",
    "fields",
    "version",
    "address",
    "fetch",
    "name",
    "dates",
    "signature",
    "age",
];

pub(super) fn run(arguments: &VerifyArguments) -> u8 {
    let config = match arguments.file.load_for_mapping() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    match verify(arguments, &config) {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(error) => {
            complain(format_args!("{error:#}"));
            USAGE
        }
    }
}

/// Returns whether the service would accept the message.
fn verify(arguments: &VerifyArguments, config: &Config) -> anyhow::Result<bool> {
    let file = &arguments.message;
    let body = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let certificate = arguments
        .cert
        .as_deref()
        .map(read_certificate)
        .transpose()?;
    let body = match as_posted(&body) {
        Some(posted) => posted.to_string().into_bytes(),
        None => body,
    };
    let mut topics: HashSet<TopicArn> = config.sns.topics.iter().cloned().collect();
    if topics.is_empty() {
        say("note: sns.topics is empty, so any topic is taken");
        topics.extend(own_topic(&body));
    }
    let origin = config.sns.emulator.as_ref().map(|one| one.origin.as_str());
    let mut report = Report::default();
    let message = match SnsMessage::parse(&body, false, &topics, origin) {
        Ok(message) => message,
        Err(refusal) => return Ok(report.refuse(&refusal)),
    };
    report.pass_to("fetch");
    say(format_args!("      {}", message.certificate_url().as_str()));
    let pem = match certificate {
        Some(pem) => {
            say(format_args!("note: using the certificate of --cert"));
            pem
        }
        None => match app::block_on(fetch(&message, config))? {
            Ok(pem) => pem,
            Err(why) => return Ok(report.refuse(&Refusal::CertificateUnavailable(why))),
        },
    };
    let certificate = match SigningCertificate::from_pem(&pem) {
        Ok(certificate) => certificate,
        Err(refusal) => return Ok(report.refuse(&refusal)),
    };
    report.pass("fetch");
    let signed = message.string_to_sign();
    let signature = || {
        let version = message.signature_version();
        certificate.check_signature(version, signed.as_bytes(), message.signature())
    };
    let name = || {
        if message.certificate_url().is_emulated() {
            Ok(())
        } else {
            certificate.check_name(message.topic())
        }
    };
    let now = arguments.at.unwrap_or_else(app::now);
    let (oldest, newest) = (config.sns.max_age, config.sns.max_skew);
    for (check, finding) in [
        ("name", name()),
        ("dates", certificate.check_dates(message.timestamp())),
        ("signature", signature()),
        ("age", message.check_age(now, oldest, newest)),
    ] {
        if let Err(refusal) = finding {
            return Ok(report.refuse_at(check, &refusal));
        }
        report.pass(check);
    }
    let mut provided = Vec::new();
    if arguments.cert.is_some() {
        provided.push("SNS serves this certificate at the address above");
    }
    if config.sns.topics.is_empty() {
        provided.push("its topic is in sns.topics");
    }
    if provided.is_empty() {
        say("The message is authentic and would be accepted.");
    } else {
        let provided = provided.join(" and ");
        say(format_args!(
            "The message would be accepted, provided that {provided}."
        ));
    }
    Ok(true)
}

async fn fetch(message: &SnsMessage, config: &Config) -> Result<Vec<u8>, String> {
    let emulator = config.sns.emulator.as_ref();
    let pinned = emulator.map(|one| (one.host.as_str(), one.addresses.as_slice()));
    let fetch = HttpFetch::new(pinned).map_err(|error| error.to_string())?;
    fetch.fetch(message.certificate_url()).await
}

fn read_certificate(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("the certificate {} cannot be read", file.display()))
}

/// Converts a message in the form that a Lambda function receives to the form that SNS posts:
/// takes it out of its record and restores the names of the URL fields. `None` if the body
/// already is in that form.
fn as_posted(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let mut changed = Vec::new();
    if let Some(inner) = body.pointer_mut("/Records/0/Sns") {
        body = inner.take();
        changed.push("Records[0].Sns is the message");
    } else if let Some(inner) = body.get_mut("Sns").filter(|inner| inner.is_object()) {
        body = inner.take();
        changed.push("Sns is the message");
    }
    let fields = body.as_object_mut()?;
    for (twin, name) in [
        ("SigningCertUrl", "SigningCertURL"),
        ("UnsubscribeUrl", "UnsubscribeURL"),
        ("SubscribeUrl", "SubscribeURL"),
    ] {
        if !fields.contains_key(name)
            && let Some(value) = fields.remove(twin)
        {
            fields.insert(name.to_owned(), value);
            changed.push(name);
        }
    }
    if changed.is_empty() {
        return None;
    }
    say(format_args!(
        "note: this is how a Lambda gets it; /sns would refuse this form. Converted to what SNS \
          posts: {}",
        changed.join(", ")
    ));
    Some(body)
}

fn own_topic(body: &[u8]) -> Option<TopicArn> {
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    fields.get("TopicArn")?.as_str()?.parse().ok()
}

#[derive(Default)]
struct Report {
    /// The number of checks that have passed.
    passed: usize,
}

impl Report {
    /// Reports every check before `check` as passed.
    fn pass_to(&mut self, check: &str) {
        while CHECKS[self.passed] != check {
            say(format_args!("ok    {}", CHECKS[self.passed]));
            self.passed += 1;
        }
    }

    fn pass(&mut self, check: &str) {
        self.pass_to(check);
        say(format_args!("ok    {check}"));
        self.passed += 1;
    }

    /// Reports a refusal under the check that it belongs to.
    fn refuse(&mut self, refusal: &Refusal) -> bool {
        let check = match refusal {
            Refusal::NotJson | Refusal::NotAnObject | Refusal::DuplicateKey(_) => "JSON",
            Refusal::UnknownType | Refusal::RawDelivery => "type",
            Refusal::TopicNotAllowed => "topic",
            Refusal::BadField { .. } => "fields",
            Refusal::SignatureVersion => "version",
            Refusal::CertificateUrl(_) => "address",
            Refusal::CertificateUnavailable(_) | Refusal::Certificate(_) => "fetch",
            Refusal::Signature => "signature",
            Refusal::TooOld | Refusal::TokenExpired | Refusal::FromTheFuture => "age",
        };
        self.refuse_at(check, refusal)
    }

    /// Reports that `check` failed and that the rest was skipped. Always returns false.
    fn refuse_at(&mut self, check: &str, refusal: &Refusal) -> bool {
        self.pass_to(check);
        say(format_args!(
            "WRONG {check}: {refusal} ({})",
            refusal.slug()
        ));
        for left in &CHECKS[self.passed + 1..] {
            say(format_args!("-     {left}: not looked at"));
        }
        false
    }
}
