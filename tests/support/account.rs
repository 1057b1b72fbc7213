//! An account whose distributions come, go and fail while a test runs, and the work behind the 2xx
//! with it, on a clock of the test's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use purgefront::{
    dispatch::Settings,
    domain::{
        batch::Batch,
        catalogue::{CacheKey, Distribution},
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            SeenInvalidation,
        },
        change::{Asked, Content, NewMessage, NewRequest},
        mapping::MappingPolicy,
        path::Item,
        s3_event::ObjectChange,
    },
    ports::{Cdn, Clock as _, Wakeup, Wakeups as _, intake::IntakeStore as _},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    clock::VirtualClock,
    inside::{Inside, in_front_of, settings},
    signer::TOPIC,
    sqlite::WINDOW,
};

/// CloudFront's side.
#[derive(Default)]
pub struct Account(Mutex<State>);

#[derive(Default)]
struct State {
    distributions: BTreeMap<String, Distribution>,
    /// Distributions whose details cannot be read at the moment.
    failing: BTreeSet<String>,
    /// Default root objects.
    roots: BTreeMap<String, String>,
    /// What was read, in words.
    reads: Vec<String>,
    sent: Vec<(String, String)>,
    /// Lists arrive once this is closed.
    slow_list: Option<Arc<Semaphore>>,
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn put(&self, distribution: Distribution) {
        let id = distribution.id.clone();
        self.state().distributions.insert(id, distribution);
    }

    /// Puts a distribution in front of a bucket.
    pub fn serve(&self, id: &str, bucket: &str) {
        self.put(in_front_of(id, &format!("{bucket}.s3.amazonaws.com")));
    }

    /// Changes the default root object of a distribution.
    pub fn set_root(&self, id: &str, root: &str) {
        let mut state = self.state();
        state.roots.insert(id.to_owned(), root.to_owned());
        let distribution = state.distributions.get_mut(id).unwrap();
        distribution.revision.push('+');
    }

    pub fn delete(&self, id: &str) {
        self.state().distributions.remove(id);
    }

    pub fn fail(&self, id: &str) {
        self.state().failing.insert(id.to_owned());
    }

    pub fn heal(&self) {
        self.state().failing.clear();
    }

    /// From now on, lists arrive only once the gate is closed, as they were before.
    pub fn hold_lists(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state().slow_list = Some(Arc::clone(&gate));
        gate
    }

    /// How often this was read: `list`, `details E1`, `policy p`.
    pub fn reads(&self, what: &str) -> usize {
        let state = self.state();
        state.reads.iter().filter(|read| *read == what).count()
    }

    pub fn all_reads(&self) -> Vec<String> {
        self.state().reads.clone()
    }
}

#[async_trait]
impl Cdn for Account {
    async fn list_distributions(&self, _: Option<&str>) -> Result<DistributionPage, CdnError> {
        let (distributions, gate) = {
            let mut state = self.state();
            state.reads.push("list".to_owned());
            let distributions = state.distributions.values().cloned().collect();
            (distributions, state.slow_list.clone())
        };
        if let Some(gate) = gate {
            let closed = gate.acquire().await.is_err();
            assert!(closed, "it has no permits");
        }
        Ok(DistributionPage {
            distributions,
            next_marker: None,
        })
    }

    async fn details(&self, id: &str) -> Result<DistributionDetails, CdnError> {
        let mut state = self.state();
        state.reads.push(format!("details {id}"));
        if state.failing.contains(id) {
            return Err(CdnError::Unknown("internal error".to_owned()));
        }
        if !state.distributions.contains_key(id) {
            return Err(CdnError::NoSuchDistribution("not there".to_owned()));
        }
        Ok(DistributionDetails {
            default_root_object: state.roots.get(id).cloned(),
            cache_tags: false,
            groups: Vec::new(),
        })
    }

    async fn cache_policy(&self, id: &str) -> Result<CacheKey, CdnError> {
        self.state().reads.push(format!("policy {id}"));
        Ok(CacheKey {
            caches: true,
            query_strings: true,
        })
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        let items = batch.items.iter();
        let sent = items.map(|item| (batch.distribution_id.clone(), item.to_string()));
        self.state().sent.extend(sent);
        Ok(CreatedInvalidation {
            cloudfront_id: format!("I{}", batch.id),
            completed: true,
        })
    }

    async fn invalidation(&self, _: &str, _: &str) -> Result<SeenInvalidation, CdnError> {
        Ok(SeenInvalidation {
            completed: true,
            caller_reference: String::new(),
            items: Vec::new(),
        })
    }

    async fn newest_invalidations(
        &self,
        _: &str,
        _: Option<&str>,
    ) -> Result<InvalidationPage, CdnError> {
        Ok(InvalidationPage::default())
    }
}

/// The work behind the 2xx with an account. Only manual items are sent soon; others wait.
pub struct Running {
    pub clock: Arc<VirtualClock>,
    pub account: Arc<Account>,
    pub inside: Inside,
}

impl Running {
    /// Starts with these distributions in front of the bucket `site`, and reads the list.
    pub async fn start(ids: &[&str]) -> Self {
        let account = Account::default();
        for id in ids {
            account.serve(id, "site");
        }
        Self::with(account).await
    }

    pub async fn with(account: Account) -> Self {
        Self::with_policy(account, MappingPolicy::default()).await
    }

    pub async fn with_policy(account: Account, policy: MappingPolicy) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let account = Arc::new(account);
        let settings = Settings {
            quiet: Duration::from_hours(100),
            max_wait: Duration::from_hours(1_000),
            mapping: Arc::new(policy),
            ..settings()
        };
        let inside = Inside::start(Arc::clone(&clock) as _, Arc::clone(&account) as _, settings);
        let running = Self {
            inside: inside.await,
            account,
            clock,
        };
        running.pass(Duration::from_secs(5)).await;
        assert_eq!(running.account.reads("list"), 1);
        running
    }

    /// Lets time pass, and all that is due in it happen.
    pub async fn pass(&self, span: Duration) {
        let until = self.clock.now() + span;
        loop {
            self.inside.settle().await;
            if self.clock.now() >= until {
                return;
            }
            self.clock.advance_until(until);
        }
    }

    /// Accepts changes of these keys.
    pub async fn events(&self, bucket: &str, keys: &[&str]) {
        let change = |key: &&str| ObjectChange {
            bucket: bucket.to_owned(),
            key: (*key).to_owned(),
            event: "ObjectCreated:Put".to_owned(),
            time: None,
            sequencer: None,
        };
        let message = NewMessage {
            message_id: Uuid::new_v4(),
            signed_at: self.clock.now(),
            topic: TOPIC.parse().unwrap(),
            accepted_at: self.clock.now(),
            content: Content::Notification {
                changes: keys.iter().map(change).collect(),
                dead: Vec::new(),
            },
        };
        self.inside.store.accept_message(message).await.unwrap();
        self.inside.wake();
        self.inside.settle().await;
    }

    /// Accepts a person's path.
    pub async fn ask(&self, id: &str, path: &str) {
        let request = NewRequest {
            id: Uuid::now_v7(),
            token: "editor".to_owned(),
            reason: None,
            asked: Asked::Items {
                distribution_id: id.to_owned(),
                items: vec![Item::parse(path).unwrap()],
            },
            idempotency: None,
            accepted_at: self.clock.now(),
        };
        self.inside.store.accept_request(request).await.unwrap();
        self.inside.wake();
        self.inside.settle().await;
    }

    /// Wants the list to be read.
    pub async fn refresh(&self) {
        self.inside.wakeups.wake(Wakeup::CatalogueWanted);
        self.pass(Duration::from_secs(1)).await;
    }

    /// The items of a distribution that wait or were sent.
    pub async fn items(&self, id: &str) -> Vec<String> {
        let waiting = self.inside.leader.waiting(id, WINDOW).await.unwrap();
        let waiting = waiting.into_iter().map(|one| one.item.to_string());
        let state = self.account.state();
        let sent = state.sent.iter().filter(|(sent_to, _)| sent_to == id);
        let mut items: Vec<_> = sent.map(|(_, item)| item.clone()).chain(waiting).collect();
        items.sort();
        items
    }

    /// How many changes are not mapped to all their distributions.
    pub async fn unmapped(&self) -> u64 {
        self.inside.leader.unmapped().await.unwrap().changes
    }

    pub async fn end(self) {
        let (tasks, store) = (self.inside.tasks.clone(), self.inside.store.clone());
        let ending = tokio::spawn(async move { tasks.end().await });
        while !ending.is_finished() {
            self.inside.settle().await;
            self.clock.advance_to_next();
        }
        store.close().await;
        assert_eq!(self.inside.tasks.failed(), None);
    }
}
