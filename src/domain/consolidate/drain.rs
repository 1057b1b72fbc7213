//! How much the limits let through in the time that a backlog may take.

use super::{call::Headroom, terms::Ceilings};

/// What may be sent within the longest delay that a backlog is to have. A distribution with more than that has
/// its paths merged further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Exact paths and tags.
    pub paths: usize,
    pub wildcards: usize,
}

impl Drain {
    /// The ceilings of a plan that has room for this much now, and is asked for so many wildcards.
    ///
    /// What merging makes has to fit into the room: nothing waits for it. What was asked for may wait, as long
    /// as it gets through in time, and is no reason for wider wildcards until it does not.
    pub fn ceilings(&self, room: Headroom, wildcards_asked: usize) -> Ceilings {
        let in_time = self.wildcards.max(room.wildcards);
        let wildcards = wildcards_asked.min(in_time).max(room.wildcards);
        Ceilings {
            items: self.paths.saturating_add(wildcards),
            wildcards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_fits_and_what_is_asked_for_gets_through_in_time() {
        let drain = Drain {
            paths: 100,
            wildcards: 13,
        };
        let ceilings = |wildcards, asked| {
            let room = Headroom {
                paths: 5,
                wildcards,
            };
            drain.ceilings(room, asked).wildcards
        };
        assert_eq!(ceilings(3, 0), 3);
        assert_eq!(ceilings(3, 2), 3);
        assert_eq!(ceilings(3, 8), 8);
        assert_eq!(ceilings(3, 1_000), 13);
        assert_eq!(ceilings(40, 1_000), 40);
        assert_eq!(drain.ceilings(Headroom::NONE, 20).items, 113);
    }
}
