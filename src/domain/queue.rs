//! The address of an SQS queue, as a person gives it: a name, a URL or an ARN.

use std::str::FromStr;

/// A standard queue. What the address does not say comes from the credentials and the configured
/// region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueAddress {
    pub region: Option<String>,
    pub account: Option<String>,
    pub name: String,
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a standard queue's name, its URL (https://sqs.REGION.amazonaws.com/ACCOUNT/NAME) or its ARN \
     (arn:aws:sqs:REGION:ACCOUNT:NAME)"
)]
pub struct BadQueueAddress;

impl FromStr for QueueAddress {
    type Err = BadQueueAddress;

    fn from_str(text: &str) -> Result<Self, BadQueueAddress> {
        let address = if text.starts_with("arn:") {
            let parts: Vec<&str> = text.split(':').collect();
            let ["arn", _, "sqs", region, account, name] = *parts.as_slice() else {
                return Err(BadQueueAddress);
            };
            Self {
                region: Some(region.to_owned()),
                account: Some(account.to_owned()),
                name: name.to_owned(),
                url: None,
            }
        } else if let Some((_, rest)) = text.split_once("://") {
            let (host, path) = rest.split_once('/').ok_or(BadQueueAddress)?;
            let (account, name) = path.rsplit_once('/').ok_or(BadQueueAddress)?;
            let mut labels = host.split('.');
            let region = labels.next().filter(|first| *first == "sqs");
            let region = region.and_then(|_| labels.next());
            Self {
                region: region.map(str::to_owned),
                account: Some(account.to_owned()),
                name: name.to_owned(),
                url: Some(text.to_owned()),
            }
        } else {
            Self {
                region: None,
                account: None,
                name: text.to_owned(),
                url: None,
            }
        };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let named = (1..=80).contains(&address.name.len()) && address.name.bytes().all(letter);
        let region = address.region.as_deref().unwrap_or("a");
        let legal = !region.is_empty()
            && region.bytes().all(letter)
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        (named && legal).then_some(address).ok_or(BadQueueAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<String>, Option<String>, String)> {
        let address: QueueAddress = text.parse().ok()?;
        Some((address.region, address.account, address.name))
    }

    #[test]
    fn a_queue_is_named_in_three_ways() {
        let expected = |region: Option<&str>, account: Option<&str>| {
            let text = |part: &str| part.to_owned();
            Some((region.map(text), account.map(text), "dead".to_owned()))
        };
        assert_eq!(read("dead"), expected(None, None));
        let whole = expected(Some("eu-west-1"), Some("123456789012"));
        assert_eq!(read("arn:aws:sqs:eu-west-1:123456789012:dead"), whole);
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/dead";
        assert_eq!(read(url), whole);
        assert_eq!(
            read("http://localhost:4566/000000000000/dead"),
            expected(None, Some("000000000000"))
        );
        for wrong in [
            "",
            "dead.fifo",
            "a b",
            "https://sqs.eu-west-1.amazonaws.com/",
            "arn:aws:sns:eu-west-1:123456789012:dead",
            "arn:aws:sqs::123456789012:dead",
            "dead\u{1b}[31m",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
