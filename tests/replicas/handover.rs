//! Who leads, and how another takes over.

use std::time::{Duration, Instant};

use super::Scene;
use crate::support::{
    postgres::Database,
    random_messages::bucket,
    replicas::all_done,
    service::{Service, Setup},
    signer::s3_records,
    wire::Wire,
};

#[tokio::test]
async fn exactly_one_leads_and_every_replica_says_who() {
    let Some(scene) = Scene::set(2, Duration::ZERO).await else {
        return;
    };
    let leader = scene.replicas.leader().await;
    let follower = 1 - leader;
    let follows = scene.replicas.service(follower);
    assert_eq!(follows.metric("purgefront_leader").await, 0);
    eventually!(follows.ready().await.0 == 200);
    let leads = scene.replicas.service(leader);
    let name = format!(":{}", leads.pid());
    for service in [leads, follows] {
        let said = service.ready().await.1["checks"]["leader"].clone();
        assert_eq!(said["state"], "ok", "{said}");
        assert!(said["detail"].as_str().unwrap().contains(&name), "{said}");
    }
}

#[tokio::test]
async fn what_a_follower_accepts_goes_out() {
    let Some(scene) = Scene::set(2, Duration::ZERO).await else {
        return;
    };
    let follower = 1 - scene.replicas.leader().await;
    let service = scene.replicas.service(follower);
    accepts(&scene, service, "a").await;
    all_done(&scene.database).await;
    assert_eq!(scene.aws.cloudfront.paths("E1"), ["/a"]);
    let answer = service.invalidate("E2", &["/b"]).await;
    assert_eq!(answer.status(), 202);
    all_done(&scene.database).await;
    assert_eq!(scene.aws.cloudfront.paths("E2"), ["/b"]);
    scene.holds(2, 0).await;
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed() {
    let Some(mut scene) = Scene::set(2, Duration::ZERO).await else {
        return;
    };
    let leader = scene.replicas.leader().await;
    scene.replicas.kill(leader);
    let began = now();
    accepts(&scene, scene.replicas.service(1 - leader), "a").await;
    eventually!(!scene.aws.cloudfront.calls().is_empty());
    eprintln!(
        "submits {:.1} s after a kill",
        began.elapsed().as_secs_f64()
    );
    all_done(&scene.database).await;
    scene.holds(1, 0).await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let Some(mut scene) = Scene::set(2, Duration::ZERO).await else {
        return;
    };
    let leader = scene.replicas.leader().await;
    scene.replicas.terminate(leader).await;
    // Nobody waits until it expires by itself: its last renewal was less than three seconds ago.
    let valid = "SELECT count(*) FROM leases WHERE epoch = 1 \
                 AND expires_at > extract(epoch FROM clock_timestamp()) * 1000000";
    assert_eq!(scene.database.count(valid).await, 0);
    assert_eq!(scene.replicas.leader().await, 1 - leader);
    scene.holds(0, 0).await;
}

#[tokio::test]
async fn without_its_database_a_replica_refuses_and_says_why() {
    let Some(scene) = Scene::set(2, Duration::ZERO).await else {
        return;
    };
    let leader = scene.replicas.leader().await;
    let service = scene.replicas.service(leader);
    scene.replicas.wire(leader).cut();
    let text = s3_records(&bucket("E1"), &[("ObjectCreated:Put", "a")]);
    let body = scene.signer.notification(&text).body();
    assert_eq!(service.sns(body.clone()).await.status(), 503);
    eventually!(service.ready().await.0 == 503);
    let (_, ready) = service.ready().await;
    assert_eq!(ready["checks"]["store"]["state"], "fail", "{ready}");
    // The other one leads now.
    eventually!(scene.replicas.leader().await == 1 - leader);
    scene.replicas.wire(leader).mend();
    eventually!(service.sns(body.clone()).await.status() == 200);
    eventually!(service.ready().await.0 == 200);
    all_done(&scene.database).await;
    scene.holds(1, 1).await;
}

async fn accepts(scene: &Scene, service: &Service, key: &str) {
    let text = s3_records(&bucket("E1"), &[("ObjectCreated:Put", key)]);
    let answer = service.sns(scene.signer.notification(&text).body()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the services run in real time")]
    Instant::now()
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let Some(database) = Database::new().await else {
        return;
    };
    let wire = Wire::to(database.address()).await;
    wire.cut();
    let mut setup = Setup::alone();
    setup.set_store_url(database.url_at(wire.port));
    let service = setup.spawn();
    eventually!(service.log_text().contains("it is waited for"));
    wire.mend();
    eventually!(service.log_text().contains("server.admin_listen"));
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_password_that_is_wrong_is_not_waited_for() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut setup = Setup::alone();
    setup.set_store_url(
        database
            .url()
            .replace("purgefront@", "nobody-known:hidden@"),
    );
    let (status, said) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("hidden"), "{said}");
}
