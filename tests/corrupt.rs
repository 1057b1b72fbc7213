//! A row that cannot be read is a failure that names it, not an endless retry. SQLite-only: the
//! rows are spoiled in the file.

use std::{path::Path, sync::Arc, time::Duration};

use purgefront::{
    dispatch::Settings,
    domain::{
        batch::{Batch, BatchStatus},
        history::InvalidationQuery,
        path::Item,
    },
    ports::{Clock as _, history::HistoryStore as _},
};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{
    aws::FakeAws,
    clock::VirtualClock,
    cloudfront::Distribution,
    inside::{Inside, settings},
    service::{Service, Setup},
    signer::{Signer, s3_records},
    simulated::Simulated,
    simulation::{Input, World, nature},
    until,
};

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    for id in ["E1", "E2"] {
        let bucket = format!("bucket-{}", id.to_lowercase());
        aws.cloudfront.put(Distribution::of(id, &bucket));
    }
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

async fn upload(service: &Service, signer: &Signer, bucket: &str, key: &str) {
    let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
    let answer = service.sns(signer.notification(&text).body()).await;
    assert_eq!(answer.status(), 200);
}

async fn spoil(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    let spoilt = sqlx::query(sql).execute(&mut store).await.unwrap();
    assert_eq!(spoilt.rows_affected(), 1);
}

/// What readiness says of unreadable rows, once it says something.
async fn told(service: &Service) -> (u16, Value) {
    eventually!(service.ready().await.1["checks"]["unreadable_rows"]["state"] == "fail");
    let (status, body) = service.ready().await;
    (status, body["checks"]["unreadable_rows"]["detail"].clone())
}

#[tokio::test]
async fn a_waiting_item_that_cannot_be_read_is_named_and_holds_up_no_other_distribution() {
    let (aws, signer, setup) = prepared().await;
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let admin = ["--admin-url", &service.admin_url];
    let pause = [&["pause"], &admin[..]].concat();
    assert_eq!(setup.run(&pause).0, Some(0));
    upload(&service, &signer, "bucket-e1", "a").await;
    eventually!(
        service
            .metric("purgefront_waiting_items{distribution_id=\"E1\"}")
            .await
            == 1
    );
    spoil(setup.store(), "UPDATE targets SET item = 'no path'").await;
    let resume = [&["resume"], &admin[..]].concat();
    assert_eq!(setup.run(&resume).0, Some(0));
    let (status, detail) = told(&service).await;
    assert_eq!(status, 200, "the store still takes everything in");
    let detail = detail.as_str().unwrap();
    assert!(detail.contains("E1: "), "{detail}");
    assert!(detail.contains("table targets, seq = 1"), "{detail}");
    upload(&service, &signer, "bucket-e2", "b").await;
    until("the other", || {
        (aws.cloudfront.paths("E2") == ["/b"]).then_some(())
    })
    .await;
    // It is not tried again and again.
    let complaints = service.log_text().matches("unreadable row").count();
    assert!(complaints < 5, "{complaints} complaints");
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_named() {
    let (aws, signer, setup) = prepared().await;
    // Without a catalogue, the change waits in the journal.
    aws.cloudfront.set_down(true);
    let service = setup.start().await;
    upload(&service, &signer, "bucket-e1", "a").await;
    spoil(setup.store(), "UPDATE changes SET bucket = NULL").await;
    aws.cloudfront.set_down(false);
    let (status, detail) = told(&service).await;
    assert_eq!(status, 200);
    let detail = detail.as_str().unwrap();
    assert!(
        detail.contains("mapper: ") && detail.contains("table changes, seq = 1"),
        "{detail}"
    );
}

/// After a store error, a distribution looks for batches that it may have forgotten. In shadow mode,
/// one that was left by live mode is none of them.
#[tokio::test]
async fn shadow_mode_sends_nothing_after_a_store_error_either() {
    let clock = Arc::new(VirtualClock::new());
    let cdn = Arc::new(Simulated::new(Arc::clone(&clock), nature(&["E1"]), 1));
    let settings = Settings {
        shadow: true,
        ..settings()
    };
    let inside = Inside::start(Arc::clone(&clock) as _, Arc::clone(&cdn) as _, settings).await;
    let world = World::of(clock, cdn, inside);
    let left = Batch::new("E1", vec![Item::parse("/left").unwrap()]);
    let frozen = world
        .inside
        .leader
        .freeze(&left, Vec::new(), false, world.clock.now());
    frozen.await.unwrap();
    let input = Input::Events("E1".to_owned(), vec!["new".to_owned()]);
    let waits = |world: &World| {
        let status = world.inside.status.borrow();
        let one = status.distributions.get("E1");
        one.is_some_and(|one| !one.waiting.is_empty())
    };
    let hour = Duration::from_hours(1);
    world.play(&[(Duration::ZERO, input)], hour, waits).await;
    let file = world.inside.home.path().join("purgefront.db");
    spoil(&file, "UPDATE targets SET item = 'no path'").await;
    let unreadable = |world: &World| !world.inside.finding("unreadable_rows").is_empty();
    world.play(&[], hour, unreadable).await;
    spoil(&file, "UPDATE targets SET item = '/new'").await;
    world.play(&[], hour, |world| !waits(world)).await;
    let query = InvalidationQuery {
        limit: 10,
        ..InvalidationQuery::default()
    };
    let batches = world.inside.store.invalidations(&query).await.unwrap();
    let statuses: Vec<_> = batches.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [BatchStatus::Shadowed, BatchStatus::Pending]);
    assert!(world.cdn.log().is_empty(), "{:?}", world.cdn.log());
    world.end().await;
}
