//! Classifies SQLite's errors.

use crate::ports::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Self::corrupt("unknown", "no key", error)
            }
            _ => Self::unavailable(error),
        }
    }
}

/// Whether the disk is at fault, not a statement, by SQLite's primary result codes: READONLY, IOERR,
/// CORRUPT, FULL, CANTOPEN, NOTADB. Without a code, the connection itself is gone.
pub(super) fn is_disk_fault(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .is_none_or(|code| matches!(code & 0xff, 8 | 10 | 11 | 13 | 14 | 26)),
        sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            false
        }
        _ => true,
    }
}
