//! Whether intake gets slower, or anything that is asked often, as history gets longer.

use std::time::Instant;

use crate::{
    filled::Filled,
    numbers::{median, millis, written},
    report::Report,
    support::{
        aws::FakeAws,
        service::{Service, TOKEN},
    },
    world::{self, HELD, Intake, Store, World, confined, started, stopped},
};

const SIZES: [usize; 3] = [0, 1_000_000, 10_000_000];
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;
/// How often each page is asked for.
const ASKED: usize = 15;

/// What operators and their monitoring ask, where, and of what.
const PAGES: [(&str, bool, &str); 6] = [
    ("readyz", true, "/readyz"),
    ("metrics", true, "/metrics"),
    ("status page", true, "/"),
    ("list of invalidations", false, "/invalidations"),
    (
        "list of failed invalidations",
        false,
        "/invalidations?status=failed",
    ),
    (
        "story of one object",
        false,
        "/changes?bucket=site&key=pages/0000/page-17.html",
    ),
];

#[derive(Default)]
struct Found {
    rates: Vec<f64>,
    cpu: Vec<f64>,
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
        let at = format!(
            "{} changes in history",
            written(crate::numbers::float(size))
        );
        report.add(&at, "messages accepted", median(found.rates), "/s");
        report.add(&at, "processor time per message", median(found.cpu), "µs");
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

async fn intake(world: &World, aws: &FakeAws, store: &std::path::Path, found: &mut Found) {
    let service = started(&confined(aws, store, HELD)).await;
    let intake = Intake::measure(&service, world.requests(), CONNECTIONS).await;
    found.rates.push(intake.messages_per_second);
    found.cpu.push(intake.cpu);
    found.pages = pages(&service).await;
    stopped(service).await;
}

async fn pages(service: &Service) -> Vec<(&'static str, f64)> {
    let mut pages = Vec::new();
    for (name, admin, path) in PAGES {
        let base = if admin {
            &service.admin_url
        } else {
            &service.url
        };
        let url = format!("{base}{path}");
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begin = Instant::now();
            let answer = service.client.get(&url).bearer_auth(TOKEN).send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            answer.bytes().await.unwrap();
            times.push(millis(begin.elapsed()));
        }
        pages.push((name, median(times)));
        world::pause(1).await;
    }
    pages
}
