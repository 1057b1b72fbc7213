//! Whose turn is next among those who could make a call now.
//!
//! Manual requests go first, and distributions that were refused by themselves go last. Neither may
//! starve anybody: see [`TurnOrder::choose`].

/// The least number of other calls between two probes while those wait for their turns.
const CALLS_BETWEEN_PROBES: u32 = 4;

/// The two sequences in which a distribution sends its items. Each takes its own turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Batches without a definite answer, then what waits to be planned.
    Main,
    /// Parts of batches that CloudFront rejected for some of their items.
    Suspects,
}

/// What a call would be for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// A manual request.
    pub(super) manual: bool,
    /// Automatic work that has waited for twice the longest wait.
    pub(super) overdue: bool,
    /// A distribution that was refused by itself: it is tried with what the others leave.
    pub(super) probe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate<'a> {
    pub(super) distribution_id: &'a str,
    pub(super) lane: Lane,
    pub(super) claim: Claim,
    /// The number of the lane's last turn.
    pub(super) last_turn: u64,
}

/// The calls so far, as far as they matter for the next turn.
#[derive(Debug, Default)]
pub(super) struct TurnOrder {
    /// Whether the last call that was no probe was for a manual request,
    manual_last: bool,
    /// and whether the last probe was.
    manual_probe_last: bool,
    calls_since_probe: u32,
}

impl TurnOrder {
    /// Chooses among the ready candidates. `others_wait` says whether candidates that are no probes wait
    /// for their rates, so that a call now would be missing then.
    pub(super) fn choose<'a>(
        &self,
        ready: &[Candidate<'a>],
        others_wait: bool,
    ) -> Option<Candidate<'a>> {
        let (probes, others): (Vec<_>, Vec<_>) = ready.iter().partition(|one| one.claim.probe);
        let probe_is_due = self.calls_since_probe >= CALLS_BETWEEN_PROBES;
        if probes.is_empty() || !(probe_is_due || others.is_empty() && !others_wait) {
            return self.choose_other(&others);
        }
        // Manual requests and others in turn.
        let preferred = probes
            .iter()
            .filter(|one| one.claim.manual != self.manual_probe_last);
        earliest(preferred.copied()).or_else(|| earliest(probes.iter().copied()))
    }

    /// Manual requests go first, but not twice in a row while automatic work of another distribution is
    /// overdue.
    fn choose_other<'a>(&self, others: &[&Candidate<'a>]) -> Option<Candidate<'a>> {
        let (manual, automatic): (Vec<_>, Vec<_>) =
            others.iter().copied().partition(|one| one.claim.manual);
        let Some(first) = earliest(manual.into_iter()) else {
            return earliest(automatic.into_iter());
        };
        let overdue = automatic
            .into_iter()
            .filter(|one| one.claim.overdue && one.distribution_id != first.distribution_id);
        match earliest(overdue) {
            Some(overdue) if self.manual_last => Some(overdue),
            _ => Some(first),
        }
    }

    /// Notes that a call is made.
    pub(super) fn called(&mut self, claim: Claim) {
        if claim.probe {
            self.calls_since_probe = 0;
            self.manual_probe_last = claim.manual;
        } else {
            self.calls_since_probe = self.calls_since_probe.saturating_add(1);
            self.manual_last = claim.manual;
        }
    }
}

/// The one whose last turn is longest ago.
fn earliest<'c, 'a: 'c>(
    candidates: impl Iterator<Item = &'c Candidate<'a>>,
) -> Option<Candidate<'a>> {
    candidates
        .min_by_key(|one| (one.last_turn, one.distribution_id, one.lane))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: Claim = Claim {
        manual: true,
        overdue: false,
        probe: false,
    };
    const AUTOMATIC: Claim = Claim {
        manual: false,
        overdue: false,
        probe: false,
    };
    const OVERDUE: Claim = Claim {
        overdue: true,
        ..AUTOMATIC
    };
    const PROBE: Claim = Claim {
        probe: true,
        ..AUTOMATIC
    };
    const MANUAL_PROBE: Claim = Claim {
        probe: true,
        ..MANUAL
    };

    /// Who makes the calls if these always want one.
    fn calls(claims: &[(&'static str, Claim)], count: u64) -> Vec<&'static str> {
        let mut order = TurnOrder::default();
        let mut candidates: Vec<_> = claims
            .iter()
            .map(|(distribution_id, claim)| Candidate {
                distribution_id,
                lane: Lane::Main,
                claim: *claim,
                last_turn: 0,
            })
            .collect();
        let mut calls = Vec::new();
        for turn in 1..=count {
            let chosen = order.choose(&candidates, false).unwrap();
            order.called(chosen.claim);
            calls.push(chosen.distribution_id);
            let mut all = candidates.iter_mut();
            all.find(|one| **one == chosen).unwrap().last_turn = turn;
        }
        calls
    }

    #[test]
    fn equals_take_turns() {
        let all = [("a", AUTOMATIC), ("b", AUTOMATIC), ("c", AUTOMATIC)];
        assert_eq!(calls(&all, 6), ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn manual_requests_go_first_but_leave_every_second_call_to_overdue_work() {
        let all = [("a", AUTOMATIC), ("b", MANUAL), ("c", MANUAL)];
        assert_eq!(calls(&all, 4), ["b", "c", "b", "c"]);
        let all = [("a", OVERDUE), ("b", MANUAL), ("d", AUTOMATIC)];
        assert_eq!(calls(&all, 4), ["b", "a", "b", "a"]);
        // Work that is overdue at the same distribution leaves with the request.
        let all = [("a", AUTOMATIC), ("b", MANUAL), ("b", OVERDUE)];
        assert_eq!(calls(&all, 3), ["b", "b", "b"]);
    }

    #[test]
    fn probes_have_every_fifth_call_while_others_wait() {
        let all = [("a", MANUAL), ("b", PROBE), ("c", MANUAL_PROBE)];
        let expected = ["a", "a", "a", "a", "c", "a", "a", "a", "a", "b"];
        assert_eq!(calls(&all, 10), expected);
        // Manual and automatic probes in turn, whoever is more numerous.
        let all = [("a", MANUAL_PROBE), ("b", PROBE), ("c", MANUAL_PROBE)];
        assert_eq!(calls(&all, 4), ["a", "b", "c", "b"]);
    }

    #[test]
    fn a_probe_leaves_the_call_to_those_who_wait_for_their_rates() {
        let probe = Candidate {
            distribution_id: "a",
            lane: Lane::Main,
            claim: PROBE,
            last_turn: 0,
        };
        let mut order = TurnOrder::default();
        assert_eq!(order.choose(&[probe], false), Some(probe));
        assert_eq!(order.choose(&[probe], true), None);
        for _ in 0..4 {
            order.called(AUTOMATIC);
        }
        assert_eq!(order.choose(&[probe], true), Some(probe));
    }
}
