//! The endpoint's subscription, and the queue for what SNS could not deliver.

use serde_json::Value;

use super::{Check, Command, Finding, Seen, Wiring};
use crate::domain::{
    behaviour,
    connection::{
        SeenQueue, SeenSubscription,
        delivery::{self, Attributes, DELIVERY, RAW},
        permit, policy,
    },
    topic::TopicArn,
};

/// How long SNS tries by default, in seconds: 3 times, after 20 s each (Amazon SNS Developer Guide,
/// "Message delivery retries").
const DEFAULT_SPAN: u64 = 60;

/// Judges the endpoint's subscription to the topic.
pub fn subscription(
    wiring: &Wiring,
    endpoint: &str,
    seen: &Seen<Option<SeenSubscription>>,
) -> Vec<Finding> {
    let what = format!("subscription of {endpoint} to {}", wiring.topic);
    let there = match seen {
        Ok(Some(there)) => there,
        Ok(None) => {
            let why = "does not exist: SNS sends nothing here";
            let finding = Finding::failure(Check::SubscriptionExists, &what, why);
            let mut findings = vec![finding.mended_by(wiring.subscribe())];
            findings.extend(skipped(&what, "there is no subscription"));
            return findings;
        }
        Err(unseen) => {
            let mut findings = vec![Finding::unseen(Check::SubscriptionExists, &what, unseen)];
            findings.extend(skipped(&what, "the subscription cannot be seen"));
            return findings;
        }
    };
    let mut findings = vec![Finding::ok(Check::SubscriptionExists, &what, "exists")];
    let pending = there.attributes.get("PendingConfirmation");
    let Some(arn) = there
        .arn
        .as_deref()
        .filter(|_| pending.is_none_or(|pending| pending != "true"))
    else {
        let why = "waits for its confirmation: SNS sends no changes until purgefront runs with this \
                   topic in sns.topics and confirms it; to have SNS ask again, run the command then";
        let finding = Finding::failure(Check::SubscriptionConfirmed, &what, why);
        findings.push(finding.mended_by(wiring.subscribe()));
        let rest = skipped(&what, "SNS shows no attributes before the confirmation");
        findings.extend(rest.filter(|one| one.check != Check::SubscriptionConfirmed));
        return findings;
    };
    findings.push(Finding::ok(
        Check::SubscriptionConfirmed,
        &what,
        "is confirmed",
    ));
    findings.push(raw(wiring, &what, &there.attributes));
    findings.push(retries(wiring, &what, arn, &there.attributes));
    findings.push(queue(wiring, &what, &there.attributes));
    findings
}

/// No URL at all is subscribed to the topic.
pub fn nobody(topic: &TopicArn, bucket: Option<&str>) -> Vec<Finding> {
    let what = format!("subscriptions to {topic}");
    let why = "no URL is subscribed to the topic: SNS sends nothing here";
    let bucket = bucket.unwrap_or("BUCKET");
    let finding = Finding::failure(Check::SubscriptionExists, &what, why).mended_by(format!(
        "subscribe purgefront: purgefront connect {bucket} --topic {topic} --endpoint URL"
    ));
    let rest = skipped(&what, "there is no subscription");
    std::iter::once(finding).chain(rest).collect()
}

fn skipped(what: &str, why: &str) -> impl Iterator<Item = Finding> {
    let checks = [
        Check::SubscriptionConfirmed,
        Check::SubscriptionRaw,
        Check::SubscriptionRetries,
        Check::SubscriptionQueue,
    ];
    let why = format!("skipped, because {why}");
    checks
        .map(|check| Finding::skipped(check, what, &why))
        .into_iter()
}

fn raw(wiring: &Wiring, what: &str, attributes: &Attributes) -> Finding {
    let is_raw = attributes.get(RAW);
    if is_raw.is_some_and(|raw| raw.eq_ignore_ascii_case("true")) {
        let why = "raw message delivery is on: raw messages are not signed, so they are refused";
        return Finding::failure(Check::SubscriptionRaw, what, why).mended_by(wiring.subscribe());
    }
    Finding::ok(Check::SubscriptionRaw, what, "raw message delivery is off")
}

fn retries(wiring: &Wiring, what: &str, arn: &str, attributes: &Attributes) -> Finding {
    let check = Check::SubscriptionRetries;
    let object = |name: &str| -> Option<Value> {
        let value = serde_json::from_str(attributes.get(name)?).ok();
        value.filter(Value::is_object)
    };
    let own = object(DELIVERY);
    let healthy = |policy: Option<Value>| {
        let retries = policy?["healthyRetryPolicy"].take();
        (!retries.is_null()).then_some(retries)
    };
    // The effective policy has what comes from the topic as well, but emulators show the default there
    // whatever the subscription has.
    let retries = healthy(own.clone()).or_else(|| healthy(object("EffectiveDeliveryPolicy")));
    let least = retries.as_ref().map_or(DEFAULT_SPAN, span);
    if least > DEFAULT_SPAN {
        return Finding::ok(check, what, format!("SNS tries for at least {least} s"));
    }
    let why = format!(
        "SNS tries for about {least} s and gives a message up then, so that a short outage here loses \
         it or leaves it in the dead-letter queue"
    );
    let mut own = own.unwrap_or_else(|| serde_json::json!({}));
    let chosen = own.get("healthyRetryPolicy");
    let finding = Finding::warning(check, what, why);
    if chosen.is_none_or(Value::is_null) {
        return finding.mended_by(wiring.subscribe());
    }
    // connect leaves alone what somebody has chosen.
    own["healthyRetryPolicy"] = delivery::one_hour();
    let set = Command::new(["aws", "sns", "set-subscription-attributes"])
        .and(["--region", wiring.topic.region()])
        .and(["--subscription-arn", arn])
        .and(["--attribute-name", DELIVERY])
        .and(["--attribute-value", &own.to_string()]);
    finding.mended_by(set)
}

/// For how many seconds these retries go on at least.
fn span(retries: &Value) -> u64 {
    let number = |name: &str| retries[name].as_u64().unwrap_or(0);
    let all = number("numRetries");
    let slow = number("numMaxDelayRetries").min(all);
    let quick = all.saturating_sub(number("numNoDelayRetries") + slow);
    let slow = slow.saturating_mul(number("maxDelayTarget"));
    quick.saturating_mul(number("minDelayTarget")) + slow
}

fn queue(wiring: &Wiring, what: &str, attributes: &Attributes) -> Finding {
    let check = Check::SubscriptionQueue;
    if let Some(arn) = delivery::dead_letter_queue(attributes) {
        return Finding::ok(check, what, format!("has the dead-letter queue {arn}"));
    }
    let why = "has no dead-letter queue: what SNS gives up is lost";
    Finding::warning(check, what, why).mended_by(wiring.subscribe())
}

/// The name of a queue, if it can be a dead-letter queue of the topic's subscriptions: it has to be in
/// the topic's account and region.
pub fn queue_name<'a>(topic: &TopicArn, arn: &'a str) -> Option<&'a str> {
    let parts: Vec<_> = arn.split(':').collect();
    let [_, _, "sqs", region, account, name] = *parts.as_slice() else {
        return None;
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name =
        (1..=80).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('-');
    (is_name && region == topic.region() && account == topic.account()).then_some(name)
}

/// Judges the dead-letter queue of a subscription.
pub fn dead_letters(wiring: &Wiring, arn: &str, seen: &Seen<Option<SeenQueue>>) -> Vec<Finding> {
    let what = format!("dead-letter queue {arn}");
    let name = queue_name(&wiring.topic, arn);
    let there = match (name, seen) {
        (None, _) => {
            let why =
                "is not a standard queue in the topic's account and region, so SNS cannot use it";
            return vec![Finding::failure(Check::QueueExists, what, why).mended_by(
                "set another queue as the subscription's RedrivePolicy; purgefront connect uses its \
                 own queue once the subscription has none",
            )];
        }
        (Some(_), Ok(Some(there))) => there,
        (Some(name), Ok(None)) => {
            let why = "does not exist: what SNS gives up is lost";
            let finding = Finding::failure(Check::QueueExists, &what, why);
            let mut findings = vec![finding.mended_by(wiring.with_queue(name))];
            for check in [Check::QueuePolicy, Check::QueueMessages] {
                let why = "skipped, because there is no queue";
                findings.push(Finding::skipped(check, &what, why));
            }
            return findings;
        }
        (Some(_), Err(unseen)) => {
            let checks = [Check::QueueExists, Check::QueuePolicy, Check::QueueMessages];
            let unseen = checks.map(|check| Finding::unseen(check, &what, unseen));
            return unseen.into();
        }
    };
    let mut findings = vec![Finding::ok(Check::QueueExists, &what, "exists")];
    let check = Check::QueuePolicy;
    findings.push(
        if lets_topic_send(there.policy.as_deref(), arn, &wiring.topic) {
            Finding::ok(check, &what, "lets the topic send")
        } else {
            let why = "does not let the topic send: what SNS gives up is lost";
            let mend = wiring.with_queue(name.unwrap_or_default());
            Finding::failure(check, &what, why).mended_by(mend)
        },
    );
    findings.push(match there.messages {
        0 => Finding::ok(Check::QueueMessages, &what, "is empty"),
        count => Finding::failure(
            Check::QueueMessages,
            &what,
            format!("holds about {count} messages that were never delivered"),
        )
        .mended_by(wiring.redrive(&there.url)),
    });
    findings
}

/// Whether a statement lets SNS send for this topic. Conditions but on the source are taken as
/// fulfilled.
fn lets_topic_send(policy: Option<&str>, queue: &str, topic: &TopicArn) -> bool {
    let matches =
        |value: &Value, text: &str| permit::texts(value).any(|one| behaviour::matches(one, text));
    let mut statements = policy::all(policy).unwrap_or_default().into_iter();
    statements.any(|one| {
        let acts = permit::texts(&one["Action"])
            .any(|action| behaviour::matches(&action.to_ascii_lowercase(), "sqs:sendmessage"));
        let principal = &one["Principal"];
        let is_sns =
            permit::is_anybody(principal) || matches(&principal["Service"], "sns.amazonaws.com");
        let sources: Vec<_> = permit::sources(&one).collect();
        one["Effect"] == "Allow"
            && acts
            && is_sns
            && matches(&one["Resource"], queue)
            && (sources.is_empty()
                || sources
                    .iter()
                    .any(|source| behaviour::matches(source, topic.as_str())))
    })
}
