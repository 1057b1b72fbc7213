//! Thousands of changes while the service is killed at random and CloudFront misbehaves.
//!
//! One seed fixes the inputs and the schedule of kills and faults. `CHAOS_SEEDS=20` plays
//! more of them, `CHAOS_SEED=7` one alone. It runs in real time: about a minute a seed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::sync::Mutex;

use crate::support::{
    Patience,
    aws::FakeAws,
    cloudfront::Distribution,
    number, pause,
    random_messages::{DISTRIBUTIONS, bucket, message},
    service::{Service, Setup},
    signer::Signer,
    sqlite::audit::{Kept, Made, audit},
};

const MESSAGES: usize = 1_500;
const SENDERS: usize = 16;
const KILLS: usize = 5;
/// Calls that chaos meets, if they come in time.
const CALLS: usize = 45;
/// Calls that are under way at once, and on a busy machine may arrive together.
const UNDER_WAY: u32 = 3;
/// The service's limits, which the fake keeps as well: faster than AWS, so that a test ends.
const LIMITS: &str = "[batching]\nquiet = \"100ms\"\nmax_wait = \"1s\"\n\
    [limits]\ncalls_per_second = 20\ncall_burst = 5\nitems_per_call = 25\nreads_per_second = 50\nread_burst = 50\n\
    paths_per_second = 100000\nwildcards_per_second = 100\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_whatever_happens() {
    let seeds = match number("CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CHAOS_SEEDS").unwrap_or(1),
    };
    for seed in seeds {
        eprintln!("CHAOS_SEED={seed}");
        play(seed).await;
    }
}

async fn play(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (aws, signer, setup) = prepared(&mut random).await;
    let mut changes = 0;
    let bodies: Vec<_> = (0..MESSAGES)
        .map(|_| message(&signer, &mut random, &mut changes))
        .collect();
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    aws.cloudfront.set_chaos(Some(seed));
    let url = Arc::new(Mutex::new(service.url.clone()));
    let shares = bodies
        .chunks(MESSAGES.div_ceil(SENDERS))
        .map(<[String]>::to_vec);
    let senders: Vec<_> = shares
        .map(|share| tokio::spawn(send(Arc::clone(&url), share)))
        .collect();
    let service = killed_again_and_again(&aws, &setup, &mut random, service, &url).await;
    for sender in senders {
        sender.await.unwrap();
    }
    // Most calls come now, and they meet it, too.
    let began = now();
    while aws.cloudfront.calls().len() < CALLS && began.elapsed() < Duration::from_secs(30) {
        pause().await;
    }
    aws.cloudfront.set_chaos(None);
    all_completed(&service).await;
    let dead = service.metric("purgefront_dead_letters").await;
    assert_eq!(dead, 0, "nothing became a dead letter");
    service.kill();
    holds(&aws, &setup, changes).await;
}

/// CloudFront with quotas, and a service that keeps them.
async fn prepared(random: &mut fastrand::Rng) -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    for id in DISTRIBUTIONS {
        aws.cloudfront.put(Distribution::of(id, &bucket(id)));
    }
    aws.cloudfront
        .complete_after(Duration::from_millis(random.u64(1..2_000)));
    aws.cloudfront.limit_calls(20.0, 5 + UNDER_WAY);
    aws.cloudfront.limit_items(100_000.0, 100.0);
    aws.cloudfront.limit_in_progress(3_000, 15);
    let mut setup = Setup::new(&aws);
    setup.set_settings(LIMITS);
    (aws, signer, setup)
}

/// Power cuts at random, some of them while CloudFront is down; the last start goes on.
async fn killed_again_and_again(
    aws: &FakeAws,
    setup: &Setup,
    random: &mut fastrand::Rng,
    mut service: Service,
    url: &Mutex<String>,
) -> Service {
    for _ in 0..KILLS {
        wait(Duration::from_millis(random.u64(200..2_500))).await;
        if random.bool() {
            aws.cloudfront.set_down(true);
            wait(Duration::from_millis(random.u64(100..1_000))).await;
            aws.cloudfront.set_down(false);
        }
        service.kill();
        service = setup.start().await;
        url.lock().await.clone_from(&service.url);
    }
    service
}

/// Promises 2 to 4, read from the store and from what CloudFront saw.
async fn holds(aws: &FakeAws, setup: &Setup, changes: usize) {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for call in aws.cloudfront.calls() {
        *answers.entry(call.answer).or_default() += 1;
    }
    eprintln!("{changes} changes, calls: {answers:?}");
    let made = aws.cloudfront.invalidations().into_iter().map(|one| Made {
        caller_reference: one.caller_reference,
        items: one.items,
        created_at: one.created_at,
    });
    let audited = audit(setup.store(), made.collect(), |_, _| true).await;
    let whole = Kept {
        changes,
        targeted: changes,
    };
    assert_eq!(
        audited, whole,
        "every change that was answered 2xx went out"
    );
    // The first call after each start may meet what was spent just before it.
    let refused = aws.cloudfront.quota_refusals();
    let sum: usize = refused.values().sum();
    assert!(
        sum <= KILLS + 1,
        "calls were refused for quotas: {refused:?}"
    );
}

/// As SNS does: again and again until it is taken.
async fn send(url: Arc<Mutex<String>>, bodies: Vec<String>) {
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .build()
        .unwrap();
    for body in bodies {
        loop {
            let to = format!("{}/sns", url.lock().await);
            match client.post(to).body(body.clone()).send().await {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => assert_eq!(answer.status(), 503),
                Err(_) => {}
            }
            pause().await;
        }
        wait(Duration::from_millis(60)).await;
    }
}

async fn all_completed(service: &Service) {
    let patience = Patience::new();
    loop {
        let mut open = 0;
        for status in ["pending", "in_progress"] {
            let page = service
                .get(&format!("/invalidations?status={status}&limit=1"))
                .await;
            open += page["invalidations"].as_array().unwrap().len();
        }
        for id in DISTRIBUTIONS {
            let name = format!("purgefront_waiting_items{{distribution_id=\"{id}\"}}");
            open += usize::try_from(service.metric(&name).await).unwrap();
        }
        if open == 0 {
            return;
        }
        patience.pause(&format!("{open} are still open")).await;
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    Instant::now()
}

async fn wait(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    tokio::time::sleep(span).await;
}
