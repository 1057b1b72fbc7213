//! The subscription's attributes: for how long SNS tries, how fast, and where it puts the rest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub type Attributes = BTreeMap<String, String>;

/// How many messages a second SNS sends at most, unless asked otherwise: a burst waits in SNS
/// instead of being refused here.
pub const THROTTLE: u32 = 500;

pub const DELIVERY: &str = "DeliveryPolicy";
const REDRIVE: &str = "RedrivePolicy";
pub const RAW: &str = "RawMessageDelivery";

/// Retries for almost an hour, which is the most that SNS allows: 3 after 5 s each, 10 with growing
/// pauses up to 60 s, and 49 after 60 s each (Amazon SNS Developer Guide, "Message delivery
/// retries").
pub fn one_hour() -> Value {
    json!({
        "numRetries": 62,
        "numNoDelayRetries": 0,
        "minDelayTarget": 5,
        "numMinDelayRetries": 3,
        "maxDelayTarget": 60,
        "numMaxDelayRetries": 49,
        "backoffFunction": "exponential",
    })
}

/// What has to be set on a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub attributes: Attributes,
    /// What the subscription has of its own and keeps, though we would have set something else.
    pub kept: Vec<String>,
}

/// What is missing of a subscription's attributes. Retries, throttle and dead-letter queue that
/// somebody has chosen are kept, except for a throttle that is asked for; raw delivery is switched
/// off, since raw messages are not signed.
pub fn wanted(there: &Attributes, queue: &str, throttle: Option<u32>) -> Wanted {
    let mut wanted = Wanted::default();
    let before = there.get(DELIVERY).and_then(|text| object(text));
    let mut policy = before.clone().unwrap_or_else(|| json!({}));
    match policy
        .get("healthyRetryPolicy")
        .filter(|own| !own.is_null())
    {
        Some(own) if includes(own, &one_hour()) => {}
        Some(own) => wanted.kept.push(format!("retry policy {own}")),
        None => policy["healthyRetryPolicy"] = one_hour(),
    }
    let own = policy.pointer("/throttlePolicy/maxReceivesPerSecond");
    let own = own.and_then(Value::as_u64);
    match (own, throttle) {
        (Some(_), None) => {}
        (Some(own), Some(throttle)) if own == u64::from(throttle) => {}
        (_, throttle) => {
            let throttle = throttle.unwrap_or(THROTTLE);
            policy["throttlePolicy"] = json!({"maxReceivesPerSecond": throttle});
        }
    }
    if before.as_ref() != Some(&policy) {
        wanted
            .attributes
            .insert(DELIVERY.to_owned(), policy.to_string());
    }
    match dead_letter_queue(there) {
        Some(own) if own == queue => {}
        Some(own) => wanted.kept.push(format!("dead-letter queue {own}")),
        None => {
            let redrive = json!({"deadLetterTargetArn": queue});
            wanted
                .attributes
                .insert(REDRIVE.to_owned(), redrive.to_string());
        }
    }
    if there
        .get(RAW)
        .is_some_and(|raw| raw.eq_ignore_ascii_case("true"))
    {
        wanted.attributes.insert(RAW.to_owned(), "false".to_owned());
    }
    wanted
}

/// The ARN of the subscription's dead-letter queue.
pub fn dead_letter_queue(there: &Attributes) -> Option<String> {
    let redrive = object(there.get(REDRIVE)?)?;
    Some(redrive["deadLetterTargetArn"].as_str()?.to_owned())
}

fn object(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// Whether `there` has all that `ours` has. SNS may add fields.
fn includes(there: &Value, ours: &Value) -> bool {
    let fields = ours.as_object().into_iter().flatten();
    fields
        .into_iter()
        .all(|(name, value)| there[name] == *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:letters";

    fn after(there: &Attributes, wanted: Wanted) -> Attributes {
        let mut after = there.clone();
        after.extend(wanted.attributes);
        after
    }

    #[test]
    fn a_new_subscription_is_patient_and_loses_nothing() {
        let wanted = wanted(&Attributes::new(), QUEUE, None);
        let policy: Value = serde_json::from_str(&wanted.attributes[DELIVERY]).unwrap();
        assert_eq!(policy["throttlePolicy"]["maxReceivesPerSecond"], 500);
        assert_eq!(policy["healthyRetryPolicy"], one_hour());
        let queue = format!("{{\"deadLetterTargetArn\":\"{QUEUE}\"}}");
        assert_eq!(wanted.attributes[REDRIVE], queue);
        assert_eq!(wanted.attributes.len(), 2);
    }

    /// SNS refuses a policy that may retry for longer than 3,600 s in all.
    #[test]
    fn the_retries_last_almost_an_hour() {
        let policy = one_hour();
        let number = |name: &str| policy[name].as_u64().unwrap();
        let fixed = number("numMinDelayRetries") + number("numMaxDelayRetries");
        let between = number("numRetries") - fixed - number("numNoDelayRetries");
        let sure = number("numMinDelayRetries") * number("minDelayTarget")
            + number("numMaxDelayRetries") * number("maxDelayTarget");
        let least = sure + between * number("minDelayTarget");
        let most = sure + between * number("maxDelayTarget");
        assert_eq!((least, most), (3_005, 3_555));
    }

    #[test]
    fn a_second_time_nothing_is_wanted() {
        let before = Attributes::new();
        let once = after(&before, wanted(&before, QUEUE, None));
        assert_eq!(wanted(&once, QUEUE, None), Wanted::default());
        assert_eq!(wanted(&once, QUEUE, Some(500)), Wanted::default());
        let faster = after(&once, wanted(&once, QUEUE, Some(900)));
        assert!(faster[DELIVERY].contains("900"));
        // What was asked for once stays.
        assert_eq!(wanted(&faster, QUEUE, None), Wanted::default());
        assert_eq!(wanted(&faster, QUEUE, Some(900)), Wanted::default());
    }

    #[test]
    fn what_somebody_has_chosen_stays_but_not_raw_delivery() {
        let own = json!({
            "healthyRetryPolicy": {"numRetries": 5},
            "throttlePolicy": {"maxReceivesPerSecond": 7},
            "requestPolicy": {"headerContentType": "application/json"},
        });
        let there = Attributes::from([
            (DELIVERY.to_owned(), own.to_string()),
            (
                REDRIVE.to_owned(),
                "{\"deadLetterTargetArn\":\"arn:own\"}".to_owned(),
            ),
            (RAW.to_owned(), "true".to_owned()),
        ]);
        let found = wanted(&there, QUEUE, None);
        assert_eq!(
            found.attributes,
            Attributes::from([(RAW.to_owned(), "false".to_owned())])
        );
        let kept = [
            "retry policy {\"numRetries\":5}",
            "dead-letter queue arn:own",
        ];
        assert_eq!(found.kept, kept);
        // Asked for a throttle, the rest of the policy stays as it is.
        let found = wanted(&there, QUEUE, Some(9));
        let mut expected = own;
        expected["throttlePolicy"]["maxReceivesPerSecond"] = json!(9);
        assert_eq!(found.attributes[DELIVERY], expected.to_string());
    }
}
