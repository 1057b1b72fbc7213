//! The service's own permissions, each tried by a call that changes nothing.

use std::fmt::Write as _;

use serde_json::json;

use super::{Check, Command, Finding, Mend, credentials::Identity};
use crate::domain::topic::TopicArn;

/// What a call showed of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    Permitted,
    Denied(String),
    /// The answer says neither.
    Unclear(String),
    /// There was nothing to try it with, for this reason.
    Untried(String),
}

/// A permission of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub check: Check,
    /// Its name in IAM.
    pub action: &'static str,
    on: On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    All,
    Distributions,
    CachePolicies,
    Topic,
}

const fn of(check: Check, action: &'static str, on: On) -> Permission {
    Permission { check, action, on }
}

pub const LIST_DISTRIBUTIONS: Permission = of(
    Check::ListDistributions,
    "cloudfront:ListDistributions",
    On::All,
);
pub const DISTRIBUTION_CONFIG: Permission = of(
    Check::DistributionConfig,
    "cloudfront:GetDistributionConfig",
    On::Distributions,
);
pub const CACHE_POLICY: Permission = of(
    Check::CachePolicy,
    "cloudfront:GetCachePolicy",
    On::CachePolicies,
);
pub const CREATE_INVALIDATION: Permission = of(
    Check::CreateInvalidation,
    "cloudfront:CreateInvalidation",
    On::Distributions,
);
pub const GET_INVALIDATION: Permission = of(
    Check::GetInvalidation,
    "cloudfront:GetInvalidation",
    On::Distributions,
);
pub const LIST_INVALIDATIONS: Permission = of(
    Check::ListInvalidations,
    "cloudfront:ListInvalidations",
    On::Distributions,
);
pub const CONFIRM_SUBSCRIPTION: Permission = of(
    Check::ConfirmSubscription,
    "sns:ConfirmSubscription",
    On::Topic,
);

/// Judges a permission by what it was tried on. The worst result decides. `topics` are all that the
/// service needs it on.
pub fn judge(
    permission: Permission,
    identity: &Identity,
    topics: &[TopicArn],
    tried: &[(String, Probe)],
) -> Finding {
    let (check, action) = (permission.check, permission.action);
    let which = |wanted: &dyn Fn(&Probe) -> Option<String>| {
        let found = tried.iter();
        let found = found.filter_map(|(on, probe)| Some((on.as_str(), wanted(probe)?)));
        found.unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let (ids, texts) = which(&|probe| match probe {
        Probe::Denied(text) => Some(text.clone()),
        _ => None,
    });
    if let Some(text) = texts.first() {
        let why = format!("denied on {}: {text}", ids.join(", "));
        return Finding::failure(check, action, why).mended_by(grant(permission, identity, topics));
    }
    let (ids, texts) = which(&|probe| match probe {
        Probe::Unclear(text) => Some(text.clone()),
        _ => None,
    });
    if let Some(text) = texts.first() {
        let why = format!("cannot be told for {}: {text}", ids.join(", "));
        return Finding::warning(check, action, why)
            .mended_by("look into the answer, and repeat this");
    }
    let (ids, _) = which(&|probe| (*probe == Probe::Permitted).then(String::new));
    let (untried, reasons) = which(&|probe| match probe {
        Probe::Untried(why) => Some(why.clone()),
        _ => None,
    });
    if !ids.is_empty() {
        let mut why = format!("permitted on {}", ids.join(", "));
        if let Some(reason) = reasons.first() {
            let _ = write!(why, "; not tried on {}: {reason}", untried.join(", "));
        }
        return Finding::ok(check, action, why);
    }
    let why = match reasons.first() {
        Some(why) => format!("not tried: {why}"),
        None => "not tried: there is nothing to try it on".to_owned(),
    };
    Finding::skipped(check, action, why)
}

/// Grants a permission by a policy of its own, so that no other one is replaced. It names all topics,
/// since it replaces the one that was made for fewer.
fn grant(permission: Permission, identity: &Identity, topics: &[TopicArn]) -> Mend {
    let partition = identity.arn.split(':').nth(1).unwrap_or("aws");
    let account = &identity.account;
    let resources = |kind: &str| json!(format!("arn:{partition}:cloudfront::{account}:{kind}/*"));
    let resource = match (permission.on, topics) {
        (On::All, _) => json!("*"),
        (On::Topic, []) => json!(format!("arn:{partition}:sns:*:{account}:*")),
        (On::Topic, [topic]) => json!(topic.as_str()),
        (On::Topic, topics) => topics.iter().map(TopicArn::as_str).collect(),
        (On::Distributions, _) => resources("distribution"),
        (On::CachePolicies, _) => resources("cache-policy"),
    };
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": permission.action, "Resource": resource},
    ]})
    .to_string();
    let name = permission.action.rsplit(':').next().unwrap_or_default();
    let name = format!("purgefront-{name}");
    let (kind, whose) = match holder(&identity.arn) {
        Some(Holder::User(user)) => ("user", user),
        // IAM lets nobody change these.
        Some(Holder::Role(role)) if role.starts_with("AWSReservedSSO_") => {
            return format!(
                "add this to the permission set of the role {role} in IAM Identity Center: {policy}"
            )
            .into();
        }
        Some(Holder::Role(role)) => ("role", role),
        None => {
            return format!("add this to the IAM policy of {}: {policy}", identity.arn).into();
        }
    };
    Command::new(["aws", "iam", &format!("put-{kind}-policy")])
        .and([&*format!("--{kind}-name"), whose])
        .and(["--policy-name", &name, "--policy-document", &policy])
        .into()
}

enum Holder<'a> {
    User(&'a str),
    Role(&'a str),
}

/// Who has the policies behind these credentials. A user may be in a path, which is no part of the name.
fn holder(arn: &str) -> Option<Holder<'_>> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [_, _, service, _, _, rest] = *parts.as_slice() else {
        return None;
    };
    match (service, rest.split_once('/')?) {
        ("iam", ("user", rest)) => Some(Holder::User(rest.rsplit('/').next()?)),
        ("sts", ("assumed-role", rest)) => Some(Holder::Role(rest.split('/').next()?)),
        _ => None,
    }
}
