//! What many distributions cost: memory, and the processor time of each message.

use std::{collections::BTreeMap, path::Path};

use crate::{
    numbers::{float, median, millis, written},
    pages::{self, MONITORED},
    process,
    report::Report,
    support::{aws::FakeAws, service::Service, signer::s3_records},
    world::{HELD_AND_READ, Intake, Store, World, confined, pause, started, stopped, until_mapped},
};

const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;
/// Of how many distributions the details are read.
const DETAILS: usize = 20;
/// How many distributions CloudFront lists at once.
const PAGE: usize = 100;

pub async fn measure(world: &World, report: &mut Report) {
    let mut found: [Found; SIZES.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (distributions, found) in SIZES.into_iter().zip(&mut found) {
            one_round(world, distributions, found).await;
        }
    }
    for (distributions, found) in SIZES.into_iter().zip(found) {
        let at = format!("{} distributions", written(float(distributions)));
        for ((what, unit), numbers) in found.0 {
            report.add(&at, what, median(numbers), unit);
        }
    }
}

/// The figures of all rounds, by what they are and their unit.
#[derive(Default)]
struct Found(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Found {
    fn add(&mut self, what: &'static str, value: f64, unit: &'static str) {
        self.0.entry((what, unit)).or_default().push(value);
    }
}

async fn one_round(world: &World, distributions: usize, found: &mut Found) {
    let aws = world.aws(distributions).await;
    let store = Store::new();
    let first = started_and_read(&aws, &store.path, distributions).await;
    let cpu = millis(process::cpu(first.pid()).all);
    found.add("processor time to start and read them", cpu, "ms");
    let resident = process::memory(first.pid()).resident;
    found.add("resident after the first reading", resident, "MiB");
    stopped(first).await;
    // As it is from then on.
    let service = started_and_read(&aws, &store.path, distributions).await;
    let memory = process::memory(service.pid());
    found.add(
        "resident after a restart and a reading",
        memory.resident,
        "MiB",
    );
    let intake = Intake::measure(&service, world.requests(), CONNECTIONS).await;
    found.add("processor time per message", intake.cpu, "µs");
    let memory = process::memory(service.pid());
    found.add("resident after 20,000 messages", memory.resident, "MiB");
    found.add("most ever resident", memory.peak, "MiB");
    let cpu = learn_details(world, &service, distributions).await;
    found.add(
        "processor time per distribution when first needed",
        cpu,
        "ms",
    );
    for (name, time) in pages::ask(&service, &MONITORED).await {
        found.add(name, time, "ms");
    }
    stopped(service).await;
}

/// Sends an event for each of some distributions that nothing was known of but what is listed, so that
/// the details of each have to be read before it is mapped. Returns the milliseconds of the processor
/// for each.
async fn learn_details(world: &World, service: &Service, distributions: usize) -> f64 {
    let before = process::cpu(service.pid());
    let ids = 3..=distributions.min(2 + DETAILS);
    let count = ids.clone().count();
    for id in ids.clone() {
        let text = s3_records(&format!("bucket-{id}"), &[("ObjectCreated:Put", "a.html")]);
        let answer = service.sns(world.signer.notification(&text).body()).await;
        assert_eq!(answer.status(), 200);
    }
    for id in ids {
        until_mapped(service, &format!("E{id}"), 1).await;
    }
    let spent = process::cpu(service.pid()).since(before);
    millis(spent.all) / float(count)
}

/// Starts it, and waits until it has read the whole account since then.
async fn started_and_read(aws: &FakeAws, store: &Path, distributions: usize) -> Service {
    let before = aws.cloudfront.reads("list");
    let service = started(&confined(aws, store, HELD_AND_READ)).await;
    while aws.cloudfront.reads("list") < before + distributions.div_ceil(PAGE) {
        pause(50).await;
    }
    // It keeps them.
    pause(1_500).await;
    service
}
