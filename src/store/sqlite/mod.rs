//! The store's verbs on SQLite: writes go through the one writer, reads through a small pool.

mod answers;
mod batches;
mod brakes;
mod catalogue;
mod certificates;
mod columns;
mod confirmations;
mod dead_letters;
mod history;
pub(super) mod journal;
mod retention;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{
    ConnectOptions as _, SqlSafeStr as _, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{FileLock, writer::Writer};
use crate::{
    domain::{
        batch::{Backlog, Batch, Usage},
        catalogue::Snapshot,
        change::{Acceptance, Change, NewMessage, NewRequest, Verdict},
        consolidate::Waiting,
        history::{
            DeadLetter, InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
        },
        mapping::Mapping,
        s3_event::ObjectChange,
    },
    health::Health,
    ports::{
        Answer, Brakes, CertificateCache, Clock, ConfirmationResult, Look, Looks,
        PendingConfirmation, Remap, Store, StoreError, Unresolved,
    },
};
use journal::Intake;

/// Reads run beside the writer, and never wait for it.
const READERS: u32 = 4;

/// The store in a local SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    task: JoinHandle<()>,
    _lock: FileLock,
}

impl SqliteStore {
    pub(super) async fn open(
        path: &Path,
        lock: FileLock,
        clock: Arc<dyn Clock>,
        health: Health,
    ) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may lose acknowledged commits when the power goes.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            // Only an operator's own sqlite3 can hold us up; the writer has nothing better to do.
            .busy_timeout(Duration::from_mins(1));
        let mut connection = options.connect().await?;
        migrations()
            .run_direct(None, &mut connection, false)
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            // Not opened read-only: such a connection cannot always join a WAL.
            .connect_lazy_with(
                options
                    .clone()
                    .create_if_missing(false)
                    .pragma("query_only", "true"),
            );
        let (writer, task) = Writer::start(options, connection, Arc::clone(&clock), health);
        Ok(Self {
            writer,
            readers,
            clock,
            task,
            _lock: lock,
        })
    }

    /// Commits what is under way and closes the file.
    pub async fn close(self) {
        let Self {
            writer,
            readers,
            task,
            _lock,
            ..
        } = self;
        readers.close().await;
        drop(writer);
        if let Err(error) = task.await {
            tracing::error!(%error, "the store's writer did not end well");
        }
    }
}

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![migration(
        1,
        "journal",
        include_str!("../migrations/sqlite/0001_journal.sql"),
    )])
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError> {
        self.writer.accept(Intake::Message(message)).await
    }

    async fn accept_request(&self, request: NewRequest) -> Result<(), StoreError> {
        self.writer.accept(Intake::Request(request)).await?;
        Ok(())
    }

    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        Ok(journal::unseen(&self.readers, limit).await?)
    }

    async fn parked_changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        Ok(journal::parked(&self.readers, after, limit).await?)
    }

    async fn record_verdicts(&self, verdicts: Vec<(Change, Verdict)>) -> Result<(), StoreError> {
        self.writer
            .transact(move |connection| Box::pin(journal::record_verdicts(connection, verdicts)))
            .await
    }

    async fn backlogs(&self) -> Result<Vec<(String, Backlog)>, StoreError> {
        Ok(batches::backlogs(&self.readers).await?)
    }

    async fn waiting(
        &self,
        distribution_id: &str,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        Ok(batches::waiting(&self.readers, distribution_id, limit).await?)
    }

    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<(i64, usize)>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let batch = batch.clone();
        self.writer
            .transact(move |connection| {
                Box::pin(batches::freeze(connection, batch, covered, shadow, now))
            })
            .await
    }

    async fn backlog_of(&self, batch: Uuid) -> Result<Option<Backlog>, StoreError> {
        Ok(batches::backlog_of(&self.readers, batch).await?)
    }

    async fn usages(&self) -> Result<Vec<(String, Usage)>, StoreError> {
        Ok(batches::usages(&self.readers).await?)
    }

    async fn brakes(&self) -> Result<Brakes, StoreError> {
        Ok(brakes::read(&self.readers).await?)
    }

    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError> {
        let id = distribution_id.map(str::to_owned);
        self.writer
            .transact(move |connection| Box::pin(brakes::set_paused(connection, id, paused)))
            .await
    }

    async fn sent_on(&self, day: i64) -> Result<(u64, bool), StoreError> {
        Ok(brakes::sent_on(&self.readers, day).await?)
    }

    async fn lift_limit(&self, day: i64) -> Result<(), StoreError> {
        self.writer
            .transact(move |connection| Box::pin(brakes::lift_limit(connection, day)))
            .await
    }

    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError> {
        Ok(batches::unresolved(&self.readers).await?)
    }

    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .transact(move |connection| Box::pin(batches::record_attempt(connection, batch, now)))
            .await
    }

    async fn record_answer(
        &self,
        batch: Uuid,
        answer: Answer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .transact(move |connection| Box::pin(answers::record(connection, batch, answer, now)))
            .await
    }

    async fn due_looks(&self, now: Timestamp, limit: usize) -> Result<Looks, StoreError> {
        Ok(batches::due_looks(&self.readers, now, limit).await?)
    }

    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError> {
        Ok(batches::is_ours(&self.readers, cloudfront_id).await?)
    }

    async fn record_look(&self, batch: Uuid, look: Look, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .transact(move |connection| {
                Box::pin(batches::record_look(connection, batch, look, now))
            })
            .await
    }

    async fn catalogue(&self) -> Result<Option<Snapshot>, StoreError> {
        Ok(catalogue::read(&self.readers).await?)
    }

    async fn keep_catalogue(&self, snapshot: &Snapshot, late: &[String]) -> Result<(), StoreError> {
        let (snapshot, late) = (snapshot.clone(), late.to_vec());
        self.writer
            .transact(move |connection| Box::pin(catalogue::keep(connection, snapshot, late)))
            .await
    }

    async fn remap(&self) -> Result<Option<Remap>, StoreError> {
        Ok(catalogue::remap(&self.readers).await?)
    }

    async fn changes_of(&self, remap: &Remap, limit: usize) -> Result<Vec<Change>, StoreError> {
        Ok(catalogue::changes_of(&self.readers, remap, limit).await?)
    }

    async fn record_remap(
        &self,
        remap: &Remap,
        mapped: Vec<(Change, Mapping)>,
    ) -> Result<(), StoreError> {
        let remap = remap.clone();
        self.writer
            .transact(move |connection| {
                Box::pin(catalogue::record_remap(connection, remap, mapped))
            })
            .await
    }

    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError> {
        Ok(confirmations::pending(&self.readers).await?)
    }

    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError> {
        let confirmation = confirmation.clone();
        self.writer
            .transact(move |connection| {
                Box::pin(confirmations::record(connection, confirmation, result))
            })
            .await
    }

    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError> {
        Ok(confirmations::ended(&self.readers).await?)
    }

    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError> {
        Ok(dead_letters::count(&self.readers, most).await?)
    }

    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        Ok(dead_letters::list(&self.readers, before, limit).await?)
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        Ok(dead_letters::one(&self.readers, id).await?)
    }

    async fn replay_item(&self, id: i64) -> Result<bool, StoreError> {
        self.writer
            .transact(move |connection| Box::pin(dead_letters::replay_item(connection, id)))
            .await
    }

    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError> {
        let now = self.clock.now();
        self.writer
            .transact(move |connection| {
                Box::pin(dead_letters::replay_record(connection, id, change, now))
            })
            .await
    }

    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError> {
        self.writer
            .transact(move |connection| Box::pin(dead_letters::drop_one(connection, id)))
            .await
    }

    async fn prune(&self, cutoff: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .transact(move |connection| Box::pin(retention::prune(connection, cutoff)))
            .await
    }

    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError> {
        Ok(history::request(&self.readers, id).await?)
    }

    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError> {
        Ok(history::invalidations(&self.readers, query).await?)
    }

    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError> {
        Ok(history::invalidation(&self.readers, id).await?)
    }
}

#[async_trait]
impl CertificateCache for SqliteStore {
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError> {
        Ok(certificates::read(&self.readers, url).await?)
    }

    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError> {
        let (url, pem) = (url.to_owned(), pem.to_owned());
        let now = self.clock.now();
        self.writer
            .transact(move |connection| Box::pin(certificates::keep(connection, url, pem, now)))
            .await
    }
}
