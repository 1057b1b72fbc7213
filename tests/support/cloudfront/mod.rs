//! CloudFront as the service sees it over HTTP: the model of its invalidations in real time, with
//! distributions and policies to read, and faults that tests ask for.

mod chaos;
pub(super) mod views;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    http::{Method, Uri},
    response::Response,
};
use jiff::Timestamp;

use self::chaos::Chaos;
use super::{
    aws::{hang_up, unescape},
    model::{Call, CloudFrontModel, Invalidation, Order, Outcome},
};

pub use super::{distribution::Distribution, model::Fault};

const PAGE: usize = 100;

/// CloudFront's state, and what it was asked.
#[derive(Default)]
pub struct CloudFront(Mutex<State>);

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own that a test asks for"
)]
#[derive(Default)]
struct State {
    model: CloudFrontModel,
    distributions: Vec<Distribution>,
    changes: u64,
    /// Cache policies: the longest time to live, and the query strings in the cache key.
    policies: HashMap<String, (u64, &'static str)>,
    reads: HashMap<String, usize>,
    faults: VecDeque<Fault>,
    chaos: Option<Chaos>,
    down: bool,
    deny_config: bool,
    deny_list: bool,
    /// Whether everything is answered with 503.
    unavailable: bool,
    deny_polls: bool,
}

impl CloudFront {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Adds a distribution, or changes it.
    pub fn put(&self, mut distribution: Distribution) {
        let mut state = self.state();
        state.model.add_distribution(&distribution.id);
        state.changes += 1;
        distribution.revision = state.changes;
        state
            .distributions
            .retain(|known| known.id != distribution.id);
        state.distributions.push(distribution);
    }

    /// Adds a cache policy, or changes it: its longest time to live, and which query strings
    /// its cache key has.
    pub fn put_policy(&self, id: &str, max_ttl: u64, query_strings: &'static str) {
        let policy = (max_ttl, query_strings);
        self.state().policies.insert(id.to_owned(), policy);
    }

    /// The next calls go wrong, one after the other.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// No more calls go wrong.
    pub fn fail_no_more(&self) {
        self.state().faults.clear();
    }

    /// Takes all of CloudFront's API down, or up again.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Answers everything with 503, or as before.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.state().unavailable = unavailable;
    }

    /// Denies GetInvalidation, or allows it again.
    pub fn deny_polls(&self, deny: bool) {
        self.state().deny_polls = deny;
    }

    /// Denies GetDistributionConfig and GetCachePolicy, or allows them again.
    pub fn deny_config(&self, deny: bool) {
        self.state().deny_config = deny;
    }

    /// Denies ListDistributions, or allows it again.
    pub fn deny_list(&self, deny: bool) {
        self.state().deny_list = deny;
    }

    /// From now on, about half of all calls go wrong somehow, by this seed; or none does.
    pub fn set_chaos(&self, seed: Option<u64>) {
        self.state().chaos = seed.map(Chaos::new);
    }

    /// Lets so many calls a second through, and such a burst.
    pub fn limit_calls(&self, per_second: f64, burst: u32) {
        let quotas = &mut self.state().model.quotas;
        quotas.limit_calls(now(), per_second, burst);
    }

    /// Keeps the newer quotas: so many paths and wildcards a second.
    pub fn limit_items(&self, paths: f64, wildcards: f64) {
        let quotas = &mut self.state().model.quotas;
        quotas.limit_items(now(), paths, wildcards);
    }

    /// Keeps the classic quotas: so many paths and wildcards in progress at a distribution.
    pub fn limit_in_progress(&self, paths: usize, wildcards: usize) {
        let quotas = &mut self.state().model.quotas;
        quotas.limit_in_progress(paths, wildcards);
    }

    /// Calls that were refused for a quota, by which.
    pub fn quota_refusals(&self) -> BTreeMap<&'static str, usize> {
        self.state().model.quotas.refusals()
    }

    /// Takes no batch with this path.
    pub fn refuse_path(&self, path: &str) {
        self.state().model.refuse_item(path);
    }

    /// Takes all legal paths again.
    pub fn accept_paths(&self) {
        self.state().model.accept_items();
    }

    /// Invalidations are completed so long after they were made; at once by default.
    pub fn complete_after(&self, span: Duration) {
        self.state().model.set_propagation(span);
    }

    pub fn invalidations(&self) -> Vec<Invalidation> {
        self.state().model.made()
    }

    /// All paths of all invalidations of a distribution.
    pub fn paths(&self, distribution_id: &str) -> Vec<String> {
        let of_it = |one: &Invalidation| one.distribution_id == distribution_id;
        let made = self.invalidations().into_iter().filter(of_it);
        made.flat_map(|one| one.items).collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().model.calls().to_vec()
    }

    /// How often something was read: `list`, `config ID`, `invalidation ID`.
    pub fn reads(&self, what: &str) -> usize {
        self.state().reads.get(what).copied().unwrap_or_default()
    }

    pub async fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> Response {
        if self.state().down {
            hang_up();
        }
        if self.state().unavailable {
            return views::unavailable();
        }
        let path = uri.path().strip_prefix("/2020-05-31/").unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["distribution"]) => self.list(uri.query().unwrap_or_default()),
            ("GET", ["distribution", id, "config"]) => self.config(id),
            ("GET", ["cache-policy", id]) => self.policy(id),
            ("GET", ["distribution", id, "invalidation", invalidation]) => {
                self.get(id, invalidation)
            }
            ("GET", ["distribution", id, "invalidation"]) => {
                self.newest(id, uri.query().unwrap_or_default())
            }
            ("POST", ["distribution", id, "invalidation"]) => {
                let (order, quantity) = order(id, std::str::from_utf8(body).unwrap());
                if quantity != order.items.len() {
                    return views::inconsistent(quantity, order.items.len());
                }
                self.create(&order).await
            }
            other => panic!("the service asks what it should not: {other:?}"),
        }
    }

    /// The state, and a note that something was read.
    fn read(&self, what: String) -> MutexGuard<'_, State> {
        let mut state = self.state();
        *state.reads.entry(what).or_default() += 1;
        state
    }

    fn list(&self, query: &str) -> Response {
        let state = self.read("list".to_owned());
        if state.deny_list {
            return views::denied();
        }
        let begin = begin_of(query);
        let rest = &state.distributions[begin..];
        let page = &rest[..rest.len().min(PAGE)];
        let next = (page.len() < rest.len()).then(|| begin + page.len());
        views::distributions(page, next)
    }

    fn config(&self, id: &str) -> Response {
        let state = self.read(format!("config {id}"));
        if state.deny_config {
            return views::denied();
        }
        match state.distributions.iter().find(|known| known.id == id) {
            Some(known) => views::config(known),
            None => views::missing("Distribution"),
        }
    }

    fn policy(&self, id: &str) -> Response {
        let state = self.read(format!("policy {id}"));
        match state.policies.get(id) {
            None => views::missing("CachePolicy"),
            Some(_) if state.deny_config => views::denied(),
            Some((max_ttl, query_strings)) => views::policy(id, *max_ttl, query_strings),
        }
    }

    fn get(&self, distribution_id: &str, id: &str) -> Response {
        let state = self.read(format!("invalidation {id}"));
        if state.deny_polls {
            return views::denied();
        }
        match state.model.invalidation(distribution_id, id) {
            Some(one) => views::invalidation(one, state.model.is_completed(one, now())),
            None => views::missing("Invalidation"),
        }
    }

    fn newest(&self, distribution_id: &str, query: &str) -> Response {
        let state = self.read(format!("invalidations {distribution_id}"));
        let begin = begin_of(query);
        let mut newest = state.model.newest(distribution_id).skip(begin);
        let page: Vec<_> = newest.by_ref().take(PAGE).collect();
        let next = newest.next().map(|_| begin + PAGE);
        let page = page.into_iter();
        let page = page.map(|one| (one, state.model.is_completed(one, now())));
        views::invalidations(page, next)
    }

    async fn create(&self, order: &Order) -> Response {
        let (outcome, fault) = self.state().create(order);
        match outcome {
            Outcome::Created(one) | Outcome::Repeated(one) => {
                let completed = self.state().model.is_completed(&one, now());
                views::created(&one, completed)
            }
            Outcome::Refused(refusal) => views::refusal(refusal),
            Outcome::LostAfter if fault == Some(Fault::HangAfter) => std::future::pending().await,
            Outcome::LostBefore | Outcome::LostAfter => hang_up(),
        }
    }
}

impl State {
    /// What a test asked for goes before what chaos draws.
    fn create(&mut self, order: &Order) -> (Outcome, Option<Fault>) {
        let chaos = self.chaos.as_mut();
        let drawn = chaos.and_then(|chaos| chaos.draw(&order.distribution_id));
        let fault = self.faults.pop_front().or(drawn);
        (self.model.call(now(), order, fault), fault)
    }
}

/// Where a page begins.
fn begin_of(query: &str) -> usize {
    let mut pairs = query.split('&');
    let marker = pairs.find_map(|pair| pair.strip_prefix("Marker="));
    marker.map_or(0, |marker| marker.parse().unwrap())
}

/// What a CreateInvalidation body asks for, and how many paths it says to have.
fn order(distribution_id: &str, body: &str) -> (Order, usize) {
    let within = |tag: &str| {
        let (_, rest) = body.split_once(&format!("<{tag}>")).expect(tag);
        unescape(rest.split_once(&format!("</{tag}>")).unwrap().0)
    };
    let paths = body.split("<Path>").skip(1);
    let items: Vec<_> = paths
        .map(|rest| unescape(rest.split_once("</Path>").unwrap().0))
        .collect();
    let quantity = within("Quantity").parse().unwrap();
    let order = Order {
        distribution_id: distribution_id.to_owned(),
        caller_reference: within("CallerReference"),
        items,
    };
    (order, quantity)
}

#[expect(clippy::disallowed_methods, reason = "the fake lives in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}
