//! Whether intake gets slower, or anything that is asked often, as history gets longer.

use std::path::Path;

use crate::{
    filled::Filled,
    numbers::{float, median, written},
    pages::{self, ALL},
    report::Report,
    support::aws::FakeAws,
    world::{HELD, Intake, Store, World, confined, started, stopped},
};

const SIZES: [usize; 3] = [0, 1_000_000, 10_000_000];
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;

#[derive(Default)]
struct Found {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    in_kernel: Vec<f64>,
    pages: Vec<(&'static str, f64)>,
}

pub async fn measure(world: &World, report: &mut Report) {
    let aws = world.aws(1).await;
    let mut found: [Found; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (size, found) in SIZES.into_iter().zip(&mut found) {
            one_round(world, &aws, size, found).await;
        }
    }
    for (size, found) in SIZES.into_iter().zip(found) {
        let at = format!("{} changes in history", written(float(size)));
        report.add(&at, "messages accepted", median(found.rates), "/s");
        report.add(&at, "processor time per message", median(found.cpu), "µs");
        let in_kernel = median(found.in_kernel);
        report.add(&at, "of it in the kernel", in_kernel, "µs");
        for (name, time) in found.pages {
            report.add(&at, &format!("{name}, median"), time, "ms");
        }
    }
}

async fn one_round(world: &World, aws: &FakeAws, size: usize, found: &mut Found) {
    if size == 0 {
        let store = Store::new();
        intake(world, aws, &store.path, found).await;
    } else {
        let filled = Filled::ready(aws, size).await;
        intake(world, aws, &filled.path, found).await;
        filled.undo().await;
    }
}

async fn intake(world: &World, aws: &FakeAws, store: &Path, found: &mut Found) {
    let service = started(&confined(aws, store, HELD)).await;
    let intake = Intake::measure(&service, world.requests(), CONNECTIONS).await;
    found.rates.push(intake.messages_per_second);
    found.cpu.push(intake.cpu);
    found.in_kernel.push(intake.in_kernel);
    found.pages = pages::ask(&service, &ALL).await;
    stopped(service).await;
}
