//! Errors of the store.

use std::{error::Error, sync::Arc};

/// Clones share their source, because one failed commit may be the answer to many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Temporary: a full disk, an I/O error, a lock.
    #[error("the store is not available")]
    Unavailable {
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A row cannot be read. Waiting does not help; an operator has to repair it.
    #[error("the store has an unreadable row: table {table}, {key}")]
    Corrupt {
        table: &'static str,
        /// The row's key as `column = value`.
        key: String,
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Nothing was written: another process leads, or none does.
    #[error("this process no longer leads")]
    NotLeading,
}

impl StoreError {
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }

    pub fn corrupt(
        table: &'static str,
        key: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt {
            table,
            key: key.into(),
            source: source.into().into(),
        }
    }

    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}
