//! Classifies sqlx's errors, for every kind of store.

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
