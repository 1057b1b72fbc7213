//! Which bucket an origin's domain name stands for.

/// The bucket that an origin's domain name means, or `None` where the name does not say
/// (a custom origin, an access point, a path-style address).
///
/// Understood, in any case of letters: `B.s3.amazonaws.com`, `B.s3.R.amazonaws.com`,
/// `B.s3-R.amazonaws.com`, `B.s3.dualstack.R.amazonaws.com`, both website forms
/// (`B.s3-website-R…`, `B.s3-website.R…`), each also under `amazonaws.com.cn`. `B` may have
/// dots. Sources: `CloudFront` Developer Guide, "Use an Amazon S3 bucket"; S3 User Guide,
/// "Website endpoints"; the Public Suffix List's section "Amazon S3".
pub fn bucket(domain: &str) -> Option<String> {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let (host, china) = match domain.strip_suffix(".amazonaws.com") {
        Some(host) => (host, false),
        None => (domain.strip_suffix(".amazonaws.com.cn")?, true),
    };
    let labels: Vec<&str> = host.split('.').collect();
    // A bucket may itself hold ".s3", so the service's label is looked for from the right,
    // and no more than two labels (dualstack, region) may stand behind it.
    let bucket_labels = match *labels.as_slice() {
        [.., "s3"] if !china => labels.len() - 1,
        [.., "s3", "dualstack", region] if is_region(region) => labels.len() - 3,
        [.., "s3" | "s3-website", region] if is_region(region) => labels.len() - 2,
        [.., service] if is_dash_service(service) => labels.len() - 1,
        _ => return None,
    };
    let bucket = labels[..bucket_labels].join(".");
    // Aliases live in the bucket namespace, but say nothing about the bucket behind them.
    let alias = bucket.ends_with("-s3alias") || bucket.ends_with("--ol-s3");
    (!bucket.is_empty() && !alias).then_some(bucket)
}

/// `s3-R`, `s3-website-R`, and `s3-external-1`, which is us-east-1.
fn is_dash_service(label: &str) -> bool {
    let Some(rest) = label.strip_prefix("s3-") else {
        return false;
    };
    rest == "external-1" || is_region(rest.strip_prefix("website-").unwrap_or(rest))
}

/// A region by its grammar, so that tomorrow's regions are understood today:
/// `us-east-1`, `us-gov-west-1`, `cn-north-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let area = parts.next().unwrap_or_default();
    let number = parts.next_back().unwrap_or_default();
    let mut names = parts.peekable();
    names.peek().is_some()
        && (2..=4).contains(&area.len())
        && area.bytes().all(|b| b.is_ascii_lowercase())
        && names.all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn every_form_of_a_bucket_is_read() {
        for domain in [
            "site.s3.amazonaws.com",
            "site.s3.us-east-1.amazonaws.com",
            "SITE.S3.US-EAST-1.AMAZONAWS.COM",
            "site.s3.us-east-1.amazonaws.com.",
            "site.s3-eu-west-1.amazonaws.com",
            "site.s3-us-gov-west-1.amazonaws.com",
            "site.s3-external-1.amazonaws.com",
            "site.s3.dualstack.eu-central-1.amazonaws.com",
            "site.s3-website-us-east-1.amazonaws.com",
            "site.s3-website.eu-central-1.amazonaws.com",
            "site.s3-website.us-west-2.amazonaws.com",
            "site.s3.cn-north-1.amazonaws.com.cn",
            "site.s3.dualstack.cn-northwest-1.amazonaws.com.cn",
            "site.s3-website.cn-northwest-1.amazonaws.com.cn",
            "site.s3.mx-central-1.amazonaws.com",
            "site.s3.xy-somewhere-9.amazonaws.com",
        ] {
            assert_eq!(bucket(domain).as_deref(), Some("site"), "{domain}");
        }
    }

    #[test]
    fn dotted_buckets_are_read_from_the_right() {
        for (domain, name) in [
            ("www.example.com.s3.amazonaws.com", "www.example.com"),
            ("a.s3.b.s3.eu-west-1.amazonaws.com", "a.s3.b"),
            (
                "my.s3.amazonaws.com.s3.amazonaws.com",
                "my.s3.amazonaws.com",
            ),
            ("a.s3.s3-website-us-east-1.amazonaws.com", "a.s3"),
            ("a.s3-eu-west-1.s3.amazonaws.com", "a.s3-eu-west-1"),
            ("s3.s3.amazonaws.com", "s3"),
        ] {
            assert_eq!(bucket(domain).as_deref(), Some(name), "{domain}");
        }
    }

    #[test]
    fn names_that_say_no_bucket_are_left_alone() {
        for domain in [
            "example.com",
            "s3.amazonaws.com",
            "s3.us-east-1.amazonaws.com",
            "s3-website-us-east-1.amazonaws.com",
            "site.s3.amazonaws.com.cn",
            "site.s3.us-east-1.amazonaws.com.evil.example",
            "site-s3.us-east-1.amazonaws.com",
            "site.s3.us-east-1.a.amazonaws.com",
            "site.s3x.us-east-1.amazonaws.com",
            "ap-abc123-s3alias.s3.us-east-1.amazonaws.com",
            "lambda--ol-s3.s3.us-east-1.amazonaws.com",
            "ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
            "alias.mrap.accesspoint.s3-global.amazonaws.com",
            "lb-1.us-east-1.elb.amazonaws.com",
            "",
            ".s3.amazonaws.com",
        ] {
            assert_eq!(bucket(domain), None, "{domain}");
        }
    }
}
