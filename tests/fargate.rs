//! The CloudFormation template of several replicas, created in moto as far as moto goes, and what it made.
//! What does not depend on parameters, deploy/check compares.

use serde_json::{Value, json};

use crate::{
    cloudformation::{merging_policy, service_policy},
    support::moto::in_process,
};

const TEMPLATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/cloudformation/fargate.yaml"
);
const URL: &str =
    "https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write";

/// Creates the stack; a parameter that is true is taken from what the account has. None without moto.
fn created(parameters: &Value) -> Option<Value> {
    let mut all = json!({
        "DomainName": "purge.example.com",
        "CertificateArn": true,
        "Image": "purgefront:0.1.0",
        "DatabaseCa": "/purgefront/database-ca",
        // The default, which moto does not split.
        "ZoneLetters": "a,b",
    });
    let more = parameters.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    let script = include_str!("data/deploy/fargate.py");
    in_process(script, &[TEMPLATE, &all.to_string()])
}

/// The resources of a kind that the stack has.
fn of_kind(stack: &Value, kind: &str) -> Vec<String> {
    let kinds = stack["kinds"].as_object().unwrap();
    let names = kinds.iter().filter(|(_, found)| *found == kind);
    names.map(|(name, _)| name.clone()).collect()
}

/// The values of one container's variables or secrets, by their names.
fn given(container: &Value, list: &str) -> serde_json::Map<String, Value> {
    // moto leaves a null where a template has no value.
    let all = container[list].as_array().unwrap().iter();
    let pairs = all.filter(|one| !one.is_null()).map(|one| {
        let value = one.get("Value").or(one.get("ValueFrom")).unwrap();
        (one["Name"].as_str().unwrap().to_owned(), value.clone())
    });
    pairs.collect()
}

#[test]
fn a_whole_stack_has_replicas_in_two_zones_and_a_database_that_only_they_reach() {
    let Some(stack) = created(&json!({"HostedZoneId": true, "BucketNames": "site,other",
        "ListedBucketNames": "site", "ApiTokenSha256": "1".repeat(64)}))
    else {
        return;
    };
    assert_eq!(stack["status"], "CREATE_COMPLETE");
    let topic = stack["outputs"]["Topic"].as_str().unwrap();
    let wanted = &stack["wanted"];
    let policy = &wanted["Role"]["Policies"][0]["PolicyDocument"];
    assert_eq!(policy, &service_policy(topic));
    let policy = &wanted["MergingPolicy"]["PolicyDocument"];
    assert_eq!(policy, &merging_policy(&["site"]));

    let containers = wanted["Task"]["ContainerDefinitions"].as_array().unwrap();
    let environment = given(&containers[0], "Environment");
    assert_eq!(
        environment["PURGEFRONT_SNS__TOPICS"],
        json!([topic]).to_string()
    );
    let url = environment["PURGEFRONT_STORE__URL"].as_str().unwrap();
    assert!(
        url.starts_with("postgres://purgefront@purge-database-"),
        "{url}"
    );
    assert!(containers[3].is_null(), "nobody wants its metrics");
    let tokens = &given(&containers[1], "Environment")["TOKENS"];
    let expected = format!(
        "[[api.tokens]]\nname = \"stack\"\nsha256 = \"{}\"",
        "1".repeat(64)
    );
    assert_eq!(tokens, expected.as_str());

    let service = &wanted["Service"];
    assert_eq!(service["DesiredCount"], 2);
    let network = &service["NetworkConfiguration"]["AwsvpcConfiguration"];
    assert_eq!(
        network["AssignPublicIp"], "ENABLED",
        "there is no NAT gateway"
    );
    assert_eq!(network["Subnets"], wanted["LoadBalancer"]["Subnets"]);
    let zones = |names: [&str; 2]| names.map(|name| wanted[name]["AvailabilityZone"].clone());
    let two = [json!("us-east-1a"), json!("us-east-1b")];
    assert_eq!(zones(["SubnetA", "SubnetB"]), two);
    assert_eq!(zones(["DatabaseSubnetA", "DatabaseSubnetB"]), two);
    let routed = ["RouteA", "RouteB"].map(|name| &wanted[name]["SubnetId"]);
    for subnet in wanted["DatabaseSubnets"]["SubnetIds"].as_array().unwrap() {
        assert!(!routed.contains(&subnet), "the database has a way out");
    }
    assert_eq!(wanted["Database"]["MultiAZ"], "true");
    assert_eq!(of_kind(&stack, "AWS::Route53::RecordSet"), ["Name"]);
}

#[test]
fn replicas_take_a_topic_a_network_and_settings_that_are_there() {
    let Some(stack) = created(&json!({"TopicArn": true, "BucketNames": "", "VpcId": true,
        "PublicSubnetIds": true, "TaskSubnetIds": true, "DatabaseSubnetIds": true,
        "Settings": "/purgefront/settings", "Replicas": "3", "MetricsUrl": URL,
        "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms"}))
    else {
        return;
    };
    assert_eq!(stack["status"], "CREATE_COMPLETE");
    for kind in [
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        "AWS::Route53::RecordSet",
    ] {
        assert_eq!(of_kind(&stack, kind), Vec::<String>::new(), "{kind}");
    }
    let (known, wanted) = (&stack["known"], &stack["wanted"]);
    assert_eq!(stack["outputs"]["Topic"], known["TopicArn"]);
    let subnets = |name: &str| -> Value {
        let text = known[name].as_str().unwrap();
        text.split(',').collect()
    };
    let network = &wanted["Service"]["NetworkConfiguration"]["AwsvpcConfiguration"];
    assert_eq!(network["AssignPublicIp"], "DISABLED");
    assert_eq!(network["Subnets"], subnets("TaskSubnetIds"));
    assert_eq!(
        wanted["LoadBalancer"]["Subnets"],
        subnets("PublicSubnetIds")
    );
    let database = &wanted["DatabaseSubnets"]["SubnetIds"];
    assert_eq!(database, &subnets("DatabaseSubnetIds"));
    assert_eq!(wanted["Service"]["DesiredCount"], 3);

    let files = &wanted["Task"]["ContainerDefinitions"][1];
    let environment = given(files, "Environment");
    assert!(!environment.contains_key("TOKENS"), "there is no token");
    assert_eq!(environment["METRICS_URL"], URL);
    let agent = &wanted["Task"]["ContainerDefinitions"][3];
    assert_eq!(agent["Name"], "prometheus");
    assert_eq!(of_kind(&stack, "AWS::IAM::Policy"), ["MetricsPolicy"]);
    let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/purgefront";
    let secrets = given(files, "Secrets");
    assert_eq!(secrets["SETTINGS"], format!("{parameter}/settings"));
    assert_eq!(secrets["DATABASE_CA"], format!("{parameter}/database-ca"));
    let allowed = &wanted["StartRole"]["Policies"][0]["PolicyDocument"]["Statement"][1];
    for name in ["SETTINGS", "DATABASE_CA"] {
        let resources = allowed["Resource"].as_array().unwrap();
        assert!(resources.contains(&secrets[name]), "{name}: {allowed}");
    }
    for alarm in of_kind(&stack, "AWS::CloudWatch::Alarm") {
        let action = json!(["arn:aws:sns:us-east-1:123456789012:alarms"]);
        assert_eq!(wanted[&alarm]["AlarmActions"], action, "{alarm}");
    }
}
