//! What a statement of a topic's policy means for S3 that publishes a bucket's changes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Bucket, policy};
use crate::domain::{behaviour, topic::TopicArn};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Lets,
    /// By a spelling that works, though no document of AWS says so.
    LetsProbably,
    LetsAnyAccount,
    /// It depends on what is not known here.
    Unclear,
    Denies,
    Nothing,
}

/// A statement of somebody else that certainly does what ours would do.
pub fn equivalent(policy: Option<&str>, topic: &TopicArn, bucket: &Bucket) -> Option<Value> {
    let ours = policy::bucket_sid(&bucket.name);
    let mut others = policy::all(policy).ok()?.into_iter();
    others.find(|one| one["Sid"] != ours && judge(one, topic, bucket) == Verdict::Lets)
}

/// How many other buckets S3 may publish for, as far as their statements name S3. One that names no
/// bucket counts as another one.
pub fn other_buckets(policy: Option<&str>, bucket: &str) -> Result<usize, policy::BadPolicy> {
    let mut others = BTreeSet::new();
    for statement in policy::all(policy)? {
        if statement["Effect"] != "Allow" || !names_s3(&statement["Principal"]) {
            continue;
        }
        let sources: Vec<_> = sources(&statement).collect();
        if sources.is_empty() {
            others.insert("*".to_owned());
        }
        let names = sources.iter().filter_map(|arn| arn.rsplit(':').next());
        others.extend(names.filter(|name| *name != bucket).map(str::to_owned));
    }
    Ok(others.len())
}

/// The ARNs that a statement is limited to, with their wildcards.
pub fn sources(statement: &Value) -> impl Iterator<Item = &str> {
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let sources = conditions.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.filter(|(key, _)| {
            key.eq_ignore_ascii_case("aws:SourceArn") && !operator.contains("Not")
        })
    });
    sources.flat_map(|(_, values)| texts(values))
}

pub fn judge(statement: &Value, topic: &TopicArn, bucket: &Bucket) -> Verdict {
    let acts = texts(&statement["Action"]).any(|action| {
        let action = action.to_ascii_lowercase();
        behaviour::matches(&action, "sns:publish")
    });
    let here = texts(&statement["Resource"]).any(|one| behaviour::matches(one, topic.as_str()));
    let principal = &statement["Principal"];
    let named = names_s3(principal);
    if !acts || !here || !(named || is_anybody(principal)) {
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
    if statement["Effect"] != "Allow" {
        return Verdict::Nothing;
    }
    let source = format!("arn:{}:s3:::{}", topic.partition_id(), bucket.name);
    let (mut account, mut unclear, mut certain) = (false, false, named);
    for (operator, key, values) in conditions {
        let operator = Operator::of(operator);
        match (key.as_str(), operator) {
            ("aws:sourcearn", Some(operator)) => {
                let mut matching = texts(values).filter(|one| operator.holds(one, &source));
                let Some(first) = matching.next() else {
                    return Verdict::Nothing;
                };
                certain &= first != "*" || matching.any(|one| one != "*");
            }
            ("aws:sourceaccount", Some(operator)) => {
                if !texts(values).any(|one| operator.holds(one, &bucket.owner)) {
                    return Verdict::Nothing;
                }
                account |= texts(values).all(|one| !one.contains(['*', '?']));
            }
            // It is never the account of S3: this is how SNS lets a topic's owner publish.
            ("aws:sourceowner" | "aws:principalaccount", _) => return Verdict::Nothing,
            _ => unclear = true,
        }
    }
    match (unclear, account, certain) {
        (true, ..) => Verdict::Unclear,
        (false, false, _) => Verdict::LetsAnyAccount,
        (false, true, false) => Verdict::LetsProbably,
        (false, true, true) => Verdict::Lets,
    }
}

/// How a condition compares, if that is known here.
#[derive(Clone, Copy)]
enum Operator {
    Equals,
    Like,
    Arn,
}

impl Operator {
    /// S3 sends both keys always, so `IfExists` changes nothing.
    fn of(name: &str) -> Option<Self> {
        match name.strip_suffix("IfExists").unwrap_or(name) {
            "StringEquals" => Some(Self::Equals),
            "StringLike" => Some(Self::Like),
            "ArnLike" | "ArnEquals" => Some(Self::Arn),
            _ => None,
        }
    }

    fn holds(self, pattern: &str, value: &str) -> bool {
        match self {
            Self::Equals => pattern == value,
            Self::Like => behaviour::matches(pattern, value),
            Self::Arn => is_arn_like(pattern, value),
        }
    }
}

fn names_s3(principal: &Value) -> bool {
    texts(&principal["Service"]).any(|one| one == "s3.amazonaws.com")
}

pub fn is_anybody(principal: &Value) -> bool {
    let is_any = |value: &Value| texts(value).any(|one| one == "*");
    is_any(principal) || is_any(&principal["AWS"]) || is_any(&principal["Service"])
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
pub fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    list.chain(std::iter::once(value)).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn topic() -> TopicArn {
        "arn:aws:sns:us-east-1:123456789012:site-changes"
            .parse()
            .unwrap()
    }

    fn bucket() -> Bucket {
        Bucket {
            name: "site".to_owned(),
            owner: "123456789012".to_owned(),
        }
    }

    fn verdict(change: impl FnOnce(&mut Value)) -> Verdict {
        let mut statement = policy::topic_statement(&topic(), "site", "123456789012");
        change(&mut statement);
        judge(&statement, &topic(), &bucket())
    }

    #[test]
    fn a_statement_lets_s3_publish_or_not() {
        assert_eq!(verdict(|_| {}), Verdict::Lets);
        let arn =
            |arn: Value| verdict(move |one| one["Condition"]["ArnLike"]["aws:SourceArn"] = arn);
        for right in ["arn:aws:s3:*:*:site", "arn:aws:s3:::*", "arn:*:s3:::si?e"] {
            assert_eq!(arn(json!(right)), Verdict::Lets, "{right}");
        }
        assert_eq!(arn(json!("*")), Verdict::LetsProbably);
        let listed = arn(json!(["*", "arn:aws:s3:::site"]));
        assert_eq!(listed, Verdict::Lets);
        for wrong in ["arn:aws:s3:::site2", "arn:aws:s3:us-east-1::site", "site"] {
            assert_eq!(arn(json!(wrong)), Verdict::Nothing, "{wrong}");
        }
        let changed = |name: &str, value: Value| verdict(|one| one[name] = value);
        assert_eq!(changed("Action", json!(["sns:*"])), Verdict::Lets);
        assert_eq!(changed("Action", json!("SNS:Subscribe")), Verdict::Nothing);
        assert_eq!(changed("Resource", json!("*")), Verdict::Lets);
        let elsewhere = json!("arn:aws:sns:x");
        assert_eq!(changed("Resource", elsewhere), Verdict::Nothing);
        let anybody = json!({"AWS": "*"});
        assert_eq!(changed("Principal", anybody), Verdict::LetsProbably);
        let both = json!({"Service": ["ec2.amazonaws.com", "s3.amazonaws.com"]});
        assert_eq!(changed("Principal", both), Verdict::Lets);
        let ec2 = json!({"Service": "ec2.amazonaws.com"});
        assert_eq!(changed("Principal", ec2), Verdict::Nothing);
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
    fn conditions_are_read_as_aws_reads_them() {
        let under = |conditions: Value| verdict(|one| one["Condition"] = conditions);
        let account =
            |operator: &str, value: Value| under(json!({operator: {"aws:SourceAccount": value}}));
        for (verdict, conditions) in [
            (Verdict::LetsAnyAccount, json!({})),
            (
                Verdict::Nothing,
                json!({"StringEquals": {"AWS:SourceOwner": "123456789012"}}),
            ),
            (
                Verdict::Unclear,
                json!({"StringEquals": {"aws:SourceAccount": "123456789012", "aws:SourceOrgID": "o-1"}}),
            ),
            // A text, not a pattern.
            (
                Verdict::Nothing,
                json!({"StringEquals": {"aws:SourceArn": "arn:aws:s3:::*"}}),
            ),
        ] {
            assert_eq!(under(conditions.clone()), verdict, "{conditions}");
        }
        for (verdict, operator, value) in [
            (Verdict::Lets, "StringEquals", json!("123456789012")),
            (
                Verdict::Lets,
                "StringEqualsIfExists",
                json!(["1", "123456789012"]),
            ),
            (Verdict::Nothing, "StringEquals", json!(["210987654321"])),
            (Verdict::Nothing, "StringEquals", json!("*")),
            (Verdict::LetsAnyAccount, "StringLike", json!("1234*")),
            (Verdict::Unclear, "StringNotEquals", json!("210987654321")),
        ] {
            assert_eq!(
                account(operator, value.clone()),
                verdict,
                "{operator} {value}"
            );
        }
    }

    #[test]
    fn a_statement_of_others_counts_only_if_it_certainly_does_what_ours_does() {
        let ours = policy::topic_statement(&topic(), "site", "123456789012");
        let named = |sid: &str, change: &dyn Fn(&mut Value)| {
            let mut statement = ours.clone();
            statement["Sid"] = json!(sid);
            change(&mut statement);
            json!({"Statement": [ours.clone(), statement]}).to_string()
        };
        let found = |policy: String| {
            let found = equivalent(Some(&policy), &topic(), &bucket());
            found.map(|one| one["Sid"].as_str().unwrap().to_owned())
        };
        let list = |one: &mut Value| {
            one["Condition"]["ArnLike"]["aws:SourceArn"] =
                json!(["arn:aws:s3:::blog", "arn:aws:s3:::site"]);
        };
        assert_eq!(found(named("Theirs", &list)), Some("Theirs".to_owned()));
        for change in [
            |one: &mut Value| one["Condition"] = json!({}),
            |one: &mut Value| one["Principal"] = json!("*"),
            |one: &mut Value| one["Effect"] = json!("Deny"),
            |one: &mut Value| one["Condition"]["Bool"] = json!({"aws:SecureTransport": "true"}),
        ] {
            assert_eq!(found(named("Theirs", &change)), None);
        }
        let sid = ours["Sid"].as_str().unwrap();
        assert_eq!(found(named(sid, &|_| {})), None);
        let policy = named("Theirs", &list);
        assert_eq!(other_buckets(Some(&policy), "site"), Ok(1));
        assert_eq!(other_buckets(Some(&policy), "third"), Ok(2));
        let wide = |one: &mut Value| {
            one["Condition"] = json!({"StringEquals": {"aws:SourceAccount": "123456789012"}});
        };
        assert_eq!(other_buckets(Some(&named("Theirs", &wide)), "site"), Ok(1));
        assert_eq!(other_buckets(None, "site"), Ok(0));
    }
}
