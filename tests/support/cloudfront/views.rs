//! How CloudFront's API shows things, in XML.

use std::fmt::Write as _;

use axum::{http::header, response::Response};

use super::{Distribution, Invalidation, PAGE};
use crate::support::{
    aws::{escape, xml},
    model::Refusal,
};

const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

/// A page of distributions, and where the next one begins.
pub(super) fn distributions(page: &[Distribution], next: Option<usize>) -> Response {
    let items: String = page.iter().map(Distribution::summary).collect();
    let marker = next.map(|next| format!("<NextMarker>{next}</NextMarker>"));
    xml(
        200,
        format!(
            "<DistributionList xmlns=\"{NAMESPACE}\"><Marker></Marker>{}\
             <MaxItems>{PAGE}</MaxItems><IsTruncated>{}</IsTruncated>\
             <Quantity>{}</Quantity><Items>{items}</Items></DistributionList>",
            marker.unwrap_or_default(),
            next.is_some(),
            page.len()
        ),
    )
}

pub(super) fn config(distribution: &Distribution) -> Response {
    let config = distribution.config();
    xml(
        200,
        format!("<DistributionConfig xmlns=\"{NAMESPACE}\">{config}</DistributionConfig>"),
    )
}

pub(super) fn policy(id: &str, max_ttl: u64, query_strings: &str) -> Response {
    xml(
        200,
        format!(
            "<CachePolicy xmlns=\"{NAMESPACE}\"><Id>{id}</Id>\
             <LastModifiedTime>2026-11-01T00:00:00Z</LastModifiedTime><CachePolicyConfig>\
             <Name>p</Name><MinTTL>0</MinTTL><MaxTTL>{max_ttl}</MaxTTL>\
             <ParametersInCacheKeyAndForwardedToOrigin>\
             <EnableAcceptEncodingGzip>true</EnableAcceptEncodingGzip>\
             <QueryStringsConfig><QueryStringBehavior>{query_strings}</QueryStringBehavior>\
             </QueryStringsConfig></ParametersInCacheKeyAndForwardedToOrigin>\
             </CachePolicyConfig></CachePolicy>"
        ),
    )
}

fn status(completed: bool) -> &'static str {
    if completed { "Completed" } else { "InProgress" }
}

pub(super) fn invalidation(one: &Invalidation, completed: bool) -> Response {
    xml(200, shown(one, completed))
}

/// The same, as CreateInvalidation answers it.
pub(super) fn created(one: &Invalidation, completed: bool) -> Response {
    let mut response = xml(201, shown(one, completed));
    let location = "https://cloudfront.amazonaws.com/2020-05-31/distribution";
    let location = location.parse().unwrap();
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn shown(one: &Invalidation, completed: bool) -> String {
    let mut paths = String::new();
    for item in &one.items {
        write!(paths, "<Path>{}</Path>", escape(item)).unwrap();
    }
    format!(
        "<Invalidation xmlns=\"{NAMESPACE}\"><Id>{}</Id><Status>{}</Status>\
         <CreateTime>{}</CreateTime><InvalidationBatch><Paths><Quantity>{}</Quantity>\
         <Items>{paths}</Items></Paths><CallerReference>{}</CallerReference>\
         </InvalidationBatch></Invalidation>",
        one.id,
        status(completed),
        one.created_at,
        one.items.len(),
        one.caller_reference
    )
}

/// Of each no more than its id, its time and its status.
pub(super) fn invalidations<'a>(
    page: impl Iterator<Item = (&'a Invalidation, bool)>,
    next: Option<usize>,
) -> Response {
    let marker = next.map(|next| format!("<NextMarker>{next}</NextMarker>"));
    let items: Vec<_> = page
        .map(|(one, completed)| {
            format!(
                "<InvalidationSummary><Id>{}</Id><CreateTime>{}</CreateTime>\
                 <Status>{}</Status></InvalidationSummary>",
                one.id,
                one.created_at,
                status(completed)
            )
        })
        .collect();
    xml(
        200,
        format!(
            "<InvalidationList xmlns=\"{NAMESPACE}\"><Marker></Marker>{}\
             <MaxItems>{PAGE}</MaxItems><IsTruncated>{}</IsTruncated>\
             <Quantity>{}</Quantity><Items>{}</Items></InvalidationList>",
            marker.unwrap_or_default(),
            next.is_some(),
            items.len(),
            items.concat()
        ),
    )
}

pub(super) fn refusal(refusal: Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::NoSuchDistribution => (404, "The specified distribution does not exist."),
        Refusal::BatchTooLarge => (413, "The batch has too many paths."),
        Refusal::InvalidItems => (
            400,
            "Your request contains one or more invalid invalidation paths.",
        ),
        Refusal::ReferenceConflict => (
            400,
            "Caller reference was used for a previous invalidation batch.",
        ),
        Refusal::Throttled => (400, "Rate exceeded"),
        Refusal::TooManyInProgress { wildcards: false } => (
            400,
            "Processing your request will cause you to exceed the maximum number of in-progress \
             invalidations.",
        ),
        Refusal::TooManyInProgress { wildcards: true } => (
            400,
            "Processing your request will cause you to exceed the maximum number of in-progress \
             wildcard invalidations.",
        ),
        Refusal::Unavailable(status) => (status, "try again"),
        Refusal::AccessDenied => return denied(),
    };
    error(status, refusal.code(), message)
}

/// CloudFront's own words.
pub(super) fn inconsistent(said: usize, there: usize) -> Response {
    let message = format!(
        "The specified quantity of Paths ({said}) does not match the actual quantity supplied ({there})."
    );
    error(400, "InconsistentQuantities", &message)
}

pub(in crate::support) fn denied() -> Response {
    error(403, Refusal::AccessDenied.code(), "not authorized")
}

pub(super) fn missing(what: &str) -> Response {
    let code = format!("NoSuch{what}");
    error(404, &code, "What was asked for does not exist.")
}

pub(super) fn unavailable() -> Response {
    error(503, "ServiceUnavailable", "Try again later.")
}

fn error(status: u16, code: &str, message: &str) -> Response {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}
