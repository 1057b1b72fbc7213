//! What is left of a session in PostgreSQL when something in it was broken off: nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "the database answers in real time"
)]

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::poll;
use purgefront::{
    domain::change::{Content, NewMessage},
    ports::{
        Clock as _, history::HistoryStore as _, intake::IntakeStore as _,
        operations::OperationsStore as _,
    },
    shutdown::Tasks,
    store::{self, PostgresStore},
    telemetry::{CheckState, Health},
};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::support::{clock::VirtualClock, postgres::Database, signer::TOPIC};

const WAITS: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event_type = 'Lock'";
const CANCEL: &str = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

async fn open(database: &Database) -> (Arc<PostgresStore>, Health) {
    let health = Health::default();
    let clock = Arc::new(VirtualClock::new());
    let opened =
        store::open_postgres(database.url(), clock, health.clone(), Tasks::default()).await;
    (Arc::new(opened.unwrap()), health)
}

fn message() -> NewMessage {
    let now = VirtualClock::new().now();
    NewMessage {
        message_id: Uuid::new_v4(),
        signed_at: now,
        topic: TOPIC.parse().unwrap(),
        accepted_at: now,
        content: Content::Notification {
            changes: Vec::new(),
            dead: Vec::new(),
        },
    }
}

/// Holds the lock of a row until it is told to end.
async fn hold(connection: &mut PgConnection, row: &'static str) {
    sqlx::raw_sql("BEGIN")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(row).execute(&mut *connection).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_was_not_given_fails_one_write_and_none_after_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (process, health) = open(&database).await;
    let mut other = database.connect().await;
    for row in [
        "SELECT 1 FROM journal FOR UPDATE",
        "SELECT 1 FROM turn FOR UPDATE",
    ] {
        hold(&mut other, row).await;
        let writer = Arc::clone(&process);
        let is_intake = row.contains("journal");
        let write = tokio::spawn(async move {
            if is_intake {
                writer.accept_message(message()).await.map(drop)
            } else {
                writer.set_paused(None, true).await
            }
        });
        eventually!(database.count(WAITS).await == 1);
        assert_eq!(database.count(CANCEL).await, 1);
        assert!(write.await.unwrap().is_err(), "{row}");
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        process.accept_message(message()).await.unwrap();
        process.set_paused(None, false).await.unwrap();
        assert_eq!(health.checks()[store::HEALTH].state, CheckState::Ok);
    }
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_read_that_was_given_up_leaves_no_old_state_behind() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (process, _) = open(&database).await;
    let today = "2026-01-01".parse().unwrap();
    for round in 0..200 {
        {
            let mut read = pin!(process.invalidation("unknown"));
            // As far as it comes in so many looks, which is different each time.
            for _ in 0..round % 10 {
                if poll!(&mut read).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(20)).await;
            }
        }
        let paused = round % 2 == 0;
        process.set_paused(None, paused).await.unwrap();
        let controls = process.controls(today).await.unwrap();
        assert_eq!(controls.pauses.all, paused, "in round {round}");
    }
}
