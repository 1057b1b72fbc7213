//! The policies of the topic and of its dead-letter queue, and changing our statements of them and
//! nobody else's.
//!
//! Each of our statements has a fixed `Sid`: one per bucket in a topic's policy, one per topic in a
//! queue's.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::domain::topic::TopicArn;

const OF_BUCKET: &str = "PurgefrontS3";
const OF_TOPIC: &str = "PurgefrontDeadLetters";

/// The policy of the topic or the queue is not one that can be changed safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its policy cannot be read, so it is not changed")]
pub struct BadPolicy;

/// What is left of a policy without a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Without {
    /// The statement was not there.
    Same,
    Rest(String),
    /// It was the only statement.
    Nothing,
}

/// Lets S3 publish the changes of a bucket to the topic. The account is part of it because a
/// bucket's ARN does not name one, and a deleted bucket's name can be taken by anybody.
pub fn topic_statement(topic: &TopicArn, bucket: &str, owner: &str) -> Value {
    json!({
        "Sid": bucket_sid(bucket),
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "SNS:Publish",
        "Resource": topic.as_str(),
        "Condition": {
            "ArnLike": {"aws:SourceArn": format!("arn:{}:s3:::{bucket}", topic.partition_id())},
            "StringEquals": {"aws:SourceAccount": owner},
        },
    })
}

/// Lets SNS put what it cannot deliver into the queue.
pub fn queue_statement(topic: &TopicArn, queue: &str) -> Value {
    json!({
        "Sid": topic_sid(topic),
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "SQS:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic.as_str()}},
    })
}

pub fn bucket_sid(bucket: &str) -> String {
    format!("{OF_BUCKET}{}", alphanumeric(bucket))
}

/// A dead-letter queue is in its topic's region and account, so the topic's name is enough.
pub fn topic_sid(topic: &TopicArn) -> String {
    format!("{OF_TOPIC}{}", alphanumeric(topic.name()))
}

/// A `Sid` has letters and digits only: others are written as `X` and two hexadecimal digits, and
/// so is `X`. Different names never get the same `Sid`.
fn alphanumeric(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() && byte != b'X' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "X{byte:02x}");
        }
    }
    text
}

/// The policy with a statement, in place of the one with the same `Sid`. None if there is nothing
/// to change.
pub fn with(policy: Option<&str>, statement: &Value) -> Result<Option<String>, BadPolicy> {
    let mut document = match policy.filter(|policy| !policy.is_empty()) {
        Some(policy) => read(policy)?,
        None => Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]),
    };
    let mut statements = statements(&mut document)?;
    let sid = &statement["Sid"];
    match statements.iter_mut().find(|there| there["Sid"] == *sid) {
        Some(there) if means(there) == means(statement) => return Ok(None),
        Some(there) => there.clone_from(statement),
        None => statements.push(statement.clone()),
    }
    document.insert("Statement".to_owned(), Value::Array(statements));
    Ok(Some(Value::Object(document).to_string()))
}

/// The statement with this `Sid`.
pub fn find(policy: Option<&str>, sid: &Value) -> Option<Value> {
    all(policy)
        .ok()?
        .into_iter()
        .find(|there| there["Sid"] == *sid)
}

/// All statements, in their order.
pub fn all(policy: Option<&str>) -> Result<Vec<Value>, BadPolicy> {
    match policy.filter(|policy| !policy.is_empty()) {
        Some(policy) => statements(&mut read(policy)?),
        None => Ok(Vec::new()),
    }
}

/// The policy without the statement that has this `Sid`.
pub fn without(policy: Option<&str>, sid: &str) -> Result<Without, BadPolicy> {
    let Some(policy) = policy.filter(|policy| !policy.is_empty()) else {
        return Ok(Without::Same);
    };
    let mut document = read(policy)?;
    let mut statements = statements(&mut document)?;
    let before = statements.len();
    statements.retain(|there| there["Sid"] != sid);
    if statements.len() == before {
        return Ok(Without::Same);
    }
    if statements.is_empty() {
        return Ok(Without::Nothing);
    }
    document.insert("Statement".to_owned(), Value::Array(statements));
    Ok(Without::Rest(Value::Object(document).to_string()))
}

/// How many statements let other buckets than this one publish: ours, and those that others have
/// written for a bucket.
pub fn other_buckets(policy: Option<&str>, bucket: &str) -> Result<usize, BadPolicy> {
    let (statements, ours) = (all(policy)?, bucket_sid(bucket));
    let of_others = |there: &&Value| match there["Sid"].as_str() {
        Some(sid) if sid.starts_with(OF_BUCKET) => sid != ours,
        _ => there["Effect"] == "Allow" && names_other_bucket(there, bucket),
    };
    Ok(statements.iter().filter(of_others).count())
}

/// Whether a condition on the source names a bucket that is not this one, or a pattern of buckets.
fn names_other_bucket(statement: &Value, bucket: &str) -> bool {
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let keys = conditions
        .filter(|(operator, _)| !operator.contains("Not"))
        .flat_map(|(_, keys)| keys.as_object().into_iter().flatten());
    let sources = keys.filter(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn"));
    let mut arns = sources.flat_map(|(_, values)| match values {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect::<Vec<_>>(),
    });
    arns.any(|arn| {
        let parts: Vec<_> = arn.splitn(6, ':').collect();
        matches!(*parts.as_slice(), ["arn", _, "s3", _, _, name] if name != bucket)
    })
}

fn read(policy: &str) -> Result<Map<String, Value>, BadPolicy> {
    match serde_json::from_str(policy) {
        Ok(Value::Object(document)) => Ok(document),
        _ => Err(BadPolicy),
    }
}

/// Takes the statements out. A single one need not be in a list.
fn statements(document: &mut Map<String, Value>) -> Result<Vec<Value>, BadPolicy> {
    match document.remove("Statement") {
        None => Ok(Vec::new()),
        Some(Value::Array(statements)) if statements.iter().all(Value::is_object) => Ok(statements),
        Some(statement @ Value::Object(_)) => Ok(vec![statement]),
        Some(_) => Err(BadPolicy),
    }
}

/// A statement in one spelling: AWS may return a list of one value as that value, and actions in
/// other letters.
fn means(statement: &Value) -> Value {
    let mut statement = plain(statement);
    if let Some(action) = statement["Action"].as_str().map(str::to_lowercase) {
        statement["Action"] = json!(action);
    }
    statement
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Array(values) if values.len() == 1 => plain(&values[0]),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic() -> TopicArn {
        "arn:aws:sns:eu-west-1:123456789012:site-changes"
            .parse()
            .unwrap()
    }

    fn ours() -> Value {
        topic_statement(&topic(), "my.site", "123456789012")
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn s3_may_publish_for_the_bucket_of_this_account_alone() {
        let made = json_of(&with(None, &ours()).unwrap().unwrap());
        let expected = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "PurgefrontS3myX2esite",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "SNS:Publish",
                "Resource": "arn:aws:sns:eu-west-1:123456789012:site-changes",
                "Condition": {
                    "ArnLike": {"aws:SourceArn": "arn:aws:s3:::my.site"},
                    "StringEquals": {"aws:SourceAccount": "123456789012"},
                },
            }],
        });
        assert_eq!(made, expected);
        let china = "arn:aws-cn:sns:cn-north-1:123456789012:t".parse().unwrap();
        let statement = topic_statement(&china, "b", "123456789012");
        let source = &statement["Condition"]["ArnLike"]["aws:SourceArn"];
        assert_eq!(*source, "arn:aws-cn:s3:::b");
    }

    #[test]
    fn only_this_topic_may_fill_the_queue() {
        let statement = queue_statement(&topic(), "arn:aws:sqs:eu-west-1:123456789012:letters");
        let expected = json!({
            "Sid": "PurgefrontDeadLetterssiteX2dchanges",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "SQS:SendMessage",
            "Resource": "arn:aws:sqs:eu-west-1:123456789012:letters",
            "Condition": {"ArnEquals": {
                "aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:site-changes"
            }},
        });
        assert_eq!(statement, expected);
    }

    #[test]
    fn aws_may_spell_our_statement_in_another_way() {
        let mut spelled = ours();
        spelled["Action"] = json!(["sns:Publish"]);
        spelled["Condition"]["StringEquals"]["aws:SourceAccount"] = json!(["123456789012"]);
        let policy = json!({"Version": "2008-10-17", "Statement": spelled}).to_string();
        assert_eq!(with(Some(&policy), &ours()), Ok(None));
        // What lets anybody in is mended.
        let mut wide = ours();
        wide["Condition"] = json!({});
        let policy = json!({"Statement": [wide]}).to_string();
        let mended = json_of(&with(Some(&policy), &ours()).unwrap().unwrap());
        assert_eq!(mended, json!({"Statement": [ours()]}));
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_left_alone() {
        for policy in ["[]", "{", "{\"Statement\": 1}", "{\"Statement\": [1]}"] {
            assert_eq!(with(Some(policy), &ours()), Err(BadPolicy), "{policy}");
            assert_eq!(without(Some(policy), "x"), Err(BadPolicy), "{policy}");
        }
    }

    #[test]
    fn what_is_left_is_told_from_nothing() {
        let alone = with(Some(""), &ours()).unwrap();
        let sid = bucket_sid("my.site");
        assert_eq!(without(alone.as_deref(), &sid), Ok(Without::Nothing));
        assert_eq!(without(alone.as_deref(), "Other"), Ok(Without::Same));
        assert_eq!(without(None, &sid), Ok(Without::Same));
        let both = topic_statement(&topic(), "other", "123456789012");
        let both = with(alone.as_deref(), &both).unwrap();
        assert_eq!(other_buckets(both.as_deref(), "my.site"), Ok(1));
        assert_eq!(other_buckets(both.as_deref(), "third"), Ok(2));
        assert_eq!(other_buckets(alone.as_deref(), "my.site"), Ok(0));
        // Those that somebody has written by hand count as well, but not the owner's statement.
        let manual = |change: &dyn Fn(&mut Value)| {
            let mut one = ours();
            one["Sid"] = json!("Manual");
            change(&mut one);
            let owner = json!({"Sid": "o", "Effect": "Allow",
                "Condition": {"StringEquals": {"AWS:SourceOwner": "123456789012"}}});
            let policy = json!({"Statement": [owner, one]}).to_string();
            other_buckets(Some(&policy), "my.site").unwrap()
        };
        assert_eq!(manual(&|_| ()), 0);
        let sources =
            json!({"ArnLike": {"AWS:SourceArn": ["arn:aws:s3:::my.site", "arn:aws:s3:::b"]}});
        assert_eq!(manual(&|one| one["Condition"] = sources.clone()), 1);
        assert_eq!(
            manual(&|one| {
                one["Condition"] = sources.clone();
                one["Effect"] = json!("Deny");
            }),
            0
        );
    }

    fn of_others() -> impl Strategy<Value = Value> {
        let sid = proptest::option::of("PurgefrontS3|PurgefrontS3my|[a-zA-Z_]{0,4}");
        let statement = (sid, "[a-z*]{1,3}", any::<u8>()).prop_map(|(sid, who, number)| {
            let mut statement = json!({"Effect": "Deny", "Principal": who, "Number": number});
            if let Some(sid) = sid {
                statement["Sid"] = json!(sid);
            }
            statement
        });
        (proptest::collection::vec(statement, 1..5), "[A-Za-z]{0,4}").prop_map(
            |(statements, id)| json!({"Version": "2008-10-17", "Id": id, "Statement": statements}),
        )
    }

    proptest! {
        #[test]
        fn nobody_elses_statement_is_lost_or_changed(policy in of_others()) {
            let after = json_of(&with(Some(&policy.to_string()), &ours()).unwrap().unwrap());
            let mut expected = policy.clone();
            expected["Statement"].as_array_mut().unwrap().push(ours());
            prop_assert_eq!(&after, &expected);
            prop_assert_eq!(with(Some(&after.to_string()), &ours()), Ok(None));
            match without(Some(&after.to_string()), &bucket_sid("my.site")) {
                Ok(Without::Rest(rest)) => prop_assert_eq!(json_of(&rest), policy),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn names_that_differ_have_sids_that_differ(a in "[a-zA-Z0-9._-]{1,4}|X2e|\\.", b in "[a-zA-Z0-9._-]{1,4}|X2e|\\.") {
            prop_assert_eq!(bucket_sid(&a) == bucket_sid(&b), a == b);
            prop_assert!(bucket_sid(&a).bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
