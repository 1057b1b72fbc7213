//! Controls access to the operators' endpoints of the admin listener.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    RequestPartsExt as _,
    extract::{FromRef, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{HeaderMapExt as _, Host};

use super::{
    auth::{Caller, Tokens},
    problem::Problem,
};
use crate::telemetry::Metrics;

#[derive(Clone)]
pub(super) struct Guard {
    pub(super) tokens: Arc<Tokens>,
    pub(super) metrics: Metrics,
    pub(super) address: SocketAddr,
}

impl FromRef<Guard> for Metrics {
    fn from_ref(guard: &Guard) -> Self {
        guard.metrics.clone()
    }
}

impl FromRef<Guard> for Arc<Tokens> {
    fn from_ref(guard: &Guard) -> Self {
        Arc::clone(&guard.tokens)
    }
}

/// On a loopback address, admits every request that does not come from a web page; elsewhere, only
/// requests with a token for all distributions.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if is_foreign(request.headers(), guard.address) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "this listener is for operators' tools, not for web pages",
        )
        .into_response();
    }
    let (mut parts, body) = request.into_parts();
    if !guard.address.ip().is_loopback() {
        match parts.extract_with_state::<Caller, _>(&guard).await {
            Ok(caller) if caller.limited_to().is_none() => {}
            Ok(_) => return Problem::limited().into_response(),
            Err(problem) => return problem.into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Whether a web page sent the request. Browsers send an Origin header with it; a page whose name was
/// made to resolve to this machine (DNS rebinding) has that name in the Host header.
fn is_foreign(headers: &HeaderMap, address: SocketAddr) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return true;
    }
    if !address.ip().is_loopback() {
        return false;
    }
    let host = headers.typed_get::<Host>();
    !host.is_some_and(|host| is_loopback(host.hostname()))
}

fn is_loopback(name: &str) -> bool {
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || literal.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_loopback_hosts_are_accepted() {
        let foreign = |host: &'static str| {
            let host = HeaderValue::from_static(host);
            let headers = HeaderMap::from_iter([(header::HOST, host)]);
            is_foreign(&headers, ([127, 0, 0, 1], 9090).into())
        };
        for host in [
            "localhost",
            "localhost:1",
            "127.0.0.1:9090",
            "127.0.0.2",
            "[::1]:9",
            "[::1]",
        ] {
            assert!(!foreign(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9090",
            "127.0.0.1@evil.example",
            "10.0.0.1:9090",
            "[::2]:9090",
            "::1",
        ] {
            assert!(foreign(host), "{host}");
        }
        assert!(is_foreign(&HeaderMap::new(), ([127, 0, 0, 1], 9090).into()));
    }
}
