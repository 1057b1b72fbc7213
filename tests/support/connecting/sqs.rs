//! SQS's queues.

use axum::{body::Body, response::Response};
use serde_json::{Value, json};

use super::{Attributes, Call, OWNER, State};

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
