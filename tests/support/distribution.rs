//! Distributions of the fake CloudFront, and how its API shows them.

use super::aws::escape;

/// A distribution; tests change what they need of the default.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub id: String,
    pub enabled: bool,
    /// Serves tenants only.
    pub tenants_only: bool,
    pub aliases: Vec<String>,
    pub root: Option<String>,
    pub cache_tags: bool,
    /// Domains and origin paths; their ids are `origin-0` and so on.
    pub origins: Vec<(String, String)>,
    /// Ids, and the ids of two origins.
    pub groups: Vec<(String, [String; 2])>,
    /// Those that only its own configuration has.
    pub unlisted_groups: Vec<(String, [String; 2])>,
    /// Statuses, pages and times.
    pub errors: Vec<(u16, String, u64)>,
    /// In order; the default one goes last.
    pub behaviours: Vec<Behaviour>,
    pub default: Behaviour,
    /// Set by the fake with every change.
    pub revision: u64,
}

/// A cache behaviour.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub pattern: String,
    pub target: String,
    pub cache_policy: Option<String>,
    /// Where there is no policy.
    pub query_strings: bool,
    /// Where there is no policy, and it is not left out.
    pub max_ttl: Option<u64>,
    /// A function on viewers' requests.
    pub function: bool,
}

impl Behaviour {
    /// Sends what a pattern matches to a target.
    pub fn of(pattern: &str, target: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            target: target.to_owned(),
            cache_policy: None,
            query_strings: false,
            max_ttl: None,
            function: false,
        }
    }
}

impl Distribution {
    /// A distribution in front of one bucket.
    pub fn of(id: &str, bucket: &str) -> Self {
        Self {
            id: id.to_owned(),
            enabled: true,
            tenants_only: false,
            aliases: Vec::new(),
            root: None,
            cache_tags: false,
            origins: vec![(
                format!("{bucket}.s3.us-east-1.amazonaws.com"),
                String::new(),
            )],
            groups: Vec::new(),
            unlisted_groups: Vec::new(),
            errors: Vec::new(),
            behaviours: Vec::new(),
            default: Behaviour::of("*", "origin-0"),
            revision: 0,
        }
    }

    /// As ListDistributions shows it.
    pub fn summary(&self) -> String {
        let origins = list(
            self.origins.iter().enumerate(),
            |(at, (domain, path)): (usize, &(String, String))| {
                format!(
                    "<Origin><Id>origin-{at}</Id><DomainName>{domain}</DomainName>\
                     <OriginPath>{path}</OriginPath></Origin>"
                )
            },
        );
        let aliases = list(self.aliases.iter(), |alias: &String| {
            format!("<CNAME>{alias}</CNAME>")
        });
        let groups = shown(self.groups.iter());
        let errors = list(
            self.errors.iter(),
            |(status, page, min_ttl): &(u16, String, u64)| {
                format!(
                    "<CustomErrorResponse><ErrorCode>{status}</ErrorCode>\
                     <ResponsePagePath>{page}</ResponsePagePath><ResponseCode>200</ResponseCode>\
                     <ErrorCachingMinTTL>{min_ttl}</ErrorCachingMinTTL></CustomErrorResponse>"
                )
            },
        );
        let mode = if self.tenants_only {
            "tenant-only"
        } else {
            "direct"
        };
        let behaviours = list(self.behaviours.iter(), |one: &Behaviour| {
            let pattern = escape(&one.pattern);
            format!(
                "<CacheBehavior><PathPattern>{pattern}</PathPattern>{}</CacheBehavior>",
                one.shared()
            )
        });
        format!(
            "<DistributionSummary><Id>{}</Id><ETag>E{}</ETag><Status>Deployed</Status>\
             <LastModifiedTime>2026-11-01T00:00:00Z</LastModifiedTime>\
             <Aliases>{aliases}</Aliases>\
             <Origins>{origins}</Origins><OriginGroups>{groups}</OriginGroups>\
             <DefaultCacheBehavior>{}</DefaultCacheBehavior>\
             <CacheBehaviors>{behaviours}</CacheBehaviors>\
             <CustomErrorResponses>{errors}</CustomErrorResponses>\
             <ConnectionMode>{mode}</ConnectionMode>\
             <Enabled>{}</Enabled></DistributionSummary>",
            self.id,
            self.revision,
            self.default.shared(),
            self.enabled
        )
    }

    /// What GetDistributionConfig says besides.
    pub fn config(&self) -> String {
        let tags = if self.cache_tags {
            "<CacheTagConfig><HeaderName>x-amz-meta-cache-tag</HeaderName></CacheTagConfig>"
        } else {
            ""
        };
        format!(
            "<CallerReference>r</CallerReference><DefaultRootObject>{}</DefaultRootObject>{tags}\
             <OriginGroups>{}</OriginGroups>\
             <Comment></Comment><Enabled>{}</Enabled>",
            escape(self.root.as_deref().unwrap_or_default()),
            shown(self.groups.iter().chain(&self.unlisted_groups)),
            self.enabled
        )
    }
}

fn shown<'a>(groups: impl Iterator<Item = &'a (String, [String; 2])>) -> String {
    list(groups, |(id, members)| {
        let members = list(members.iter(), |member: &String| {
            format!("<OriginGroupMember><OriginId>{member}</OriginId></OriginGroupMember>")
        });
        format!("<OriginGroup><Id>{id}</Id><Members>{members}</Members></OriginGroup>")
    })
}

impl Behaviour {
    /// What all behaviours have, the default one too.
    fn shared(&self) -> String {
        let caching = match &self.cache_policy {
            Some(id) => format!("<CachePolicyId>{id}</CachePolicyId>"),
            None => format!(
                "<ForwardedValues><QueryString>{}</QueryString>\
                 <Cookies><Forward>none</Forward></Cookies></ForwardedValues>{}",
                self.query_strings,
                self.max_ttl.map_or(String::new(), |ttl| format!(
                    "<MinTTL>0</MinTTL><DefaultTTL>{ttl}</DefaultTTL><MaxTTL>{ttl}</MaxTTL>"
                ))
            ),
        };
        let functions = list(self.function.then_some(()).into_iter(), |()| {
            "<FunctionAssociation><FunctionARN>arn</FunctionARN>\
             <EventType>viewer-request</EventType></FunctionAssociation>"
                .to_owned()
        });
        format!(
            "<TargetOriginId>{}</TargetOriginId>\
             <ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy>\
             <FunctionAssociations>{functions}</FunctionAssociations>{caching}",
            self.target
        )
    }
}

fn list<T>(all: impl Iterator<Item = T>, show: impl Fn(T) -> String) -> String {
    let shown: Vec<_> = all.map(show).collect();
    format!(
        "<Quantity>{}</Quantity><Items>{}</Items>",
        shown.len(),
        shown.concat()
    )
}
