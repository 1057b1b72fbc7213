//! What a PostgreSQL takes from one replica and from two, beside one service on SQLite.
//!
//! All share the machine: the replicas, the database and who sends.

use std::sync::Arc;

use crate::{
    numbers::{float, median, per},
    process,
    report::Report,
    sender::{self, Requests},
    support::{
        postgres::{self, Database},
        service::{Service, Setup},
    },
    world::{self, HELD, Store, World, setup, stopped},
};

const ROUNDS: usize = 3;
/// The messages before those that are measured.
const WARM_UP: usize = 200;
/// Connections of each sender: few, and as many as make a database work at its best.
const CONNECTIONS: [usize; 2] = [64, 512];

#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres { replicas: usize },
}

const KINDS: [Kind; 3] = [
    Kind::Sqlite,
    Kind::Postgres { replicas: 1 },
    Kind::Postgres { replicas: 2 },
];

pub async fn measure(world: &World, report: &mut Report) {
    postgres::DURABLE.set(world::directory()).unwrap();
    for connections in CONNECTIONS {
        let mut found = KINDS.map(|_| (Vec::new(), Vec::new()));
        for _ in 0..ROUNDS {
            for (kind, (rates, cpu)) in KINDS.into_iter().zip(&mut found) {
                let Some((rate, spent)) = one_round(world, kind, connections).await else {
                    continue;
                };
                rates.push(rate);
                cpu.push(spent);
            }
        }
        for (kind, (rates, cpu)) in KINDS.into_iter().zip(found) {
            if rates.is_empty() {
                continue;
            }
            let name = match kind {
                Kind::Sqlite => "one service on SQLite".to_owned(),
                Kind::Postgres { replicas } => format!("replicas on PostgreSQL: {replicas}"),
            };
            let at = format!("{name}; connections: {connections}");
            report.add(&at, "durable records", median(rates), "/s");
            report.add(
                &at,
                "processor time of the services per record",
                median(cpu),
                "µs",
            );
        }
    }
}

async fn one_round(world: &World, kind: Kind, connections: usize) -> Option<(f64, f64)> {
    let aws = world.aws(1).await;
    let store = Store::new();
    let mut setups = vec![setup(&aws, &store.path, HELD)];
    // It lasts until the services have ended.
    let mut database = None;
    if let Kind::Postgres { replicas } = kind {
        let new = Database::new().await?;
        setups.clear();
        for _ in 0..replicas {
            // Each has a directory of its own.
            let mut one = setup(&aws, &store.path, HELD);
            one.set_store_url(new.url().to_owned());
            setups.push(one);
        }
        database = Some(new);
    }
    let services = started(&setups).await;
    let (first, requests) = world.requests().split_at(WARM_UP);
    let (first, requests): (Requests, Requests) = (first.into(), requests.into());
    // Who waits for a certificate is bounded.
    send(&services, &first, 1).await;
    let share = connections / services.len();
    let before: Vec<_> = services.iter().map(|one| process::cpu(one.pid())).collect();
    let took = send(&services, &requests, share).await;
    let spent = services
        .iter()
        .zip(before)
        .map(|(one, before)| process::cpu(one.pid()).since(before).all)
        .sum();
    for service in services {
        stopped(service).await;
    }
    drop(database);
    Some((float(requests.len()) / took, per(spent, requests.len())))
}

async fn started(setups: &[Setup]) -> Vec<Service> {
    let mut services = Vec::new();
    for setup in setups {
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        services.push(service);
    }
    services
}

/// Sends each service its part, all at once. Returns the seconds until the last answer.
async fn send(services: &[Service], requests: &Requests, connections: usize) -> f64 {
    let parts = requests.chunks(requests.len().div_ceil(services.len()));
    let sending = services.iter().zip(parts).map(|(service, part)| {
        let part: Requests = Arc::from(part);
        async move { sender::send(&service.url, &part, connections).await }
    });
    let took = futures_util::future::join_all(sending).await;
    took.into_iter().max().unwrap_or_default().as_secs_f64()
}
