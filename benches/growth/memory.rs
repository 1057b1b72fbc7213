//! How much memory and how many threads the service takes, on all processors.

use crate::{
    process::{self, Memory},
    report::Report,
    sender,
    support::service::Service,
    world::{self, HELD, Store, World, setup, started, stopped},
};

const WAITING: usize = 100_000;
/// As operators have it by default, without the daily limit.
const DEFAULTS: &str = "[limits]\npaths_per_day = 0\n";

pub async fn measure(world: &World, report: &mut Report) {
    after_intake(world, report).await;
    while_many_wait(world, report).await;
}

async fn after_intake(world: &World, report: &mut Report) {
    for connections in [64, 256] {
        let aws = world.aws(1).await;
        let store = Store::new();
        let service = started(&setup(&aws, &store.path, HELD)).await;
        world::pause(1_000).await;
        if connections == 64 {
            tell(report, "nothing done since the start", &service);
        }
        sender::send(&service.url, world.requests(), connections).await;
        world::until_mapped(&service, "E1", world.requests().len()).await;
        let at = format!("20,000 messages over {connections} connections");
        tell(report, &at, &service);
        stopped(service).await;
    }
}

/// The service plans while all of that waits: at CloudFront's own pace, most of it stays.
async fn while_many_wait(world: &World, report: &mut Report) {
    let aws = world.aws(1).await;
    let store = Store::new();
    let service = started(&setup(&aws, &store.path, DEFAULTS)).await;
    let requests = sender::crowded(&world.signer, "site", WAITING);
    sender::send(&service.url, &requests, 8).await;
    while sent(&aws) + u64_to_usize(world::waiting(&service, "E1").await) < WAITING {
        world::pause(100).await;
    }
    let calls = aws.cloudfront.calls().len();
    while aws.cloudfront.calls().len() < calls + 2 {
        world::pause(100).await;
    }
    let at = "100,000 waiting, planned at the default limits";
    tell(report, at, &service);
    stopped(service).await;
}

fn sent(aws: &crate::support::aws::FakeAws) -> usize {
    aws.cloudfront.paths("E1").len()
}

fn u64_to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn tell(report: &mut Report, at: &str, service: &Service) {
    let Memory {
        resident,
        peak,
        of_files,
    } = process::memory(service.pid());
    report.add(at, "resident", resident, "MiB");
    report.add(at, "most ever resident", peak, "MiB");
    report.add(at, "of it from the binary and libraries", of_files, "MiB");
    report.add(at, "threads", process::threads(service.pid()), "");
}
