//! Finds the bucket behind an origin.

use percent_encoding::percent_decode_str;

/// The bucket behind an origin, as found from its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub bucket: String,
    /// What precedes the viewer's path in every key, decoded: empty, or `/prefix` without a trailing
    /// slash.
    pub prefix: String,
    pub server: Server,
}

/// What answers at an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// An S3 REST endpoint, also that of an access point. It reads a `+` in a path as a space.
    /// Source: measured through CloudFront by crates.io's infrastructure team
    /// (hackmd.io/@jdno/r13gNdn82; rust-lang/crates.io#4891); nginxinc/nginx-s3-gateway#77 agrees.
    Rest,
    /// An S3 website endpoint, which serves index documents, and takes a `+` literally
    /// (ostreedev/ostree#2139).
    Website,
    /// Another server. It is unknown what it makes of a `+`.
    Custom,
}

impl Server {
    /// The key, or the part of one, that a percent-encoded path stands for.
    pub fn decoded(self, path: &str) -> String {
        let path = match self {
            Self::Rest => path.replace('+', " "),
            Self::Website | Self::Custom => path.to_owned(),
        };
        match percent_decode_str(&path).decode_utf8() {
            Ok(decoded) => decoded.into_owned(),
            // Keys are UTF-8, so none is meant.
            Err(_) => path,
        }
    }
}

/// The configured bucket of an origin whose domain name does not reveal it (`[[origin]]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginOverride {
    /// Compared case-insensitively.
    pub domain: String,
    pub bucket: String,
    /// What the origin prepends to the path it is asked for, in addition to the origin path.
    pub prefix: String,
    pub path: PathRole,
}

/// What a configured origin does with its origin path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PathRole {
    /// It is the beginning of every key.
    #[default]
    Key,
    /// It addresses the service, such as a stage of an API, and is no part of keys.
    Service,
}

/// The buckets behind an origin. `overrides` take precedence over what the domain name reveals; a
/// domain in front of several buckets (a multi-region access point) has one override per bucket.
pub fn addresses(domain: &str, path: &str, overrides: &[OriginOverride]) -> Vec<Address> {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let server = server(&domain);
    // It is the beginning of the URL that the origin is asked for, and decoded with the rest of it.
    let path = server.decoded(path.trim_end_matches('/'));
    let said: Vec<_> = overrides
        .iter()
        .filter(|one| one.domain.eq_ignore_ascii_case(&domain))
        .map(|one| {
            let path = match one.path {
                PathRole::Key => path.as_str(),
                PathRole::Service => "",
            };
            Address {
                bucket: one.bucket.clone(),
                prefix: match one.prefix.trim_matches('/') {
                    "" => path.to_owned(),
                    prefix => format!("/{prefix}{path}"),
                },
                server,
            }
        })
        .collect();
    if said.is_empty() {
        read(&domain, &path).into_iter().collect()
    } else {
        said
    }
}

/// What answers under a lower-case domain name.
fn server(domain: &str) -> Server {
    match service(domain) {
        Some((labels, at)) if labels[at].starts_with("s3-website") => Server::Website,
        Some(_) => Server::Rest,
        None => Server::Custom,
    }
}

/// The suffixes of AWS's partitions with S3.
const PARTITIONS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"];

/// The service labels of access points, multi-region access points and Object Lambda. Source: the Public
/// Suffix List's section "Amazon S3".
const ACCESS_POINTS: [&str; 4] = [
    "s3-accesspoint",
    "s3-accesspoint-fips",
    "s3-global",
    "s3-object-lambda",
];

/// The labels of a lower-case domain name before the partition's suffix, and which of them names a
/// service of S3.
fn service(domain: &str) -> Option<(Vec<&str>, usize)> {
    let (host, partition) = PARTITIONS
        .into_iter()
        .find_map(|suffix| Some((domain.strip_suffix(suffix)?, suffix)))?;
    let labels: Vec<&str> = host.split('.').collect();
    // A bucket name may itself contain ".s3", so find the service label from the right. At most
    // two labels (dualstack, region) may follow it.
    let at = match *labels.as_slice() {
        [.., "s3"] if partition == ".amazonaws.com" => labels.len() - 1,
        [.., service, "dualstack", region] if is_service(service) && is_region(region) => {
            labels.len() - 3
        }
        [.., service, region] if is_service(service) && is_region(region) => labels.len() - 2,
        [.., "s3-accelerate", "dualstack"] => labels.len() - 2,
        [.., "s3-global"] => labels.len() - 1,
        [.., service] if is_dash_service(service) => labels.len() - 1,
        _ => return None,
    };
    Some((labels, at))
}

/// Parses a lower-case domain name and an origin path without a trailing slash. `None` if they do
/// not reveal a bucket (a custom origin, an access point).
///
/// With a bucket `B` and a region `R`, these forms are supported: `B.s3.amazonaws.com`,
/// `B.s3.R.amazonaws.com`, `B.s3-R.amazonaws.com`, `B.s3-fips.R…`, `B.s3-accelerate…`, each also
/// as `.dualstack.R`, and both website forms (`B.s3-website-R…`, `B.s3-website.R…`); all of them
/// also in the China and European sovereign partitions. `B` may contain dots. Without `B`
/// (path-style), the bucket is the first segment of the origin path.
/// Sources: CloudFront Developer Guide, "Use an Amazon S3 bucket"; S3 User Guide, "Website
/// endpoints"; the Public Suffix List's section "Amazon S3".
fn read(domain: &str, path: &str) -> Option<Address> {
    let (labels, service) = service(domain)?;
    if ACCESS_POINTS.contains(&labels[service]) {
        return None;
    }
    let server = server(domain);
    if service == 0 {
        // Path style: the bucket is the first segment of the origin path.
        let (bucket, rest) = path
            .strip_prefix('/')?
            .split_at_checked(path[1..].find('/').unwrap_or(path.len() - 1))?;
        return (!bucket.is_empty() && server == Server::Rest).then(|| Address {
            bucket: bucket.to_owned(),
            prefix: rest.to_owned(),
            server,
        });
    }
    let bucket = labels[..service].join(".");
    // Access point aliases look like bucket names, but do not reveal the bucket behind them.
    let alias = bucket.ends_with("-s3alias") || bucket.ends_with("--ol-s3");
    (!bucket.is_empty() && !alias).then(|| Address {
        bucket,
        prefix: path.to_owned(),
        server,
    })
}

/// Service labels that may be followed by a region as a label of its own.
fn is_service(label: &str) -> bool {
    matches!(label, "s3" | "s3-website" | "s3-fips") || ACCESS_POINTS.contains(&label)
}

/// Service labels that include the region: `s3-R`, `s3-website-R`, `s3-fips-R`, the two names of
/// us-east-1, and `s3-accelerate`, which has no region.
fn is_dash_service(label: &str) -> bool {
    let Some(rest) = label.strip_prefix("s3-") else {
        return false;
    };
    let region = rest
        .strip_prefix("website-")
        .or_else(|| rest.strip_prefix("fips-"))
        .unwrap_or(rest);
    matches!(rest, "external-1" | "1" | "accelerate") || is_region(region)
}

/// Matches the grammar of region names instead of a list, so that future regions are recognised:
/// `us-east-1`, `us-gov-west-1`, `cn-north-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let area = parts.next().unwrap_or_default();
    let number = parts.next_back().unwrap_or_default();
    let mut names = parts.peekable();
    names.peek().is_some()
        && (2..=4).contains(&area.len())
        && area != "fips"
        && area.bytes().all(|b| b.is_ascii_lowercase())
        && names.all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Address, OriginOverride, PathRole, Server, addresses};

    fn bucket(domain: &str) -> Option<String> {
        let all = addresses(domain, "", &[]);
        all.into_iter().next().map(|address| address.bucket)
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
    fn path_style_addresses_begin_with_the_bucket() {
        let read = |domain, path| {
            let all = addresses(domain, path, &[]);
            all.into_iter().next().map(|one| (one.bucket, one.prefix))
        };
        for domain in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "s3-eu-west-1.amazonaws.com",
            "s3.dualstack.eu-west-1.amazonaws.com",
            "S3.cn-north-1.amazonaws.com.cn",
        ] {
            let both = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
            assert_eq!(read(domain, "/site"), both("site", ""));
            assert_eq!(read(domain, "/site/prod/x/"), both("site", "/prod/x"));
            assert_eq!(read(domain, ""), None);
        }
    }

    #[test]
    fn what_is_said_goes_before_what_the_name_says() {
        let said = |domain: &str, bucket: &str, prefix: &str| OriginOverride {
            domain: domain.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            path: PathRole::Key,
        };
        let overrides = [
            said("Files.example.com", "one", ""),
            said("files.example.com", "two", "sub/"),
            said("site.s3.amazonaws.com", "other", ""),
        ];
        let address = |bucket: &str, prefix: &str, server: Server| Address {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            server,
        };
        assert_eq!(
            addresses("files.EXAMPLE.com", "/p/", &overrides),
            [
                address("one", "/p", Server::Custom),
                address("two", "/sub/p", Server::Custom)
            ]
        );
        assert_eq!(
            addresses("site.s3.amazonaws.com", "", &overrides),
            [address("other", "", Server::Rest)]
        );
        assert_eq!(
            addresses("site.s3.eu-west-1.amazonaws.com", "", &overrides),
            [address("site", "", Server::Rest)]
        );
    }
    #[test]
    fn p1_a_server_is_known_by_its_name() {
        for (domain, expected) in [
            ("b.s3.amazonaws.com", Server::Rest),
            ("b.s3-eu-west-1.amazonaws.com", Server::Rest),
            ("b.s3.dualstack.eu-west-1.amazonaws.com", Server::Rest),
            ("s3.cn-north-1.amazonaws.com.cn", Server::Rest),
            ("x-s3alias.s3.us-east-1.amazonaws.com", Server::Rest),
            ("x-1.s3-accesspoint.us-east-1.amazonaws.com", Server::Rest),
            ("m.mrap.accesspoint.s3-global.amazonaws.com", Server::Rest),
            ("b.s3-website-us-east-1.amazonaws.com", Server::Website),
            ("b.s3-website.eu-central-1.amazonaws.com", Server::Website),
            ("s3.us-east-1.elb.amazonaws.com", Server::Custom),
            ("a.execute-api.us-east-1.amazonaws.com", Server::Custom),
            ("s3.example.com", Server::Custom),
        ] {
            let all = [OriginOverride {
                domain: domain.to_owned(),
                bucket: "b".to_owned(),
                prefix: String::new(),
                path: PathRole::Key,
            }];
            assert_eq!(addresses(domain, "", &all)[0].server, expected, "{domain}");
        }
    }

    #[test]
    fn p6_an_origin_path_is_compared_decoded() {
        let prefix = |domain: &str, path: &str| addresses(domain, path, &[])[0].prefix.clone();
        let rest = "b.s3.us-east-1.amazonaws.com";
        let website = "b.s3-website.eu-central-1.amazonaws.com";
        assert_eq!(prefix(rest, "/my%20dir"), "/my dir");
        assert_eq!(prefix(rest, "/r%C3%A9sum%C3%A9/"), "/résumé");
        assert_eq!(prefix(rest, "/100%25"), "/100%");
        assert_eq!(prefix(rest, "/my+dir/a%2Bb"), "/my dir/a+b");
        assert_eq!(prefix(website, "/my+dir/a%2Bb"), "/my+dir/a+b");
        assert_eq!(prefix(rest, "/%FF"), "/%FF");
        assert_eq!(
            prefix("s3.us-east-1.amazonaws.com", "/b/my%20dir"),
            "/my dir"
        );
    }

    #[test]
    fn p10_an_origin_path_may_be_no_part_of_the_key() {
        let all = [OriginOverride {
            domain: "a.execute-api.us-east-1.amazonaws.com".to_owned(),
            bucket: "b".to_owned(),
            prefix: "images".to_owned(),
            path: PathRole::Service,
        }];
        let found = addresses("a.execute-api.us-east-1.amazonaws.com", "/prod", &all);
        assert_eq!(found[0].prefix, "/images");
    }
}
