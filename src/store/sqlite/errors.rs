//! Classifies SQLite's errors.

use crate::ports::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => Self::corrupt("unknown", "no key", error),
            _ => Self::unavailable(error),
        }
    }
}

/// An error of a write, by either library.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Sqlx(#[from] sqlx::Error),
    #[error(transparent)]
    Rusqlite(#[from] rusqlite::Error),
}

impl WriteError {
    /// Whether the disk is at fault, not a statement. Without a code of SQLite, the connection itself is
    /// gone.
    pub(super) fn is_disk_fault(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => error
                .code()
                .and_then(|code| code.parse().ok())
                .is_none_or(is_of_the_disk),
            Self::Sqlx(
                sqlx::Error::Io(_)
                | sqlx::Error::PoolClosed
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed,
            ) => true,
            Self::Rusqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                is_of_the_disk(error.extended_code)
            }
            // Anything else is a statement's or a row's fault, and the next statement may be right.
            _ => false,
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Sqlx(error) => error.into(),
            WriteError::Rusqlite(error) => error.into(),
        }
    }
}

/// Whether a result code of SQLite has one of these as its primary code: READONLY, IOERR, CORRUPT, FULL,
/// CANTOPEN, NOTADB.
fn is_of_the_disk(code: i32) -> bool {
    matches!(code & 0xff, 8 | 10 | 11 | 13 | 14 | 26)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_statement_is_no_fault_of_the_disk() {
        let is_disk_fault = |error| WriteError::Sqlx(error).is_disk_fault();
        assert!(!is_disk_fault(sqlx::Error::ColumnNotFound("x".to_owned())));
        assert!(!is_disk_fault(sqlx::Error::RowNotFound));
        assert!(is_disk_fault(sqlx::Error::WorkerCrashed));
        let gone = std::io::Error::other("gone");
        assert!(is_disk_fault(sqlx::Error::Io(gone)));
    }

    #[test]
    fn both_libraries_tell_a_fault_of_the_disk_alike() {
        let is_disk_fault = |code| {
            let failure = rusqlite::ffi::Error::new(code);
            WriteError::Rusqlite(rusqlite::Error::SqliteFailure(failure, None)).is_disk_fault()
        };
        // FULL, IOERR_FSYNC.
        assert!(is_disk_fault(13) && is_disk_fault(1034));
        // ERROR, BUSY, CONSTRAINT_CHECK.
        assert!(!is_disk_fault(1) && !is_disk_fault(5) && !is_disk_fault(275));
        let missing = rusqlite::Error::QueryReturnedNoRows;
        assert!(!WriteError::Rusqlite(missing).is_disk_fault());
    }
}
