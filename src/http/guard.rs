//! Controls access to the operators' endpoints of the admin listener.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{
    Authorization, HeaderMapExt as _, Host,
    authorization::{Basic, Bearer},
};

use super::{
    auth::{Caller, Tokens, Unauthenticated},
    problem::Problem,
};
use crate::telemetry::Metrics;

#[derive(Clone)]
pub(super) struct Guard {
    pub(super) tokens: Arc<Tokens>,
    pub(super) metrics: Metrics,
    pub(super) address: SocketAddr,
}

/// On a loopback address, admits every request that comes from a tool or from the listener's own page;
/// elsewhere, only those of them with a token for all distributions.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if is_foreign(request.method(), request.headers(), guard.address) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "this listener is for operators' tools and its own page, not for other web pages",
        )
        .into_response();
    }
    if !guard.address.ip().is_loopback() {
        match guard.caller(request.headers()) {
            Ok(caller) if caller.limited_to().is_none() => {}
            Ok(_) => return Problem::limited().into_response(),
            Err(why) => return challenge(why.into()),
        }
    }
    next.run(request).await
}

impl Guard {
    /// Tools send a token as a bearer; browsers can only send it as the password of Basic credentials,
    /// with any user name.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unauthenticated> {
        let bearer = headers.typed_get::<Authorization<Bearer>>();
        let basic = headers.typed_get::<Authorization<Basic>>();
        let bearer = bearer.as_ref().map(Authorization::token);
        let given = bearer.or(basic.as_ref().map(Authorization::password));
        Caller::of(&self.tokens, given, &self.metrics)
    }
}

/// Adds the challenge that makes a browser ask for credentials. Each has a line of its own, since not
/// every browser reads a list of them.
fn challenge(problem: Problem) -> Response {
    let mut response = problem.into_response();
    let basic = HeaderValue::from_static("Basic realm=\"purgefront\", charset=\"UTF-8\"");
    response
        .headers_mut()
        .append(header::WWW_AUTHENTICATE, basic);
    response
}

/// Whether another web page sent the request. Browsers send an Origin header with all that could
/// change something; a page whose name was made to resolve to this machine (DNS rebinding) has that
/// name in the Host header.
fn is_foreign(method: &Method, headers: &HeaderMap, address: SocketAddr) -> bool {
    let host = headers.typed_get::<Host>();
    let own = host.as_ref().filter(|host| {
        // Elsewhere, any name may be the listener's.
        !address.ip().is_loopback() || is_loopback(host.hostname())
    });
    if address.ip().is_loopback() && own.is_none() {
        return true;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if !origins.all(|origin| own.is_some_and(|host| is_origin_of(host, origin.as_bytes()))) {
        return true;
    }
    // Browsers say where a request comes from even if they leave out the Origin.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !method.is_safe() && site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// Whether an Origin header names the host that the request was sent to. Behind a tunnel or a proxy,
/// either scheme may be the right one.
fn is_origin_of(host: &Host, origin: &[u8]) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else {
        return false;
    };
    let of_it = ["http://", "https://"].iter().find_map(|scheme| {
        let authority = origin.strip_prefix(scheme)?;
        Some(authority.eq_ignore_ascii_case(&host.to_string()))
    });
    of_it.unwrap_or(false)
}

fn is_loopback(name: &str) -> bool {
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || literal.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

    #[test]
    fn only_loopback_hosts_are_accepted() {
        let foreign = |host: &'static str| {
            let host = HeaderValue::from_static(host);
            let headers = HeaderMap::from_iter([(header::HOST, host)]);
            is_foreign(&Method::GET, &headers, LOOPBACK.into())
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
        assert!(is_foreign(&Method::GET, &HeaderMap::new(), LOOPBACK.into()));
    }

    /// A request to `host` from a page of `origin`.
    fn from_page(host: &'static str, origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static(host)),
            (header::ORIGIN, HeaderValue::from_static(origin)),
        ])
    }

    #[test]
    fn only_the_listeners_own_page_is_accepted() {
        let foreign =
            |host, origin, address| is_foreign(&Method::POST, &from_page(host, origin), address);
        for (host, origin) in [
            ("127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("localhost:9090", "http://localhost:9090"),
            ("localhost:9090", "https://LOCALHOST:9090"),
            ("[::1]:9090", "http://[::1]:9090"),
        ] {
            assert!(!foreign(host, origin, LOOPBACK.into()), "{origin}");
        }
        for (host, origin) in [
            ("127.0.0.1:9090", "http://127.0.0.1:9091"),
            ("127.0.0.1:9090", "http://localhost:9090"),
            ("127.0.0.1:9090", "http://127.0.0.1"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("127.0.0.1:9090", "ftp://127.0.0.1:9090"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090/"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090.evil.example"),
            ("127.0.0.1:9090", "null"),
            ("127.0.0.1:9090", ""),
            ("evil.example:9090", "http://evil.example:9090"),
        ] {
            assert!(foreign(host, origin, LOOPBACK.into()), "{host} {origin}");
        }
        let anywhere = ([10, 0, 0, 1], 9090).into();
        assert!(!foreign("ops.example", "https://ops.example", anywhere));
        assert!(foreign("ops.example", "https://evil.example", anywhere));
    }

    #[test]
    fn a_browser_may_only_change_something_from_the_listeners_own_page() {
        let foreign = |method, site| {
            let mut headers = from_page("localhost:9090", "http://localhost:9090");
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            is_foreign(&method, &headers, LOOPBACK.into())
        };
        assert!(!foreign(Method::POST, "same-origin"));
        assert!(!foreign(Method::POST, "none"));
        for site in ["cross-site", "same-site", ""] {
            assert!(foreign(Method::POST, site), "{site}");
            assert!(foreign(Method::DELETE, site), "{site}");
            assert!(!foreign(Method::GET, site), "a link of another page");
        }
    }
}
