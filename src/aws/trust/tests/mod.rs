//! Shared fetches, rate limits, and which messages verify.

mod vectors;

use super::*;
use crate::aws::certificate::testing::{Issued, notification, parse, topics};
use crate::ports::StoreError;
use async_trait::async_trait;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// A clock that moves only when told to.
struct HandClock(watch::Sender<Timestamp>);

impl HandClock {
    fn at(time: &str) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(time.parse().unwrap())))
    }

    fn march() -> Arc<Self> {
        Self::at("2026-03-06T20:00:00Z")
    }

    fn pass(&self, span: Duration) {
        self.0.send_modify(|now| *now += span);
    }

    fn set_back(&self, span: Duration) {
        self.0.send_modify(|now| *now -= span);
    }

    fn after(&self, span: Duration) -> Timestamp {
        self.now() + span
    }
}

#[async_trait]
impl Clock for HandClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.0.subscribe().wait_for(|now| *now >= at).await.unwrap();
    }
}

/// Gives every fetch the same answer. The gate can be closed to hold answers back.
#[derive(Clone)]
struct Server(Arc<ServerState>);

struct ServerState {
    calls: AtomicUsize,
    gate: Semaphore,
    answer: Mutex<Result<Vec<u8>, String>>,
}

impl Server {
    fn new(answer: Result<String, &str>, open: bool) -> Self {
        Self(Arc::new(ServerState {
            calls: AtomicUsize::new(0),
            gate: Semaphore::new(if open { 1000 } else { 0 }),
            answer: Mutex::new(answer.map(String::into_bytes).map_err(str::to_owned)),
        }))
    }

    fn serving(pem: String) -> Self {
        Self::new(Ok(pem), true)
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn now_answers(&self, pem: String) {
        *self.0.answer.lock().unwrap() = Ok(pem.into_bytes());
    }
}

#[async_trait]
impl Fetch for Server {
    async fn fetch(&self, _url: &CertificateUrl) -> Result<Vec<u8>, String> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.gate.acquire().await.unwrap().forget();
        self.0.answer.lock().unwrap().clone()
    }
}

/// A cache that outlives a restart.
#[derive(Default)]
struct Shelf(Mutex<HashMap<String, String>>);

#[async_trait]
impl CertificateCache for Shelf {
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError> {
        Ok(self.0.lock().unwrap().get(url).cloned())
    }

    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap();
        kept.insert(url.to_owned(), pem.to_owned());
        Ok(())
    }
}

fn cache() -> Arc<Shelf> {
    Arc::default()
}

fn certificates(server: &Server, clock: &Arc<HandClock>) -> SigningCertificates {
    SigningCertificates::new(server.clone(), cache(), clock.clone(), LIMITS)
}

/// The defaults.
const LIMITS: FetchLimits = limits(1500, 50);

const fn limits(per_minute: u32, burst: u32) -> FetchLimits {
    FetchLimits {
        per_minute,
        burst,
        most: 256,
    }
}

fn message(certificate: u32) -> SnsMessage {
    parse(&notification(certificate), &topics())
}

fn sns_certificate() -> String {
    Issued::default().pem()
}

/// Lets every other task of this single-threaded runtime run until it blocks.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const SECONDS_10: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_certificate_is_fetched_once_and_kept() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    let certificates = certificates(&server, &clock);
    for _ in 0..3 {
        let verified = certificates
            .verify(&message(1), clock.after(SECONDS_10))
            .await;
        assert_eq!(verified, Ok(()));
    }
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn however_many_wait_it_is_fetched_once() {
    let (clock, server) = (
        HandClock::march(),
        Server::new(Ok(sns_certificate()), false),
    );
    let certificates = certificates(&server, &clock);
    let deadline = clock.after(SECONDS_10);
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let certificates = certificates.clone();
            tokio::spawn(async move { certificates.verify(&message(1), deadline).await })
        })
        .collect();
    settle().await;
    // The first request is cancelled; the fetch that it started goes on.
    waiters[0].abort();
    settle().await;
    server.0.gate.add_permits(1);
    for waiter in waiters.into_iter().skip(1) {
        assert_eq!(waiter.await.unwrap(), Ok(()));
    }
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_then_forgotten() {
    let (clock, server) = (HandClock::march(), Server::new(Err("no connection"), false));
    let certificates = certificates(&server, &clock);
    let deadline = clock.after(SECONDS_10);
    let (first, second) = (message(1), message(1));
    let opened = async {
        settle().await;
        server.0.gate.add_permits(2);
    };
    let (first, second, ()) = tokio::join!(
        certificates.verify(&first, deadline),
        certificates.verify(&second, deadline),
        opened
    );
    let failed = Err(Refusal::CertificateUnavailable("no connection".into()));
    assert_eq!((first, second), (failed.clone(), failed));
    assert_eq!(server.calls(), 1);

    server.now_answers(sns_certificate());
    clock.pass(FAILED_FOR);
    assert_eq!(certificates.verify(&message(1), deadline).await, Ok(()));
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn nobody_waits_past_the_deadline() {
    let (clock, server) = (
        HandClock::march(),
        Server::new(Ok(sns_certificate()), false),
    );
    let certificates = certificates(&server, &clock);
    let deadline = clock.after(SECONDS_10);
    let waiter = tokio::spawn({
        let certificates = certificates.clone();
        async move { certificates.verify(&message(1), deadline).await }
    });
    settle().await;
    clock.pass(SECONDS_10);
    assert_eq!(
        waiter.await.unwrap().unwrap_err().slug(),
        "certificate-unavailable"
    );
    // It still arrives, for the message's next delivery.
    server.0.gate.add_permits(1);
    settle().await;
    let again = certificates
        .verify(&message(1), clock.after(SECONDS_10))
        .await;
    assert_eq!(again, Ok(()));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn fetches_take_turns_and_hopeless_ones_take_none() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    // Two at once, then one every six seconds.
    let certificates =
        SigningCertificates::new(server.clone(), cache(), clock.clone(), limits(10, 2));
    let deadline = clock.after(SECONDS_10);
    let waiters: Vec<_> = (1..=4)
        .map(|number| {
            let certificates = certificates.clone();
            tokio::spawn(async move { certificates.verify(&message(number), deadline).await })
        })
        .collect();
    settle().await;
    // Turns are at 0, 0, 6 and 12 s: the last is past the deadline and is refused at once.
    assert_eq!(server.calls(), 2);
    assert!(waiters[3].is_finished());
    clock.pass(Duration::from_secs(6));
    let mut outcomes = Vec::new();
    for waiter in waiters {
        outcomes.push(waiter.await.unwrap().is_ok());
    }
    assert_eq!(outcomes, [true, true, true, false]);
    assert_eq!(server.calls(), 3);
    // The refused request took no turn, so the next one is at 12 s.
    let fifth = message(5);
    let verified = certificates.verify(&fifth, clock.after(SECONDS_10));
    let (fifth, ()) = tokio::join!(verified, async {
        settle().await;
        clock.pass(Duration::from_secs(6));
    });
    assert_eq!(fifth, Ok(()));
}

#[tokio::test]
async fn those_who_wait_leave_room_for_others() {
    let (clock, server) = (
        HandClock::march(),
        Server::new(Ok(sns_certificate()), false),
    );
    let limits = FetchLimits { most: 2, ..LIMITS };
    let certificates = SigningCertificates::new(server.clone(), cache(), clock.clone(), limits);
    let deadline = clock.after(SECONDS_10);
    let waiters = [1, 1, 1, 1, 2, 3].map(|number| {
        let certificates = certificates.clone();
        tokio::spawn(async move { certificates.verify(&message(number), deadline).await })
    });
    settle().await;
    // Only two requests may wait for the first fetch, and only two fetches may run: the fourth
    // and the sixth request are refused at once.
    let heard = waiters.each_ref().map(JoinHandle::is_finished);
    assert_eq!(heard, [false, false, false, true, false, true]);
    server.0.gate.add_permits(2);
    let mut outcomes = Vec::new();
    for waiter in waiters {
        outcomes.push(waiter.await.unwrap().is_ok());
    }
    assert_eq!(outcomes, [true, true, true, false, true, false]);
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_failure_last() {
    let (clock, server) = (HandClock::march(), Server::new(Err("no connection"), true));
    let certificates = certificates(&server, &clock);
    let verify = async || {
        let deadline = clock.after(SECONDS_10);
        certificates.verify(&message(1), deadline).await.is_ok()
    };
    assert!(!verify().await);
    server.now_answers(sns_certificate());
    assert!(!verify().await, "remembered for a moment");
    clock.set_back(Duration::from_hours(3));
    assert!(verify().await);
}

#[tokio::test]
async fn known_certificates_need_no_turn() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    let certificates =
        SigningCertificates::new(server.clone(), cache(), clock.clone(), limits(1, 1));
    let deadline = clock.after(SECONDS_10);
    assert_eq!(certificates.verify(&message(1), deadline).await, Ok(()));
    assert!(certificates.verify(&message(2), deadline).await.is_err());
    assert_eq!(certificates.verify(&message(1), deadline).await, Ok(()));
}

#[tokio::test]
async fn the_oldest_certificate_makes_room() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    let certificates =
        SigningCertificates::new(server.clone(), cache(), clock.clone(), limits(60_000, 1000));
    let deadline = clock.after(SECONDS_10);
    for number in 0..=64 {
        assert_eq!(
            certificates.verify(&message(number), deadline).await,
            Ok(())
        );
    }
    assert_eq!(certificates.0.state().kept.len(), KEPT);
    assert_eq!(certificates.verify(&message(64), deadline).await, Ok(()));
    assert_eq!(server.calls(), 65);
    // Its text is in the cache, so it is not fetched again.
    assert_eq!(certificates.verify(&message(0), deadline).await, Ok(()));
    assert_eq!(server.calls(), 65);
    assert_eq!(certificates.0.state().kept.len(), KEPT);
}

#[tokio::test]
async fn a_fetch_that_panics_leaves_nobody_waiting_for_ever() {
    struct Broken;
    #[async_trait]
    impl Fetch for Broken {
        async fn fetch(&self, _url: &CertificateUrl) -> Result<Vec<u8>, String> {
            panic!("as a test")
        }
    }
    let clock = HandClock::march();
    let certificates = SigningCertificates::new(Broken, cache(), clock.clone(), LIMITS);
    for _ in 0..2 {
        let verified = certificates
            .verify(&message(1), clock.after(SECONDS_10))
            .await;
        assert_eq!(verified.unwrap_err().slug(), "certificate-unavailable");
    }
}

#[tokio::test]
async fn certificates_of_others_or_of_another_time_are_refused() {
    for (issued, why) in [
        (
            Issued {
                dns_names: &["evil.example"],
                ..Issued::default()
            },
            "must be named",
        ),
        (
            Issued {
                years: (2024, 2025),
                ..Issued::default()
            },
            "was not valid",
        ),
        (
            Issued {
                years: (2027, 2028),
                ..Issued::default()
            },
            "was not valid",
        ),
    ] {
        let (clock, server) = (HandClock::march(), Server::serving(issued.pem()));
        let certificates = certificates(&server, &clock);
        let verified = certificates
            .verify(&message(1), clock.after(SECONDS_10))
            .await;
        match verified {
            Err(Refusal::Certificate(text)) => assert!(text.starts_with(why), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_version_2_signature_labelled_1_is_refused() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    let mut body = notification(1);
    body["SignatureVersion"] = json!("1");
    let certificates = certificates(&server, &clock);
    let verified = certificates
        .verify(&parse(&body, &topics()), clock.after(SECONDS_10))
        .await;
    assert_eq!(verified, Err(Refusal::Signature));
}

#[tokio::test]
async fn a_certificate_that_verified_something_outlives_a_restart() {
    let (clock, server) = (HandClock::march(), Server::serving(sns_certificate()));
    let cache = cache();
    let started = || SigningCertificates::new(server.clone(), cache.clone(), clock.clone(), LIMITS);
    let deadline = clock.after(SECONDS_10);
    let mut forged = notification(1);
    forged["Message"] = json!("forged");
    let first = started();
    assert!(
        first
            .verify(&parse(&forged, &topics()), deadline)
            .await
            .is_err()
    );
    settle().await;
    assert!(
        cache.0.lock().unwrap().is_empty(),
        "it has not verified any message yet"
    );
    assert_eq!(first.verify(&message(1), deadline).await, Ok(()));
    settle().await;
    assert_eq!(started().verify(&message(1), deadline).await, Ok(()));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_not_repeated_for_a_moment_and_never_remembered_for_ever() {
    let clock = HandClock::march();
    let server = Server::new(Err("no answer"), true);
    let certificates = certificates(&server, &clock);
    for _ in 0..10 {
        let refused = certificates
            .verify(&message(1), clock.after(SECONDS_10))
            .await;
        assert_eq!(refused.unwrap_err().slug(), "certificate-unavailable");
    }
    assert_eq!(server.calls(), 1);
    server.now_answers(sns_certificate());
    clock.pass(Duration::from_secs(2));
    let verified = certificates
        .verify(&message(1), clock.after(SECONDS_10))
        .await;
    assert_eq!(verified, Ok(()));
}
