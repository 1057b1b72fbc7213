//! Request ids, and the span that adds them to every log line of a request.

use std::time::Duration;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::HeaderName,
    response::Response,
};
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::Span;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

/// Has to be the outermost layer, so that errors and panics get an id as well.
pub(super) fn with_request_ids<S>(routes: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    // No headers and no raw paths: they contain tokens and object keys.
    let trace = TraceLayer::new_for_http()
        .make_span_with(span)
        .on_request(())
        .on_response(answered)
        .on_body_chunk(())
        .on_eos(())
        .on_failure(());
    routes.layer(
        ServiceBuilder::new()
            .layer(MapRequestLayer::new(drop_unusable_id))
            .layer(SetRequestIdLayer::new(HEADER, MakeRequestUuid))
            .layer(trace)
            .layer(PropagateRequestIdLayer::new(HEADER)),
    )
}

/// Removes an id that is not safe to log and send back, so that the request gets a new one.
fn drop_unusable_id(mut request: Request) -> Request {
    let mut ids = request.headers().get_all(HEADER).iter();
    let usable = ids.next().is_some_and(|id| {
        let visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
        (1..=MAX_LENGTH).contains(&id.len()) && visible
    });
    if !usable || ids.next().is_some() {
        request.headers_mut().remove(HEADER);
    }
    request
}

/// The span has the highest level, so that no log filter removes the id from a request's lines.
fn span(request: &Request) -> Span {
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>();
    tracing::error_span!(
        "request",
        request_id = id.and_then(|id| id.header_value().to_str().ok()),
        method = %request.method(),
        route = extensions.get::<MatchedPath>().map(MatchedPath::as_str),
    )
}

fn answered(response: &Response, latency: Duration, _: &Span) {
    tracing::debug!(
        status = response.status().as_u16(),
        seconds = latency.as_secs_f64(),
        "answered"
    );
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing::get};
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::{caught, finished};

    async fn faulty() -> StatusCode {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_panic_is_answered_with_the_requests_id() {
        let routes = finished(caught(Router::new().route("/", get(faulty))));
        let request = Request::get("/").header(HEADER, "the-id");
        let request = request.body(Body::empty()).unwrap();
        let answer = routes.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[HEADER], "the-id");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}
