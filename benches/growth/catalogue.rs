//! What many distributions cost: memory, and the processor time of each message.

use crate::{
    numbers::{float, millis, written},
    process,
    report::Report,
    world::{HELD, Intake, Store, World, confined, pause, started, stopped},
};

const CONNECTIONS: usize = 64;

pub async fn measure(world: &World, report: &mut Report) {
    for distributions in [10, 100, 1_000, 5_000] {
        let aws = world.aws(distributions).await;
        let store = Store::new();
        let at = format!("{} distributions", written(float(distributions)));
        let first = started(&confined(&aws, &store.path, HELD)).await;
        pause(1_000).await;
        let resident = process::memory(first.pid()).resident;
        report.add(&at, "resident after the first reading", resident, "MiB");
        let cpu = millis(process::cpu(first.pid()));
        report.add(&at, "processor time to start and read them", cpu, "ms");
        stopped(first).await;
        // As it is from then on.
        let service = started(&confined(&aws, &store.path, HELD)).await;
        pause(3_000).await;
        let memory = process::memory(service.pid());
        report.add(&at, "resident after a restart", memory.resident, "MiB");
        report.add(&at, "most ever resident", memory.peak, "MiB");
        let intake = Intake::measure(&service, world.requests(), CONNECTIONS).await;
        report.add(&at, "processor time per message", intake.cpu, "µs");
        let resident = process::memory(service.pid()).resident;
        report.add(&at, "resident after 20,000 messages", resident, "MiB");
        stopped(service).await;
    }
}
