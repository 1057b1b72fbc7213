//! Who may use the API: bearer tokens, known by their SHA-256 alone.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Bearer};

use super::problem::Problem;
use crate::{secret::SecretHash, telemetry::Metrics};

#[derive(Debug, Clone)]
pub struct ApiToken {
    /// What history calls whoever used it.
    pub name: String,
    pub sha256: SecretHash,
    /// The only distributions that it sees and acts on; `None`: all.
    pub distributions: Option<HashSet<String>>,
}

#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<ApiToken>>);

impl Tokens {
    pub fn new(tokens: Vec<ApiToken>) -> Self {
        Self(tokens.into_iter().map(Arc::new).collect())
    }

    /// Whose token it is. Takes as long for a wrong one as for a right one: all are compared,
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

/// Somebody who showed a token.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<ApiToken>);

impl Caller {
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether a distribution is there for them.
    pub(super) fn sees(&self, distribution_id: &str) -> bool {
        let limited = self.0.distributions.as_ref();
        limited.is_none_or(|ids| ids.contains(distribution_id))
    }

    /// The only distributions that are there for them; `None`: all.
    pub(super) fn limited_to(&self) -> Option<&HashSet<String>> {
        self.0.distributions.as_ref()
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
                "nobody may use the API: set PURGEFRONT_API_TOKEN or [[api.tokens]]",
            );
        }
        let shown = parts.headers.typed_get::<Authorization<Bearer>>();
        match shown.map(|bearer| tokens.find(bearer.token())) {
            Some(Some(token)) => Ok(Self(Arc::clone(token))),
            Some(None) => refuse("wrong-token", "this token is not known"),
            None => refuse("no-token", "show a token: Authorization: Bearer TOKEN"),
        }
    }
}
