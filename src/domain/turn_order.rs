//! Whose turn it is at the account's calls: people first, nobody starved, and distributions that
//! were refused with what the healthy ones leave.

/// A distribution that could use a call now.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent: all combinations occur"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub distribution_id: &'a str,
    /// It has something to send that a person asked for.
    pub serves_a_person: bool,
    /// It has automatic work that has waited for twice `batching.max_wait`.
    pub is_overdue: bool,
    /// Its last call was refused for a reason of its own: a call only finds out whether that still
    /// holds.
    pub is_probe: bool,
    /// Nothing has to be planned before it can be sent.
    pub is_planned: bool,
    /// The number of its last turn; lower means that it has waited longer.
    pub last_turn: u64,
}

/// While healthy distributions wait, at most one call in so many is a probe. So they take at most
/// 1.25 times as long as they would without the others.
const CALLS_PER_PROBE: u32 = 5;

/// What the last calls were made for.
#[derive(Debug, Default)]
pub struct TurnOrder {
    calls_since_probe: u32,
    served_a_person: bool,
}

impl TurnOrder {
    /// The candidate whose turn it is.
    pub fn pick<'a>(
        &self,
        candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    ) -> Option<Candidate<'a>> {
        let healthy = candidates.clone().filter(|one| !one.is_probe);
        let probes = candidates.filter(|one| one.is_probe);
        let first = if self.calls_since_probe + 1 >= CALLS_PER_PROBE {
            self.pick_among(probes.clone())
        } else {
            None
        };
        first
            .or_else(|| self.pick_among(healthy))
            .or_else(|| self.pick_among(probes))
    }

    fn pick_among<'a>(
        &self,
        candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    ) -> Option<Candidate<'a>> {
        // A stream of people's requests gets every second call while others are overdue.
        let overdue = candidates
            .clone()
            .filter(|one| one.is_overdue && !one.serves_a_person)
            .filter(|_| self.served_a_person);
        let longest_waiting = |one: &Candidate<'a>| {
            (
                !one.serves_a_person,
                !one.is_planned,
                one.last_turn,
                one.distribution_id,
            )
        };
        overdue
            .min_by_key(longest_waiting)
            .or_else(|| candidates.min_by_key(longest_waiting))
    }

    /// Records that a call was made.
    pub fn called(&mut self, is_probe: bool, served_a_person: bool) {
        self.calls_since_probe = if is_probe {
            0
        } else {
            self.calls_since_probe.saturating_add(1)
        };
        self.served_a_person = served_a_person;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOBODY: Candidate<'_> = Candidate {
        distribution_id: "",
        serves_a_person: false,
        is_overdue: false,
        is_probe: false,
        is_planned: false,
        last_turn: 0,
    };

    fn one(distribution_id: &str) -> Candidate<'_> {
        Candidate {
            distribution_id,
            ..NOBODY
        }
    }

    fn person(distribution_id: &str) -> Candidate<'_> {
        Candidate {
            serves_a_person: true,
            ..one(distribution_id)
        }
    }

    fn overdue(distribution_id: &str) -> Candidate<'_> {
        Candidate {
            is_overdue: true,
            ..one(distribution_id)
        }
    }

    fn probe(distribution_id: &str) -> Candidate<'_> {
        Candidate {
            is_probe: true,
            ..one(distribution_id)
        }
    }

    /// How many of `calls` each candidate gets, when all of them always want one.
    fn shares(candidates: &[Candidate<'static>], calls: u64) -> BTreeMap<&'static str, u64> {
        let mut candidates = candidates.to_vec();
        let mut order = TurnOrder::default();
        let mut shares = BTreeMap::new();
        for number in 1..=calls {
            let picked = order.pick(candidates.iter().copied()).unwrap();
            order.called(picked.is_probe, picked.serves_a_person);
            *shares.entry(picked.distribution_id).or_default() += 1;
            let same = |one: &&mut Candidate<'_>| one.distribution_id == picked.distribution_id;
            candidates.iter_mut().find(same).unwrap().last_turn = number;
        }
        shares
    }

    #[test]
    fn equals_share_equally() {
        let shares = shares(&[one("a"), one("b"), one("c")], 300);
        assert_eq!(shares, BTreeMap::from([("a", 100), ("b", 100), ("c", 100)]));
    }

    #[test]
    fn people_go_first_and_leave_every_second_call_to_what_is_overdue() {
        let alone = shares(&[person("a"), one("b")], 100);
        assert_eq!(alone, BTreeMap::from([("a", 100)]));
        let together = shares(&[person("a"), overdue("b"), one("c")], 100);
        assert_eq!(together, BTreeMap::from([("a", 50), ("b", 50)]));
    }

    #[test]
    fn refused_distributions_get_one_call_in_five_and_all_that_the_healthy_leave() {
        let together = shares(&[one("a"), probe("x"), probe("y")], 100);
        assert_eq!(together, BTreeMap::from([("a", 80), ("x", 10), ("y", 10)]));
        let alone = shares(&[probe("x"), probe("y")], 100);
        assert_eq!(alone, BTreeMap::from([("x", 50), ("y", 50)]));
        let with_people = shares(&[person("a"), probe("x")], 100);
        assert_eq!(with_people, BTreeMap::from([("a", 80), ("x", 20)]));
    }

    #[test]
    fn what_is_planned_goes_before_what_has_to_be_planned_but_not_before_people() {
        let planned = |id, last_turn| Candidate {
            is_planned: true,
            last_turn,
            ..one(id)
        };
        let order = TurnOrder::default();
        let picked = order.pick([one("a"), planned("b", 9)].into_iter()).unwrap();
        assert_eq!(picked.distribution_id, "b");
        let all = [one("a"), planned("b", 9), person("c")];
        assert_eq!(order.pick(all.into_iter()).unwrap().distribution_id, "c");
    }
}
