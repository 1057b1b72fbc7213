//! Classifies PostgreSQL's errors.

use std::time::Duration;

use crate::ports::StoreError;

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{}", said(.0))]
    Sqlx(sqlx::Error),
    #[error("the epoch of this leader is over")]
    NotLeading,
    #[error("the database has not answered for {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the database is not there")]
    Away,
    /// The connection was lost during the commit.
    #[error("it is not known whether the write was committed: {0}")]
    Unknown(Box<WriteError>),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

/// What an error says, and what to do, without where it stands in the server's sources.
fn said(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(error) = error else {
        return error.to_string();
    };
    let cure = match error.code().as_deref() {
        Some("3D000") => "; create it, or correct store.url",
        Some("28000" | "28P01") => "; correct the user in store.url, or its password in PGPASSWORD",
        Some("42501") => "; the user has to own the database",
        _ => "",
    };
    format!("{}{cure}", error.message())
}

impl WriteError {
    /// Whether the connection, or the database as a whole, is at fault, not a statement. Then the connection
    /// is not used again.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => {
                error.code().is_none_or(|code| is_of_the_database(&code))
            }
            Self::Sqlx(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::BeginFailed
                | sqlx::Error::PoolClosed
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed,
            )
            | Self::TimedOut(_)
            | Self::Away
            | Self::Unknown(_) => true,
            // Anything else is a statement's or a row's fault, and the next statement may be right.
            Self::Sqlx(_) | Self::NotLeading => false,
        }
    }

    /// Whether the values of a statement are at fault: they are not permitted, break a constraint, or are too long.
    pub(super) fn is_of_the_data(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| matches!(code.get(..2), Some("22" | "23" | "54"))),
            Self::Sqlx(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }
}

impl WriteError {
    /// Whether a connection that could not be opened may be later, without anybody doing anything here.
    pub(super) fn may_pass(&self) -> bool {
        self.is_of_the_connection() && !matches!(self, Self::Sqlx(sqlx::Error::Tls(_)))
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Sqlx(error) => error.into(),
            WriteError::NotLeading => Self::LeadsNoMore,
            WriteError::Unknown(_) => Self::unknown(error),
            other => Self::unavailable(other),
        }
    }
}

/// Whether an SQLSTATE is one of: connection exceptions, insufficient resources (a full disk), operator
/// intervention (a shutdown, but not a cancelled statement), system and internal errors, a transaction that was left
/// aborted, a session that was ended while it was idle, a database that only permits reads, which is what a former primary says.
fn is_of_the_database(code: &str) -> bool {
    let class = code.get(..2).unwrap_or(code);
    code != "57014"
        && (matches!(class, "08" | "53" | "57" | "58" | "XX")
            || matches!(code, "25P02" | "25P03" | "25006"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_statement_is_no_fault_of_the_connection() {
        let is_of_the_connection = |error| WriteError::Sqlx(error).is_of_the_connection();
        assert!(!is_of_the_connection(sqlx::Error::RowNotFound));
        let missing = sqlx::Error::ColumnNotFound("x".to_owned());
        assert!(!is_of_the_connection(missing));
        let gone = std::io::Error::other("gone");
        assert!(is_of_the_connection(sqlx::Error::Io(gone)));
        assert!(!WriteError::NotLeading.is_of_the_connection());
    }

    #[test]
    fn states_tell_whether_the_database_is_there() {
        for gone in [
            "08006", "53100", "57P01", "58030", "25P02", "25P03", "25006",
        ] {
            assert!(is_of_the_database(gone), "{gone}");
        }
        // A unique violation, a deadlock, a lock that was not given, a statement that took too long.
        for faulty in ["23505", "40P01", "55P03", "57014"] {
            assert!(!is_of_the_database(faulty), "{faulty}");
        }
    }
}
