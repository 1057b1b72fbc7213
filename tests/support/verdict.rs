//! The promises, checked after a simulation: nothing is lost, nothing is sent twice, and everybody
//! had their turns.

use std::{collections::BTreeMap, time::Duration};

use super::{
    nature::Trouble,
    simulation::{Input, World},
    sqlite::audit::{Made, audit, untargeted},
    turns::{Answer, Arrival, Conditions, Delay, Turn, delays},
};

/// The longest pause after a refusal, and the call after it.
const ONE_BACKOFF: Duration = Duration::from_mins(16);
/// From when something is known until its changes are mapped.
const MAPPED_WITHIN: Duration = Duration::from_secs(5);
/// Fewer paths than this in progress leave room for 1,000 automatic ones.
const CERTAIN_ROOM: usize = 3_000 - 100 - 1_000;

impl World {
    /// Promises 2 and 3, read from the store and from what CloudFront made. Only what is bad, or
    /// was asked of a distribution that is gone, may come to nothing.
    pub async fn holds(&self) {
        let made = self.cdn.made().into_iter().map(|made| Made {
            caller_reference: made.caller_reference,
            items: made.items,
            created_at: made.created_at,
        });
        let store = self.inside.home.path().join("purgefront.db");
        let is_bad = |item: &str| self.cdn.nature().bad.iter().any(|bad| bad == item);
        let may_fail = |id: &str, item: &str| is_bad(item) || self.is_gone(id);
        let kept = audit(&store, made.collect(), may_fail).await;
        let missing = untargeted(&store).await;
        let to_nothing: Vec<_> = missing.iter().filter(|id| !self.is_gone(id)).collect();
        assert!(
            to_nothing.is_empty(),
            "changes came to nothing: {to_nothing:?}"
        );
        assert_eq!(kept.targeted, kept.changes - missing.len());
        self.every_reference_is_settled();
    }

    fn is_gone(&self, id: &str) -> bool {
        let at = self.cdn.elapsed();
        self.cdn.nature().has(id, Trouble::Gone, at)
    }

    /// Promise 3, from the calls alone: what may have been done is sent under the same reference
    /// until the answer says what became of it. A refusal for another reason says nothing.
    fn every_reference_is_settled(&self) {
        let mut answers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for attempt in self.cdn.attempts() {
            let reference = attempt.order.caller_reference;
            answers.entry(reference).or_default().push(attempt.answer);
        }
        for (reference, answers) in answers {
            let in_doubt = answers.contains(&"unknown");
            let last = *answers.last().unwrap();
            // Of these, CloudFront would have said the same to the attempts before.
            let settles = ["created", "invalid", "too_large", "no_such_distribution"];
            let settled = settles.contains(&last) || last == "reference_conflict";
            assert!(!in_doubt || settled, "{reference} is left as {answers:?}");
        }
    }

    /// Everybody had their turns: see `turns`.
    pub fn is_fair(&self) {
        let delays = self.delays();
        if let Some(first) = delays.first() {
            let calls = self.calls_around(first);
            panic!(
                "{} waited for too long, first {first:?}:\n{calls}",
                delays.len()
            );
        }
    }

    /// What was called meanwhile, a minute before, and a minute after.
    fn calls_around(&self, delay: &Delay) -> String {
        let attempts = self.cdn.attempts();
        let a_minute = Duration::from_mins(1);
        let span = delay.since.saturating_sub(a_minute)..=delay.until + a_minute;
        let calls = attempts.iter().filter(|one| span.contains(&one.at));
        let calls = calls.map(|one| {
            let (at, answer) = (one.at.as_secs_f64(), one.answer);
            let (id, items) = (&one.order.distribution_id, one.order.items.len());
            format!("{at:.1} s: {id}, {items} items: {answer}\n")
        });
        calls.collect()
    }

    pub fn delays(&self) -> Vec<Delay> {
        let attempts = self.cdn.attempts().into_iter();
        let turns = attempts.map(|attempt| Turn {
            at: attempt.at,
            distribution_id: attempt.order.distribution_id,
            items: attempt.order.items,
            answer: match attempt.answer {
                "created" => Answer::Taken,
                "invalid" => Answer::BadItems,
                "no_such_distribution" => Answer::Gone,
                _ => Answer::Refused,
            },
        });
        let turns: Vec<_> = turns.collect();
        delays(&self.arrivals(), &turns, &self.conditions())
    }

    /// What came in and can be sent, from when it can be mapped.
    fn arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for (at, input) in self.came.lock().unwrap().iter() {
            let (id, items, mapped) = match input {
                Input::Request(id, paths) => (id, paths.clone(), Some(*at)),
                Input::Events(id, keys) => {
                    let items = keys.iter().map(|key| item(key)).collect();
                    let known = self.cdn.known(id).map(|known| known + MAPPED_WITHIN);
                    (id, items, known.map(|known| known.max(*at)))
                }
                Input::Hold(..) | Input::SetBack(_) => continue,
            };
            let nature = self.cdn.nature();
            let Some(mapped_at) = mapped.filter(|_| !nature.has(id, Trouble::Gone, *at)) else {
                continue;
            };
            arrivals.extend(items.into_iter().map(|item| Arrival {
                at: *at,
                mapped_at,
                distribution_id: id.clone(),
                item,
            }));
        }
        arrivals.sort_by_key(|arrival| arrival.at);
        arrivals
    }

    fn conditions(&self) -> Conditions {
        let nature = self.cdn.nature();
        let end = self.cdn.elapsed();
        // Where nothing answers, one distribution is probed for all.
        let dark = nature.dark.iter();
        let dark = dark.map(|(from, to)| *from..*to + ONE_BACKOFF);
        let came = self.came.lock().unwrap();
        let steps = came.iter().filter_map(|(at, input)| match input {
            Input::SetBack(_) => Some(*at..*at + ONE_BACKOFF),
            _ => None,
        });
        let listed = self.cdn.listed().map_or(end, |at| at + MAPPED_WITHIN);
        let unknown = Duration::ZERO..listed;
        let blind = nature.blind.iter().chain(&nature.dark);
        Conditions {
            max_wait: self.inside.dispatch.settings.max_wait,
            propagation: nature.propagation,
            certain_room: CERTAIN_ROOM,
            blind: blind.map(|(from, to)| *from..*to).collect(),
            excused: dark.chain(steps).chain([unknown]).collect(),
            end,
        }
    }
}

/// What a key is sent as: no exact path can name one with a tilde.
fn item(key: &str) -> String {
    match key.split_once('~') {
        Some((stem, _)) => format!("/{stem}*"),
        None => format!("/{key}"),
    }
}
