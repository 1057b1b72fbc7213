//! Errors that CloudFront keeps: the pages that viewers get instead, and how long they stay.
//!
//! CloudFront keeps an error under the URL that was requested, for at least `ErrorCachingMinTTL`, and
//! only that URL or a wildcard over it clears it. Source: CloudFront Developer Guide, "How CloudFront
//! processes HTTP 4xx and 5xx status codes" and "Control how long CloudFront caches errors".

use crate::domain::{
    catalogue::{CustomError, Distribution},
    origin::Server,
    path::spell,
};

/// What CloudFront keeps without being told to, and nobody needs to hear of.
const USUAL_TTL: u64 = 10;

/// Errors of an object that was missing or unreadable, which outlast its upload.
pub(super) fn of_missing_objects(distribution: &Distribution) -> Vec<&CustomError> {
    let errors = distribution.custom_errors.iter();
    let kept = errors.filter(|one| matches!(one.status, 403 | 404) && one.min_ttl > USUAL_TTL);
    kept.collect()
}

/// The path of an error page, and the errors that it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorPage<'a> {
    /// Percent-encoded.
    pub(super) path: &'a str,
    pub(super) errors: Vec<&'a CustomError>,
}

/// The error pages that outlast a change of theirs.
pub(super) fn lasting_pages(distribution: &Distribution) -> Vec<ErrorPage<'_>> {
    let mut pages: Vec<ErrorPage<'_>> = Vec::new();
    for error in &distribution.custom_errors {
        let Some(path) = error.page.as_deref().filter(|_| error.min_ttl > USUAL_TTL) else {
            continue;
        };
        match pages.iter_mut().find(|page| page.path == path) {
            Some(page) => page.errors.push(error),
            None => pages.push(ErrorPage {
                path,
                errors: vec![error],
            }),
        }
    }
    pages
}

impl ErrorPage<'_> {
    /// Whether CloudFront asks this origin for the page.
    pub(super) fn comes_from(&self, distribution: &Distribution, origin: &str) -> bool {
        let root = distribution.root().filter(|_| self.path == "/");
        // It is not documented which of the two paths selects the behaviour.
        let root = root.map(|root| spell(&format!("/{root}")).url);
        let paths = [Some(self.path), root.as_deref()];
        let mut behaviours = paths
            .into_iter()
            .flatten()
            .filter_map(|path| distribution.behaviour(path));
        behaviours.any(|behaviour| distribution.reaches(behaviour, origin))
    }

    /// Whether a request for the page asks such a server for this decoded path.
    pub(super) fn is_at(
        &self,
        distribution: &Distribution,
        server: Server,
        documents: &[String],
        path: &str,
    ) -> bool {
        if self.path == "/" && distribution.root().is_some() {
            return distribution.is_root(path);
        }
        let page = server.decoded(self.path);
        if server == Server::Website && page.ends_with('/') {
            let document = path.strip_prefix(&page);
            return document.is_some_and(|name| documents.iter().any(|one| one == name));
        }
        page == path
    }
}

/// Statuses and the longest time: `403, 404 for at least 86400 s`.
pub(super) fn described(errors: &[&CustomError]) -> String {
    let statuses: Vec<_> = errors.iter().map(|one| one.status.to_string()).collect();
    let longest = errors.iter().map(|one| one.min_ttl).max();
    let statuses = statuses.join(", ");
    format!("{statuses} for at least {} s", longest.unwrap_or_default())
}
