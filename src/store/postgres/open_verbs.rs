//! The ports that do not need the leader: intake, operations, history, catalogue, certificates.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::{
    PostgresStore, catalogue, certificates, confirmations, controls, dead_letters, figures,
    history, holds, leader::PostgresLeader, patience::within, stories, wants,
};
use crate::{
    domain::{
        catalogue::Revision,
        change::{Acceptance, Idempotency, NewMessage, NewRequest, RequestAcceptance},
        history::{
            DeadLetter, InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
        },
        hold::{DeployHold, HoldAcceptance},
        operations::Controls,
        preview::Missing,
        propagation::Completion,
        s3_event::ObjectChange,
        story::{ChangeQuery, StoryPage},
        topic::TopicArn,
    },
    ports::{
        CertificateCache, StoreError,
        catalogue::{CatalogueStore, CatalogueWants, KeptCatalogue, Wanted},
        dispatch::{DispatchStore, Epoch, LeaderStore},
        history::HistoryStore,
        intake::IntakeStore,
        operations::OperationsStore,
    },
};

/// How long a worker waits for what it reads: a connection that was cut silently never answers.
const READ: Duration = Duration::from_secs(30);

#[async_trait]
impl IntakeStore for PostgresStore {
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError> {
        self.database.writer.accept_message(message).await
    }

    async fn accept_request(&self, request: NewRequest) -> Result<RequestAcceptance, StoreError> {
        self.database.writer.accept_request(request).await
    }
}

impl LeaderStore for PostgresStore {
    /// Its writes fail unless the lease has this epoch.
    fn lead(&self, epoch: Epoch) -> Arc<dyn DispatchStore> {
        Arc::new(PostgresLeader::new(self.database.clone(), epoch))
    }
}

#[async_trait]
impl CatalogueStore for PostgresStore {
    async fn kept_catalogue(
        &self,
        known: Option<Revision>,
    ) -> Result<Option<KeptCatalogue>, StoreError> {
        let read = within(READ, catalogue::read(&self.database.readers, known)).await;
        read.unwrap_or_else(|| Err(StoreError::unavailable("the database does not answer")))
    }
}

#[async_trait]
impl CatalogueWants for PostgresStore {
    async fn want(&self, missing: Missing) -> Result<(), StoreError> {
        self.database
            .writer
            .transact(move |connection| Box::pin(wants::want(connection, missing)))
            .await
    }

    async fn take_wanted(&self) -> Result<Wanted, StoreError> {
        self.database
            .writer
            .transact(|connection| Box::pin(wants::take(connection)))
            .await
    }
}

#[async_trait]
impl OperationsStore for PostgresStore {
    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError> {
        let id = distribution_id.map(str::to_owned);
        self.database
            .writer
            .transact(move |connection| Box::pin(controls::set_paused(connection, id, paused)))
            .await
    }

    async fn create_hold(
        &self,
        hold: DeployHold,
        idempotency: Option<Idempotency>,
    ) -> Result<HoldAcceptance, StoreError> {
        self.database
            .writer
            .transact(move |connection| Box::pin(holds::create(connection, hold, idempotency)))
            .await
    }

    async fn holds(&self) -> Result<Vec<DeployHold>, StoreError> {
        holds::read(&self.database.readers).await
    }

    async fn end_hold(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        self.database
            .writer
            .transact(move |connection| Box::pin(holds::end(connection, id, now)))
            .await
    }

    async fn controls(&self, day: Date) -> Result<Controls, StoreError> {
        controls::read(&self.database.readers, day).await
    }

    async fn spent(&self, first: Date, last: Date) -> Result<u64, StoreError> {
        Ok(figures::spent(&self.database.readers, first, last).await?)
    }

    async fn end_backoffs(
        &self,
        distribution_id: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = distribution_id.map(str::to_owned);
        self.database
            .writer
            .transact(move |connection| Box::pin(controls::end_backoffs(connection, id, now)))
            .await
    }

    async fn lift_limit(&self, day: Date) -> Result<(), StoreError> {
        self.database
            .writer
            .transact(move |connection| Box::pin(controls::lift_limit(connection, day)))
            .await
    }

    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError> {
        Ok(dead_letters::count(&self.database.readers, most).await?)
    }

    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        dead_letters::list(&self.database.readers, before, limit).await
    }

    async fn dead_letters_because(
        &self,
        why: &str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        dead_letters::because(&self.database.readers, why, before, limit).await
    }

    async fn count_dead_letters_because(
        &self,
        why: &str,
        before: Option<i64>,
        most: usize,
    ) -> Result<u64, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        Ok(dead_letters::count_because(&self.database.readers, why, before, most).await?)
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        dead_letters::one(&self.database.readers, id).await
    }

    async fn replay_item(&self, id: i64) -> Result<bool, StoreError> {
        self.database
            .writer
            .transact(move |connection| Box::pin(dead_letters::replay_item(connection, id)))
            .await
    }

    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError> {
        let now = self.database.clock.now();
        self.database
            .writer
            .transact(move |connection| {
                Box::pin(dead_letters::replay_record(connection, id, change, now))
            })
            .await
    }

    async fn drop_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        let ids = ids.to_vec();
        self.database
            .writer
            .transact(move |connection| {
                Box::pin(async move { dead_letters::drop_all(connection, &ids).await })
            })
            .await
    }

    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError> {
        Ok(self.drop_dead_letters(&[id]).await? > 0)
    }
}

#[async_trait]
impl HistoryStore for PostgresStore {
    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError> {
        history::request(&self.database.readers, id).await
    }

    async fn is_settled(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(history::is_settled(&self.database.readers, id).await?)
    }

    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError> {
        history::invalidations(&self.database.readers, query).await
    }

    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError> {
        history::invalidation(&self.database.readers, id).await
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<StoryPage, StoreError> {
        stories::changes(&self.database.readers, query).await
    }

    async fn has_subscription(&self, topic: &TopicArn) -> Result<bool, StoreError> {
        Ok(confirmations::has_subscription(&self.database.readers, topic).await?)
    }

    async fn given_up_confirmation(&self, topic: &TopicArn) -> Result<Option<String>, StoreError> {
        Ok(confirmations::given_up(&self.database.readers, topic).await?)
    }

    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError> {
        Ok(confirmations::ended(&self.database.readers).await?)
    }

    async fn last_notifications(&self) -> Result<Vec<(String, Timestamp)>, StoreError> {
        Ok(history::last_notifications(&self.database.readers).await?)
    }

    async fn completions(
        &self,
        distributions: &[String],
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<Completion>, StoreError> {
        figures::completions(&self.database.readers, distributions, since, most).await
    }

    async fn last_completed(
        &self,
        distributions: &[String],
    ) -> Result<HashMap<String, Timestamp>, StoreError> {
        figures::last_completed(&self.database.readers, distributions).await
    }

    async fn silent_since(&self) -> Result<Timestamp, StoreError> {
        Ok(history::silent_since(&self.database.readers).await?)
    }
}

#[async_trait]
impl CertificateCache for PostgresStore {
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError> {
        Ok(certificates::read(&self.database.readers, url).await?)
    }

    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError> {
        let (url, pem) = (url.to_owned(), pem.to_owned());
        let now = self.database.clock.now();
        self.database
            .writer
            .transact(move |connection| Box::pin(certificates::keep(connection, url, pem, now)))
            .await
    }
}
