//! Looks at the account's distributions, and tries the service's permissions.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Account, Doctor,
    topics::{Topic, confirmations},
};
use crate::{
    domain::{
        catalogue::{CachePolicy, Catalogue, Details, Snapshot},
        cdn::CdnError,
        doctor::{
            Check, Finding, catalogue,
            credentials::Identity,
            permission::{self, Permission, Probe},
        },
    },
    ports::doctor::UnreadPolicies,
};

/// The most distributions on which the permissions for invalidations are tried: AWS throttles the account
/// after a few calls in a row, and the service needs them.
const MOST_TRIED: usize = 5;
/// The most buckets that are looked at without being named.
const MOST_BUCKETS: usize = 20;
/// Not the id of any invalidation.
const NO_INVALIDATION: &str = "I00PURGEFRONT0";

impl Doctor {
    /// The distributions, and the buckets to look at: those that are given, else those that the topics'
    /// policies name, else those that distributions serve.
    pub(super) async fn look_at_account(
        &self,
        connected: &[String],
        known: Option<&Snapshot>,
    ) -> (Account, Vec<String>) {
        let settings = &self.settings;
        let mut buckets = if settings.buckets.is_empty() {
            connected.to_vec()
        } else {
            settings.buckets.clone()
        };
        if buckets.is_empty() {
            match self.account.read(&[]).await {
                Ok((catalogue, _)) => {
                    let served: BTreeSet<_> = catalogue.buckets().map(str::to_owned).collect();
                    buckets.extend(served.into_iter().take(MOST_BUCKETS));
                }
                Err(error) => return (Err(error), buckets),
            }
        }
        // Those of rules with tags as well, since their distributions have to keep tags.
        let rules = settings.mapping.rules.iter().filter(|rule| rule.has_tags());
        let tagged = rules.map(|rule| rule.bucket().to_owned());
        let scope: BTreeSet<_> = buckets.iter().cloned().chain(tagged).collect();
        let scope: Vec<_> = scope.into_iter().collect();
        let account = self.account.read(&scope).await;
        (
            account.map(|(read, unread)| (self.since(known, read), unread)),
            buckets,
        )
    }

    /// What was read, with the changes of origins since the service has last read the list, and those
    /// that it reports still.
    fn since(&self, known: Option<&Snapshot>, read: Catalogue) -> Catalogue {
        let Some(known) = known else {
            return read;
        };
        let kept = Catalogue::new(known.clone(), self.settings.origins.clone().into());
        let snapshot = read.snapshot();
        let listed = snapshot.distributions.iter().map(|one| (**one).clone());
        let rerouted = kept.refreshed(listed.collect(), snapshot.read_since, 0);
        let mut snapshot = snapshot.clone();
        for one in &mut snapshot.distributions {
            let noted = rerouted.get(&one.id).and_then(|one| one.rerouted.clone());
            std::sync::Arc::make_mut(one).rerouted = noted;
        }
        Catalogue::new(snapshot, self.settings.origins.clone().into())
    }

    /// Tries each permission of the service.
    pub(super) async fn of_permissions(
        &self,
        identity: &Identity,
        account: &Account,
        buckets: &[String],
        topics: &[Topic],
    ) -> Vec<Finding> {
        let listed = match account {
            Ok(_) => Probe::Permitted,
            // Everything but the list, which comes first, is retried or a result.
            Err(error) => probe(error),
        };
        let judge = |permission: Permission, tried: &[(String, Probe)]| {
            permission::judge(permission, identity, &[], tried)
        };
        let mut findings = vec![
            judge(permission::LIST_DISTRIBUTIONS, &[("*".to_owned(), listed)]),
            confirmations(topics, identity),
        ];
        let Ok((catalogue, unread)) = account else {
            let checks = [
                permission::DISTRIBUTION_CONFIG,
                permission::CACHE_POLICY,
                permission::CREATE_INVALIDATION,
                permission::GET_INVALIDATION,
                permission::LIST_INVALIDATIONS,
            ];
            let untried = "the distributions could not be listed".to_owned();
            let untried = [(String::new(), Probe::Untried(untried))];
            findings.extend(checks.map(|permission| judge(permission, &untried)));
            return findings;
        };
        let ids = serving(catalogue, buckets);
        findings.push(judge(
            permission::DISTRIBUTION_CONFIG,
            &of_details(catalogue, &ids),
        ));
        let policies = of_policies(catalogue, unread);
        findings.push(judge(permission::CACHE_POLICY, &policies));
        findings.extend(self.of_invalidations(identity, &ids).await);
        findings
    }

    async fn of_invalidations(&self, identity: &Identity, ids: &[String]) -> Vec<Finding> {
        let (mut created, mut got, mut listed) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids.iter().take(MOST_TRIED) {
            let tried = twice(|| self.invalidations.try_create_invalidation(id)).await;
            created.push((id.clone(), tried));
            let tried = twice(
                async || match self.cdn.invalidation(id, NO_INVALIDATION).await {
                    Ok(_) => Probe::Permitted,
                    // Whoever may not see it is not told either that it does not exist.
                    Err(CdnError::Refused(text)) if text.starts_with("NoSuchInvalidation") => {
                        Probe::Permitted
                    }
                    Err(error) => probe(&error),
                },
            );
            got.push((id.clone(), tried.await));
            let tried = twice(
                async || match self.cdn.newest_invalidations(id, None).await {
                    Ok(_) => Probe::Permitted,
                    Err(error) => probe(&error),
                },
            );
            let tried = tried.await;
            listed.push((id.clone(), tried));
        }
        let none = "no distribution that can be invalidated serves the buckets".to_owned();
        let tried = [
            (permission::CREATE_INVALIDATION, created),
            (permission::GET_INVALIDATION, got),
            (permission::LIST_INVALIDATIONS, listed),
        ];
        let tried = tried.map(|(permission, mut tried)| {
            if tried.is_empty() {
                tried.push((String::new(), Probe::Untried(none.clone())));
            }
            let rest = ids.iter().skip(MOST_TRIED);
            tried.extend(rest.map(|id| {
                let why =
                    format!("only {MOST_TRIED} are, to leave the account's calls to the service");
                (id.clone(), Probe::Untried(why))
            }));
            permission::judge(permission, identity, &[], &tried)
        });
        tried.into()
    }

    /// What readiness tells of the distributions and of the configuration.
    pub(super) fn of_catalogue(&self, account: &Account, buckets: &[String]) -> Vec<Finding> {
        let settings = &self.settings;
        let policy = &settings.mapping;
        let Ok((read, _)) = account else {
            let checks = Check::of_aws().filter(|check| *check >= Check::Serving);
            let skipped = checks.map(|check| {
                let why = "skipped, because the distributions could not be listed";
                Finding::skipped(check, "the account's distributions", why)
            });
            return skipped.collect();
        };
        let serving = buckets.iter();
        let serving = serving.map(|bucket| catalogue::serving(read, policy, bucket));
        let mut findings: Vec<_> = serving.collect();
        findings.push(if settings.buckets.is_empty() {
            catalogue::unconnected(read, policy, buckets)
        } else {
            let why = "skipped, because --bucket names those to look at";
            Finding::skipped(Check::Unconnected, "other buckets", why)
        });
        findings.extend(catalogue::notices(read, policy));
        findings.push(catalogue::settings(
            read,
            policy,
            &settings.origins,
            &settings.tokens,
        ));
        findings.push(catalogue::tags(read, policy));
        findings
    }
}

/// Tries once more if nothing is clear, such as after a lost connection.
async fn twice<F: Future<Output = Probe>>(attempt: impl Fn() -> F) -> Probe {
    match attempt().await {
        Probe::Unclear(_) => attempt().await,
        clear => clear,
    }
}

/// What a failed call shows of its permission.
fn probe(error: &CdnError) -> Probe {
    match error {
        CdnError::Denied(text) => Probe::Denied(text.clone()),
        CdnError::NotConfigured { missing, .. } => {
            Probe::Untried(format!("there is no {}", missing.name()))
        }
        error => Probe::Unclear(error.to_string()),
    }
}

/// The ids of the distributions that serve the buckets and can be invalidated.
fn serving(catalogue: &Catalogue, buckets: &[String]) -> Vec<String> {
    let serving = buckets.iter().flat_map(|bucket| catalogue.serving(bucket));
    let serving = serving.map(|one| &one.distribution);
    let ids = serving.filter(|one| one.enabled && !one.tenants_only);
    let ids: BTreeSet<_> = ids.map(|one| one.id.clone()).collect();
    ids.into_iter().collect()
}

fn of_details(catalogue: &Catalogue, ids: &[String]) -> Vec<(String, Probe)> {
    let details = ids.iter().filter_map(|id| {
        let probe = match &catalogue.get(id)?.details {
            Details::Read { .. } => Probe::Permitted,
            Details::Denied => Probe::Denied("GetDistributionConfig".to_owned()),
            Details::Unread => Probe::Untried("it was not read".to_owned()),
        };
        Some((id.clone(), probe))
    });
    let details: Vec<_> = details.collect();
    if details.is_empty() {
        let why = "no distribution that can be invalidated serves the buckets";
        return vec![(String::new(), Probe::Untried(why.to_owned()))];
    }
    details
}

/// The catalogue does not tell a policy that may not be read from one that does not exist.
fn of_policies(catalogue: &Catalogue, unread: &UnreadPolicies) -> Vec<(String, Probe)> {
    let policies: BTreeMap<_, _> = catalogue.snapshot().cache_policies.iter().collect();
    let policies = policies.into_iter().map(|(id, policy)| {
        let probe = match (policy, unread.get(id)) {
            (CachePolicy::Read(_), _) => Probe::Permitted,
            (CachePolicy::Denied, Some(why)) => Probe::Unclear(why.clone()),
            (CachePolicy::Denied, None) => Probe::Denied("GetCachePolicy".to_owned()),
        };
        (id.clone(), probe)
    });
    let policies: Vec<_> = policies.collect();
    if policies.is_empty() {
        let why = "no distribution of the buckets has a cache policy of its own";
        return vec![(String::new(), Probe::Untried(why.to_owned()))];
    }
    policies
}
