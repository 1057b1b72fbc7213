//! The ARN of an SNS topic, and the names of SNS's host and certificate in the topic's region.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The ARN of a standard topic: `arn:<partition>:sns:<region>:<account>:<name>`.
///
/// Compared byte for byte, because an ARN has only one spelling. Cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicArn {
    text: Arc<str>,
    partition: Partition,
}

impl TopicArn {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn region(&self) -> &str {
        self.text.split(':').nth(3).unwrap_or_default()
    }

    pub fn account(&self) -> &str {
        self.text.split(':').nth(4).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.text.split(':').nth(5).unwrap_or_default()
    }

    /// The partition's name in ARNs, such as `aws`.
    pub fn partition_id(&self) -> &'static str {
        self.partition.id()
    }

    /// The SNS host in the topic's region, and the only one trusted to serve certificates for this
    /// topic (AWS General Reference, "Amazon SNS endpoints and quotas").
    pub fn host(&self) -> String {
        format!("sns.{}.{}", self.region(), self.partition.dns_suffix())
    }

    /// The names allowed in a certificate that signs this topic's messages, as in AWS's own
    /// validator (AWS SDK for Java 2, `SnsHostProvider`).
    ///
    /// There, the name depends on whether the region is enabled by default or has to be opted into.
    /// That list grows with every new region, and only AWS can have either name, so both are
    /// accepted instead of relying on an up-to-date list. The exceptions below are regions with a
    /// third form of name.
    pub fn certificate_names(&self) -> Vec<String> {
        let region = self.region();
        let suffix = self.partition.dns_suffix();
        match region {
            "cn-north-1" | "cn-northwest-1" | "us-iso-east-1" | "us-isob-east-1" => {
                vec![format!("sns-{region}.{suffix}")]
            }
            // Both regions use the certificate of us-gov-west-1.
            "us-gov-west-1" | "us-gov-east-1" => vec![format!("sns-us-gov-west-1.{suffix}")],
            _ => vec![
                format!("sns.{suffix}"),
                format!("sns-signing.{region}.{suffix}"),
            ],
        }
    }
}

impl FromStr for TopicArn {
    type Err = BadTopicArn;

    fn from_str(text: &str) -> Result<Self, BadTopicArn> {
        let parts: Vec<&str> = text.split(':').collect();
        let (partition, region, account, name) = match *parts.as_slice() {
            ["arn", partition, "sns", region, account, name] => (partition, region, account, name),
            ["arn", _, "sns", _, _, _, _] => return Err(BadTopicArn::Subscription),
            _ => return Err(BadTopicArn::Form),
        };
        let partition = Partition::from_id(partition).ok_or(BadTopicArn::Partition)?;
        if !is_region(region) {
            return Err(BadTopicArn::Region);
        }
        let home = Partition::of_region(region);
        if home != partition {
            return Err(BadTopicArn::RegionElsewhere(home.id()));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadTopicArn::Account);
        }
        if name.strip_suffix(".fifo").is_some() {
            return Err(BadTopicArn::Fifo);
        }
        let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > 256 || !name.bytes().all(letter) {
            return Err(BadTopicArn::Name);
        }
        Ok(Self {
            text: text.into(),
            partition,
        })
    }
}

/// Whether `text` has the form of a region id, `^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`.
///
/// A grammar instead of a list, because AWS adds regions faster than software is updated. It must
/// not match S3 host names: `sns.s3-us-west-2.amazonaws.com` would be a bucket named `sns`.
fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    parts.len() >= 2
        && (2..=4).contains(&parts[0].len())
        && parts.iter().all(letters)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// AWS partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partition {
    Standard,
    China,
    GovCloud,
    Iso,
    IsoB,
    IsoE,
    IsoF,
    EuropeanSovereign,
}

impl Partition {
    const ALL: [Self; 8] = [
        Self::Standard,
        Self::China,
        Self::GovCloud,
        Self::Iso,
        Self::IsoB,
        Self::IsoE,
        Self::IsoF,
        Self::EuropeanSovereign,
    ];

    /// The name in ARNs, the DNS suffix, and the prefix of region names. Source: botocore's
    /// `partitions.json`.
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Standard => ("aws", "amazonaws.com", ""),
            Self::China => ("aws-cn", "amazonaws.com.cn", "cn-"),
            Self::GovCloud => ("aws-us-gov", "amazonaws.com", "us-gov-"),
            Self::Iso => ("aws-iso", "c2s.ic.gov", "us-iso-"),
            Self::IsoB => ("aws-iso-b", "sc2s.sgov.gov", "us-isob-"),
            Self::IsoE => ("aws-iso-e", "cloud.adc-e.uk", "eu-isoe-"),
            Self::IsoF => ("aws-iso-f", "csp.hci.ic.gov", "us-isof-"),
            Self::EuropeanSovereign => ("aws-eusc", "amazonaws.eu", "eusc-"),
        }
    }

    fn id(self) -> &'static str {
        self.facts().0
    }

    fn dns_suffix(self) -> &'static str {
        self.facts().1
    }

    fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|partition| partition.id() == id)
    }

    /// Regions without a known prefix are in the standard partition.
    fn of_region(region: &str) -> Self {
        let own = |partition: &Self| {
            let prefix = partition.facts().2;
            !prefix.is_empty() && region.starts_with(prefix)
        };
        Self::ALL.into_iter().find(own).unwrap_or(Self::Standard)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopicArn {
    #[error("a topic's ARN looks like arn:aws:sns:<region>:<12-digit account>:<name>")]
    Form,
    #[error("this is a subscription's ARN; remove the last part to get the topic's ARN")]
    Subscription,
    #[error(
        "unknown partition: it must be aws, aws-cn, aws-us-gov, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f or aws-eusc"
    )]
    Partition,
    #[error("the region is not valid; expected a region such as us-east-1")]
    Region,
    /// Carries the partition that the region is in.
    #[error("the region belongs to the partition {0}")]
    RegionElsewhere(&'static str),
    #[error("the account must be 12 digits")]
    Account,
    /// Source: Amazon SNS Developer Guide, "Message delivery for FIFO topics".
    #[error(
        "FIFO topics support neither HTTPS endpoints nor S3 notifications; use a standard topic"
    )]
    Fifo,
    /// Source: Amazon SNS API Reference, `CreateTopic`.
    #[error("the topic's name must be 1 to 256 letters, digits, hyphens and underscores")]
    Name,
}

impl PartialEq for TopicArn {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicArn {}

impl PartialOrd for TopicArn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicArn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

// Must hash like the text, because of `Borrow<str>`.
impl Hash for TopicArn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Allows looking up unvalidated text in a set of topics.
impl Borrow<str> for TopicArn {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicArn({})", self.text)
    }
}

impl TryFrom<String> for TopicArn {
    type Error = BadTopicArn;

    fn try_from(text: String) -> Result<Self, BadTopicArn> {
        text.parse()
    }
}

impl From<TopicArn> for String {
    fn from(topic: TopicArn) -> Self {
        topic.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn topic(partition: &str, region: &str) -> TopicArn {
        format!("arn:{partition}:sns:{region}:123456789012:site-changes")
            .parse()
            .unwrap()
    }

    fn fault(text: &str) -> BadTopicArn {
        text.parse::<TopicArn>().unwrap_err()
    }

    #[test]
    fn an_arn_has_its_parts() {
        let topic = topic("aws", "us-east-1");
        assert_eq!(topic.region(), "us-east-1");
        assert_eq!(
            topic.to_string(),
            "arn:aws:sns:us-east-1:123456789012:site-changes"
        );
    }

    #[test]
    fn hosts_and_certificate_names_by_partition() {
        let facts = |partition, region| {
            let topic = topic(partition, region);
            (topic.host(), topic.certificate_names().join(" "))
        };
        let cases = [
            (
                ("aws", "us-east-1"),
                "sns.us-east-1.amazonaws.com",
                "sns.amazonaws.com sns-signing.us-east-1.amazonaws.com",
            ),
            (
                ("aws", "ap-east-1"),
                "sns.ap-east-1.amazonaws.com",
                "sns.amazonaws.com sns-signing.ap-east-1.amazonaws.com",
            ),
            (
                ("aws", "ap-nowhere-12"),
                "sns.ap-nowhere-12.amazonaws.com",
                "sns.amazonaws.com sns-signing.ap-nowhere-12.amazonaws.com",
            ),
            (
                ("aws-cn", "cn-northwest-1"),
                "sns.cn-northwest-1.amazonaws.com.cn",
                "sns-cn-northwest-1.amazonaws.com.cn",
            ),
            (
                ("aws-us-gov", "us-gov-east-1"),
                "sns.us-gov-east-1.amazonaws.com",
                "sns-us-gov-west-1.amazonaws.com",
            ),
            (
                ("aws-iso", "us-iso-east-1"),
                "sns.us-iso-east-1.c2s.ic.gov",
                "sns-us-iso-east-1.c2s.ic.gov",
            ),
            (
                ("aws-iso-b", "us-isob-east-1"),
                "sns.us-isob-east-1.sc2s.sgov.gov",
                "sns-us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                ("aws-iso-e", "eu-isoe-west-1"),
                "sns.eu-isoe-west-1.cloud.adc-e.uk",
                "sns.cloud.adc-e.uk sns-signing.eu-isoe-west-1.cloud.adc-e.uk",
            ),
            (
                ("aws-iso-f", "us-isof-south-1"),
                "sns.us-isof-south-1.csp.hci.ic.gov",
                "sns.csp.hci.ic.gov sns-signing.us-isof-south-1.csp.hci.ic.gov",
            ),
            (
                ("aws-eusc", "eusc-de-east-1"),
                "sns.eusc-de-east-1.amazonaws.eu",
                "sns.amazonaws.eu sns-signing.eusc-de-east-1.amazonaws.eu",
            ),
        ];
        for ((partition, region), host, names) in cases {
            assert_eq!(facts(partition, region), (host.into(), names.into()));
        }
    }

    #[test]
    fn a_fault_says_what_is_wrong() {
        use BadTopicArn as Bad;
        let cases = [
            ("", Bad::Form),
            ("site-changes", Bad::Form),
            ("arn:aws:sqs:us-east-1:123456789012:q", Bad::Form),
            (" arn:aws:sns:us-east-1:123456789012:t", Bad::Form),
            (
                "arn:aws:sns:us-east-1:123456789012:t:0b71e34e",
                Bad::Subscription,
            ),
            ("arn:amazon:sns:us-east-1:123456789012:t", Bad::Partition),
            (
                "arn:aws:sns:cn-north-1:123456789012:t",
                Bad::RegionElsewhere("aws-cn"),
            ),
            (
                "arn:aws-cn:sns:us-east-1:123456789012:t",
                Bad::RegionElsewhere("aws"),
            ),
            ("arn:aws:sns:us-east-1:12345678901:t", Bad::Account),
            ("arn:aws:sns:us-east-1:12345678901x:t", Bad::Account),
            ("arn:aws:sns:us-east-1:123456789012:t.fifo", Bad::Fifo),
            ("arn:aws:sns:us-east-1:123456789012:", Bad::Name),
            ("arn:aws:sns:us-east-1:123456789012:a b", Bad::Name),
        ];
        for (text, why) in cases {
            assert_eq!(fault(text), why, "{text}");
        }
    }

    #[test]
    fn hosts_of_buckets_are_no_regions() {
        let not = [
            "s3-us-west-2",
            "s3-accelerate",
            "s3-external-1",
            "s3-website-us-east-1",
            "us-east",
            "east-1",
            "US-EAST-1",
            "us--1",
            "us-east-",
            "us-east-1.evil",
            "abcde-east-1",
            "",
        ];
        for region in not {
            let arn = format!("arn:aws:sns:{region}:123456789012:t");
            assert_eq!(fault(&arn), BadTopicArn::Region, "{region}");
        }
    }

    #[test]
    fn a_set_of_topics_is_asked_by_text() {
        let set = HashSet::from([topic("aws", "us-east-1")]);
        assert!(set.contains("arn:aws:sns:us-east-1:123456789012:site-changes"));
        assert!(!set.contains("arn:aws:sns:us-east-1:123456789012:Site-changes"));
    }
}
