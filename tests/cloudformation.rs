//! The CloudFormation template, created in moto as far as moto goes, and what it made.

use std::{fs, path::Path};

use purgefront::domain::connection::delivery::{Attributes, wanted};
use serde_json::{Value, json};

use crate::support::moto::in_process;

const TEMPLATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/cloudformation/purgefront.yaml"
);
const ALARMS: [&str; 6] = [
    "DeadLettersAlarm",
    "FailedDeliveriesAlarm",
    "InstanceAlarm",
    "LostMessagesAlarm",
    "RefusingAlarm",
    "UnhealthyAlarm",
];

/// Creates the stack; a parameter that is true is taken from what the account has. None without moto.
fn created(parameters: &Value) -> Option<Value> {
    let mut all = json!({
        "DomainName": "purge.example.com",
        "PackageObject": "packages/purgefront.deb",
        "PackageSha256": "0".repeat(64),
        "BucketNames": "site,other",
        // The default, which moto does not split.
        "ZoneLetters": "a,b",
    });
    let more = parameters.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    let script = include_str!("data/deploy/stack.py");
    in_process(script, &[TEMPLATE, &all.to_string()])
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// deploy/iam/service.json with the stack's topic.
pub fn service_policy(topic: &str) -> Value {
    let text = read("deploy/iam/service.json");
    let example = "arn:aws:sns:us-east-1:123456789012:site-changes";
    serde_json::from_str(&text.replace(example, topic)).unwrap()
}

/// deploy/iam/recovery.json with the stack's queue and buckets.
fn recovery_policy(queue: &str) -> Value {
    let mut policy: Value = serde_json::from_str(&read("deploy/iam/recovery.json")).unwrap();
    policy["Statement"][0]["Resource"] = json!(queue);
    policy["Statement"][1]["Resource"] = json!(["arn:*:s3:::site", "arn:*:s3:::other"]);
    policy
}

/// deploy/iam/merging.json with the stack's buckets.
pub fn merging_policy(buckets: &[&str]) -> Value {
    let mut policy: Value = serde_json::from_str(&read("deploy/iam/merging.json")).unwrap();
    let buckets = buckets.iter().map(|name| format!("arn:*:s3:::{name}"));
    policy["Statement"][0]["Resource"] = buckets.collect();
    policy
}

#[test]
fn a_whole_stack_has_what_the_documentation_promises() {
    let Some(stack) = created(&json!({"HostedZoneId": true, "CertificateArn": true,
        "ApiTokenSha256": "1".repeat(64)}))
    else {
        return;
    };
    assert_eq!(stack["status"], "CREATE_COMPLETE");
    let topic = stack["outputs"]["Topic"].as_str().unwrap();
    let connect = format!("purgefront connect BUCKET --topic {topic}");
    assert_eq!(stack["outputs"]["Connect"], connect.as_str());
    assert!(topic.contains(":purge-Topic-"), "{topic}");
    assert_eq!(
        stack["wanted"]["Topic"]["SignatureVersion"], "2",
        "moto does not return it"
    );
    let statement = &parsed(&stack["topic_policy"])["Statement"];
    let sources = json!(["arn:*:s3:::site", "arn:*:s3:::other"]);
    assert_eq!(
        statement[0]["Condition"]["ArnLike"]["aws:SourceArn"],
        sources
    );
    let account = &statement[0]["Condition"]["StringEquals"]["aws:SourceAccount"];
    assert_eq!(account, "123456789012");
    assert_eq!(statement[0]["Principal"]["Service"], "s3.amazonaws.com");

    let queue = &stack["queue"];
    assert_eq!(queue["MessageRetentionPeriod"], "1209600");
    let statement = &parsed(&queue["Policy"])["Statement"][0];
    assert_eq!(statement["Condition"]["ArnEquals"]["aws:SourceArn"], topic);
    assert_eq!(statement["Resource"], queue["QueueArn"]);
    assert_eq!(stack["policies"]["service"], service_policy(topic));

    assert_eq!(
        stack["policies"]["recovery"],
        recovery_policy(queue["QueueArn"].as_str().unwrap())
    );
    let volume = &stack["resources"]["Volume"];
    assert_eq!(volume["DeletionPolicy"], "Snapshot");
    assert_eq!(volume["UpdateReplacePolicy"], "Snapshot");
    assert_eq!(stack["wanted"]["Volume"]["Encrypted"], true);
    assert_eq!(stack["volume"]["Size"], 20);
    assert_eq!(stack["volume"]["AvailabilityZone"], "us-east-1a");
    let subnet = |name: &str| &stack["wanted"][name]["AvailabilityZone"];
    assert_eq!(
        (subnet("SubnetA"), subnet("SubnetB")),
        (&json!("us-east-1a"), &json!("us-east-1b"))
    );
    let tagged = &stack["wanted"]["Snapshots"]["PolicyDetails"]["TargetTags"][0];
    let tags = stack["wanted"]["Volume"]["Tags"].as_array().unwrap();
    assert!(tags.contains(tagged), "{tagged} is not in {tags:?}");
    let group = &stack["group"];
    assert_eq!(
        (&group["MinSize"], &group["MaxSize"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        stack["outputs"]["Group"], group["AutoScalingGroupName"],
        "whose processes are suspended"
    );
    let metadata = &stack["launched"]["MetadataOptions"];
    assert_eq!(metadata["HttpTokens"], "required");
    assert!(stack["launched"]["KeyName"].is_null(), "there is no SSH");

    let listener = &stack["listeners"][0];
    assert_eq!(
        (&listener["Protocol"], &listener["Port"]),
        (&json!("HTTPS"), &json!(443))
    );
    let target = &listener["DefaultActions"][0]["TargetGroupArn"];
    assert_eq!(target, &group["TargetGroupARNs"][0]);
    assert_eq!(stack["rules"].as_array().unwrap().len(), 1, "only theirs");
}

#[test]
fn only_buckets_that_are_named_may_be_listed_for_merging() {
    let Some(stack) = created(&json!({"CertificateArn": true, "ListedBucketNames": "site,old"}))
    else {
        return;
    };
    assert_eq!(stack["status"], "CREATE_COMPLETE");
    let policy = &stack["wanted"]["MergingPolicy"];
    assert_eq!(policy["PolicyDocument"], merging_policy(&["site", "old"]));
    let stack = created(&json!({"CertificateArn": true})).unwrap();
    assert_eq!(
        stack["wanted"].get("MergingPolicy"),
        None,
        "by default, none"
    );
}

/// By their names, so that nothing is left out silently.
#[test]
fn what_moto_cannot_create_from_a_template_its_apis_take() {
    let Some(stack) = created(
        &json!({"CertificateArn": true, "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms"}),
    ) else {
        return;
    };
    let mut missing: Vec<_> = ALARMS
        .map(|name| format!("AWS::CloudWatch::Alarm {name}"))
        .to_vec();
    missing.extend(
        [
            "AWS::DLM::LifecyclePolicy Snapshots",
            "AWS::SQS::QueuePolicy DeadLettersPolicy",
            "AWS::SNS::Subscription Subscription",
            "AWS::SNS::TopicPolicy TopicPolicy",
        ]
        .map(str::to_owned),
    );
    missing.sort();
    let mut found: Vec<String> = serde_json::from_value(stack["missing"].clone()).unwrap();
    found.sort();
    assert_eq!(found, missing);
    for name in ALARMS {
        let alarm = &stack["alarms"][name];
        let action = "arn:aws:sns:us-east-1:123456789012:alarms";
        assert_eq!(alarm["AlarmActions"], json!([action]), "{name}");
    }
    let value = |alarm: &str, dimension: &str| {
        let all = stack["alarms"][alarm]["Dimensions"].as_array().unwrap();
        let found = all.iter().find(|one| one["Name"] == dimension).unwrap();
        found["Value"].as_str().unwrap().to_owned()
    };
    let queue = stack["queue"]["QueueArn"].as_str().unwrap();
    assert!(queue.ends_with(&value("DeadLettersAlarm", "QueueName")));
    let topic = stack["outputs"]["Topic"].as_str().unwrap();
    assert!(topic.ends_with(&value("FailedDeliveriesAlarm", "TopicName")));
    let target = stack["group"]["TargetGroupARNs"][0].as_str().unwrap();
    assert!(target.ends_with(&value("UnhealthyAlarm", "TargetGroup")));
    let listener = stack["listeners"][0]["LoadBalancerArn"].as_str().unwrap();
    assert!(listener.ends_with(&value("RefusingAlarm", "LoadBalancer")));
}

#[test]
fn a_stack_takes_a_topic_a_network_and_a_load_balancer_that_are_there() {
    let Some(stack) = created(
        &json!({"TopicArn": true, "VpcId": true, "InstanceSubnetId": true, "BucketNames": "",
        "AvailabilityZone": true, "ListenerArn": true, "LoadBalancerSecurityGroupId": true}),
    ) else {
        return;
    };
    let known = &stack["known"];
    let wanted = stack["wanted"].as_object().unwrap();
    for kind in [
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::CertificateManager::Certificate",
        "AWS::Route53::RecordSet",
    ] {
        let is_kind = |name: &&String| stack["resources"][name.as_str()]["Type"] == kind;
        assert_eq!(wanted.keys().find(is_kind), None);
    }
    // moto leaves a null where a template has no value.
    let recovery = &stack["policies"]["recovery"]["Statement"];
    assert_eq!(recovery[0]["Sid"], "Redrive");
    assert!(recovery[1].is_null(), "no bucket: {recovery}");
    assert_eq!(stack["outputs"]["Topic"], known["TopicArn"]);
    assert_eq!(stack["subscriptions"].as_array().unwrap().len(), 1);
    assert_eq!(
        stack["group"]["VPCZoneIdentifier"],
        known["InstanceSubnetId"]
    );
    let rule = &stack["rules"][0];
    assert_eq!(
        rule["Conditions"][0]["HostHeaderConfig"]["Values"],
        json!(["purge.example.com"])
    );
    assert_eq!(
        rule["Actions"][0]["TargetGroupArn"],
        stack["group"]["TargetGroupARNs"][0]
    );
    let groups = &stack["wanted"]["InstanceSecurityGroup"]["SecurityGroupIngress"];
    assert_eq!(
        groups[0]["SourceSecurityGroupId"],
        known["LoadBalancerSecurityGroupId"]
    );
    let of = &stack["alarms"]["UnhealthyAlarm"]["Dimensions"][1]["Value"];
    assert!(of.as_str().unwrap().starts_with("app/theirs/"), "{of}");
}

/// `purgefront connect`, the CloudFormation template and the Terraform module subscribe alike.
#[test]
fn the_subscription_is_the_same_wherever_it_is_made() {
    let ours = wanted(&Attributes::new(), "queue", None).attributes;
    let policy: Value = serde_json::from_str(&ours["DeliveryPolicy"]).unwrap();
    let terraform: Value =
        serde_json::from_str(&read("deploy/terraform/delivery-policy.json")).unwrap();
    assert_eq!(terraform, policy);
    let Some(stack) = created(&json!({"CertificateArn": true})) else {
        return;
    };
    let subscription = &stack["subscriptions"][0];
    assert_eq!(parsed(&subscription["DeliveryPolicy"]), policy);
    let redrive = json!({"deadLetterTargetArn": stack["queue"]["QueueArn"]});
    assert_eq!(parsed(&subscription["RedrivePolicy"]), redrive);
    assert_eq!(subscription["Protocol"], "https");
    assert_eq!(subscription["Endpoint"], "https://purge.example.com/sns");
}

/// The template and the Terraform module boot an instance in the same way.
#[test]
fn the_first_boot_is_the_script_with_its_names_filled_in() {
    let Some(stack) = created(&json!({"CertificateArn": true, "ApiTokenSha256": "1".repeat(64)}))
    else {
        return;
    };
    let volume = stack["volume"]["VolumeId"].as_str().unwrap();
    let tokens = format!(
        "[[api.tokens]]\nname = \"stack\"\nsha256 = \"{}\"",
        "1".repeat(64)
    );
    let signal = "aws cloudformation signal-resource --stack-name purge \
                  --logical-resource-id Group --status";
    let mut script = read("deploy/ec2/user-data.sh");
    for (name, value) in [
        ("Region", "us-east-1"),
        ("Topic", stack["outputs"]["Topic"].as_str().unwrap()),
        ("Volume", volume),
        ("PackageObject", "packages/purgefront.deb"),
        ("PackageSha256", &"0".repeat(64)),
        ("Tokens", &tokens),
        ("Signal", signal),
    ] {
        script = script.replace(&format!("${{{name}}}"), value);
    }
    assert_eq!(stack["user_data"], script.as_str());
}
