//! Error responses in the format of RFC 9457 (problem+json).

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::ports::StoreError;

/// The names of all problems. docs/troubleshooting.md says of each what to do.
pub const SLUGS: &[&str] = &[
    "bad-field",
    "bad-request",
    "certificate",
    "certificate-unavailable",
    "certificate-url",
    "duplicate-key",
    "foreign-origin",
    "from-the-future",
    "idempotency-key-reused",
    "internal",
    "invalid",
    "method-not-allowed",
    "no-catalogue",
    "no-credentials",
    "no-token",
    "no-tokens-configured",
    "not-an-object",
    "not-found",
    "not-in-time",
    "not-json",
    "not-read",
    "overloaded",
    "raw-delivery",
    "signature",
    "signature-version",
    "still-dead",
    "store-unavailable",
    "token-expired",
    "token-limited",
    "too-large",
    "too-many-holds",
    "too-many-waiting",
    "too-old",
    "topic-not-allowed",
    "unknown-bucket",
    "unknown-distribution",
    "unknown-type",
    "wrong-credentials",
    "wrong-path",
    "wrong-token",
];

/// An error response. Its `type`, `urn:purgefront:problem:<slug>`, is stable.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    slug: &'static str,
    detail: String,
    errors: Vec<RequestFault>,
    challenge: Option<&'static str>,
}

/// What a problem says, kept with its response for those who tell it in another format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) detail: String,
}

/// A fault in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RequestFault {
    /// A JSON pointer into the body, or the name of a query parameter or header.
    pub(super) pointer: String,
    /// What is wrong, and how to fix it.
    pub(super) detail: String,
}

impl RequestFault {
    /// A fault of a member of the body.
    pub(super) fn at(member: &str, detail: impl Into<String>) -> Self {
        let member = member.replace('~', "~0").replace('/', "~1");
        Self {
            pointer: format!("/{member}"),
            detail: detail.into(),
        }
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(SLUGS.contains(&slug), "{slug} is not documented");
        Self {
            status,
            slug,
            detail: detail.into(),
            errors: Vec::new(),
            challenge: None,
        }
    }

    /// Something does not exist, or the caller may not see it.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// What [`Problem::unknown_distribution`] says of an id.
    pub(super) const NO_SUCH_ID: &str = "the account has no distribution with this id; if it is new, \
                                         try again in a moment";

    /// The account has no such distribution, or the caller may not see it.
    pub(super) fn unknown_distribution(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-distribution", detail)
    }

    /// Nothing is known of the account, so that nobody can say whether it has a distribution.
    pub(super) fn no_catalogue() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-catalogue",
            "the account's distributions have not been read yet; try again in a moment",
        )
    }

    /// The request is well-formed but invalid; with all faults at once.
    pub(super) fn invalid(errors: Vec<RequestFault>) -> Self {
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "the request is invalid: see errors",
            )
        }
    }

    /// The request has no token, or an unknown one.
    pub(super) fn unauthorized(slug: &'static str, detail: impl Into<String>) -> Self {
        Self {
            challenge: Some("Bearer"),
            ..Self::new(StatusCode::UNAUTHORIZED, slug, detail)
        }
    }

    /// SNS sends its credentials only after a challenge.
    pub(super) fn challenged(slug: &'static str) -> Self {
        Self {
            challenge: Some("Basic realm=\"purgefront\", charset=\"UTF-8\""),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                slug,
                "the credentials of sns.basic_auth are required: subscribe https://USER:PASSWORD@HOST/sns",
            )
        }
    }

    /// Operators' endpoints concern all distributions.
    pub(super) fn limited() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "token-limited",
            "this token is limited to some distributions: it cannot be used for operations",
        )
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body has more than {limit} bytes"),
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this resource does not support this method",
        )
    }

    pub(super) fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many requests at once; try again",
        )
    }

    pub(super) fn too_many_waiting() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-waiting",
            "too many requests wait at once; ask without wait, or try again later",
        )
    }

    pub(super) fn not_read() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "not-read",
            "the body did not arrive completely",
        )
    }

    pub(super) fn not_in_time() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-in-time",
            "the request timed out and may not have been committed; try again",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "an internal error occurred; see the log",
        )
    }

    /// The short name that logs and counters use.
    pub(super) fn slug(&self) -> &'static str {
        self.slug
    }
}

/// Replaces the framework's own errors, such as that of a path that is not UTF-8, which are plain text.
pub(super) fn instead_of_text<B>(response: Response<B>) -> Response
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_ours = content_type.is_some_and(|value| {
        let value = value.as_bytes();
        // The pages are HTML.
        value.ends_with(b"json") || value.starts_with(b"text/html")
    });
    if !is_error || is_ours {
        return response.map(Body::new);
    }
    Problem::new(status, "bad-request", "the request is malformed").into_response()
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::debug!(error = &error as &dyn std::error::Error, "answered 503");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store-unavailable",
            "the store is unavailable and the request may not have been committed; try again",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct ProblemBody {
            r#type: String,
            title: &'static str,
            status: u16,
            detail: String,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: Vec<RequestFault>,
        }
        let told = Told {
            title: self.status.canonical_reason().unwrap_or("Error"),
            detail: self.detail.clone(),
        };
        let body = ProblemBody {
            r#type: format!("urn:purgefront:problem:{}", self.slug),
            title: told.title,
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        let retry_after = match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Some("1"),
            // Whoever waits may do so for a minute.
            StatusCode::TOO_MANY_REQUESTS => Some("10"),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}
