//! CloudFront as the service sees it: distributions, invalidations, its rules and its faults.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Mutex,
    time::Duration,
};

use axum::{
    http::{Method, Uri, header},
    response::Response,
};
use jiff::Timestamp;
use purgefront::domain::limits::{ItemRate, TokenBucket};

use super::aws::{escape, hang_up, unescape, xml};
use super::quotas::Quotas;

pub use super::distribution::Distribution;

const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";
const MAX_PATHS: usize = 3_000;
const PAGE: usize = 100;

/// CloudFront's state, and what it was asked.
#[derive(Default)]
pub struct CloudFront(Mutex<State>);

#[derive(Default)]
struct State {
    distributions: Vec<Distribution>,
    changes: u64,
    invalidations: Vec<Invalidation>,
    calls: Vec<Call>,
    reads: HashMap<String, usize>,
    faults: VecDeque<Fault>,
    down: bool,
    deny_config: bool,
    complete_after: Option<Duration>,
    refused_paths: Vec<String>,
    /// Cache policies: the longest time to live, and the query strings in the cache key.
    policies: HashMap<String, (u64, &'static str)>,
    /// Draws what goes wrong with each call.
    chaos: Option<fastrand::Rng>,
    /// Where chaos has lost the last call.
    lost: HashSet<String>,
    quotas: Quotas,
}

/// What CloudFront made of a call.
#[derive(Debug, Clone)]
pub struct Invalidation {
    pub id: String,
    pub distribution_id: String,
    pub caller_reference: String,
    pub paths: Vec<String>,
    pub created_at: Timestamp,
}

/// A CreateInvalidation call, and how it was answered.
#[derive(Debug, Clone)]
pub struct Call {
    pub caller_reference: String,
    pub paths: Vec<String>,
    pub answer: &'static str,
}

/// What goes wrong with the next CreateInvalidation call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Throttling,
    TooManyInProgress,
    Status(u16),
    AccessDenied,
    /// The connection is lost before anything is done.
    LostBefore,
    /// The invalidation is made, and the answer is lost.
    LostAfter,
    /// The invalidation is made, and no answer comes.
    HangAfter,
}

impl CloudFront {
    /// Adds a distribution, or changes it.
    pub fn put(&self, mut distribution: Distribution) {
        let mut state = self.0.lock().unwrap();
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
        let mut state = self.0.lock().unwrap();
        state
            .policies
            .insert(id.to_owned(), (max_ttl, query_strings));
    }

    /// The next calls go wrong, one after the other.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    /// Takes all of CloudFront's API down, or up again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Denies GetDistributionConfig and GetCachePolicy, or allows them again.
    pub fn deny_config(&self, deny: bool) {
        self.0.lock().unwrap().deny_config = deny;
    }

    /// From now on, about half of all calls go wrong somehow, by this seed; or none does.
    pub fn set_chaos(&self, seed: Option<u64>) {
        self.0.lock().unwrap().chaos = seed.map(fastrand::Rng::with_seed);
    }

    /// Lets so many calls a second through, with one more than their burst for the network's
    /// jitter.
    pub fn limit_calls(&self, per_second: f64, burst: u32) {
        let calls = TokenBucket::full(per_second, burst + 1, now());
        self.0.lock().unwrap().quotas.calls = Some(calls);
    }

    /// Keeps the newer quotas: so many paths and wildcards a second.
    pub fn limit_items(&self, paths: f64, wildcards: f64) {
        let rates = [paths, wildcards].map(|rate| ItemRate::empty(rate, now()));
        self.0.lock().unwrap().quotas.items = Some(rates);
    }

    /// Keeps the classic quotas: so many paths and wildcards in progress at a distribution.
    pub fn limit_in_progress(&self, paths: usize, wildcards: usize) {
        self.0.lock().unwrap().quotas.in_progress = Some((paths, wildcards));
    }

    /// Calls that were refused for a quota, by which.
    pub fn quota_refusals(&self) -> HashMap<&'static str, usize> {
        self.0.lock().unwrap().quotas.refusals.clone()
    }

    /// Takes no batch with this path.
    pub fn refuse_path(&self, path: &str) {
        self.0.lock().unwrap().refused_paths.push(path.to_owned());
    }

    /// Takes all legal paths again.
    pub fn accept_paths(&self) {
        self.0.lock().unwrap().refused_paths.clear();
    }

    /// Invalidations are completed so long after they were made; at once by default.
    pub fn complete_after(&self, span: Duration) {
        self.0.lock().unwrap().complete_after = Some(span);
    }

    pub fn invalidations(&self) -> Vec<Invalidation> {
        self.0.lock().unwrap().invalidations.clone()
    }

    /// All paths of all invalidations of a distribution.
    pub fn paths(&self, distribution_id: &str) -> Vec<String> {
        let of_it = |one: &Invalidation| one.distribution_id == distribution_id;
        self.invalidations()
            .into_iter()
            .filter(of_it)
            .flat_map(|one| one.paths)
            .collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().calls.clone()
    }

    /// How often something was read: `list`, `config ID`, `invalidation ID`.
    pub fn reads(&self, what: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .reads
            .get(what)
            .copied()
            .unwrap_or_default()
    }

    pub async fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> Response {
        if self.0.lock().unwrap().down {
            hang_up();
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
                self.create(id, std::str::from_utf8(body).unwrap()).await
            }
            other => panic!("the service asks what it should not: {other:?}"),
        }
    }

    fn count(&self, what: String) {
        *self.0.lock().unwrap().reads.entry(what).or_default() += 1;
    }

    fn list(&self, query: &str) -> Response {
        self.count("list".to_owned());
        let state = self.0.lock().unwrap();
        let begin = begin_of(query);
        let page: Vec<_> = state.distributions.iter().skip(begin).take(PAGE).collect();
        let end = begin + page.len();
        let next = if end < state.distributions.len() {
            format!("<NextMarker>{end}</NextMarker>")
        } else {
            String::new()
        };
        let items: String = page.iter().map(|one| one.summary()).collect();
        xml(
            200,
            format!(
                "<DistributionList xmlns=\"{NAMESPACE}\"><Marker></Marker>{next}\
                 <MaxItems>{PAGE}</MaxItems><IsTruncated>{}</IsTruncated>\
                 <Quantity>{}</Quantity><Items>{items}</Items></DistributionList>",
                !next.is_empty(),
                page.len()
            ),
        )
    }

    fn config(&self, id: &str) -> Response {
        self.count(format!("config {id}"));
        let state = self.0.lock().unwrap();
        if state.deny_config {
            return error(403, "AccessDenied", "not allowed");
        }
        let Some(known) = state.distributions.iter().find(|known| known.id == id) else {
            return error(
                404,
                "NoSuchDistribution",
                "The specified distribution does not exist.",
            );
        };
        let config = known.config();
        xml(
            200,
            format!("<DistributionConfig xmlns=\"{NAMESPACE}\">{config}</DistributionConfig>"),
        )
    }

    fn policy(&self, id: &str) -> Response {
        self.count(format!("policy {id}"));
        let state = self.0.lock().unwrap();
        let Some(policy) = state.policies.get(id) else {
            return error(404, "NoSuchCachePolicy", "The cache policy does not exist.");
        };
        if state.deny_config {
            return error(403, "AccessDenied", "not allowed");
        }
        let (max_ttl, query_strings) = policy;
        xml(
            200,
            format!(
                "<CachePolicy xmlns=\"{NAMESPACE}\"><Id>{id}</Id>\
                 <LastModifiedTime>2026-11-01T00:00:00Z</LastModifiedTime><CachePolicyConfig>\
                 <Name>p</Name><MinTTL>0</MinTTL><MaxTTL>{max_ttl}</MaxTTL>\
                 <ParametersInCacheKeyAndForwardedToOrigin>\
                 <EnableAcceptEncodingGzip>true</EnableAcceptEncodingGzip>\
                 <QueryStringsConfig><QueryStringBehavior>{query_strings}</QueryStringBehavior>\
                 </QueryStringsConfig></ParametersInCacheKeyAndForwardedToOrigin>\
                 </CachePolicyConfig></CachePolicy>"
            ),
        )
    }

    fn get(&self, distribution_id: &str, id: &str) -> Response {
        self.count(format!("invalidation {id}"));
        let state = self.0.lock().unwrap();
        let of_id = |one: &&Invalidation| one.distribution_id == distribution_id && one.id == id;
        match state.invalidations.iter().find(of_id) {
            Some(one) => xml(200, state.show(one)),
            None => error(
                404,
                "NoSuchInvalidation",
                "The invalidation does not exist.",
            ),
        }
    }

    /// The newest first, and of each no more than its id, time and status.
    fn newest(&self, distribution_id: &str, query: &str) -> Response {
        self.count(format!("invalidations {distribution_id}"));
        let state = self.0.lock().unwrap();
        let of_it = |one: &&Invalidation| one.distribution_id == distribution_id;
        let begin = begin_of(query);
        let newest: Vec<_> = state
            .invalidations
            .iter()
            .rev()
            .filter(of_it)
            .skip(begin)
            .collect();
        let next = match newest.len() {
            0..=PAGE => String::new(),
            _ => format!("<NextMarker>{}</NextMarker>", begin + PAGE),
        };
        let newest = &newest[..newest.len().min(PAGE)];
        let items: String = newest
            .iter()
            .map(|one| {
                format!(
                    "<InvalidationSummary><Id>{}</Id><CreateTime>{}</CreateTime>\
                     <Status>{}</Status></InvalidationSummary>",
                    one.id,
                    one.created_at,
                    state.status(one)
                )
            })
            .collect();
        xml(
            200,
            format!(
                "<InvalidationList xmlns=\"{NAMESPACE}\"><Marker></Marker>{next}\
                 <MaxItems>{PAGE}</MaxItems><IsTruncated>{}</IsTruncated>\
                 <Quantity>{}</Quantity><Items>{items}</Items></InvalidationList>",
                !next.is_empty(),
                newest.len()
            ),
        )
    }

    async fn create(&self, distribution_id: &str, body: &str) -> Response {
        let between = |text: &str, tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            Some(unescape(rest.split_once(&format!("</{tag}>"))?.0))
        };
        let caller_reference = between(body, "CallerReference").expect("a caller reference");
        let quantity: usize = between(body, "Quantity").unwrap().parse().unwrap();
        let paths: Vec<String> = body
            .split("<Path>")
            .skip(1)
            .map(|rest| unescape(rest.split_once("</Path>").unwrap().0))
            .collect();
        assert_eq!(quantity, paths.len(), "Quantity is the number of paths");
        let fault = self.0.lock().unwrap().next_fault(distribution_id);
        let refused = match self.0.lock().unwrap().over_quota(distribution_id, &paths) {
            None => fault.and_then(refusal),
            over => over,
        };
        let acted = match refused {
            Some(refused) => Err(refused),
            None if fault == Some(Fault::LostBefore) => Err((0, "LostBefore", "")),
            None => {
                let mut state = self.0.lock().unwrap();
                state.create(distribution_id, &caller_reference, &paths)
            }
        };
        self.0.lock().unwrap().calls.push(Call {
            caller_reference,
            paths,
            answer: match (&acted, fault) {
                (_, Some(Fault::LostAfter | Fault::HangAfter)) => "lost",
                (Ok((_, true)), _) => "repeated",
                (Ok(_), _) => "created",
                (Err((_, code, _)), _) => code,
            },
        });
        match (fault, acted) {
            (Some(Fault::HangAfter), _) => std::future::pending().await,
            (Some(Fault::LostBefore | Fault::LostAfter), _) => hang_up(),
            (_, Ok((shown, _))) => {
                let mut response = xml(201, shown);
                let location = "https://cloudfront.amazonaws.com/2020-05-31/distribution";
                response
                    .headers_mut()
                    .insert(header::LOCATION, location.parse().unwrap());
                response
            }
            (_, Err((status, code, message))) => error(status, code, message),
        }
    }
}

/// Where a page begins.
fn begin_of(query: &str) -> usize {
    let mut pairs = query.split('&');
    let marker = pairs.find_map(|pair| pair.strip_prefix("Marker="));
    marker.map_or(0, |marker| marker.parse().unwrap())
}

type Refusal = (u16, &'static str, &'static str);

fn refusal(fault: Fault) -> Option<Refusal> {
    match fault {
        Fault::Throttling => Some((400, "Throttling", "Rate exceeded")),
        Fault::TooManyInProgress => Some((
            400,
            "TooManyInvalidationsInProgress",
            "Processing your request will cause you to exceed the maximum number of in-progress \
             invalidations.",
        )),
        Fault::Status(status) => Some((status, "ServiceUnavailable", "try again")),
        Fault::AccessDenied => Some((403, "AccessDenied", "not authorized")),
        Fault::LostBefore | Fault::LostAfter | Fault::HangAfter => None,
    }
}

impl State {
    fn next_fault(&mut self, distribution_id: &str) -> Option<Fault> {
        // After a lost call comes, more often than not, the refusal that tempts one to forget it.
        let was_lost = self.lost.remove(distribution_id);
        let drawn = self
            .chaos
            .as_mut()
            .and_then(|random| match random.u8(..100) {
                0..75 if was_lost => Some(Fault::Throttling),
                0..10 => Some(Fault::Throttling),
                10..15 => Some(Fault::TooManyInProgress),
                15..25 => Some(Fault::Status(503)),
                25..32 => Some(Fault::LostBefore),
                32..52 => Some(Fault::LostAfter),
                _ => None,
            });
        if matches!(drawn, Some(Fault::LostBefore | Fault::LostAfter)) {
            self.lost.insert(distribution_id.to_owned());
        }
        self.faults.pop_front().or(drawn)
    }

    fn over_quota(&mut self, distribution_id: &str, paths: &[String]) -> Option<Refusal> {
        let span = self.complete_after.unwrap_or_default();
        let open = self.invalidations.iter().filter(|one| {
            one.distribution_id == distribution_id
                && now().duration_since(one.created_at).unsigned_abs() < span
        });
        let open: Vec<_> = open.flat_map(|one| &one.paths).collect();
        let cause = self.quotas.over(now(), &open, paths)?;
        refusal(if cause == "in progress" {
            Fault::TooManyInProgress
        } else {
            Fault::Throttling
        })
    }

    /// Makes an invalidation, or finds the one that the reference stands for (then true).
    fn create(
        &mut self,
        distribution_id: &str,
        caller_reference: &str,
        paths: &[String],
    ) -> Result<(String, bool), Refusal> {
        if !self
            .distributions
            .iter()
            .any(|known| known.id == distribution_id)
        {
            return Err((
                404,
                "NoSuchDistribution",
                "The distribution does not exist.",
            ));
        }
        if paths.len() > MAX_PATHS {
            return Err((413, "BatchTooLarge", "too many paths"));
        }
        let refused = |path: &String| !is_legal(path) || self.refused_paths.contains(path);
        if paths.is_empty() || paths.iter().any(refused) {
            let text = "Your request contains one or more invalid invalidation paths.";
            return Err((400, "InvalidArgument", text));
        }
        let same = self.invalidations.iter().find(|known| {
            known.distribution_id == distribution_id && known.caller_reference == caller_reference
        });
        if let Some(same) = same {
            return if same.paths == paths {
                Ok((self.show(same), true))
            } else {
                let text = "Caller reference was used for a previous invalidation batch.";
                Err((400, "InvalidArgument", text))
            };
        }
        let invalidation = Invalidation {
            id: format!("I{:013}", self.invalidations.len() + 1),
            distribution_id: distribution_id.to_owned(),
            caller_reference: caller_reference.to_owned(),
            paths: paths.to_vec(),
            created_at: now(),
        };
        let shown = self.show(&invalidation);
        self.invalidations.push(invalidation);
        Ok((shown, false))
    }

    fn status(&self, one: &Invalidation) -> &'static str {
        let span = self.complete_after.unwrap_or_default();
        let done = now().duration_since(one.created_at).unsigned_abs() >= span;
        if done { "Completed" } else { "InProgress" }
    }

    fn show(&self, one: &Invalidation) -> String {
        let paths: String = one
            .paths
            .iter()
            .map(|path| format!("<Path>{}</Path>", escape(path)))
            .collect();
        format!(
            "<Invalidation xmlns=\"{NAMESPACE}\"><Id>{}</Id><Status>{}</Status>\
             <CreateTime>{}</CreateTime><InvalidationBatch><Paths><Quantity>{}</Quantity>\
             <Items>{paths}</Items></Paths><CallerReference>{}</CallerReference>\
             </InvalidationBatch></Invalidation>",
            one.id,
            self.status(one),
            one.created_at,
            one.paths.len(),
            one.caller_reference
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "the fake lives in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// CloudFront's rule for paths and tags, written down apart from the service's.
fn is_legal(path: &str) -> bool {
    if let Some(tag) = path.strip_prefix('#') {
        let legal = |b: u8| (33..=126).contains(&b) && b != b',';
        return (1..=256).contains(&tag.len()) && tag.bytes().all(legal);
    }
    let bytes = path.as_bytes();
    let escape = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    bytes.first() == Some(&b'/')
        && bytes.len() <= 4_000
        && bytes.iter().enumerate().all(|(at, byte)| match byte {
            b'%' => escape(at),
            b'"' | b'<' | b'>' | b'#' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'[' | b']' | b'`'
            | b'~' => false,
            byte => (0x21..=0x7e).contains(byte),
        })
}

fn error(status: u16, code: &str, message: &str) -> Response {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}
