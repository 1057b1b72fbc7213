//! SQS's queues, and their messages.

use std::collections::BTreeSet;

use axum::{body::Body, response::Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Attributes, Call, OWNER, Queued, State};

pub(super) fn answer(state: &mut State, call: &Call<'_>) -> Response {
    let target = call.headers["x-amz-target"].to_str().unwrap();
    let action = target.strip_prefix("AmazonSQS.").unwrap();
    if !state.may(&format!("sqs:{action}")) {
        return reply(
            403,
            &json!({"__type": "com.amazonaws.sqs#AccessDenied", "message": "no"}),
        );
    }
    let asked: Value = serde_json::from_str(call.body).unwrap();
    let url = |name: &str| format!("https://sqs.us-east-1.amazonaws.com/{OWNER}/{name}");
    let given = || -> Attributes {
        let attributes = asked["Attributes"].as_object().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        attributes
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    };
    let queues = &mut state.things.queues;
    if action == "CreateQueue" {
        let name = asked["QueueName"].as_str().unwrap();
        queues.entry(name.to_owned()).or_insert_with(given);
        return reply(200, &json!({"QueueUrl": url(name)}));
    }
    let name = match action {
        "GetQueueUrl" => asked["QueueName"].as_str().unwrap(),
        _ => asked["QueueUrl"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap(),
    };
    if let Some(answer) = of_messages(state, action, name, &asked) {
        return answer;
    }
    let queues = &mut state.things.queues;
    let Some(queue) = queues.get_mut(name) else {
        let kind = "com.amazonaws.sqs#QueueDoesNotExist";
        return reply(
            400,
            &json!({"__type": kind, "message": "it does not exist"}),
        );
    };
    match action {
        "GetQueueUrl" => reply(200, &json!({"QueueUrl": url(name)})),
        "GetQueueAttributes" => reply(200, &json!({"Attributes": queue})),
        "SetQueueAttributes" => {
            for (name, value) in given() {
                queue.insert(name, value);
            }
            // SQS takes an empty policy as none.
            queue.retain(|_, value| !value.is_empty());
            reply(200, &json!({}))
        }
        "DeleteQueue" => {
            let name = name.to_owned();
            queues.remove(&name);
            reply(200, &json!({}))
        }
        other => panic!("no such call: {other}"),
    }
}

/// The calls about messages, with SQS's rules: ten at a time, invisible once received, deleted by the
/// receipt of the last time.
fn of_messages(state: &mut State, action: &str, name: &str, asked: &Value) -> Option<Response> {
    #[expect(clippy::disallowed_methods, reason = "the fake lives in real time")]
    let now = Timestamp::now();
    let messages = state.messages.get_mut(name)?;
    match action {
        "GetQueueAttributes" => {
            let (visible, hidden): (Vec<_>, Vec<_>) =
                messages.iter().partition(|one| one.visible_at <= now);
            let counts = json!({
                "ApproximateNumberOfMessages": visible.len().to_string(),
                "ApproximateNumberOfMessagesNotVisible": hidden.len().to_string(),
            });
            Some(reply(200, &json!({"Attributes": counts})))
        }
        "ReceiveMessage" => {
            let most = asked["MaxNumberOfMessages"].as_u64().unwrap();
            assert!((1..=10).contains(&most), "SQS gives 1 to 10");
            let seconds = asked["VisibilityTimeout"].as_i64().unwrap();
            let visible = messages.iter_mut().filter(|one| one.visible_at <= now);
            // SQS gives fewer than it could, and in no order.
            let given = visible.rev().take(usize::try_from(most).unwrap().min(7));
            let given = given.map(|one| {
                one.visible_at = now + SignedDuration::from_secs(seconds);
                one.receipt = Uuid::new_v4().to_string();
                json!({"MessageId": one.id, "ReceiptHandle": one.receipt, "Body": one.body,
                    "MD5OfBody": ""})
            });
            Some(reply(200, &json!({"Messages": given.collect::<Vec<_>>()})))
        }
        "DeleteMessageBatch" => {
            let entries = asked["Entries"].as_array().unwrap();
            assert!((1..=10).contains(&entries.len()), "SQS takes 1 to 10");
            let ids: BTreeSet<_> = entries.iter().map(|one| one["Id"].as_str()).collect();
            assert_eq!(ids.len(), entries.len(), "each entry has its own id");
            let (mut done, mut failed) = (Vec::new(), Vec::new());
            for entry in entries {
                let before = messages.len();
                if state.undeletable > 0 {
                    state.undeletable -= 1;
                } else {
                    messages.retain(|one| entry["ReceiptHandle"] != one.receipt.as_str());
                }
                if messages.len() < before {
                    done.push(json!({"Id": entry["Id"]}));
                } else {
                    failed.push(json!({"Id": entry["Id"], "SenderFault": true,
                        "Code": "ReceiptHandleIsInvalid"}));
                }
            }
            Some(reply(200, &json!({"Successful": done, "Failed": failed})))
        }
        "ChangeMessageVisibilityBatch" => {
            let entries = asked["Entries"].as_array().unwrap();
            assert!((1..=10).contains(&entries.len()), "SQS takes 1 to 10");
            for entry in entries {
                let seconds = entry["VisibilityTimeout"].as_i64().unwrap();
                let of_it = |one: &&mut Queued| entry["ReceiptHandle"] == one.receipt.as_str();
                let message = messages.iter_mut().find(of_it).unwrap();
                message.visible_at = now + SignedDuration::from_secs(seconds);
            }
            let done = entries.iter().map(|entry| json!({"Id": entry["Id"]}));
            let done: Vec<_> = done.collect();
            Some(reply(200, &json!({"Successful": done, "Failed": []})))
        }
        _ => None,
    }
}

fn reply(status: u16, body: &Value) -> Response {
    let mut response = Response::builder().status(status);
    if status == 400 {
        // The error's name in the API of before.
        let name = "AWS.SimpleQueueService.NonExistentQueue;Sender";
        response = response.header("x-amzn-query-error", name);
    }
    response
        .header("content-type", "application/x-amz-json-1.0")
        .body(Body::from(body.to_string()))
        .unwrap()
}
