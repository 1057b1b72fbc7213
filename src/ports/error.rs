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
    /// The connection was lost during a write: it may have been committed, or not.
    #[error("the store was lost during a write, which may have been kept or not")]
    Unknown {
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A write, or a read, of a leader that leads no more: nothing was written.
    #[error("this process does not lead any more")]
    LeadsNoMore,
    /// A row cannot be read. Waiting does not help; an operator has to repair it.
    #[error("the store has an unreadable row: table {table}, {key}")]
    Corrupt {
        table: &'static str,
        /// The row's key as `column = value`.
        key: String,
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }

    pub fn unknown(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unknown {
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
