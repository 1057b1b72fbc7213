//! Logs what holds work back when it begins and ends: pauses, shadow mode, the daily limit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::runner::Worker;
use crate::{
    domain::status::{Announcement, Status},
    ports::StoreError,
};

/// Follows the status. What it reports at first was there before the start.
pub(super) struct Announcer {
    status: watch::Receiver<Status>,
    /// What was last announced, by check.
    known: BTreeMap<&'static str, String>,
}

impl Announcer {
    pub(super) fn new(status: watch::Receiver<Status>) -> Self {
        Self {
            status,
            known: BTreeMap::new(),
        }
    }

    fn announce(&mut self, now: Vec<Announcement>) {
        for Announcement {
            check,
            stage,
            detail,
        } in now
        {
            let before = self.known.get(check);
            match detail {
                Some(detail) if before != Some(&stage) => {
                    tracing::warn!(check, %detail, "needs attention");
                    self.known.insert(check, stage);
                }
                None if before.is_some() => {
                    tracing::info!(check, "needs no more attention");
                    self.known.remove(check);
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Worker for Announcer {
    fn name(&self) -> &'static str {
        "announcer"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.status.borrow_and_update().announcements();
        self.announce(now);
        Ok(None)
    }

    async fn woken(&mut self) {
        if self.status.changed().await.is_err() {
            // Nobody reports any more: the process ends.
            std::future::pending::<()>().await;
        }
    }
}
