//! The topic: that it exists, and that S3 may publish a bucket's changes to it.

use serde_json::Value;

use super::{Check, Command, Finding, Mend, Seen, Wiring, is_bucket_name};
use crate::domain::{
    connection::{
        Bucket, SeenTopic,
        permit::{self, Verdict, judge},
        policy,
    },
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
        let names = permit::sources(&statement).filter_map(bucket_of);
        found.extend(names.map(str::to_owned));
    }
    found.sort();
    found.dedup();
    found
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
    let own = Bucket {
        name: bucket.clone(),
        owner: owner.to_owned(),
    };
    let judged = statements.iter();
    let judged = judged.map(|one| (one, judge(one, &wiring.topic, &own)));
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
        if has(Verdict::Lets) || has(Verdict::LetsProbably) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
