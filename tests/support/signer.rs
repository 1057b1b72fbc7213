//! Signs messages as SNS does, with a certificate of its own.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::sns::Certificate;

/// The topic of the tests.
pub const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";

/// A key of SNS's, and its certificate.
pub struct Signer {
    key: RsaKeyPair,
    key_pem: String,
    pub certificate_pem: String,
    /// `SimpleNotificationService-<32 hex>.pem`
    pub file_name: String,
}

impl Signer {
    /// As SNS signs in most regions.
    pub fn new() -> Self {
        Self::named("sns.amazonaws.com", (2020, 2040))
    }

    /// With a certificate for this name, that is good from one year to another.
    pub fn named(name: &str, (from, to): (i32, i32)) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate_pem = params.self_signed(&key).unwrap().pem();
        let hash = digest::digest(&digest::SHA256, certificate_pem.as_bytes());
        let hex: String = hash.as_ref()[..16]
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
        Self {
            key: RsaKeyPair::from_pkcs8(key.serialized_der()).unwrap(),
            key_pem: key.serialize_pem(),
            certificate_pem,
            file_name: format!("SimpleNotificationService-{hex}.pem"),
        }
    }

    /// Its certificate, as SNS serves it.
    pub fn certificate(&self) -> Certificate {
        Certificate {
            body: self.certificate_pem.clone().into_bytes(),
            ..Certificate::default()
        }
    }

    /// A notification, signed and published now.
    pub fn notification(&self, text: &str) -> Message<'_> {
        self.message(json!({
            "Type": "Notification",
            "Message": text,
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&secret=1",
        }))
    }

    /// What SNS sends when somebody subscribes us.
    pub fn subscription_confirmation(&self, token: &str) -> Message<'_> {
        self.confirmation("SubscriptionConfirmation", token)
    }

    /// What SNS sends when somebody unsubscribed us.
    pub fn unsubscribe_confirmation(&self, token: &str) -> Message<'_> {
        self.confirmation("UnsubscribeConfirmation", token)
    }

    fn confirmation(&self, kind: &str, token: &str) -> Message<'_> {
        self.message(json!({
            "Type": kind,
            "Message": "You have chosen to subscribe to the topic.",
            "Token": token,
            "SubscribeURL": format!("https://sns.us-east-1.amazonaws.com/?Token={token}"),
        }))
    }

    fn message(&self, mut fields: Value) -> Message<'_> {
        fields["MessageId"] = json!(Uuid::new_v4().to_string());
        fields["TopicArn"] = json!(TOPIC);
        #[expect(
            clippy::disallowed_methods,
            reason = "the service judges the age by real time"
        )]
        let now = Timestamp::now();
        fields["Timestamp"] = json!(sns_time(now));
        fields["SignatureVersion"] = json!("2");
        let url = format!("https://sns.us-east-1.amazonaws.com/{}", self.file_name);
        fields["SigningCertURL"] = json!(url);
        Message {
            signer: self,
            fields,
        }
    }

    fn sign(&self, version: &str, text: &str) -> String {
        let signature = if version == "1" {
            self.sign_with_sha1(text)
        } else {
            let mut signature = vec![0; self.key.public_modulus_len()];
            let random = SystemRandom::new();
            self.key
                .sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                .unwrap();
            signature
        };
        BASE64_STANDARD.encode(signature)
    }

    /// The library verifies SHA-1 but no longer signs with it.
    fn sign_with_sha1(&self, text: &str) -> Vec<u8> {
        let mut key = tempfile::NamedTempFile::new().unwrap();
        key.write_all(self.key_pem.as_bytes()).unwrap();
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha1", "-sign"])
            .arg(key.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the openssl command");
        openssl
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

/// A message that can still be changed, before it is signed or after.
#[derive(Clone)]
pub struct Message<'a> {
    signer: &'a Signer,
    pub fields: Value,
}

impl Message<'_> {
    /// Sets a field before signing.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields[field] = value.into();
        self
    }

    /// Published at another time.
    #[must_use]
    pub fn at(self, time: Timestamp) -> Self {
        self.with("Timestamp", sns_time(time))
    }

    /// The signed body, as SNS posts it.
    pub fn body(&self) -> String {
        let fields = self.signed();
        let lines: Vec<_> = fields
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("  \"{name}\" : {value}"))
            .collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    }

    /// The signed fields, to be tampered with.
    pub fn signed(&self) -> Value {
        let mut fields = self.fields.clone();
        let version = fields["SignatureVersion"]
            .as_str()
            .unwrap_or("2")
            .to_owned();
        fields["Signature"] = json!(self.signer.sign(&version, &string_to_sign(&fields)));
        fields
    }
}

/// Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages"; written
/// down apart from the service's.
fn string_to_sign(fields: &Value) -> String {
    let names: &[&str] = match fields["Type"].as_str() {
        Some("Notification") => &[
            "Message",
            "MessageId",
            "Subject",
            "Timestamp",
            "TopicArn",
            "Type",
        ],
        _ => &[
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ],
    };
    let mut text = String::new();
    for name in names {
        if let Some(value) = fields[name].as_str() {
            writeln!(text, "{name}\n{value}").unwrap();
        }
    }
    text
}

fn sns_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// What S3 publishes: event names and raw keys of one bucket, keys encoded as S3 does.
pub fn s3_records(bucket: &str, records: &[(&str, &str)]) -> String {
    let encoded = records
        .iter()
        .map(|(event, key)| record(event, bucket, &form_encode(key)));
    json!({ "Records": encoded.collect::<Vec<_>>() }).to_string()
}

/// One record, with the key as it stands.
pub fn record(event: &str, bucket: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-23T10:00:00.000Z",
        "eventName": event,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": format!("arn:aws:s3:::{bucket}")},
            "object": {"key": key, "sequencer": "006976B8A6AECEE0CB"},
        },
    })
}

fn form_encode(key: &str) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'*')
        .remove(b' ');
    utf8_percent_encode(key, SET).to_string().replace(' ', "+")
}
