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
        sqlx::Error::Io(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        // Anything else is a statement's or a row's fault, and the next statement may be right.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_statement_is_no_fault_of_the_disk() {
        let missing = sqlx::Error::ColumnNotFound("x".to_owned());
        assert!(!is_disk_fault(&missing));
        assert!(!is_disk_fault(&sqlx::Error::RowNotFound));
        assert!(is_disk_fault(&sqlx::Error::WorkerCrashed));
        let gone = std::io::Error::other("gone");
        assert!(is_disk_fault(&sqlx::Error::Io(gone)));
    }
}
