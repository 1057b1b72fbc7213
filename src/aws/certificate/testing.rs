//! A stand-in for SNS's signer in unit tests: an RSA key, certificates for it, and messages
//! signed with it.

use std::collections::HashSet;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::domain::{sns_message::SnsMessage, topic::TopicArn};

/// The topic of all generated messages.
pub(in crate::aws) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";

/// Generating an RSA key is slow in debug builds, so all tests share one.
static SIGNER: LazyLock<(KeyPair, RsaKeyPair)> = LazyLock::new(|| {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let rsa = RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    (key, rsa)
});

/// The contents of a certificate. The default is one that SNS could have.
pub(in crate::aws) struct Issued<'a> {
    pub(in crate::aws) dns_names: &'a [&'a str],
    pub(in crate::aws) common_name: &'a str,
    /// Valid from the first of January of one year to the first of January of the other.
    pub(in crate::aws) years: (i32, i32),
}

impl Default for Issued<'_> {
    fn default() -> Self {
        Self {
            dns_names: &["sns.amazonaws.com"],
            common_name: "sns.amazonaws.com",
            years: (2026, 2027),
        }
    }
}

impl Issued<'_> {
    pub(in crate::aws) fn pem(&self) -> String {
        self.pem_by(&SIGNER.0)
    }

    pub(in crate::aws) fn pem_by(&self, key: &KeyPair) -> String {
        let names: Vec<String> = self.dns_names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name);
        params.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        params.self_signed(key).unwrap().pem()
    }
}

pub(in crate::aws) fn sign(signed: &str) -> Vec<u8> {
    let rsa = &SIGNER.1;
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    signature
}

/// A notification published in March 2026, whose certificate URL contains this number.
pub(in crate::aws) fn notification(certificate: u32) -> Value {
    let mut body = json!({
        "Type": "Notification",
        "MessageId": "26858270-545e-5848-82a2-e05566af3dcf",
        "TopicArn": TOPIC,
        "Message": "{\"Records\":[]}",
        "Timestamp": "2026-03-06T19:53:21.424Z",
        "SignatureVersion": "2",
        "Signature": "AAAA",
        "SigningCertURL": format!(
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{certificate:032x}.pem"
        ),
    });
    let signature = sign(&parse(&body, &topics()).string_to_sign());
    body["Signature"] = json!(BASE64.encode(signature));
    body
}

pub(in crate::aws) fn topics() -> HashSet<TopicArn> {
    HashSet::from([TOPIC.parse().unwrap()])
}

pub(in crate::aws) fn parse(body: &Value, topics: &HashSet<TopicArn>) -> SnsMessage {
    SnsMessage::parse(body.to_string().as_bytes(), false, topics, None).unwrap()
}
