//! Thousands of changes while leaders are killed, frozen and cut off, and CloudFront misbehaves.
//!
//! One seed fixes the inputs and the schedule of faults. `CHAOS_SEEDS=20` plays more of them,
//! `CHAOS_SEED=7` one alone. It runs in real time: about a minute and a half a seed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Scene;
use crate::support::{
    Patience, number,
    random_messages::message,
    replicas::{all_done, left, send, wait},
};

const REPLICAS: usize = 3;
const MESSAGES: usize = 1_500;
const SENDERS: usize = 16;
const FAULTS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_whoever_leads() {
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
    let completes_after = Duration::from_millis(random.u64(1..2_000));
    let Some(mut scene) = Scene::set(REPLICAS, completes_after).await else {
        return;
    };
    let mut changes = 0;
    let bodies: Vec<_> = (0..MESSAGES)
        .map(|_| message(&scene.signer, &mut random, &mut changes))
        .collect();
    scene.aws.cloudfront.set_chaos(Some(seed));
    let senders: Vec<_> = bodies
        .chunks(MESSAGES.div_ceil(SENDERS))
        .map(|share| {
            let addresses = Arc::clone(&scene.replicas.addresses);
            tokio::spawn(send(addresses, share.to_vec(), Duration::from_millis(300)))
        })
        .collect();
    // A fault ends a term, and its end may end another.
    let leaders = 1 + 2 * FAULTS;
    for _ in 0..FAULTS {
        wait(Duration::from_millis(random.u64(200..2_000))).await;
        strike(&mut scene, &mut random).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    scene.aws.cloudfront.set_chaos(None);
    all_done(&scene.database).await;
    let leader = scene.replicas.leader().await;
    let service = scene.replicas.service(leader);
    let dead = service.metric("purgefront_dead_letters").await;
    assert_eq!(dead, 0, "nothing became a dead letter");
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for call in scene.aws.cloudfront.calls() {
        *answers.entry(call.answer).or_default() += 1;
    }
    eprintln!("{changes} changes, {leaders} leaders at most, calls: {answers:?}");
    scene.holds(changes, leaders).await;
}

/// Does something to one replica, most often to the one that leads.
async fn strike(scene: &mut Scene, random: &mut fastrand::Rng) {
    let leader = scene.replicas.leader().await;
    let one = if random.u8(0..4) > 0 {
        leader
    } else {
        random.usize(0..REPLICAS)
    };
    let replicas = &mut scene.replicas;
    match random.u8(0..6) {
        0 | 1 => {
            eprintln!("kills {one} ({leader} leads)");
            replicas.kill(one);
            if one == leader {
                follows(scene, "a kill").await;
            }
            scene.replicas.start_one(one).await;
        }
        2 => {
            eprintln!("freezes {one} ({leader} leads)");
            replicas.freeze(one);
            // Beyond the life of the lease.
            wait(Duration::from_millis(random.u64(3_500..7_000))).await;
            replicas.thaw(one);
        }
        3 => {
            eprintln!("cuts off {one} ({leader} leads)");
            replicas.wire(one).cut();
            wait(Duration::from_millis(random.u64(100..5_000))).await;
            replicas.wire(one).mend();
        }
        4 => {
            eprintln!("stalls the wire of {one} ({leader} leads)");
            replicas.wire(one).stall();
            wait(Duration::from_millis(random.u64(100..7_000))).await;
            replicas.wire(one).mend();
        }
        _ => {
            eprintln!("stops {one} ({leader} leads)");
            replicas.terminate(one).await;
            replicas.start_one(one).await;
        }
    }
}

/// Waits for the first call of the next leader, and says how long that took.
async fn follows(scene: &Scene, after: &str) {
    let before = scene.aws.cloudfront.calls().len();
    let began = now();
    let patience = Patience::new();
    while scene.aws.cloudfront.calls().len() == before {
        if left(&scene.database).await == 0 {
            return;
        }
        patience.pause("another leader submits").await;
    }
    eprintln!(
        "submits again {:.1} s after {after}",
        began.elapsed().as_secs_f64()
    );
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the services run in real time")]
    Instant::now()
}
