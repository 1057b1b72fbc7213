//! Rolling upgrades: two builds on one database.
//!
//! `PURGEFRONT_PREVIOUS=path` names the binary of an earlier build, which is then replaced, one replica
//! after the other, under load; otherwise this build plays both parts.

use std::{sync::Arc, time::Duration};

use super::Scene;
use crate::support::{
    random_messages::message,
    replicas::{all_done, send},
    service::program,
    text,
};

const MESSAGES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_replaced_one_by_one_under_load() {
    let Some(mut scene) = Scene::set(2, Duration::from_millis(100)).await else {
        return;
    };
    if let Some(previous) = text("PURGEFRONT_PREVIOUS") {
        for one in 0..scene.replicas.count() {
            scene.replicas.terminate(one).await;
            scene.replicas.set_program(one, &previous);
            scene.replicas.start_one(one).await;
        }
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut changes = 0;
    let bodies: Vec<_> = (0..MESSAGES)
        .map(|_| message(&scene.signer, &mut random, &mut changes))
        .collect();
    let addresses = Arc::clone(&scene.replicas.addresses);
    let sender = tokio::spawn(send(addresses, bodies, Duration::from_millis(10)));
    for one in 0..scene.replicas.count() {
        scene.replicas.terminate(one).await;
        scene.replicas.set_program(one, &program());
        scene.replicas.start_one(one).await;
    }
    sender.await.unwrap();
    all_done(&scene.database).await;
    scene.holds(changes, 4).await;
}
