//! Whose credentials these are, what they may do, and the endpoint that is nobody's at AWS.

use axum::{
    body::Body,
    http::{Method, header},
    response::Response,
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use percent_encoding::percent_decode_str;

use super::{Call, OWNER, State};
use crate::support::aws::xml;

/// Who calls: a role of this name.
pub const ROLE: &str = "purgefront";

/// STS's GetCallerIdentity.
pub(super) fn of_caller(state: &mut State) -> Response {
    state.calls.push("sts:GetCallerIdentity".to_owned());
    let mut response = if state.expired {
        let error = "<Type>Sender</Type><Code>ExpiredToken</Code><Message>it has expired</Message>";
        xml(
            403,
            format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"),
        )
    } else {
        xml(
            200,
            format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{OWNER}</Account>\
                 <Arn>arn:aws:sts::{OWNER}:assumed-role/{ROLE}/i-1</Arn>\
                 </GetCallerIdentityResult></GetCallerIdentityResponse>"
            ),
        )
    };
    #[expect(clippy::disallowed_methods, reason = "the fake lives in real time")]
    let date = Timestamp::now() + SignedDuration::from_secs(state.ahead);
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&date)
        .unwrap();
    let headers = response.headers_mut();
    headers.insert(header::DATE, date.parse().unwrap());
    response
}

/// IAM's PutRolePolicy: what it allows is allowed from then on.
pub(super) fn grant(state: &mut State, call: &Call<'_>) -> Response {
    let form = percent_decode_str(call.body).decode_utf8().unwrap();
    assert!(form.contains("Action=PutRolePolicy"), "{form}");
    assert!(form.contains(&format!("RoleName={ROLE}")), "{form}");
    state.denied.retain(|permission| {
        let allowed = format!("\"Action\":\"{permission}\"");
        !form.replace('+', "").contains(&allowed)
    });
    xml(200, "<PutRolePolicyResponse/>".to_owned())
}

/// The permission that a call to CloudFront needs.
pub(super) fn of_cloudfront(method: &Method, path: &str) -> &'static str {
    let path = path.strip_prefix("/2020-05-31/").unwrap();
    let parts: Vec<_> = path.split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["distribution"]) => "cloudfront:ListDistributions",
        ("GET", ["distribution", _, "config"]) => "cloudfront:GetDistributionConfig",
        ("GET", ["cache-policy", _]) => "cloudfront:GetCachePolicy",
        ("GET", ["distribution", _, "invalidation"]) => "cloudfront:ListInvalidations",
        ("GET", ["distribution", _, "invalidation", _]) => "cloudfront:GetInvalidation",
        ("POST", ["distribution", _, "invalidation"]) => "cloudfront:CreateInvalidation",
        other => panic!("no such call: {other:?}"),
    }
}

/// What stands at the endpoint: purgefront, unless a test says otherwise.
pub(super) fn endpoint(state: &State, method: &Method) -> Response {
    let usual = || (200, 400, "urn:purgefront:problem:not-json".to_owned());
    let (health, status, problem) = state.endpoint.clone().unwrap_or_else(usual);
    if *method == Method::GET {
        return Response::builder()
            .status(health)
            .body(Body::empty())
            .unwrap();
    }
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/problem+json")
        .body(Body::from(format!("{{\"type\":\"{problem}\"}}")))
        .unwrap()
}
