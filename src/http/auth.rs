//! Authenticates API callers by bearer token; only the tokens' SHA-256 hashes are known.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Bearer};

use super::problem::Problem;
use crate::{domain::status::Audience, secret::SecretHash, telemetry::Metrics};

#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Identifies the token in history and logs.
    pub name: String,
    pub sha256: SecretHash,
    /// The distributions that it may see and act on; `None` means all.
    pub distributions: Option<HashSet<String>>,
    /// Whether it may ask for wildcards.
    pub wildcards: bool,
}

#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<ApiToken>>);

impl Tokens {
    pub fn new(tokens: Vec<ApiToken>) -> Self {
        Self(tokens.into_iter().map(Arc::new).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the token by its hash. To take equally long for right and wrong tokens, it compares all,
    /// each in constant time.
    fn find(&self, token: &str) -> Option<&Arc<ApiToken>> {
        let shown = SecretHash::of(token.as_bytes());
        let mut found = None;
        for known in &self.0 {
            if known.sha256.matches(&shown) {
                found = Some(known);
            }
        }
        found
    }
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<ApiToken>);

/// Why a caller is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    NoTokensConfigured,
    WrongToken,
    NoToken,
}

impl Unauthenticated {
    /// The name in problems and counters.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::NoTokensConfigured => "no-tokens-configured",
            Self::WrongToken => "wrong-token",
            Self::NoToken => "no-token",
        }
    }

    /// What the form of a page says.
    pub(super) fn on_the_page(self) -> &'static str {
        match self {
            Self::NoTokensConfigured => "No API token is configured.",
            Self::WrongToken => "This token is unknown. Nothing was done.",
            Self::NoToken => "Enter a token. Nothing was done.",
        }
    }

    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::NoTokensConfigured => {
                "no API tokens are configured: set PURGEFRONT_API_TOKEN or [[api.tokens]]"
            }
            Self::WrongToken => "the token is unknown",
            Self::NoToken => "send a token: Authorization: Bearer TOKEN",
        }
    }
}

impl Caller {
    /// Who shows this token. Refusals are counted.
    pub(super) fn of(
        tokens: &Tokens,
        given: Option<&str>,
        metrics: &Metrics,
    ) -> Result<Self, Unauthenticated> {
        let found = if tokens.0.is_empty() {
            Err(Unauthenticated::NoTokensConfigured)
        } else {
            match given.map(|token| tokens.find(token)) {
                Some(Some(token)) => Ok(Self(Arc::clone(token))),
                Some(None) => Err(Unauthenticated::WrongToken),
                None => Err(Unauthenticated::NoToken),
            }
        };
        found.inspect_err(|why| metrics.unauthorized(why.slug()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the caller may see a distribution.
    pub(super) fn sees(&self, distribution_id: &str) -> bool {
        let limited = self.0.distributions.as_ref();
        limited.is_none_or(|ids| ids.contains(distribution_id))
    }

    /// Whether the caller may ask for wildcards.
    pub(super) fn may_use_wildcards(&self) -> bool {
        self.0.wildcards
    }

    /// Whether the caller may see all of these distributions; `None` means every one.
    pub(super) fn sees_all(&self, distributions: Option<&[String]>) -> bool {
        match distributions {
            Some(ids) => ids.iter().all(|id| self.sees(id)),
            None => self.limited_to().is_none(),
        }
    }

    /// For whom reasons are written.
    pub(super) fn audience(&self) -> Audience {
        match self.limited_to() {
            Some(_) => Audience::Limited,
            None => Audience::Everything,
        }
    }

    /// The distributions that the caller may see; `None` means all.
    pub(super) fn limited_to(&self) -> Option<&HashSet<String>> {
        self.0.distributions.as_ref()
    }

    /// The same, in order.
    pub(super) fn limit(&self) -> Option<Vec<String>> {
        let mut ids: Vec<_> = self.limited_to()?.iter().cloned().collect();
        ids.sort_unstable();
        Some(ids)
    }
}

impl From<Unauthenticated> for Problem {
    fn from(why: Unauthenticated) -> Self {
        Self::unauthorized(why.slug(), why.detail())
    }
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Tokens>: FromRef<S>,
    Metrics: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let tokens = Arc::<Tokens>::from_ref(state);
        let given = parts.headers.typed_get::<Authorization<Bearer>>();
        let given = given.as_ref().map(Authorization::token);
        Self::of(&tokens, given, &Metrics::from_ref(state)).map_err(Problem::from)
    }
}
