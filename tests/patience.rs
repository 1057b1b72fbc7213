//! Hours of refusals on a clock of the test's own: what is accepted waits, and goes out.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use purgefront::{
    dispatch::Settings,
    domain::{
        batch::{Batch, BatchStatus},
        catalogue::CacheKey,
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            Pool, SeenInvalidation,
        },
        change::{Asked, NewRequest},
        history::{InvalidationQuery, RequestState},
        path::Item,
    },
    ports::{
        Cdn, Clock, history::HistoryStore as _, intake::IntakeStore as _,
        operations::OperationsStore as _,
    },
};
use uuid::Uuid;

use crate::support::{
    clock::VirtualClock,
    inside::{Inside, in_front_of, settings},
    pause,
};

type Answer = Result<CreatedInvalidation, CdnError>;
type Script = Box<dyn Fn(Duration, &Batch) -> Answer + Send + Sync>;

/// CloudFront as a script: what it answers depends on how long the test has lasted.
struct Scripted {
    clock: Arc<VirtualClock>,
    began: Timestamp,
    script: Script,
    calls: Mutex<Vec<(Duration, Batch)>>,
    lists: Mutex<usize>,
    /// The distribution that is there no more.
    gone: Mutex<Option<&'static str>>,
}

impl Scripted {
    fn elapsed(&self) -> Duration {
        self.clock.now().duration_since(self.began).unsigned_abs()
    }
}

#[async_trait]
impl Cdn for Scripted {
    async fn list_distributions(&self, _: Option<&str>) -> Result<DistributionPage, CdnError> {
        *self.lists.lock().unwrap() += 1;
        let distributions = ["E1", "E2"].map(|id| in_front_of(id, "site.s3.amazonaws.com"));
        let gone = *self.gone.lock().unwrap();
        let there = distributions
            .into_iter()
            .filter(|one| Some(one.id.as_str()) != gone);
        Ok(DistributionPage {
            distributions: there.collect(),
            next_marker: None,
        })
    }

    async fn details(&self, _: &str) -> Result<DistributionDetails, CdnError> {
        Ok(DistributionDetails::default())
    }

    async fn cache_policy(&self, _: &str) -> Result<CacheKey, CdnError> {
        unreachable!("no distribution has a policy of its own")
    }

    async fn create_invalidation(&self, batch: &Batch) -> Answer {
        let elapsed = self.elapsed();
        self.calls.lock().unwrap().push((elapsed, batch.clone()));
        (self.script)(elapsed, batch)
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

/// The work behind the 2xx, in this process, with the real store.
struct Running {
    clock: Arc<VirtualClock>,
    cdn: Arc<Scripted>,
    inside: Inside,
}

impl Running {
    async fn start(script: Script) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let cdn = Arc::new(Scripted {
            began: clock.now(),
            clock: Arc::clone(&clock),
            script,
            calls: Mutex::default(),
            lists: Mutex::default(),
            gone: Mutex::default(),
        });
        let settings = Settings {
            keep: Duration::from_hours(30 * 24),
            ..settings()
        };
        let inside = Inside::start(Arc::clone(&clock) as _, Arc::clone(&cdn) as _, settings);
        let inside = inside.await;
        Self { clock, cdn, inside }
    }

    async fn request(&self, distribution_id: &str, path: &str) -> Uuid {
        self.request_all(distribution_id, &[path]).await
    }

    async fn request_all(&self, distribution_id: &str, paths: &[&str]) -> Uuid {
        let id = Uuid::now_v7();
        let request = NewRequest {
            id,
            token: "test".to_owned(),
            reason: None,
            asked: Asked::Items {
                distribution_id: distribution_id.to_owned(),
                items: paths
                    .iter()
                    .map(|path| Item::parse(path).unwrap())
                    .collect(),
            },
            idempotency: None,
            accepted_at: self.clock.now(),
        };
        self.inside.store.accept_request(request).await.unwrap();
        self.inside.wake();
        id
    }

    async fn state(&self, request: Uuid) -> RequestState {
        self.inside
            .store
            .request(request)
            .await
            .unwrap()
            .unwrap()
            .state
    }

    /// Lets time pass until a request is completed; says how long that took.
    async fn completed(&self, request: Uuid) -> Duration {
        let began = self.cdn.elapsed();
        while self.state(request).await != RequestState::Completed {
            let passed = self.cdn.elapsed() - began;
            assert!(passed < Duration::from_hours(24), "it is never completed");
            self.inside.settle().await;
            self.clock.advance(Duration::from_secs(1));
        }
        self.cdn.elapsed() - began
    }

    async fn end(self) {
        self.inside.tasks.end().await;
        self.inside.store.close().await;
        assert_eq!(self.inside.tasks.failed(), None);
    }
}

fn created(batch: &Batch) -> CreatedInvalidation {
    CreatedInvalidation {
        cloudfront_id: format!("I{}", batch.id.simple()),
        completed: false,
    }
}

#[tokio::test]
async fn hours_of_every_refusal_are_waited_out_with_few_calls() {
    let running = Running::start(Box::new(|elapsed, batch| {
        let minutes = elapsed.as_secs() / 60;
        match minutes {
            _ if batch.distribution_id != "E1" => Ok(created(batch)),
            0..30 => Err(CdnError::Throttled("Rate exceeded".to_owned())),
            30..60 => Err(CdnError::TooManyInProgress {
                pool: Pool::Paths,
                text: String::new(),
            }),
            60..120 => Err(CdnError::Unknown("503".to_owned())),
            120..180 => Err(CdnError::Denied("AccessDenied".to_owned())),
            180..200 => Err(CdnError::Refused("NoSuchDistribution".to_owned())),
            _ => Ok(created(batch)),
        }
    }))
    .await;
    let refused = running.request("E1", "/refused").await;
    // While the one is refused, another goes at once: within a call slot or two, and the
    // first look at it.
    let other = running.request("E2", "/other").await;
    let took = running.completed(other).await;
    assert!(took < Duration::from_secs(30), "the other took {took:?}");
    let troubled = running.inside.finding("cloudfront");
    assert!(troubled.contains("E1"), "{troubled}");

    running.completed(refused).await;
    let calls: Vec<_> = running.cdn.calls.lock().unwrap().clone();
    let calls: Vec<_> = calls
        .into_iter()
        .filter(|(_, batch)| batch.distribution_id == "E1")
        .collect();
    // What was definitely refused is planned anew; what may have been done is sent again as it
    // was, whatever the answers after that.
    let (sure, in_doubt) =
        calls.split_at(calls.partition_point(|(at, _)| *at < Duration::from_hours(1)));
    let references: BTreeSet<_> = sure
        .iter()
        .map(|(_, batch)| &batch.caller_reference)
        .collect();
    assert_eq!(
        references.len(),
        sure.len(),
        "each with a reference of its own"
    );
    let times: Vec<_> = calls.iter().map(|(at, _)| at.as_secs() / 60).collect();
    assert!(in_doubt.len() > 5, "calls at minutes {times:?}");
    assert!(
        in_doubt.iter().all(|(_, batch)| *batch == in_doubt[0].1),
        "one pair, unchanged"
    );
    // Full jitter halves the pauses, which grow to 15 min: 200 minutes of them.
    assert!(
        calls.len() > 10 && calls.len() < 120,
        "{} calls",
        calls.len()
    );
    let last = calls.last().unwrap().0;
    assert!(last < Duration::from_mins(216), "it went out at {last:?}");
    let query = InvalidationQuery {
        limit: 1_000,
        ..InvalidationQuery::default()
    };
    let all = running.inside.store.invalidations(&query).await.unwrap();
    let done = all
        .iter()
        .filter(|one| one.status == BatchStatus::Completed)
        .count();
    let replaced = all
        .iter()
        .filter(|one| one.status == BatchStatus::Replaced)
        .count();
    assert_eq!((done, replaced), (2, all.len() - 2));
    assert!(running.inside.finding("cloudfront").is_empty());
    running.end().await;
}

#[tokio::test]
async fn the_call_rate_is_kept_and_the_catalogue_read_by_its_timer() {
    let running = Running::start(Box::new(|_, batch| Ok(created(batch)))).await;
    let mut requests = Vec::new();
    for at in 0..60 {
        let id = if at % 2 == 0 { "E1" } else { "E2" };
        requests.push(running.request(id, &format!("/{at}")).await);
        pause().await;
        running.clock.advance(Duration::from_secs(1));
    }
    for request in requests {
        running.completed(request).await;
    }
    let times: Vec<_> = running
        .cdn
        .calls
        .lock()
        .unwrap()
        .iter()
        .map(|(at, _)| *at)
        .collect();
    // One call in two seconds, and five at once at most after a pause.
    for (nth, from) in times.iter().enumerate() {
        for (further, to) in times[nth..].iter().enumerate() {
            let allowed = 5.0 + 0.5 * (*to - *from).as_secs_f64();
            assert!(
                f64::from(u32::try_from(further).unwrap()) < allowed + 0.001,
                "{from:?} to {to:?}"
            );
        }
    }
    assert!(
        times[0] >= Duration::from_secs(2),
        "the bucket is empty after a start"
    );
    while running.cdn.elapsed() < Duration::from_hours(2) {
        running.inside.settle().await;
        running.clock.advance(Duration::from_secs(30));
    }
    let lists = *running.cdn.lists.lock().unwrap();
    assert!((12..=14).contains(&lists), "{lists} readings in two hours");
    let span = SignedDuration::from_hours(2);
    assert!(
        running
            .inside
            .catalogue
            .get()
            .unwrap()
            .snapshot()
            .read_since
            > running.cdn.began + span - SignedDuration::from_mins(11)
    );
    running.end().await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_goes_in_parts() {
    let running = Running::start(Box::new(|_, batch| match batch.items.len() {
        0..=2 => Ok(created(batch)),
        _ => Err(CdnError::TooLarge("too many".to_owned())),
    }))
    .await;
    let request = running
        .request_all("E1", &["/1", "/2", "/3", "/4", "/5"])
        .await;
    running.completed(request).await;
    let calls: Vec<_> = running.cdn.calls.lock().unwrap().clone();
    let sizes: Vec<_> = calls.iter().map(|(_, batch)| batch.items.len()).collect();
    assert_eq!(sizes, [5, 2, 3, 1, 2]);
    let references: BTreeSet<_> = calls
        .iter()
        .map(|(_, batch)| &batch.caller_reference)
        .collect();
    assert_eq!(references.len(), 5, "each part has a reference of its own");
    let view = running
        .inside
        .store
        .request(request)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        view.invalidations.len(),
        3,
        "what was replaced is not listed"
    );
    running.end().await;
}

#[tokio::test]
async fn a_taken_reference_is_changed_once() {
    let conflicts = Mutex::new(1);
    let running = Running::start(Box::new(move |_, batch| {
        let mut left = conflicts.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Err(CdnError::ReferenceConflict("used before".to_owned()));
        }
        Ok(created(batch))
    }))
    .await;
    let request = running.request("E1", "/a").await;
    running.completed(request).await;
    let calls: Vec<_> = running.cdn.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].1.items, calls[1].1.items);
    assert_eq!(calls[0].1.id, calls[1].1.id, "it is the same batch");
    assert_ne!(calls[0].1.caller_reference, calls[1].1.caller_reference);
    running.end().await;
}

#[tokio::test]
async fn a_distribution_that_is_gone_for_good_makes_dead_letters_and_one_that_is_not_waits() {
    let missing = || CdnError::NoSuchDistribution("not there".to_owned());
    let running = Running::start(Box::new(move |elapsed, batch| {
        let there = elapsed > Duration::from_mins(30) && batch.distribution_id == "E2";
        if there {
            Ok(created(batch))
        } else {
            Err(missing())
        }
    }))
    .await;
    let gone = running.request("E1", "/gone").await;
    let there = running.request("E2", "/there").await;
    // Known when they were asked for; the catalogue of later does not have the one.
    while running.state(gone).await == RequestState::Accepted {
        running.inside.settle().await;
        running.clock.advance(Duration::from_secs(1));
    }
    *running.cdn.gone.lock().unwrap() = Some("E1");
    running.completed(there).await;
    assert_eq!(running.state(gone).await, RequestState::Failed);
    let letters = running.inside.store.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].content.as_deref(), Some("/gone"));
    running.end().await;
}

#[tokio::test]
async fn history_is_forgotten_and_what_is_open_is_not() {
    let running = Running::start(Box::new(|_, batch| match batch.distribution_id.as_str() {
        "E1" => Ok(created(batch)),
        _ => Err(CdnError::Unknown("dark".to_owned())),
    }))
    .await;
    let done = running.request("E1", "/done").await;
    let open = running.request("E2", "/open").await;
    running.completed(done).await;
    while running.cdn.elapsed() < Duration::from_hours(31 * 24) {
        running.inside.settle().await;
        running.clock.advance(Duration::from_mins(30));
    }
    pause().await;
    assert!(running.inside.store.request(done).await.unwrap().is_none());
    assert_eq!(running.state(open).await, RequestState::Planned);
    let query = InvalidationQuery {
        limit: 10,
        ..InvalidationQuery::default()
    };
    assert_eq!(
        running
            .inside
            .store
            .invalidations(&query)
            .await
            .unwrap()
            .len(),
        1
    );
    running.end().await;
}
