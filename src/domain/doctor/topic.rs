//! The topic: that it exists, and that S3 may publish a bucket's changes to it.

use serde_json::Value;

use super::{Check, Command, Finding, Mend, Seen, Wiring, is_bucket_name};
use crate::domain::{
    behaviour,
    connection::{SeenTopic, policy},
    topic::TopicArn,
};

pub fn exists(
    topic: &TopicArn,
    seen: &Seen<Option<SeenTopic>>,
    wiring: Option<&Wiring>,
) -> Finding {
    let what = format!("topic {topic}");
    match seen {
        Ok(Some(_)) => Finding::ok(Check::TopicExists, what, "exists"),
        Ok(None) => {
            let create = match wiring {
                Some(wiring) => wiring.connect().and(["--create-topic"]),
                None => Command::new(["aws", "sns", "create-topic"]).and([
                    "--region",
                    topic.region(),
                    "--name",
                    topic.name(),
                ]),
            };
            Finding::failure(Check::TopicExists, what, "does not exist").mended_by(create)
        }
        Err(unseen) => Finding::unseen(Check::TopicExists, what, unseen),
    }
}

/// Whether S3 can use the key of an encrypted topic.
pub fn key(topic: &TopicArn, there: &SeenTopic) -> Finding {
    let what = format!("topic {topic}");
    match there.key.as_deref() {
        None => Finding::ok(Check::TopicKey, what, "is not encrypted with a KMS key"),
        Some(key) if key.ends_with("alias/aws/sns") => Finding::failure(
            Check::TopicKey,
            what,
            "is encrypted with AWS's own key, with which S3 cannot publish",
        )
        .mended_by(
            "give the topic a key of your own, whose policy lets s3.amazonaws.com use \
             kms:GenerateDataKey and kms:Decrypt",
        ),
        Some(key) => Finding::warning(
            Check::TopicKey,
            what,
            format!("is encrypted with {key}, whose policy cannot be seen from here"),
        )
        .mended_by(
            "make sure that the key's policy lets s3.amazonaws.com use kms:GenerateDataKey and \
             kms:Decrypt",
        ),
    }
}

/// The buckets that the policy names as sources.
pub fn buckets(policy: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for statement in policy::all(policy).unwrap_or_default() {
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            let keys = keys.as_object().into_iter().flatten();
            for (_, values) in keys.filter(|(key, _)| is_source(operator, key)) {
                let names = texts(values).filter_map(bucket_of);
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn is_source(operator: &str, key: &str) -> bool {
    key.eq_ignore_ascii_case("aws:SourceArn") && !operator.contains("Not")
}

/// The bucket in `arn:aws:s3:::name`, also with `*` for region and account.
fn bucket_of(arn: &str) -> Option<&str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    match *parts.as_slice() {
        ["arn", _, "s3", _, _, name] if is_bucket_name(name) => Some(name),
        _ => None,
    }
}

/// Whether S3 may publish for this bucket, and for nobody else who takes the bucket's name one day.
pub fn policy(wiring: &Wiring, owner: &str, there: &SeenTopic) -> Finding {
    let what = format!("policy of the topic {}", wiring.topic);
    let bucket = &wiring.bucket;
    let Ok(statements) = policy::all(there.policy.as_deref()) else {
        let why = "cannot be read";
        return Finding::failure(Check::TopicPolicy, what, why)
            .mended_by("write it anew in the SNS console, and connect the bucket then");
    };
    let source = format!("arn:{}:s3:::{bucket}", wiring.topic.partition_id());
    let judged = statements.iter();
    let judged = judged.map(|one| (one, judge(one, &wiring.topic, &source, owner)));
    let judged: Vec<_> = judged.collect();
    let has = |verdict| judged.iter().any(|(_, found)| *found == verdict);
    if has(Verdict::Denies) {
        let why = format!("has a statement that denies S3 to publish for {bucket}");
        return Finding::failure(Check::TopicPolicy, what, why)
            .mended_by("remove the statement with \"Deny\", or ask its owner why it is there");
    }
    let loose: Vec<_> = judged
        .iter()
        .filter(|(_, found)| *found == Verdict::LetsAnyAccount)
        .collect();
    if loose.is_empty() {
        if has(Verdict::Lets) {
            let why = format!("lets S3 publish for {bucket} of account {owner}");
            return Finding::ok(Check::TopicPolicy, what, why);
        }
        if has(Verdict::Unclear) {
            let why = format!(
                "may let S3 publish for {bucket}, under conditions that are not known here"
            );
            return Finding::warning(Check::TopicPolicy, what, why).mended_by(wiring.connect());
        }
        let why = format!("does not let S3 publish for {bucket}");
        return Finding::failure(Check::TopicPolicy, what, why).mended_by(wiring.connect());
    }
    let why = format!(
        "lets S3 publish for {bucket} whoever owns it: without aws:SourceAccount, anybody who takes the \
         name of the bucket after you can send"
    );
    let ours = policy::bucket_sid(bucket);
    let mend = if loose.iter().all(|(one, _)| one["Sid"] == ours) {
        wiring.connect().into()
    } else {
        let is_loose = |one: &Value| loose.iter().any(|(found, _)| *found == one);
        let policy = there.policy.as_deref().unwrap_or_default();
        limited(wiring, owner, policy, &statements, &is_loose)
    };
    Finding::warning(Check::TopicPolicy, what, why).mended_by(mend)
}

/// The same policy with the owner's account in some of the statements.
fn limited(
    wiring: &Wiring,
    owner: &str,
    policy: &str,
    statements: &[Value],
    is_loose: &dyn Fn(&Value) -> bool,
) -> Mend {
    let mut document: Value = serde_json::from_str(policy).unwrap_or_default();
    let statements = statements.iter().map(|one| {
        let mut one = one.clone();
        if is_loose(&one) {
            one["Condition"]["StringEquals"]["aws:SourceAccount"] = owner.into();
        }
        one
    });
    document["Statement"] = statements.collect();
    Command::new(["aws", "sns", "set-topic-attributes"])
        .and(["--region", wiring.topic.region()])
        .and(["--topic-arn", wiring.topic.as_str()])
        .and(["--attribute-name", "Policy"])
        .and(["--attribute-value", &document.to_string()])
        .into()
}

/// What a statement means for S3 that publishes for a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Lets,
    LetsAnyAccount,
    /// It depends on what is not known here.
    Unclear,
    Denies,
    Nothing,
}

fn judge(statement: &Value, topic: &TopicArn, source: &str, owner: &str) -> Verdict {
    let acts = texts(&statement["Action"]).any(|action| {
        let action = action.to_ascii_lowercase();
        behaviour::matches(&action, "sns:publish")
    });
    let here = texts(&statement["Resource"]).any(|one| behaviour::matches(one, topic.as_str()));
    if !acts || !here || !is_s3(&statement["Principal"]) {
        return Verdict::Nothing;
    }
    let conditions = statement["Condition"].as_object();
    let conditions = conditions.into_iter().flatten();
    let conditions = conditions.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| (operator.as_str(), key.to_ascii_lowercase(), values))
    });
    let conditions: Vec<_> = conditions.collect();
    if statement["Effect"] == "Deny" {
        // A condition is most often about TLS or about other senders.
        return if conditions.is_empty() {
            Verdict::Denies
        } else {
            Verdict::Nothing
        };
    }
    let (mut account, mut unclear) = (false, false);
    for (operator, key, values) in conditions {
        let operator = operator.trim_end_matches("IfExists");
        let is_like = matches!(
            operator,
            "ArnLike" | "ArnEquals" | "StringLike" | "StringEquals"
        );
        match key.as_str() {
            "aws:sourcearn" if is_like => {
                if !texts(values).any(|pattern| is_arn_like(pattern, source)) {
                    return Verdict::Nothing;
                }
            }
            "aws:sourceaccount" if is_like => {
                if !texts(values).any(|pattern| behaviour::matches(pattern, owner)) {
                    return Verdict::Nothing;
                }
                account = true;
            }
            // It is never the account of S3: this is how SNS lets a topic's owner publish.
            "aws:sourceowner" | "aws:principalaccount" => return Verdict::Nothing,
            _ => unclear = true,
        }
    }
    match (account, unclear) {
        (_, true) => Verdict::Unclear,
        (true, false) => Verdict::Lets,
        (false, false) => Verdict::LetsAnyAccount,
    }
}

fn is_s3(principal: &Value) -> bool {
    let is_any = |value: &Value| texts(value).any(|one| one == "*");
    is_any(principal)
        || is_any(&principal["AWS"])
        || texts(&principal["Service"]).any(|one| one == "s3.amazonaws.com" || one == "*")
}

/// Each part between colons is compared for itself.
fn is_arn_like(pattern: &str, arn: &str) -> bool {
    let parts = |text: &str| -> Vec<String> { text.splitn(6, ':').map(str::to_owned).collect() };
    let (pattern, arn) = (parts(pattern), parts(arn));
    pattern == ["*"]
        || (pattern.len() == arn.len()
            && std::iter::zip(&pattern, &arn).all(|(one, other)| behaviour::matches(one, other)))
}

/// One text or a list of them.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    list.chain(std::iter::once(value)).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";
    const SOURCE: &str = "arn:aws:s3:::site";

    fn verdict(change: impl FnOnce(&mut Value)) -> Verdict {
        let topic: TopicArn = TOPIC.parse().unwrap();
        let mut statement = policy::topic_statement(&topic, "site", "123456789012");
        change(&mut statement);
        judge(&statement, &topic, SOURCE, "123456789012")
    }

    #[test]
    fn a_statement_lets_s3_publish_or_not() {
        assert_eq!(verdict(|_| {}), Verdict::Lets);
        let arn = |arn: &'static str| {
            verdict(move |one| one["Condition"]["ArnLike"]["aws:SourceArn"] = json!(arn))
        };
        for right in [
            "arn:aws:s3:*:*:site",
            "arn:aws:s3:::*",
            "*",
            "arn:*:s3:::si?e",
        ] {
            assert_eq!(arn(right), Verdict::Lets, "{right}");
        }
        for wrong in ["arn:aws:s3:::site2", "arn:aws:s3:us-east-1::site", "site"] {
            assert_eq!(arn(wrong), Verdict::Nothing, "{wrong}");
        }
        let changed = |name: &str, value: Value| verdict(|one| one[name] = value);
        assert_eq!(changed("Action", json!(["sns:*"])), Verdict::Lets);
        assert_eq!(changed("Action", json!("SNS:Subscribe")), Verdict::Nothing);
        assert_eq!(changed("Resource", json!("*")), Verdict::Lets);
        assert_eq!(
            changed("Resource", json!("arn:aws:sns:x")),
            Verdict::Nothing
        );
        assert_eq!(changed("Principal", json!({"AWS": "*"})), Verdict::Lets);
        let ec2 = json!({"Service": "ec2.amazonaws.com"});
        assert_eq!(changed("Principal", ec2), Verdict::Nothing);
        assert_eq!(changed("Condition", json!({})), Verdict::LetsAnyAccount);
        let owner = json!({"StringEquals": {"AWS:SourceOwner": "123456789012"}});
        assert_eq!(changed("Condition", owner), Verdict::Nothing);
        let other = json!({"StringEquals": {"aws:SourceOrgID": "o-1"}});
        assert_eq!(changed("Condition", other), Verdict::Unclear);
        let foreign = json!({"StringEquals": {"aws:SourceAccount": ["210987654321"]}});
        assert_eq!(changed("Condition", foreign), Verdict::Nothing);
        let deny = |conditions: Value| {
            verdict(|one| {
                one["Effect"] = json!("Deny");
                one["Condition"] = conditions;
            })
        };
        assert_eq!(deny(json!({})), Verdict::Denies);
        let plain = json!({"Bool": {"aws:SecureTransport": "false"}});
        assert_eq!(deny(plain), Verdict::Nothing);
    }

    #[test]
    fn buckets_are_read_from_a_policy() {
        let source = |arns: Value| json!({"Condition": {"ArnLike": {"aws:SourceArn": arns}}});
        let policy = json!({"Statement": [
            source(json!("arn:aws:s3:::one")),
            source(json!(["arn:aws:s3:*:*:two", "arn:aws:s3:::t*", "arn:aws:sqs:::queue"])),
            source(json!("arn:aws:s3:::--yes")),
            {"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:::not"}}},
        ]});
        assert_eq!(buckets(Some(&policy.to_string())), ["one", "two"]);
        assert!(buckets(None).is_empty() && buckets(Some("{")).is_empty());
    }
}
