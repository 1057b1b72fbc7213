//! Why the store did not do what it was asked.

use std::{error::Error, sync::Arc};

/// An error of the store. Clones share their source: one failed commit may answer many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot take or give anything now: a full disk, an I/O error, a lock. Later it may.
    #[error("the store is not available")]
    Unavailable {
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// It holds a row that cannot be read. Waiting does not mend it: an operator has to.
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
    /// The store cannot answer now, for this reason.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }

    /// This row cannot be read.
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

    /// Whether waiting does not mend it.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}
