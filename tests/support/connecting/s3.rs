//! S3's redirects, GetBucketNotificationConfiguration, PutBucketNotificationConfiguration and
//! GetBucketLifecycleConfiguration.

use axum::{body::Body, http::Method, response::Response};
use serde_json::Value;

use super::{Call, OWNER, State, listing, texts};
use crate::support::aws::xml;

const KINDS: [&str; 4] = [
    "TopicConfiguration",
    "QueueConfiguration",
    "CloudFunctionConfiguration",
    "EventBridgeConfiguration",
];

pub(super) fn answer(state: &mut State, call: &Call<'_>) -> Response {
    let Some(region) = call.host.strip_prefix("site.s3.") else {
        return xml(
            404,
            error("NoSuchBucket", "The specified bucket does not exist"),
        );
    };
    if region != format!("{}.amazonaws.com", state.region) {
        state.redirects += 1;
        return Response::builder()
            .status(301)
            .header("x-amz-bucket-region", &state.region)
            .body(Body::from(error(
                "PermanentRedirect",
                "use its own endpoint",
            )))
            .unwrap();
    }
    if let Some(answer) = listing::answer(state, call) {
        return answer;
    }
    let query = call.uri.query();
    let what = query.and_then(|query| query.split(['=', '&']).next());
    let what = what.expect("a part of the bucket");
    let writes = call.method == Method::PUT;
    let permission = match what {
        "lifecycle" if !writes => "s3:GetLifecycleConfiguration",
        "notification" if writes => "s3:PutBucketNotification",
        "notification" => "s3:GetBucketNotification",
        other => panic!("no such call: {other}"),
    };
    let expected = call.headers.get("x-amz-expected-bucket-owner");
    let expected = expected.expect("every call says whose bucket it means");
    if !state.may(permission) || expected != OWNER {
        return xml(403, error("AccessDenied", "Access Denied"));
    }
    if what == "lifecycle" {
        return match &state.lifecycle {
            Some(rules) => xml(
                200,
                format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"),
            ),
            None => xml(404, error("NoSuchLifecycleConfiguration", "there is none")),
        };
    }
    if !writes {
        let inside = state.things.notifications.concat();
        let space = "http://s3.amazonaws.com/doc/2006-03-01/";
        return xml(
            200,
            format!(
                "<NotificationConfiguration xmlns=\"{space}\">{inside}</NotificationConfiguration>"
            ),
        );
    }
    let entries = entries(call.body);
    if let Some(fault) = fault(state, &entries) {
        return xml(400, error("InvalidArgument", fault));
    }
    state.things.notifications = state.race.take().unwrap_or(entries);
    xml(200, String::new())
}

fn error(code: &str, message: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

/// The elements of a configuration, as they stand.
fn entries(body: &str) -> Vec<String> {
    let begin = body.find('>').unwrap() + 1;
    let end = body.rfind("</NotificationConfiguration>").unwrap_or(begin);
    let mut rest = &body[begin..end];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let kind = KINDS
            .iter()
            .find(|kind| rest.starts_with(&format!("<{kind}")));
        let kind = kind.unwrap_or_else(|| panic!("no such element: {rest}"));
        let closing = format!("</{kind}>");
        let end = rest.find(&closing).expect("it ends") + closing.len();
        found.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    found
}

/// S3's own words for what it refuses.
fn fault(state: &State, entries: &[String]) -> Option<&'static str> {
    for (at, one) in entries.iter().enumerate() {
        if entries[..at].iter().any(|other| overlap(one, other)) {
            return Some(
                "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules \
                 if the prefixes are overlapping for the same event type.",
            );
        }
    }
    let known = |topic: &String| state.things.topics.get(topic);
    let mut topics = entries.iter().flat_map(|entry| texts(entry, "Topic"));
    let publishes = topics.all(|topic| {
        known(&topic).is_some_and(|attributes| lets_s3_publish(&attributes["Policy"]))
            && topic.split(':').nth(3) == Some(&state.region)
    });
    (!publishes).then_some("Unable to validate the following destination configurations")
}

fn lets_s3_publish(policy: &str) -> bool {
    let policy: Value = serde_json::from_str(policy).unwrap();
    let mut statements = policy["Statement"].as_array().unwrap().iter();
    statements.any(|statement| {
        statement["Principal"]["Service"] == "s3.amazonaws.com"
            && statement["Condition"]["ArnLike"]["aws:SourceArn"] == "arn:aws:s3:::site"
            && statement["Condition"]["StringEquals"]["aws:SourceAccount"] == OWNER
    })
}

fn overlap(one: &str, other: &str) -> bool {
    let part = |entry: &str, name: &str| {
        let names = texts(entry, "Name").into_iter().zip(texts(entry, "Value"));
        let mut values = names.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value).unwrap_or_default()
    };
    let both = |name: &str| (part(one, name), part(other, name));
    let (a, b) = both("prefix");
    let prefixes = a.starts_with(&b) || b.starts_with(&a);
    let (a, b) = both("suffix");
    let suffixes = a.ends_with(&b) || b.ends_with(&a);
    let stem = |event: &str| event.trim_end_matches('*').to_owned();
    let events = texts(one, "Event").into_iter().any(|a| {
        let mut others = texts(other, "Event").into_iter();
        others.any(|b| {
            a == b
                || (a.ends_with('*') && b.starts_with(&stem(&a)))
                || (b.ends_with('*') && a.starts_with(&stem(&b)))
        })
    });
    prefixes && suffixes && events
}
