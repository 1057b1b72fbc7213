//! The day's limit: a hard stop against a runaway bill.

use jiff::Timestamp;

use super::{Context, queues::Queues};
use crate::ports::StoreError;

/// The name under which the limit reports its health.
const HEALTH: &str = "daily_limit";
const DAY: i64 = 86_400;

/// How many items were sent today, and how many may be.
pub(super) struct Budget {
    /// 0: no limit.
    limit: u64,
    today: Option<Today>,
}

struct Today {
    day: i64,
    sent: u64,
    lifted: bool,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, today: None }
    }

    /// How many items may still go today without anybody asking for them.
    pub(super) async fn left(
        &mut self,
        context: &Context,
        queues: &Queues,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        if self.limit == 0 {
            return Ok(usize::MAX);
        }
        let day = now.as_second().div_euclid(DAY);
        let today = match &mut self.today {
            Some(today) if today.day == day => today,
            today => {
                let (sent, lifted) = context.store.sent_on(day).await?;
                today.insert(Today { day, sent, lifted })
            }
        };
        report(context, queues, today, self.limit);
        Ok(self.known_left())
    }

    /// The same, as it was last known.
    pub(super) fn known_left(&self) -> usize {
        match &self.today {
            Some(today) if !today.lifted => {
                let left = self.limit.saturating_sub(today.sent);
                usize::try_from(left).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        }
    }

    /// Reads anew what the store knows: somebody may have lifted the limit.
    pub(super) fn forget(&mut self) {
        self.today = None;
    }

    /// Notes that items were sent for the first time.
    pub(super) fn spend(&mut self, items: usize) {
        if let Some(today) = &mut self.today {
            today.sent += items as u64;
        }
    }

    /// When the next day begins.
    #[expect(clippy::unused_self, reason = "a budget knows its days")]
    pub(super) fn next_day(&self, now: Timestamp) -> Timestamp {
        let next = (now.as_second().div_euclid(DAY) + 1) * DAY;
        Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
    }
}

fn report(context: &Context, queues: &Queues, today: &Today, limit: u64) {
    let Today { sent, lifted, .. } = *today;
    if lifted || sent * 10 < limit {
        return context.health.ok(HEALTH);
    }
    let share = sent * 100 / limit;
    if sent < limit {
        let text = format!("{share} % of today's limit is spent ({sent} of {limit} items)");
        let serious = sent * 10 >= limit * 8;
        return context
            .health
            .warn(HEALTH, if serious { format!("{text}!") } else { text });
    }
    let held = queues.waiting().into_iter();
    let held: Vec<_> = held
        .map(|(id, backlog)| format!("{id}: {}", backlog.items))
        .collect();
    let text = format!(
        "today's limit of {limit} items is spent: automatic work is held until the day is over \
         (UTC) or `purgefront resume`; held items: {}",
        if held.is_empty() {
            "none".to_owned()
        } else {
            held.join(", ")
        }
    );
    context.health.warn(HEALTH, text);
}
