//! Distributions whose invalidations cannot be seen, for the status.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::status_board::StatusBoard;
use crate::domain::{cdn::CdnError, due::due_at, tracking::is_lasting};

/// How long a distribution is reported after the last poll that failed. Without further
/// invalidations, no poll could show that the cause is gone.
const REPORTED_FOR: SignedDuration = SignedDuration::from_hours(24);

pub(super) struct BlindSpots {
    board: StatusBoard,
    /// Until when each distribution is reported.
    until: HashMap<String, Timestamp>,
}

impl BlindSpots {
    pub(super) fn new(board: StatusBoard) -> Self {
        Self {
            board,
            until: HashMap::new(),
        }
    }

    /// Takes note of the result of a `GetInvalidation` call.
    pub(super) fn note<T>(&mut self, id: &str, result: &Result<T, CdnError>, now: Timestamp) {
        match result {
            Ok(_) => self.remove(id),
            Err(error) if is_lasting(error) => {
                self.until.insert(id.to_owned(), now + REPORTED_FOR);
                let remedy = error.remedy("grant cloudfront:GetInvalidation on it");
                let error = match remedy {
                    Some(remedy) => format!("{error}; {remedy}"),
                    None => error.to_string(),
                };
                self.board.update(|status| {
                    status.unseen.insert(id.to_owned(), error);
                });
            }
            // It says nothing about the cause.
            Err(_) => {}
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        if self.until.remove(id).is_some() {
            self.board.update(|status| drop(status.unseen.remove(id)));
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let expired = |until: Timestamp| due_at(until, REPORTED_FOR, now) <= now;
        let ids = self.until.iter().filter(|(_, until)| expired(**until));
        for id in ids.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }
}
