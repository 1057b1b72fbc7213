//! Takes back the mends that other findings contradict: what is wrong itself mends nothing.

use super::{Check, Finding, Level, Mend};

/// No command connects a bucket that does not exist, or an endpoint that SNS cannot use.
pub fn settle(findings: &mut [Finding]) {
    let missing = failed(findings, "bucket ", &[Check::BucketKnown]);
    let checks = [Check::EndpointReachable, Check::EndpointPurgefront];
    let unusable = failed(findings, "endpoint ", &checks);
    for finding in findings {
        let Some(Mend::Command(command)) = &finding.mend else {
            continue;
        };
        let Some(bucket) = command.connects() else {
            continue;
        };
        if missing.iter().any(|name| name == bucket) {
            finding.mend = Some(Mend::Words(format!(
                "connect a bucket that exists: {bucket} does not (bucket.known)"
            )));
            continue;
        }
        let endpoint = command.option("--endpoint");
        if !endpoint.is_some_and(|url| unusable.iter().any(|bad| bad == url)) {
            continue;
        }
        let of_subscription = Check::SubscriptionExists..=Check::QueueMessages;
        finding.mend = Some(if of_subscription.contains(&finding.check) {
            let words = "mend the endpoint first, or connect with the right URL (endpoint.reachable, \
                         endpoint.purgefront)";
            words.into()
        } else {
            command.without("--endpoint").into()
        });
    }
}

/// What fails one of these checks, by its name.
fn failed(findings: &[Finding], kind: &str, checks: &[Check]) -> Vec<String> {
    let failed = findings
        .iter()
        .filter(|one| one.level == Level::Failure && checks.contains(&one.check));
    let names = failed.filter_map(|one| one.what.strip_prefix(kind));
    names.map(str::to_owned).collect()
}
