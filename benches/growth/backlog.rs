//! How long it takes until work leaves for CloudFront while ever more waits.
//!
//! Two situations. *A full pool*: as many items are in progress as `limits.paths_in_progress` permits,
//! so what waits has to go on waiting; only manual requests have a reserve, and other distributions
//! have pools of their own. *Resumed*: sending was paused while all of it arrived.
//!
//! A processor time is the mean, with all that the service does within half a second or so; other
//! figures are the median of five. An event elsewhere is of a distribution where nothing waits.
//!
//! Rates bound nothing, and `batching.quiet` is 0 s. Times end when the call arrives at CloudFront.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    numbers::{float, median, millis, per, written},
    process,
    report::Report,
    sender,
    support::{aws::FakeAws, service::Service, signer::s3_records},
    world::{Store, UNBOUNDED, World, confined, pause, started, stopped, waiting},
};

const SIZES: [usize; 4] = [1, 1_000, 10_000, 100_000];
/// What automatic work may have in progress where the pool is full,
const POOL: usize = 1_000;
/// and what else manual requests may have.
const RESERVE: usize = 100;
const SAMPLES: usize = 5;

pub async fn measure(world: &World, report: &mut Report) {
    for size in SIZES {
        let at = format!("{} waiting, pool full", written(float(size)));
        with_a_full_pool(world, report, size, &at).await;
    }
    for size in SIZES {
        let at = format!("{} waiting, resumed", written(float(size)));
        after_resumption(world, report, size, &at).await;
    }
}

async fn with_a_full_pool(world: &World, report: &mut Report, size: usize, at: &str) {
    let aws = world.aws(2).await;
    aws.cloudfront.complete_after(Duration::from_hours(1));
    let store = Store::new();
    let settings = UNBOUNDED.replace(
        "paths_in_progress = 1000000",
        &format!(
            "paths_in_progress = {}\nreserve_paths = {RESERVE}",
            POOL + RESERVE
        ),
    );
    let service = started(&confined(&aws, &store.path, &settings)).await;
    let all = sender::crowded(&world.signer, "site", POOL + size);
    sender::send(&service.url, &all, 8).await;
    while sent(&aws) < POOL {
        pause(50).await;
    }
    until_waiting(&service, size).await;
    // The first calls also set up what later ones use.
    manual(&aws, &service, "/warm").await;
    event(world, &aws, &service, "warm").await;
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        let before = process::exact_cpu(service.pid());
        times.push(manual(&aws, &service, &format!("/manual-{sample}")).await);
        cpu.push(process::exact_cpu(service.pid()).saturating_sub(before));
    }
    tell(report, at, "manual request", times, cpu);
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        let before = process::exact_cpu(service.pid());
        times.push(event(world, &aws, &service, &format!("event-{sample}")).await);
        cpu.push(process::exact_cpu(service.pid()).saturating_sub(before));
    }
    tell(report, at, "event elsewhere", times, cpu);
    assert_eq!(waiting(&service, "E1").await, u64::try_from(size).unwrap());
    stopped(service).await;
}

fn tell(report: &mut Report, at: &str, what: &str, times: Vec<f64>, cpu: Vec<Duration>) {
    let time = format!("{what}, from 2xx to its call");
    report.add(at, &time, median(times), "ms");
    let cpu = per(cpu.iter().sum(), cpu.len()) / 1_000.0;
    let spent = format!("{what}, processor time");
    report.add(at, &spent, cpu, "ms");
}

async fn after_resumption(world: &World, report: &mut Report, size: usize, at: &str) {
    let aws = world.aws(2).await;
    let store = Store::new();
    let service = started(&confined(&aws, &store.path, UNBOUNDED)).await;
    // The connection to CloudFront exists.
    event(world, &aws, &service, "warm").await;
    operate(&service, "pause").await;
    let all = sender::crowded(&world.signer, "site", size);
    sender::send(&service.url, &all, 8).await;
    until_waiting(&service, size).await;
    accept(world, &service, "site", "the-last").await;
    until_waiting(&service, size + 1).await;
    let before = process::exact_cpu(service.pid());
    let resumed = operate(&service, "resume").await;
    let first = arrival(&aws, None, resumed).await;
    report.add(at, "from resumption to the first call", first, "ms");
    let last = arrival(&aws, Some("/the-last"), resumed).await;
    let what = "from resumption to the call with the last event";
    report.add(at, what, last, "ms");
    while waiting(&service, "E1").await > 0 {
        pause(50).await;
    }
    let cpu = process::exact_cpu(service.pid()).saturating_sub(before);
    let what = "processor time until nothing waits";
    report.add(at, what, millis(cpu), "ms");
    let calls = aws.cloudfront.calls();
    let calls = calls
        .iter()
        .filter(|call| call.order.distribution_id == "E1");
    report.add(at, "calls", float(calls.count()), "");
    stopped(service).await;
}

fn sent(aws: &FakeAws) -> usize {
    aws.cloudfront.paths("E1").len()
}

async fn until_waiting(service: &Service, size: usize) {
    let size = u64::try_from(size).unwrap();
    while waiting(service, "E1").await != size {
        pause(50).await;
    }
    // What is planned at its arrival is planned.
    pause(500).await;
}

/// Asks for a path, and returns how many milliseconds after the response its call arrived.
async fn manual(aws: &FakeAws, service: &Service, path: &str) -> f64 {
    let answer = service.invalidate("E1", &[path]).await;
    let accepted = Timestamp::now();
    assert!(answer.status().is_success(), "{}", answer.status());
    arrival(aws, Some(path), accepted).await
}

/// The same for an event of the second distribution.
async fn event(world: &World, aws: &FakeAws, service: &Service, key: &str) -> f64 {
    let accepted = accept(world, service, "other", key).await;
    arrival(aws, Some(&format!("/{key}")), accepted).await
}

async fn accept(world: &World, service: &Service, bucket: &str, key: &str) -> Timestamp {
    let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
    let answer = service.sns(world.signer.notification(&text).body()).await;
    let accepted = Timestamp::now();
    assert_eq!(answer.status(), 200);
    accepted
}

/// How many milliseconds after a time the call with an item arrived, or the first one of all.
async fn arrival(aws: &FakeAws, item: Option<&str>, since: Timestamp) -> f64 {
    loop {
        // Looks rarely, because it holds up CloudFront.
        pause(500).await;
        let calls = aws.cloudfront.calls();
        let mut calls = calls.iter();
        let call = match item {
            Some(item) => calls.find(|call| call.order.items.iter().any(|one| one == item)),
            None => calls.find(|call| call.at >= since),
        };
        if let Some(call) = call {
            let after = call.at.duration_since(since);
            return after.as_secs_f64() * 1e3;
        }
    }
}

/// Pauses or resumes the first distribution, and returns when that was answered.
async fn operate(service: &Service, what: &str) -> Timestamp {
    let request = service.client.post(format!("{}/{what}", service.admin_url));
    let request = request.body(r#"{"distribution_id": "E1"}"#);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    Timestamp::now()
}
