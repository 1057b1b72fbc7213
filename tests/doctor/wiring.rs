//! Topic, subscription, dead-letter queue and notifications.

use serde_json::{Value, json};

use super::{Clinic, of};
use crate::support::connecting::{OWNERS_POLICY, TOPIC, Things};

const QUEUE: &str = "site-changes-dead-letters";

/// Changes something, finds exactly that, and mends it as printed.
fn is_mended(clinic: &Clinic, id: &str, level: &str, change: impl FnOnce(&mut Things)) -> Value {
    change(&mut clinic.account.state().things);
    let found = clinic.only(id, level, &[]);
    clinic.mend(&found);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_mended_by_the_command_that_is_printed() {
    let clinic = Clinic::open().await;
    let right = clinic.account.things();
    let found = is_mended(&clinic, "bucket.notification", "failure", |things| {
        things.notifications.clear();
    });
    let expected = format!(
        "purgefront connect site --topic {TOPIC} --endpoint https://purge.example/sns --yes"
    );
    assert_eq!(found["mend"], json!({"command": expected}));
    let first = |things: &mut Things, from: &str, to: &str| {
        let entry = things.notifications[0].replace(from, to);
        assert_ne!(entry, things.notifications[0]);
        things.notifications[0] = entry;
    };
    let found = is_mended(&clinic, "bucket.events", "failure", |things| {
        first(things, "<Event>s3:ObjectRemoved:*</Event>", "");
    });
    assert!(
        found["why"]
            .as_str()
            .unwrap()
            .contains("ObjectRemoved:DeleteMarkerCreated")
    );
    is_mended(&clinic, "bucket.events", "warning", |things| {
        first(things, "<Event>s3:ObjectAcl:Put</Event>", "");
    });
    is_mended(&clinic, "bucket.filter", "warning", |things| {
        let filter = "<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>img/</Value></FilterRule>\
             </S3Key></Filter></TopicConfiguration>";
        first(things, "</TopicConfiguration>", filter);
    });
    let policy = |things: &mut Things, change: fn(&mut Value)| {
        let policy = things
            .topics
            .get_mut(TOPIC)
            .unwrap()
            .get_mut("Policy")
            .unwrap();
        let mut document: Value = serde_json::from_str(policy).unwrap();
        change(&mut document["Statement"][1]);
        *policy = document.to_string();
    };
    is_mended(&clinic, "bucket.topic-policy", "warning", |things| {
        policy(things, |one| one["Condition"]["StringEquals"] = json!({}));
    });
    // Somebody else's statement is mended by a command that names it whole.
    let found = is_mended(&clinic, "bucket.topic-policy", "warning", |things| {
        policy(things, |one| {
            one["Condition"]["StringEquals"] = json!({});
            one["Sid"] = json!("Theirs; $(rm -rf .) 'quoted'");
        });
    });
    let command = found["mend"]["command"].as_str().unwrap();
    assert!(
        command.contains("\"Id\":\"__default_policy_ID\"")
            && command.starts_with("aws sns set-topic-attributes "),
        "{command}"
    );
    clinic.account.state().things = right.clone();
    // That the topic's policy names no bucket is why it has to be named here.
    let mut state = clinic.account.state();
    let topic = state.things.topics.get_mut(TOPIC).unwrap();
    topic.insert("Policy".to_owned(), OWNERS_POLICY.to_owned());
    drop(state);
    let found = clinic.only("bucket.topic-policy", "failure", &["--bucket", "site"]);
    clinic.mend(&found);
    assert_eq!(clinic.account.things().notifications, right.notifications);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_by_lifecycle_rules_has_to_be_sent() {
    let clinic = Clinic::open().await;
    let expiry = "<Event>s3:LifecycleExpiration:*</Event>";
    let entry = clinic.account.things().notifications[0].replace(expiry, "");
    clinic.account.state().things.notifications[0] = entry;
    // Nothing expires.
    let noncurrent = "<Rule><ID>n</ID><Status>Enabled</Status><NoncurrentVersionExpiration>\
        <NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
        <Rule><ID>off</ID><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>";
    for rules in [None, Some(noncurrent.to_owned())] {
        clinic.account.state().lifecycle = rules;
        let (code, checks) = clinic.examine(&[]);
        assert_eq!(code, Some(0), "{checks:#?}");
        assert_eq!(of(&checks, "bucket.lifecycle")["level"], "ok");
    }
    let rule =
        "<Rule><ID>old</ID><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>";
    clinic.account.state().lifecycle = Some(rule.to_owned());
    let found = clinic.only("bucket.lifecycle", "failure", &[]);
    assert!(
        found["why"].as_str().unwrap().contains("\"old\""),
        "{found}"
    );
    clinic.mend(&found);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_is_mended_by_the_command_that_is_printed() {
    let clinic = Clinic::open().await;
    let set = |things: &mut Things, name: &str, value: Value| {
        let attributes = &mut things.subscriptions[0].attributes;
        attributes.insert(name.to_owned(), value.to_string());
    };
    is_mended(&clinic, "subscription.raw-delivery", "failure", |things| {
        set(things, "RawMessageDelivery", json!(true));
    });
    is_mended(&clinic, "subscription.retries", "warning", |things| {
        set(
            things,
            "DeliveryPolicy",
            json!({"healthyRetryPolicy": null}),
        );
    });
    let chosen = json!({"healthyRetryPolicy": {"numRetries": 2, "minDelayTarget": 9}});
    let found = is_mended(&clinic, "subscription.retries", "warning", |things| {
        set(things, "DeliveryPolicy", chosen);
    });
    let command = found["mend"]["command"].as_str().unwrap();
    assert!(
        command.starts_with("aws sns set-subscription-attributes "),
        "{command}"
    );
    is_mended(
        &clinic,
        "subscription.dead-letter-queue",
        "warning",
        |things| {
            things.subscriptions[0].attributes.remove("RedrivePolicy");
        },
    );
    is_mended(&clinic, "dead-letters.queue", "failure", |things| {
        things.queues.clear();
    });
    is_mended(&clinic, "dead-letters.policy", "failure", |things| {
        things.queues.get_mut(QUEUE).unwrap().remove("Policy");
    });
    let messages = "ApproximateNumberOfMessages".to_owned();
    let queue = |things: &mut Things| things.queues.get_mut(QUEUE).unwrap().clone();
    let mut holding = queue(&mut clinic.account.state().things);
    holding.insert(messages, "3".to_owned());
    clinic
        .account
        .state()
        .things
        .queues
        .insert(QUEUE.to_owned(), holding);
    let found = clinic.only("dead-letters.messages", "failure", &[]);
    let url = format!("https://sqs.us-east-1.amazonaws.com/123456789012/{QUEUE}");
    assert_eq!(
        found["mend"],
        json!({"command": format!("purgefront redrive {url} --yes")})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_missing_or_not_confirmed_is_a_failure() {
    let clinic = Clinic::open().await;
    clinic.account.state().things.subscriptions[0].confirmed = false;
    let found = clinic.only("subscription.confirmed", "failure", &[]);
    // SNS asks again, and the service, which does not run here, confirms it.
    let command = found["mend"]["command"].as_str().unwrap();
    assert!(command.starts_with("purgefront connect site "), "{command}");
    let asked = clinic.account.state().confirmations;
    let (code, said, complaint) = clinic.account.shell(command, &clinic.setup);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert_eq!(clinic.account.state().confirmations, asked + 1);
    clinic.account.state().things.subscriptions.clear();
    let found = clinic.only(
        "subscription.exists",
        "failure",
        &["--endpoint", "https://purge.example/sns"],
    );
    let command = found["mend"]["command"].as_str().unwrap();
    let (code, said, complaint) = clinic.account.shell(command, &clinic.setup);
    assert_eq!(code, Some(0), "{said}{complaint}");
    clinic.account.state().things.subscriptions[0].confirmed = true;
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    // With a password, the command needs a file that nobody knows here.
    let mut clinic = clinic;
    clinic.account.state().things.subscriptions.clear();
    let password = "PURGEFRONT_SNS__BASIC_AUTH";
    clinic
        .setup
        .set_env(password, "sns:a-long-password-of-tests");
    let found = clinic.only(
        "subscription.exists",
        "failure",
        &["--endpoint", "https://purge.example/sns"],
    );
    let words = found["mend"]["words"].as_str().unwrap();
    assert!(words.contains("--basic-auth-file FILE"), "{words}");
    assert!(!words.contains("a-long-password"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_be_gone_encrypted_or_elsewhere() {
    let clinic = Clinic::open().await;
    let right = clinic.account.things();
    let key = |value: &str| {
        let mut state = clinic.account.state();
        let topic = state.things.topics.get_mut(TOPIC).unwrap();
        topic.insert("KmsMasterKeyId".to_owned(), value.to_owned());
    };
    key("alias/aws/sns");
    clinic.only("topic.key", "failure", &[]);
    key("alias/ours");
    let found = clinic.only("topic.key", "warning", &[]);
    assert!(
        found["mend"]["words"]
            .as_str()
            .unwrap()
            .contains("kms:GenerateDataKey")
    );

    let mut things = right.clone();
    things.topics.clear();
    clinic.account.state().things = things;
    let more = ["--bucket", "site"];
    let found = clinic.only("topic.exists", "failure", &more);
    assert!(
        found["mend"]["command"]
            .as_str()
            .unwrap()
            .contains(" --create-topic")
    );
    let (_, checks) = clinic.examine(&more);
    assert_eq!(
        of(&checks, "permission.confirm-subscription")["level"],
        "skipped"
    );

    clinic.account.state().things = right;
    clinic.account.state().region = "eu-west-1".to_owned();
    let found = clinic.only("bucket.region", "failure", &[]);
    assert!(
        found["why"].as_str().unwrap().contains("is in eu-west-1"),
        "{found}"
    );
    clinic.account.state().region = "us-east-1".to_owned();
    let (code, checks) = clinic.examine(&["--bucket", "nobodys"]);
    assert_eq!(code, Some(1));
    let why = of(&checks, "bucket.known")["why"].as_str().unwrap();
    assert!(why.contains("NoSuchBucket"), "{why}");
    assert_eq!(of(&checks, "bucket.events")["level"], "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn eventbridge_may_do_what_no_entry_does() {
    let clinic = Clinic::open().await;
    let bridge = "<EventBridgeConfiguration></EventBridgeConfiguration>".to_owned();
    clinic.account.state().things.notifications = vec![bridge];
    let found = clinic.only("bucket.notification", "warning", &[]);
    assert!(
        found["why"].as_str().unwrap().contains("EventBridge is on"),
        "{found}"
    );
    // Where S3 would refuse our entry, the ways out are told.
    let theirs = "<QueueConfiguration><Id>all</Id><Queue>arn:aws:sqs:us-east-1:123456789012:q</Queue>\
        <Event>s3:ObjectCreated:*</Event></QueueConfiguration>";
    clinic.account.state().things.notifications = vec![theirs.to_owned()];
    let found = clinic.only("bucket.notification", "failure", &[]);
    let words = found["mend"]["words"].as_str().unwrap();
    assert!(
        words.contains("\n- Fan out: subscribe the queue"),
        "{words}"
    );
    let (_, said, _) = clinic.setup.run(&["doctor"]);
    assert!(
        said.contains("\n         - Fan out: subscribe the queue"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_every_url_that_is_subscribed_is_judged() {
    let clinic = Clinic::open().await;
    let ours = clinic.account.things().subscriptions[0].clone();
    // A mail address is none.
    let change = |endpoint: &str, protocol: &str| {
        let first = &mut clinic.account.state().things.subscriptions[0];
        endpoint.clone_into(&mut first.endpoint);
        protocol.clone_into(&mut first.protocol);
    };
    change("mail@example.org", "email");
    let found = clinic.only("subscription.exists", "failure", &[]);
    assert_eq!(
        found["why"],
        "no URL is subscribed to the topic: SNS sends nothing here"
    );
    let words = found["mend"]["words"].as_str().unwrap();
    assert!(
        words.ends_with(&format!(
            "purgefront connect site --topic {TOPIC} --endpoint URL"
        )),
        "{words}"
    );
    change(&ours.endpoint, &ours.protocol);
    let mut other = ours;
    "https://purge.example/other".clone_into(&mut other.endpoint);
    other
        .attributes
        .insert("RawMessageDelivery".to_owned(), "true".to_owned());
    clinic.account.state().things.subscriptions.push(other);
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(1), "{checks:#?}");
    for id in ["subscription.exists", "endpoint.purgefront"] {
        let found = checks.iter().filter(|one| one["id"] == id);
        assert_eq!(found.count(), 2, "{id}: {checks:#?}");
    }
    let raw: Vec<_> = checks
        .iter()
        .filter(|one| one["id"] == "subscription.raw-delivery" && one["level"] == "failure")
        .collect();
    assert_eq!(raw.len(), 1, "{checks:#?}");
    // A name limits it.
    let (code, checks) = clinic.examine(&["--endpoint", super::ENDPOINT]);
    assert_eq!(code, Some(0), "{checks:#?}");
}
