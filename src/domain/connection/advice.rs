//! What to do where S3 would refuse our entry beside another one.

use super::{notification::Kind, overlap::Overlap, plan::Connect};

/// The ways to get the events all the same, as lines to print. `event_bridge` says whether the
/// bucket sends its events there already.
pub fn on_overlap(wanted: &Connect, overlaps: &[Overlap<'_>], event_bridge: bool) -> Vec<String> {
    let mut lines = vec![
        "S3 would refuse our entry: for objects that match the same prefix and suffix, an event type \
         can have only one destination. The bucket has:"
            .to_owned(),
    ];
    for overlap in overlaps {
        lines.push(format!("  {}", overlap.entry));
        lines.push(format!("    which shares {}", overlap.events.join(", ")));
    }
    lines.push("Nothing was changed. Either of these ways leads to the events:".to_owned());
    lines.extend(overlaps.iter().flat_map(|overlap| fan_out(wanted, overlap)));
    lines.extend(by_event_bridge(wanted, event_bridge));
    lines
}

/// A topic can have many subscribers.
fn fan_out(wanted: &Connect, overlap: &Overlap<'_>) -> Vec<String> {
    let target = shell(&overlap.entry.target);
    let bucket = shell(&wanted.bucket.name);
    let protocol = match overlap.entry.kind {
        Kind::Topic if overlap.entry.target == wanted.topic.as_str() => {
            return vec![
                "- That entry already notifies the topic, but not of all that is needed. Remove it, and \
                 connect again."
                    .to_owned(),
            ];
        }
        Kind::Topic => {
            let endpoint = wanted.endpoint.as_deref().map(shell);
            let endpoint = endpoint.map_or_else(String::new, |url| format!(" --endpoint {url}"));
            return vec![
                "- Fan out: use the topic that is already there, put it into sns.topics, and connect with"
                    .to_owned(),
                format!("    purgefront connect {bucket} --topic {target}{endpoint}"),
            ];
        }
        Kind::Queue => "sqs",
        Kind::Function => "lambda",
    };
    let topic = shell(wanted.topic.as_str());
    let raw = match protocol {
        "sqs" => " --attributes RawMessageDelivery=true",
        _ => "",
    };
    vec![
        format!(
            "- Fan out: subscribe the {} to the topic, let SNS use it, remove that entry, and connect \
             again. {}",
            overlap.entry.kind,
            if raw.is_empty() {
                "It then gets S3's message inside SNS's."
            } else {
                "It then gets the same messages as now."
            }
        ),
        format!(
            "    aws sns subscribe --topic-arn {topic} --protocol {protocol} \
             --notification-endpoint {target}{raw}"
        ),
    ]
}

/// EventBridge takes no part in overlaps, and a rule can send to the topic.
fn by_event_bridge(wanted: &Connect, on: bool) -> Vec<String> {
    let region = wanted.topic.region();
    let name = format!("purgefront-{}", wanted.bucket.name);
    // A rule's name has at most 64 characters, and a bucket's name may have 63.
    let name = shell(name.get(..64).unwrap_or(&name)).into_owned();
    let pattern = serde_json::json!({
        "source": ["aws.s3"],
        "detail-type": [
            "Object Created", "Object Deleted", "Object Restore Completed",
            "Object Restore Expired", "Object ACL Updated",
        ],
        "detail": {"bucket": {"name": [wanted.bucket.name]}},
    });
    let pattern = shell(&pattern.to_string()).into_owned();
    let topic = shell(wanted.topic.as_str()).into_owned();
    let state = if on {
        "It is on for this bucket"
    } else {
        "Turn it on in the bucket's properties in the S3 console, which keeps all entries"
    };
    vec![
        format!(
            "- EventBridge: {state}. Then make a rule that sends to the topic, and let \
             events.amazonaws.com publish in the topic's policy:"
        ),
        format!(
            "    aws events put-rule --region {region} --name {name} --event-pattern {pattern}"
        ),
        format!(
            "    aws events put-targets --region {region} --rule {name} --targets Id=purgefront,Arn={topic}"
        ),
    ]
}

/// A word for a shell.
pub(in crate::domain) fn shell(word: &str) -> std::borrow::Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\\''")).into()
}

#[cfg(test)]
mod tests {
    use super::super::{
        notification::{Entry, Notification, testing::entry},
        overlap::overlaps,
        plan::testing::connect,
    };
    use super::*;

    fn advice(entry: Entry, event_bridge: bool) -> String {
        let wanted = connect();
        let there = Notification {
            entries: vec![entry],
            event_bridge,
        };
        let ours = Entry::ours(
            wanted.topic.as_str(),
            vec!["s3:ObjectCreated:*".to_owned()],
            "",
            "",
        );
        let lines = on_overlap(&wanted, &overlaps(&there, &ours), event_bridge);
        lines.join("\n")
    }

    #[test]
    fn the_topic_that_is_there_is_offered_first() {
        let other = "arn:aws:sns:us-east-1:123456789012:others";
        let text = advice(
            entry(Kind::Topic, "t", other, &["s3:ObjectCreated:*"]),
            true,
        );
        assert!(text.contains(&format!(
            "    purgefront connect site --topic {other} --endpoint https://purge.example/sns\n"
        )));
        assert!(text.contains("- EventBridge: It is on for this bucket."));
        assert!(text.contains("\"t\": topic arn:aws:sns:us-east-1:123456789012:others"));
    }

    #[test]
    fn a_queue_and_a_function_can_subscribe() {
        let queue = "arn:aws:sqs:us-east-1:123456789012:q";
        let text = advice(
            entry(Kind::Queue, "q", queue, &["s3:ObjectCreated:Put"]),
            false,
        );
        let subscribe = "    aws sns subscribe --topic-arn \
                         arn:aws:sns:us-east-1:123456789012:site-changes --protocol sqs \
                         --notification-endpoint arn:aws:sqs:us-east-1:123456789012:q \
                         --attributes RawMessageDelivery=true\n";
        assert!(text.contains(subscribe), "{text}");
        assert!(text.contains("Turn it on in the bucket's properties"));
        let text = advice(
            entry(Kind::Function, "f", "arn:f", &["s3:ObjectCreated:*"]),
            false,
        );
        assert!(
            text.contains("--protocol lambda --notification-endpoint arn:f\n"),
            "{text}"
        );
    }

    #[test]
    fn a_shell_reads_words_and_no_commands() {
        assert_eq!(shell("arn:aws:sns:a-1:1:b"), "arn:aws:sns:a-1:1:b");
        assert_eq!(shell("a'; rm -rf $(x) 'b"), "'a'\\''; rm -rf $(x) '\\''b'");
        assert_eq!(shell(""), "''");
    }
}
