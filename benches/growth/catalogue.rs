//! What many distributions cost: memory, and the processor time of each message.

use std::path::Path;

use crate::{
    numbers::{float, millis, written},
    pages::{self, MONITORED},
    process,
    report::Report,
    support::{aws::FakeAws, service::Service},
    world::{HELD_AND_READ, Intake, Store, World, confined, pause, started, stopped},
};

const CONNECTIONS: usize = 64;
/// How many distributions CloudFront lists at once.
const PAGE: usize = 100;

pub async fn measure(world: &World, report: &mut Report) {
    for distributions in [10, 100, 1_000, 5_000] {
        let aws = world.aws(distributions).await;
        let store = Store::new();
        let at = format!("{} distributions", written(float(distributions)));
        let first = started_and_read(&aws, &store.path, distributions).await;
        let cpu = millis(process::cpu(first.pid()).all);
        report.add(&at, "processor time to start and read them", cpu, "ms");
        let resident = process::memory(first.pid()).resident;
        report.add(&at, "resident after the first reading", resident, "MiB");
        stopped(first).await;
        // As it is from then on.
        let service = started_and_read(&aws, &store.path, distributions).await;
        let memory = process::memory(service.pid());
        report.add(&at, "resident after a restart", memory.resident, "MiB");
        report.add(&at, "most ever resident", memory.peak, "MiB");
        let intake = Intake::measure(&service, world.requests(), CONNECTIONS).await;
        report.add(&at, "processor time per message", intake.cpu, "µs");
        let resident = process::memory(service.pid()).resident;
        report.add(&at, "resident after 20,000 messages", resident, "MiB");
        for (name, time) in pages::ask(&service, &MONITORED).await {
            report.add(&at, name, time, "ms");
        }
        stopped(service).await;
    }
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
