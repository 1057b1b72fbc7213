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

impl Caller {
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

impl<S> FromRequestParts<S> for Caller
where
    Arc<Tokens>: FromRef<S>,
    Metrics: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let tokens = Arc::<Tokens>::from_ref(state);
        let refuse = |slug, detail| {
            Metrics::from_ref(state).unauthorized(slug);
            Err(Problem::unauthorized(slug, detail))
        };
        if tokens.0.is_empty() {
            return refuse(
                "no-tokens-configured",
                "no API tokens are configured: set PURGEFRONT_API_TOKEN or [[api.tokens]]",
            );
        }
        let given = parts.headers.typed_get::<Authorization<Bearer>>();
        match given.map(|bearer| tokens.find(bearer.token())) {
            Some(Some(token)) => Ok(Self(Arc::clone(token))),
            Some(None) => refuse("wrong-token", "the token is unknown"),
            None => refuse("no-token", "send a token: Authorization: Bearer TOKEN"),
        }
    }
}
