//! Who may use the API: bearer tokens, known by their SHA-256 alone.

use std::sync::Arc;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};

use super::problem::Problem;

/// A token that may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What history calls whoever used it.
    pub name: String,
    /// The SHA-256 of the token itself.
    pub sha256: [u8; 32],
}

/// All tokens that may use the API.
#[derive(Debug, Default)]
pub struct Tokens(Vec<ApiToken>);

impl Tokens {
    /// These, and no others.
    pub fn new(tokens: Vec<ApiToken>) -> Self {
        Self(tokens)
    }

    /// The name of a token. Takes as long for a wrong one as for a right one: all are compared,
    /// each in constant time.
    fn name_of(&self, token: &str) -> Option<&str> {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let mut found = None;
        for known in &self.0 {
            if verify_slices_are_equal(&known.sha256, hash.as_ref()).is_ok() {
                found = Some(known.name.as_str());
            }
        }
        found
    }
}

/// Somebody who showed a token; carries the token's name.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

impl Caller {
    /// Who shows a token in these parts of a request.
    pub(super) async fn from_parts<S>(parts: &mut Parts, state: &S) -> Result<Self, Problem>
    where
        Arc<Tokens>: FromRef<S>,
        S: Send + Sync,
    {
        Self::from_request_parts(parts, state).await
    }
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Tokens>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let tokens = Arc::<Tokens>::from_ref(state);
        if tokens.0.is_empty() {
            return Err(Problem::unauthorized(
                "no-tokens-configured",
                "nobody may use the API: set PURGEFRONT_API_TOKEN or [[api.tokens]]",
            ));
        }
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match token.map(|token| tokens.name_of(token)) {
            Some(Some(name)) => Ok(Self(name.to_owned())),
            Some(None) => Err(Problem::unauthorized(
                "wrong-token",
                "this token is not known",
            )),
            None => Err(Problem::unauthorized(
                "no-token",
                "show a token: Authorization: Bearer TOKEN",
            )),
        }
    }
}
