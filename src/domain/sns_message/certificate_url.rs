//! Validates a message's `SigningCertURL` against its topic.

use super::refusal::Refusal;
use crate::domain::topic::TopicArn;

/// The longest accepted path of an emulator's certificate URL, in bytes.
const LONGEST_PATH: usize = 1_000;

/// The validated URL of a signing certificate.
///
/// A URL on SNS is not copied from the message: it is rebuilt from the topic's host and the 32
/// validated hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateUrl {
    text: String,
    emulated: bool,
}

impl CertificateUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it points to the configured emulator instead of SNS.
    pub fn is_emulated(&self) -> bool {
        self.emulated
    }

    /// Accepts any path on the emulator's origin, which comes from the configuration and not from
    /// the message.
    pub(super) fn of_emulator(url: &str, origin: &str) -> Option<Self> {
        let path = url.strip_prefix(origin)?.strip_prefix('/')?;
        // No query, because emulators accept API calls as query strings.
        let plain = path
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        (plain && path.len() <= LONGEST_PATH).then(|| Self {
            text: format!("{origin}/{path}"),
            emulated: true,
        })
    }

    /// Validates the certificate URL of a message on `topic`.
    ///
    /// It must be exactly `https://sns.<region>.<suffix>/SimpleNotificationService-<32 hex>.pem`.
    /// It is compared as text, because URL parsers normalise: they fold case, drop `:443` and
    /// `/./`, decode escapes and split off user names. Each of these has let a foreign host through
    /// some validator.
    pub(super) fn check(url: &str, topic: &TopicArn) -> Result<Self, Refusal> {
        let refuse = |why: String| Err(Refusal::CertificateUrl(why));
        let Some(rest) = url.strip_prefix("https://") else {
            return refuse(format!("must start with https://{}", topic.host()));
        };
        let host = topic.host();
        let Some(path) = rest.strip_prefix(host.as_str()) else {
            return refuse(format!(
                "must be on {host}, the SNS host of the topic's region"
            ));
        };
        let Some(digits) = path
            .strip_prefix("/SimpleNotificationService-")
            .and_then(|path| path.strip_suffix(".pem"))
            .filter(|digits| digits.len() == 32 && digits.bytes().all(is_lower_hex))
        else {
            return refuse(format!(
                "must have the path /SimpleNotificationService-<32 hex digits>.pem after {host}"
            ));
        };
        Ok(Self {
            text: format!("https://{host}/SimpleNotificationService-{digits}.pem"),
            emulated: false,
        })
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem";

    fn topic(partition: &str, region: &str) -> TopicArn {
        format!("arn:{partition}:sns:{region}:123456789012:t")
            .parse()
            .unwrap()
    }

    fn check(url: &str) -> Result<CertificateUrl, Refusal> {
        CertificateUrl::check(url, &topic("aws", "us-east-1"))
    }

    #[test]
    fn the_topics_own_host_is_believed_in_every_partition() {
        for (partition, region, host) in [
            ("aws", "us-east-1", "sns.us-east-1.amazonaws.com"),
            ("aws", "ap-southeast-7", "sns.ap-southeast-7.amazonaws.com"),
            ("aws-cn", "cn-north-1", "sns.cn-north-1.amazonaws.com.cn"),
            (
                "aws-us-gov",
                "us-gov-west-1",
                "sns.us-gov-west-1.amazonaws.com",
            ),
            (
                "aws-eusc",
                "eusc-de-east-1",
                "sns.eusc-de-east-1.amazonaws.eu",
            ),
        ] {
            let url = format!("https://{host}{FILE}");
            let checked = CertificateUrl::check(&url, &topic(partition, region)).unwrap();
            assert_eq!(checked.as_str(), url);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let host = "sns.us-east-1.amazonaws.com";
        let mut bad: Vec<String> = [
            "",
            "https://",
            "/",
            "file:///etc/passwd",
            "https://sns.us-east-1.amazonaws.com",
            "https://sns.us-east-1.amazonaws.com/",
        ]
        .map(String::from)
        .to_vec();
        for host in [
            "sns.us-west-2.amazonaws.com",
            "sns.us-east-1.amazonaws.com.cn",
            "sns.us-east-1.amazonaws.com.evil.example",
            "sns.us-east-1.amazonaws.comevil.example",
            "sns.s3-us-west-2.amazonaws.com",
            "s3.amazonaws.com",
            "sns.amazonaws.com",
            "evil.example",
            "evil.example/sns.us-east-1.amazonaws.com",
            "evil.example#sns.us-east-1.amazonaws.com",
            "user@sns.us-east-1.amazonaws.com",
            "user:pw@sns.us-east-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com@evil.example",
            "sns.us-east-1.amazonaws.com:443",
            "sns.us-east-1.amazonaws.com:8443",
            "sns.us-east-1.amazonaws.com.",
            "SNS.us-east-1.amazonaws.com",
            "sns%2eus-east-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com\\",
            "sns.us-east-1.amazonaws.com\t",
        ] {
            bad.push(format!("https://{host}{FILE}"));
        }
        for scheme in [
            "http://",
            "HTTPS://",
            "https:/",
            "https:",
            "//",
            " https://",
            "ftp://",
        ] {
            bad.push(format!("{scheme}{host}{FILE}"));
        }
        for path in [
            "/x.pem",
            "/?Action=GetTopicAttributes&x=.pem",
            "//SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem",
            "/./SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem",
            "/a/../SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem",
            "/SimpleNotificationService-7506A1E35B36EF5A444DD1A8E7CC3ED8.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed88.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3edg.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.PEM",
            "/simplenotificationservice-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem?",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem?x=.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem#",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem#.pem",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem\n",
            "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem/.pem",
        ] {
            bad.push(format!("https://{host}{path}"));
        }
        for url in bad {
            let refusal = check(&url).unwrap_err();
            assert_eq!(refusal.slug(), "certificate-url", "{url}");
            assert!(!refusal.to_string().contains("evil"), "{refusal}");
        }
    }
}
