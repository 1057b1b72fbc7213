//! `purgefront connect` and `disconnect` against moto, where `make test` has installed it: what
//! others have set up is read with AWS's own client, and an upload arrives on the topic.

use std::sync::{Arc, Mutex};

use axum::Router;
use serde_json::{Value, json};

use crate::support::{moto::Moto, until};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";

/// What others have: a function, a queue and a topic. moto takes EventBridge's configuration, but
/// never returns it, so what happens to that is tried in `connect.rs` alone.
const PREPARE: &str = r#"
s3.create_bucket(Bucket="site")
s3.create_bucket(Bucket="fresh")
sns.create_topic(Name="others")
sqs.create_queue(QueueName="tagged")
account = "us-east-1:123456789012"
s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration={
    "TopicConfigurations": [{"Id": "audit & <more>", "TopicArn": f"arn:aws:sns:{account}:others",
        "Events": ["s3:Replication:*"]}],
    "QueueConfigurations": [{"Id": "tagged", "QueueArn": f"arn:aws:sqs:{account}:tagged",
        "Events": ["s3:ObjectTagging:*"], "Filter": {"Key": {"FilterRules": [
            {"Name": "prefix", "Value": "a b/"}, {"Name": "suffix", "Value": ".jpg"}]}}}],
    "LambdaFunctionConfigurations": [{"Id": "f", "Events": ["s3:LifecycleTransition"],
        "LambdaFunctionArn": f"arn:aws:lambda:{account}:function:f"}],
})
"#;

/// Everything, as AWS's client for Python reads it.
const READ: &str = r#"
def plain(answer):
    answer.pop("ResponseMetadata")
    return answer
def attributes(arn):
    return plain(sns.get_topic_attributes(TopicArn=arn))["Attributes"]
topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
subscriptions = [one["SubscriptionArn"] for one in sns.list_subscriptions()["Subscriptions"]]
def queue(url):
    names = ["Policy", "MessageRetentionPeriod", "QueueArn"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
print(json.dumps({
    "notifications": plain(s3.get_bucket_notification_configuration(Bucket="site")),
    "topics": {arn: attributes(arn) for arn in topics},
    "subscriptions": [
        plain(sns.get_subscription_attributes(SubscriptionArn=arn))["Attributes"]
        for arn in subscriptions
    ],
    "queues": [queue(url) for url in sqs.list_queues().get("QueueUrls", [])],
}))
"#;

const CHANGE: &str = "
printf x | aws s3 cp - s3://site/docs/index.html
aws s3 rm s3://site/docs/index.html
";

/// Takes our entry out of what was read.
fn without_ours(notifications: &Value) -> (Value, Vec<Value>) {
    let mut others = notifications.clone();
    let topics = others["TopicConfigurations"].as_array_mut().unwrap();
    let is_ours = |entry: &Value| entry["Id"] == "purgefront";
    let ours = topics
        .iter()
        .filter(|entry| is_ours(entry))
        .cloned()
        .collect();
    topics.retain(|entry| !is_ours(entry));
    (others, ours)
}

/// Takes messages of SNS, and keeps their texts.
async fn endpoint() -> (String, Arc<Mutex<Vec<String>>>) {
    let kept = Arc::<Mutex<Vec<String>>>::default();
    let texts = Arc::clone(&kept);
    let take = move |body: String| async move {
        let message: Value = serde_json::from_str(&body).unwrap();
        let text = message["Message"].as_str().unwrap_or_default();
        texts.lock().unwrap().push(text.to_owned());
    };
    let routes = Router::new().fallback(take);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sns", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_what_others_have_and_sends_what_changes() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    moto.script(PREPARE);
    let before = moto.script(READ);
    let (url, messages) = endpoint().await;
    let connect = [
        "connect",
        "site",
        "--topic",
        TOPIC,
        "--create-topic",
        "--endpoint",
        &url,
    ];
    let yes = [&connect[..], &["--yes"]].concat();
    let (code, said, complaint) = moto.purgefront(&[&connect[..], &["--dry-run"]].concat());
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert_eq!(moto.script(READ), before);

    let (code, said, complaint) = moto.purgefront(&yes);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let after = moto.script(READ);
    let (others, ours) = without_ours(&after["notifications"]);
    assert_eq!(others, before["notifications"]);
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0]["TopicArn"], TOPIC);
    assert_eq!(ours[0]["Events"].as_array().unwrap().len(), 7);
    let other = "arn:aws:sns:us-east-1:123456789012:others";
    assert_eq!(after["topics"][other], before["topics"][other]);
    let redrive = &after["subscriptions"][0]["RedrivePolicy"];
    assert!(
        redrive
            .as_str()
            .unwrap()
            .contains(":site-changes-dead-letters")
    );

    // moto does not return a topic's SignatureVersion, so that is set each time.
    let json = [&yes[..], &["--json"]].concat();
    let (code, said, complaint) = moto.purgefront(&json);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let again = json!(["set the topic's SignatureVersion to 2"]);
    assert_eq!(said["actions"], again);
    assert_eq!(moto.script(READ), after);

    let (code, said, complaint) = moto.shell(CHANGE);
    assert_eq!(code, Some(0), "{said}{complaint}");
    for event in ["s3:TestEvent", "ObjectCreated:Put", "ObjectRemoved:Delete"] {
        let arrived = || {
            let messages = messages.lock().unwrap();
            let found = messages.iter().any(|text| text.contains(event));
            found.then_some(())
        };
        until(event, arrived).await;
    }

    let (code, said, complaint) = moto.purgefront(&["disconnect", "site", "--yes"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let last = moto.script(READ);
    assert_eq!(last["notifications"], before["notifications"]);
    let policy = last["topics"][TOPIC]["Policy"].as_str().unwrap();
    assert!(!policy.contains("PurgefrontS3"), "{policy}");

    // A bucket that has nothing yet, and has nothing afterwards.
    for words in [
        ["connect", "fresh", "--topic", TOPIC, "--yes"],
        ["disconnect", "fresh", "--topic", TOPIC, "--yes"],
    ] {
        let (code, said, complaint) = moto.purgefront(&words);
        assert_eq!(code, Some(0), "{said}{complaint}");
        assert!(said.contains("bucket fresh: 0 entries of others"), "{said}");
    }
    let (code, said, _) = moto.purgefront(&["disconnect", "fresh", "--yes"]);
    assert_eq!(code, Some(0));
    assert!(said.ends_with("Nothing to do.\n"), "{said}");
}
