//! `purgefront doctor` against moto, in a bucket that already has a function, a queue and another topic:
//! each command that it prints, run as printed, mends its check, and what others have is still there.

use serde_json::{Value, json};

use crate::support::{moto::Moto, service::Setup};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";

/// What others have. moto takes EventBridge's configuration, but never returns it.
const PREPARE: &str = r#"
s3.create_bucket(Bucket="site")
sns.create_topic(Name="others")
sqs.create_queue(QueueName="tagged")
account = "us-east-1:123456789012"
s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration={
    "TopicConfigurations": [{"Id": "audit", "TopicArn": f"arn:aws:sns:{account}:others",
        "Events": ["s3:Replication:*"]}],
    "QueueConfigurations": [{"Id": "tagged", "QueueArn": f"arn:aws:sqs:{account}:tagged",
        "Events": ["s3:ObjectTagging:*"], "Filter": {"Key": {"FilterRules": [
            {"Name": "prefix", "Value": "a b/"}, {"Name": "suffix", "Value": ".jpg"}]}}}],
    "LambdaFunctionConfigurations": [{"Id": "f", "Events": ["s3:LifecycleTransition"],
        "LambdaFunctionArn": f"arn:aws:lambda:{account}:function:f"}],
})
cloudfront = client("cloudfront")
cloudfront.create_distribution(DistributionConfig={
    "CallerReference": "r", "Comment": "", "Enabled": True,
    "Origins": {"Quantity": 1, "Items": [{"Id": "o", "S3OriginConfig": {"OriginAccessIdentity": ""},
        "DomainName": "site.s3.us-east-1.amazonaws.com"}]},
    "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "https-only",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"},
})
"#;

/// The entries of the bucket that are not ours.
const OF_OTHERS: &str = r#"
there = s3.get_bucket_notification_configuration(Bucket="site")
there.pop("ResponseMetadata")
for entries in there.values():
    entries[:] = [entry for entry in entries if entry["Id"] != "purgefront"]
print(json.dumps(there))
"#;

/// What goes wrong, one after the other, with the check that has to notice it.
const FAULTS: [(&str, &str); 8] = [
    (
        "bucket.notification",
        r#"
there = s3.get_bucket_notification_configuration(Bucket="site")
there.pop("ResponseMetadata")
there["TopicConfigurations"] = [one for one in there["TopicConfigurations"] if one["Id"] != "purgefront"]
s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration=there)
"#,
    ),
    (
        "bucket.events",
        r#"
there = s3.get_bucket_notification_configuration(Bucket="site")
there.pop("ResponseMetadata")
for one in there["TopicConfigurations"]:
    if one["Id"] == "purgefront":
        one["Events"] = ["s3:ObjectCreated:*"]
s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration=there)
"#,
    ),
    (
        "bucket.lifecycle",
        r#"
s3.put_bucket_lifecycle_configuration(Bucket="site", LifecycleConfiguration={"Rules": [
    {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]})
there = s3.get_bucket_notification_configuration(Bucket="site")
there.pop("ResponseMetadata")
for one in there["TopicConfigurations"]:
    if one["Id"] == "purgefront":
        one["Events"] = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration=there)
"#,
    ),
    (
        "bucket.topic-policy",
        r#"
policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
for one in policy["Statement"]:
    if one["Sid"].startswith("PurgefrontS3"):
        one["Sid"] = "Theirs"
        del one["Condition"]["StringEquals"]
sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy))
"#,
    ),
    (
        "subscription.raw-delivery",
        r#"
sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery",
    AttributeValue="true")
"#,
    ),
    (
        "subscription.retries",
        r#"
policy = json.dumps({"healthyRetryPolicy": {"numRetries": 3, "minDelayTarget": 20, "maxDelayTarget": 20}})
sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="DeliveryPolicy",
    AttributeValue=policy)
"#,
    ),
    (
        "dead-letters.policy",
        r#"
sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
"#,
    ),
    (
        "dead-letters.queue",
        r"
sqs.delete_queue(QueueUrl=queue)
",
    ),
];

/// What the faults speak of.
const NAMES: &str = r#"
topic = "arn:aws:sns:us-east-1:123456789012:site-changes"
subscription = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"][0]["SubscriptionArn"]
queue = sqs.get_queue_url(QueueName="site-changes-dead-letters")["QueueUrl"]
"#;

struct Patient {
    moto: Moto,
    endpoint: String,
}

impl Patient {
    /// All findings, by what `purgefront doctor` prints as JSON.
    fn examine(&self) -> Vec<Value> {
        let endpoint = &self.endpoint;
        let doctor = format!("purgefront doctor --bucket site --endpoint {endpoint} --json");
        let (code, said, complaint) = self.moto.shell(&doctor);
        assert!(matches!(code, Some(0 | 1)), "{complaint}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let checks = said["checks"].as_array().unwrap().clone();
        let fails = checks.iter().any(|one| one["level"] == "failure");
        assert_eq!(code, Some(i32::from(fails)), "{checks:#?}");
        checks
    }

    fn of(&self, id: &str) -> Value {
        let mut checks = self.examine().into_iter();
        checks.find(|one| one["id"] == id).unwrap()
    }

    /// Runs the command of a check as it is printed.
    fn mend(&self, found: &Value) {
        let command = found["mend"]["command"].as_str();
        let command = command.unwrap_or_else(|| panic!("no command: {found:#}"));
        let (code, said, complaint) = self.moto.shell(command);
        assert_eq!(code, Some(0), "{command}: {said}{complaint}");
    }
}

/// What is not fine, by id; without what an emulator does differently.
fn bad(checks: &[Value]) -> Vec<&Value> {
    let known = [
        "permission.create-invalidation",
        "permission.confirm-subscription",
        "endpoint.reachable",
    ];
    let all = checks.iter();
    let bad = all.filter(|one| one["level"] == "warning" || one["level"] == "failure");
    let bad =
        bad.filter(|one| one["level"] == "failure" || known.iter().all(|id| one["id"] != *id));
    bad.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_mends_its_check_and_nothing_of_others() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    moto.script(PREPARE);
    let others = moto.script(OF_OTHERS);
    // The service itself stands at the endpoint.
    let setup = Setup::alone();
    let service = setup.start().await;
    let endpoint = format!("{}/sns", service.url);
    let store = moto.home().join("not yet/purgefront.db");
    let settings = format!(
        "[sns]\ntopics = [\"{TOPIC}\"]\nemulator = \"http://127.0.0.1:1\"\n\
         [store]\nurl = \"sqlite://{}\"\n",
        store.display()
    );
    std::fs::write(moto.home().join("purgefront.toml"), settings).unwrap();
    let patient = Patient { moto, endpoint };

    // From nothing: a command after the other.
    for id in ["topic.exists", "store.opens"] {
        let found = patient.of(id);
        assert_eq!(found["level"], "failure", "{found:#}");
        patient.mend(&found);
    }
    let checks = patient.examine();
    assert_eq!(bad(&checks), Vec::<&Value>::new());
    let id = |id: &str| checks.iter().find(|one| one["id"] == id).unwrap();
    // moto takes what AWS refuses, and that is said.
    let create = id("permission.create-invalidation");
    assert!(
        create["why"]
            .as_str()
            .unwrap()
            .contains("this is an emulator"),
        "{create:#}"
    );
    assert_eq!(id("permission.get-invalidation")["level"], "ok");
    assert_eq!(id("endpoint.purgefront")["level"], "ok");

    for (id, fault) in FAULTS {
        patient.moto.script(&format!("{NAMES}{fault}"));
        let found = patient.of(id);
        assert!(
            ["warning", "failure"].contains(&found["level"].as_str().unwrap()),
            "{found:#}"
        );
        patient.mend(&found);
        let checks = patient.examine();
        assert_eq!(bad(&checks), Vec::<&Value>::new(), "after {id}: {found:#}");
    }
    assert_eq!(patient.moto.script(OF_OTHERS), others);

    // A message that was never delivered.
    let send = "sqs.send_message(QueueUrl=queue, MessageBody='lost')";
    patient.moto.script(&format!("{NAMES}{send}"));
    let found = patient.of("dead-letters.messages");
    assert_eq!(found["level"], "failure");
    let url = found["mend"]["command"].as_str().unwrap();
    assert!(url.starts_with("purgefront redrive https://"), "{url}");
    // And a topic without the subscription.
    patient.moto.script(&format!(
        "{NAMES}sns.unsubscribe(SubscriptionArn=subscription)"
    ));
    let found = patient.of("subscription.exists");
    patient.mend(&found);
    assert_eq!(patient.of("subscription.exists")["level"], "ok");
    assert_eq!(
        json!(patient.of("subscription.dead-letter-queue")["level"]),
        "ok"
    );
}
