//! Takes, renews and ends the lease, on a connection of its own: no write and no read holds it up.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{sync::Mutex, time::timeout};

use super::{
    errors::WriteError,
    leases,
    link::{CONNECT, Link, Work},
};
use crate::ports::{
    StoreError,
    dispatch::Epoch,
    leadership::{Acquisition, LEASE, Leases},
};

/// In a transaction, so that nothing is taken for a process that waits no more: the database would go on waiting
/// for the former leader's transaction, and then roll back.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// How long one may take. Taking the lease waits for what the former leader is writing.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) struct Election(Mutex<Link>);

impl Election {
    pub(super) fn new(link: Link) -> Self {
        Self(Mutex::new(link))
    }

    async fn transact<T: Send>(&self, work: Work<'_, T>) -> Result<T, StoreError> {
        let mut link = self.0.lock().await;
        if !link.is_there() && timeout(CONNECT, link.reopen()).await.is_err() {
            return Err(WriteError::Away.into());
        }
        Ok(link.transact(BEGIN, LIMIT, work).await?)
    }
}

#[async_trait]
impl Leases for Election {
    async fn acquire(&self, holder: &str) -> Result<Acquisition, StoreError> {
        let holder = holder.to_owned();
        let acquire: Work<'_, _> = Box::new(move |connection| {
            Box::pin(async move {
                loop {
                    // Looked at first, because trying to take it waits for the leader's transaction.
                    if let Some(held) = leases::leader(connection).await? {
                        return Ok(Acquisition::Held(held));
                    }
                    if let Some(epoch) = leases::acquire(connection, &holder, LEASE).await? {
                        return Ok(Acquisition::Taken(epoch));
                    }
                }
            })
        });
        self.transact(acquire).await
    }

    async fn renew(&self, epoch: Epoch) -> Result<bool, StoreError> {
        let renew: Work<'_, _> = Box::new(move |connection| {
            Box::pin(async move { Ok(leases::renew(connection, epoch, LEASE).await?) })
        });
        self.transact(renew).await
    }

    async fn release(&self, epoch: Epoch) -> Result<(), StoreError> {
        let release: Work<'_, _> = Box::new(move |connection| {
            Box::pin(async move { Ok(leases::release(connection, epoch).await?) })
        });
        self.transact(release).await
    }
}
