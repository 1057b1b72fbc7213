//! Checks HTTP Basic credentials on /sns, if they are configured, in addition to the signature.

use axum::http::{HeaderMap, header, request::Parts};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Basic};

use super::{AppState, problem::Problem, sender::Sender};
use crate::secret::SecretHash;

/// Checks credentials before anything else is read. SNS first sends a message without them, and sends
/// them after a challenge. Source: Amazon SNS Developer Guide, "Make sure
/// your endpoint is ready to process Amazon SNS messages".
pub(super) fn check(state: &AppState, parts: &Parts) -> Result<(), Problem> {
    let Some(known) = &state.sns.basic else {
        return Ok(());
    };
    if has_credentials(&parts.headers, known) {
        return Ok(());
    }
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::challenged("no-credentials"));
    }
    let slug = "wrong-credentials";
    state.metrics.unauthorized(slug);
    let sender = Sender::of(parts);
    if let Some(left_out) = state.refusals.note(slug, &sender, state.clock.now()) {
        tracing::warn!(
            reason = slug,
            claimed_topic = sender.topic,
            claimed_message_id = sender.message_id,
            sender = sender.address,
            left_out,
            "message refused"
        );
    }
    Err(Problem::challenged(slug))
}

/// Compares hashes in constant time, so that neither the credentials nor their length leak.
/// Credentials that are not UTF-8 or have no colon never match; the configured ones are valid.
fn has_credentials(headers: &HeaderMap, known: &SecretHash) -> bool {
    let given = headers.typed_get::<Authorization<Basic>>();
    given.is_some_and(|basic| {
        let credentials = format!("{}:{}", basic.username(), basic.password());
        known.matches(&SecretHash::of(credentials.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn accepts(scheme: &str, credentials: &[u8], known: &str) -> bool {
        let value = format!("{scheme} {}", STANDARD.encode(credentials));
        let value = HeaderValue::from_str(&value).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        has_credentials(&headers, &SecretHash::of(known.as_bytes()))
    }

    #[test]
    fn credentials_are_compared_byte_by_byte() {
        for known in [
            "sns:secret",
            "sns:with:colons:",
            "sns:pässwörd 密码",
            ":",
            "sns: ",
        ] {
            assert!(accepts("Basic", known.as_bytes(), known), "{known}");
            assert!(accepts("bAsIc", known.as_bytes(), known), "{known}");
            assert!(!accepts("Bearer", known.as_bytes(), known), "{known}");
            for wrong in [
                format!("{known} "),
                format!("{known}:"),
                known.replace(':', ""),
            ] {
                assert!(!accepts("Basic", wrong.as_bytes(), known), "{wrong}");
            }
        }
        assert!(!accepts("Basic", b"sns:p\xe4ssword", "sns:p\u{fffd}ssword"));
        assert!(!accepts("Basic", b"", ""));
        assert!(!has_credentials(&HeaderMap::new(), &SecretHash::of(b"")));
    }
}
