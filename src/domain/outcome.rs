//! What an answer of CloudFront's means for a batch, and what follows.

/// Why `CloudFront` did not do what it was asked. Each kind asks for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdnError {
    /// Too many calls: not done, come back later.
    #[error("throttled: {0}")]
    Throttled(String),
    /// Too many items in progress: not done, come back later.
    #[error("too many invalidations in progress: {text}")]
    TooManyInProgress {
        /// Whether it is the pool of wildcards that is full, or that of paths.
        wildcards: bool,
        /// What `CloudFront` said.
        text: String,
    },
    /// No permission or no credentials: not done, until somebody grants them.
    #[error("access denied: {0}")]
    Denied(String),
    /// More items than `CloudFront` takes in a call: not done.
    #[error("batch too large: {0}")]
    TooLarge(String),
    /// An item that `CloudFront` does not take, and it does not say which: not done.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The caller reference stands for another batch: not done.
    #[error("reference conflict: {0}")]
    ReferenceConflict(String),
    /// The distribution is not there: not done.
    #[error("no such distribution: {0}")]
    NoSuchDistribution(String),
    /// Not done, for a reason that this version does not know.
    #[error("refused: {0}")]
    Refused(String),
    /// Nobody knows whether it was done: 5xx, a time-out, a lost connection.
    #[error("no answer: {0}")]
    Unknown(String),
}

impl CdnError {
    /// A short name for metrics and for the record of attempts.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::TooManyInProgress { .. } => "too_many_in_progress",
            Self::Denied(_) => "denied",
            Self::TooLarge(_) => "too_large",
            Self::Invalid(_) => "invalid",
            Self::ReferenceConflict(_) => "reference_conflict",
            Self::NoSuchDistribution(_) => "no_such_distribution",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => UNKNOWN,
        }
    }
}

/// The label of an attempt that nobody knows the end of.
pub const UNKNOWN: &str = "unknown";

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The same pair goes out again, until the answer is definite.
    Resend,
    /// Every attempt was definitely refused: the changes wait again, and are planned anew with
    /// what came since. The reference is never used again.
    Dissolve,
    /// Each half goes by itself, under a reference of its own.
    Halve,
    /// The item can never go: a dead letter.
    Bury,
    /// Look for the invalidation that our reference may stand for; if there is none, take a
    /// fresh reference, once.
    Rename,
    /// Read the catalogue anew: if the distribution is gone for good, all of it is dead
    /// letters; if not, the batch waits.
    Confirm,
}

/// What follows from `error`, the answer to the last attempt with a batch of `items` items.
///
/// `in_doubt`: nobody knows the end of an earlier attempt. It is settled only by a refusal that
/// would have met that attempt too; a refusal for the moment says nothing about it.
/// `renamed`: the batch had its fresh reference already.
pub fn course(error: &CdnError, in_doubt: bool, items: usize, renamed: bool) -> Course {
    match error {
        CdnError::Unknown(_) => Course::Resend,
        CdnError::Throttled(_)
        | CdnError::TooManyInProgress { .. }
        | CdnError::Denied(_)
        | CdnError::Refused(_) => {
            if in_doubt {
                Course::Resend
            } else {
                Course::Dissolve
            }
        }
        CdnError::TooLarge(_) | CdnError::Invalid(_) if items > 1 => Course::Halve,
        CdnError::TooLarge(_) | CdnError::Invalid(_) => Course::Bury,
        CdnError::ReferenceConflict(_) if renamed => Course::Resend,
        CdnError::ReferenceConflict(_) => Course::Rename,
        CdnError::NoSuchDistribution(_) => Course::Confirm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_as_the_table_of_outcomes_has_it() {
        let text = String::new;
        let pool = CdnError::TooManyInProgress {
            wildcards: true,
            text: text(),
        };
        for (error, sure, in_doubt) in [
            (
                CdnError::Throttled(text()),
                Course::Dissolve,
                Course::Resend,
            ),
            (pool, Course::Dissolve, Course::Resend),
            (CdnError::Denied(text()), Course::Dissolve, Course::Resend),
            (CdnError::Refused(text()), Course::Dissolve, Course::Resend),
            (CdnError::Unknown(text()), Course::Resend, Course::Resend),
            (CdnError::Invalid(text()), Course::Halve, Course::Halve),
            (CdnError::TooLarge(text()), Course::Halve, Course::Halve),
            (
                CdnError::ReferenceConflict(text()),
                Course::Rename,
                Course::Rename,
            ),
            (
                CdnError::NoSuchDistribution(text()),
                Course::Confirm,
                Course::Confirm,
            ),
        ] {
            assert_eq!(course(&error, false, 9, false), sure, "{error}");
            assert_eq!(course(&error, true, 9, false), in_doubt, "{error}");
        }
        assert_eq!(
            course(&CdnError::Invalid(text()), true, 1, false),
            Course::Bury
        );
        assert_eq!(
            course(&CdnError::TooLarge(text()), false, 1, false),
            Course::Bury
        );
        let conflict = CdnError::ReferenceConflict(text());
        assert_eq!(course(&conflict, false, 9, true), Course::Resend);
    }
}
