//! What goes wrong with a call through no fault of the caller's.

use super::Refusal;

/// What goes wrong with a CreateInvalidation call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Throttling,
    TooManyInProgress,
    Status(u16),
    AccessDenied,
    /// The distribution was deleted.
    Gone,
    /// The connection is lost before CloudFront knows of the call.
    LostBefore,
    /// The call is acted on, and the answer is lost.
    LostAfter,
    /// The call is acted on, and no answer comes.
    HangAfter,
}

impl Fault {
    /// The refusal that is answered instead of acting.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Throttling => Some(Refusal::Throttled),
            Self::TooManyInProgress => Some(Refusal::TooManyInProgress { wildcards: false }),
            Self::Status(status) => Some(Refusal::Unavailable(status)),
            Self::AccessDenied => Some(Refusal::AccessDenied),
            Self::Gone => Some(Refusal::NoSuchDistribution),
            Self::LostBefore | Self::LostAfter | Self::HangAfter => None,
        }
    }
}
