//! Validates the shapes of the signed fields.
//!
//! They are strict because the signed text joins the fields with newlines without escaping: a
//! publisher can write `\nMessageId\n...` into `Message`, and thereby create two different messages
//! with the same signature. If only `Message` may contain newlines, the signed text has only one
//! interpretation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use uuid::Uuid;

use super::envelope::bad;
use super::refusal::Refusal;

/// Accepts a UUID only in its canonical form, because the signed text is built by formatting it
/// again.
pub(super) fn check_uuid(text: &str) -> Result<Uuid, Refusal> {
    let hyphened = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    match Uuid::try_parse(text) {
        Ok(id) if hyphened => Ok(id),
        _ => Err(bad("MessageId", "must be a UUID")),
    }
}

/// `strictly` requires exactly the format of SNS. Emulators vary.
pub(super) fn check_timestamp(text: &str, strictly: bool) -> Result<Timestamp, Refusal> {
    let shape = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |(b, shape): (u8, u8)| match shape {
        b'd' => b.is_ascii_digit(),
        _ => b == shape,
    };
    let exact = text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits);
    match text.parse() {
        Ok(timestamp) if exact || (!strictly && !text.contains(char::is_control)) => Ok(timestamp),
        _ => Err(bad(
            "Timestamp",
            "must be a time like 2026-03-06T19:55:38.903Z",
        )),
    }
}

pub(super) fn check_signature(text: &str) -> Result<Vec<u8>, Refusal> {
    // A signature has 1,024 bytes with the largest accepted RSA key, 8,192 bits.
    match BASE64.decode(text) {
        Ok(bytes) if (1..=1024).contains(&bytes.len()) => Ok(bytes),
        _ => Err(bad("Signature", "must be base64 of at most 1024 bytes")),
    }
}

pub(super) fn no_control(field: &'static str, text: &str) -> Result<(), Refusal> {
    if text.contains(char::is_control) {
        Err(bad(field, "must not contain control characters"))
    } else {
        Ok(())
    }
}
