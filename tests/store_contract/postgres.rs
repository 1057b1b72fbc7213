//! The contract's store in a PostgreSQL database.

use std::sync::Arc;

use async_trait::async_trait;
use purgefront::{
    domain::notice::{MOST_WAITING, NoticeKind, NoticeTarget, Undelivered},
    ports::{Clock, dispatch::Epoch},
    shutdown::Tasks,
    store::{self, PostgresStore},
    telemetry::Health,
};

use super::{OpenStore, Place};
use crate::support::{clock::VirtualClock, postgres::Database};

pub(super) struct TemporaryDatabase(Database);

#[async_trait]
impl Place for TemporaryDatabase {
    async fn new() -> Option<Self> {
        Database::new().await.map(Self)
    }

    async fn another(&self) -> Box<dyn Place> {
        Box::new(Self::new().await.unwrap())
    }

    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn OpenStore> {
        let url = self.0.url();
        let opened = store::open_postgres(url, clock, Health::default(), Tasks::default()).await;
        let store = opened.unwrap();
        self.0.lead().await;
        Arc::new(store)
    }
}

#[async_trait]
impl OpenStore for PostgresStore {
    async fn close(&self) {
        PostgresStore::close(self).await;
    }
}

/// So many that they are not put in through the ports.
#[tokio::test]
async fn the_oldest_notices_are_dropped_where_too_many_wait_for_a_target() {
    let Some(place) = TemporaryDatabase::new().await else {
        return;
    };
    let clock = Arc::new(VirtualClock::new());
    let now = clock.now();
    let leader = place.open(clock).await.lead(Epoch(1));
    let target = |key: &str| NoticeTarget {
        key: key.to_owned(),
        origin: String::new(),
        kinds: NoticeKind::ALL.into(),
        distributions: None,
    };
    let targets = [target("full"), target("other")];
    leader.set_notice_targets(&targets).await.unwrap();
    let fill = "INSERT INTO notices (seq, id, target, body, created_at, due_at) \
                SELECT nth, gen_random_uuid(), CASE WHEN nth <= 10 THEN 'other' ELSE 'full' END, '', $2, $2 \
                FROM generate_series(1, $1) AS nth";
    let mut database = place.0.connect().await;
    sqlx::query(fill)
        .bind(i64::try_from(MOST_WAITING).unwrap() + 13)
        .bind(now.as_microsecond())
        .execute(&mut database)
        .await
        .unwrap();
    let dropped = leader.drop_undelivered(now).await.unwrap();
    let expected = Undelivered {
        given_up: 0,
        surplus: 3,
    };
    assert_eq!(dropped, expected);
    let first = leader.due_notices("full", now, 1).await.unwrap();
    assert_eq!(first[0].seq, 14);
    let others = leader.due_notices("other", now, 100).await.unwrap();
    assert_eq!(others.len(), 10);
}
