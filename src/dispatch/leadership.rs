//! Leads where several processes share a store: takes the lease, works while it is renewed, and lets
//! another process lead as soon as this one cannot or should not.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Dispatch, runner::error_chain, status_board::StatusBoard, term::Term};
use crate::{
    domain::status::{Leader, Leadership as Standing},
    ports::{
        Clock, StoreError, Wakeup,
        dispatch::Epoch,
        leadership::{Acquisition, HeldLease, Leading, Leases},
    },
    shutdown::Tasks,
};

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often a follower tries to lead, at least and at most. When the lease ends, it tries at once.
const SOONEST: Duration = Duration::from_millis(20);
const TRY_EVERY: Duration = Duration::from_millis(500);
/// How long a stop waits for calls to CloudFront that are under way, and for the release.
const A_MOMENT: Duration = Duration::from_secs(1);

/// This process's part in who leads.
pub struct Leadership {
    pub dispatch: Dispatch,
    pub leases: Arc<dyn Leases>,
    /// What others call this process.
    pub holder: String,
    pub leading: Leading,
    /// Cancelled when the service begins to stop: others are to lead.
    pub stopping: CancellationToken,
}

/// Why a term ended.
#[derive(Debug)]
enum Ended {
    /// The service stops.
    Stopping,
    /// The lease is lost, or not known to be held any more.
    Lost(String),
    /// The work could not begin.
    NotStarted(StoreError),
}

impl Leadership {
    /// Starts trying to lead, until `tasks` are told to stop. Until then this process follows.
    pub fn start(self, tasks: &Tasks) {
        let shadow = self.dispatch.settings.shadow;
        let running = Running {
            clock: Arc::clone(&self.dispatch.context.clock),
            board: StatusBoard::new(Arc::clone(&self.dispatch.context.status)),
            tasks: tasks.clone(),
            own: self,
        };
        running.board.update(|status| status.shadow = shadow);
        running.follow(None);
        tasks.spawn("leadership", running.run());
    }
}

struct Running {
    own: Leadership,
    clock: Arc<dyn Clock>,
    board: StatusBoard,
    tasks: Tasks,
}

impl Running {
    async fn run(self) {
        while let Some(term) = self.elected().await {
            let epoch = term.epoch();
            let ended = self.lead(term).await;
            match ended {
                Ended::Stopping => break,
                Ended::Lost(why) => {
                    tracing::warn!(epoch = epoch.0, why, "this process leads no more");
                }
                Ended::NotStarted(error) => tracing::error!(
                    epoch = epoch.0,
                    error = error_chain(&error),
                    "this process was to lead, but its work could not begin"
                ),
            }
            // What fails at once must not fail all the time.
            self.pause(TRY_EVERY).await;
        }
        self.tasks.stop().cancelled().await;
    }

    /// Tries until this process leads; `None` if the service stops.
    async fn elected(&self) -> Option<Term> {
        let mut told_away = false;
        while !self.is_stopping() {
            let begun = self.clock.monotonic();
            let pause = match self.acquire().await? {
                Ok(Acquisition::Taken { epoch, .. }) if self.is_stopping() => {
                    self.release(epoch).await;
                    return None;
                }
                Ok(Acquisition::Taken { epoch, vacant }) => {
                    return Some(Term::leased(epoch, Arc::clone(&self.clock), begun, vacant));
                }
                Ok(Acquisition::Held(HeldLease {
                    holder,
                    since,
                    left,
                })) => {
                    told_away = false;
                    self.follow(Some(Leader { holder, since }));
                    left.clamp(SOONEST, TRY_EVERY)
                }
                Err(error) => {
                    if !std::mem::replace(&mut told_away, true) {
                        let error = error_chain(&error);
                        tracing::warn!(error, "the store does not tell who leads");
                    }
                    self.follow(None);
                    TRY_EVERY
                }
            };
            tokio::select! {
                () = self.stopped() => {}
                () = self.own.dispatch.context.wakeups.woken(Wakeup::LeaseReleased) => {}
                () = self.pause(pause) => {}
            }
        }
        None
    }

    /// Tries once. A stop waits a moment for the answer, since the lease may have been taken.
    async fn acquire(&self) -> Option<Result<Acquisition, StoreError>> {
        let mut acquiring = self.own.leases.acquire(&self.own.holder);
        tokio::select! {
            answer = &mut acquiring => Some(answer),
            () = self.stopped() => tokio::select! {
                answer = acquiring => Some(answer),
                () = self.pause(A_MOMENT) => None,
            }
        }
    }

    /// Works for a term, and ends everything that belongs to it.
    async fn lead(&self, term: Term) -> Ended {
        self.begin(term.epoch());
        let group = self.tasks.within();
        let ended = {
            let mut renewing = std::pin::pin!(self.renew(&term));
            tokio::select! {
                why = &mut renewing => Ended::Lost(why),
                error = self.work(&group, &term) => Ended::NotStarted(error),
                () = self.stopped() => {
                    // Calls under way may end, while the lease still holds.
                    tokio::select! {
                        () = group.end() => {}
                        _ = &mut renewing => {}
                        () = self.pause(A_MOMENT) => {}
                    }
                    Ended::Stopping
                }
            }
        };
        // From here on nothing goes through, and nothing waits for an answer.
        term.end();
        group.end().await;
        self.own.leading.set(false);
        self.follow(None);
        self.release(term.epoch()).await;
        ended
    }

    fn begin(&self, epoch: Epoch) {
        let leader = Leader {
            holder: self.own.holder.clone(),
            since: self.clock.now(),
        };
        tracing::info!(
            epoch = epoch.0,
            holder = leader.holder,
            "this process leads"
        );
        self.own.leading.set(true);
        self.board
            .update(|status| status.leadership = Standing::Leads(leader));
    }

    fn follow(&self, leader: Option<Leader>) {
        self.board.update(|status| status.follow(leader));
    }

    /// Returns only if the work cannot begin.
    async fn work(&self, group: &Tasks, term: &Term) -> StoreError {
        match self.own.dispatch.start(group, term.clone()).await {
            Ok(_running) => std::future::pending().await,
            Err(error) => error,
        }
    }

    /// Renews the lease for as long as that succeeds in time. Returns why it did not.
    async fn renew(&self, term: &Term) -> String {
        let late = "the lease was not renewed in time";
        let mut renew_at = self.clock.now() + RENEW_EVERY;
        loop {
            tokio::select! {
                () = term.over().cancelled() => {}
                () = self.clock.sleep_until(renew_at) => {}
            }
            let begun = self.clock.monotonic();
            renew_at = self.clock.now() + RENEW_EVERY;
            if term.over().is_cancelled() {
                return "a write was refused, or it is not known whether it was kept".to_owned();
            }
            tokio::select! {
                biased;
                () = term.over().cancelled() => {}
                () = self.distrusted(term) => return late.to_owned(),
                renewed = self.own.leases.renew(term.epoch()) => match renewed {
                    Ok(true) if term.renewed(begun) => {}
                    Ok(true) => return late.to_owned(),
                    Ok(false) => return "the lease has expired, or another process has it".to_owned(),
                    Err(error) => return error_chain(&error),
                },
            }
        }
    }

    /// Returns when this process cannot trust any more that it leads.
    async fn distrusted(&self, term: &Term) {
        while let Some(left) = term.left() {
            self.pause(left).await;
        }
    }

    /// Lets another process lead at once; otherwise it would when the lease ends.
    async fn release(&self, epoch: Epoch) {
        tokio::select! {
            released = self.own.leases.release(epoch) => match released {
                Ok(()) => tracing::info!(epoch = epoch.0, "the lease is released"),
                Err(error) => tracing::debug!(error = error_chain(&error), "the lease is left to expire"),
            },
            () = self.pause(A_MOMENT) => {}
        }
    }

    async fn pause(&self, span: Duration) {
        self.clock.sleep_until(self.clock.now() + span).await;
    }

    fn is_stopping(&self) -> bool {
        self.own.stopping.is_cancelled() || self.tasks.stop().is_cancelled()
    }

    async fn stopped(&self) {
        tokio::select! {
            () = self.own.stopping.cancelled() => {}
            () = self.tasks.stop().cancelled() => {}
        }
    }
}
