//! The workers' write access to the status.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::status::{Status, WorkerFailure};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StatusBoard(Arc<watch::Sender<Status>>);

impl StatusBoard {
    pub(super) fn new(status: Arc<watch::Sender<Status>>) -> Self {
        Self(status)
    }

    /// Changes the status. Subscribers are notified only if it differs afterwards.
    pub(super) fn update(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    pub(super) fn worker_succeeded(&self, name: &'static str) {
        let failed = self.0.borrow().workers.contains_key(name);
        if failed {
            self.update(|status| drop(status.workers.remove(name)));
        }
    }

    pub(super) fn worker_failed(&self, name: &'static str, failure: WorkerFailure) {
        self.update(|status| drop(status.workers.insert(name, failure)));
    }
}
