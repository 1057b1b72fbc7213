//! What the service may do in the fake AWS, and what it did: actions of IAM, and on what.

use std::{collections::BTreeSet, sync::Mutex};

use axum::{
    http::{Method, Uri},
    response::Response,
};
use percent_encoding::percent_decode_str;

use super::aws::xml;

const ACCOUNT: &str = "123456789012";

#[derive(Default)]
pub struct Permissions {
    used: Mutex<BTreeSet<(String, String)>>,
    denied: Mutex<BTreeSet<String>>,
}

impl Permissions {
    /// Denies an action from now on.
    pub fn deny(&self, action: &str) {
        self.denied.lock().unwrap().insert(action.to_owned());
    }

    /// Every action that was asked for, and the ARN of what it was asked for on.
    pub fn used(&self) -> BTreeSet<(String, String)> {
        self.used.lock().unwrap().clone()
    }

    /// Notes a call that was permitted.
    pub(super) fn note(&self, action: &str, resource: &str) {
        let used = (action.to_owned(), resource.to_owned());
        self.used.lock().unwrap().insert(used);
    }

    /// Notes the call, and refuses it if its action is denied.
    pub(super) fn check(
        &self,
        host: &str,
        method: &Method,
        uri: &Uri,
        body: &[u8],
    ) -> Option<Response> {
        let of_sns = !host.starts_with("cloudfront.");
        let (action, resource) = if of_sns {
            of_sns_call(method, body)?
        } else {
            of_cloudfront_call(method, uri.path())
        };
        let is_denied = self.denied.lock().unwrap().contains(action);
        let used = (action.to_owned(), resource);
        self.used.lock().unwrap().insert(used);
        let code = if of_sns {
            "AuthorizationError"
        } else {
            "AccessDenied"
        };
        let refusal = || {
            xml(
                403,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                     <Message>User is not authorized to perform: {action}</Message></Error>\
                     <RequestId>r</RequestId></ErrorResponse>"
                ),
            )
        };
        is_denied.then(refusal)
    }
}

/// The actions' names, and what they are on: Service Authorization Reference, "Amazon CloudFront".
fn of_cloudfront_call(method: &Method, path: &str) -> (&'static str, String) {
    let path = path.strip_prefix("/2020-05-31/").unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    let on = |kind: &str, id: &str| format!("arn:aws:cloudfront::{ACCOUNT}:{kind}/{id}");
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["distribution"]) => ("cloudfront:ListDistributions", "*".to_owned()),
        ("GET", ["distribution", id, "config"]) => {
            ("cloudfront:GetDistributionConfig", on("distribution", id))
        }
        ("GET", ["cache-policy", id]) => ("cloudfront:GetCachePolicy", on("cache-policy", id)),
        ("GET", ["distribution", id, "invalidation", _]) => {
            ("cloudfront:GetInvalidation", on("distribution", id))
        }
        ("GET", ["distribution", id, "invalidation"]) => {
            ("cloudfront:ListInvalidations", on("distribution", id))
        }
        ("POST", ["distribution", id, "invalidation"]) => {
            ("cloudfront:CreateInvalidation", on("distribution", id))
        }
        other => panic!("no action is known for {other:?}"),
    }
}

/// None for a certificate, which everybody may read.
fn of_sns_call(method: &Method, body: &[u8]) -> Option<(&'static str, String)> {
    if *method == Method::GET {
        return None;
    }
    let form = std::str::from_utf8(body).unwrap();
    let field = |name: &str| {
        let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name).unwrap();
        percent_decode_str(value)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    assert_eq!(field("Action"), "ConfirmSubscription");
    Some(("sns:ConfirmSubscription", field("TopicArn")))
}
