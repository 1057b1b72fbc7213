//! HTTP Basic credentials on /sns, on top of the signature, where they are configured.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{AppState, problem::Problem};
use crate::secret::SecretHash;

/// Asks for credentials before anything else is read. SNS sends a message without them first,
/// and again with them when it is challenged. Source: Amazon SNS Developer Guide, "Make sure
/// your endpoint is ready to process Amazon SNS messages".
pub(super) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Some(known) = &state.sns.basic
        && !shows(request.headers(), known)
    {
        let shown = request.headers().contains_key(header::AUTHORIZATION);
        let slug = if shown {
            "wrong-credentials"
        } else {
            "no-credentials"
        };
        state.metrics.message(slug);
        if shown {
            state.metrics.unauthorized(slug);
            if let Some(left_out) = state.refusals.line(slug, state.clock.now()) {
                tracing::warn!(reason = slug, left_out, "message refused");
            }
        }
        return Problem::challenged(slug).into_response();
    }
    next.run(request).await
}

/// Compares hashes, in constant time: neither the credentials nor their length shows.
fn shows(headers: &HeaderMap, known: &SecretHash) -> bool {
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok());
    known.matches(&SecretHash::of(&shown.unwrap_or_default()))
}
