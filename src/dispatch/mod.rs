//! The background work after the 2xx: maps changes, plans and sends invalidations, tracks them.
//!
//! Each worker has its own file and runs in the loop of `runner`: it reads the store, does what is
//! due, and sleeps until a wake-up or its next due time. All state that must survive a restart is in
//! the store. Time comes only from the clock port.

mod account;
mod announcer;
mod attempt;
mod blind_spots;
mod catalogue;
mod confirmer;
mod conflict;
mod fence;
mod follower;
mod holds;
mod leadership;
mod listings;
mod mapper;
mod mapper_step;
mod merger;
mod notifier;
mod others;
mod plan;
mod planner;
mod questions;
mod queues;
mod read_limiter;
mod retention;
mod runner;
mod status_board;
mod submitter;
mod term;
mod tracker;
mod unknown_buckets;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::{
    account::{AccountReader, AccountReading, CommandAccount, ReadScope},
    leadership::Leadership,
    listings::{LONGEST_LISTING, Looked, look},
    term::Term,
};
use self::{
    announcer::Announcer,
    catalogue::CatalogueRefresher,
    confirmer::Confirmer,
    conflict::ConflictSearch,
    fence::fenced,
    follower::CatalogueFollower,
    mapper::Mapper,
    notifier::Notifier,
    questions::Questions,
    queues::{BatchingWindows, PoolLimits, Queues},
    read_limiter::ReadLimiter,
    retention::Retention,
    runner::Runner,
    status_board::StatusBoard,
    submitter::{Parts, Submitter},
    tracker::Tracker,
};
use crate::{
    domain::{
        batch::Usage,
        catalogue::Catalogue,
        consolidate::{Drain, Pace},
        economy::Economy,
        mapping::MappingPolicy,
        notice::NoticeTarget,
        origin::OriginOverride,
        status::Status,
    },
    ports::{
        Cdn, Clock, NoticeSender, SnsTrust, StoreError, Wakeups,
        catalogue::{CatalogueHandle, CataloguePublisher, CatalogueStore, CatalogueWants},
        dispatch::{DispatchStore, LeaderStore},
        key_listing::KeyListing,
    },
    shutdown::Tasks,
    telemetry::Metrics,
};

/// The ports and shared values that the workers use.
#[derive(Clone)]
pub struct Context {
    /// Issues the handle through which the leader writes.
    pub leader_store: Arc<dyn LeaderStore>,
    pub catalogue_store: Arc<dyn CatalogueStore>,
    /// What the request path lacks of the catalogue.
    pub wants: Arc<dyn CatalogueWants>,
    pub cdn: Arc<dyn Cdn>,
    /// S3, to know what wildcards would evict.
    pub key_listing: Arc<dyn KeyListing>,
    /// SNS, to confirm subscriptions.
    pub trust: Arc<dyn SnsTrust>,
    /// Sends notices to the targets of [`Settings::notify`].
    pub notices: Arc<dyn NoticeSender>,
    pub clock: Arc<dyn Clock>,
    pub wakeups: Arc<dyn Wakeups>,
    pub catalogue: CatalogueHandle,
    /// The current status, read by readiness and metrics.
    pub status: Arc<watch::Sender<Status>>,
    pub metrics: Metrics,
}

/// The part of the configuration that the workers need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A distribution is due when no change has arrived for this long,
    pub quiet: Duration,
    /// or when its oldest change has waited this long.
    pub max_wait: Duration,
    /// The most waiting changes that are planned together.
    pub window: usize,
    /// `CreateInvalidation` calls.
    pub calls_per_second: f64,
    pub call_burst: u32,
    /// Get and List calls.
    pub reads_per_second: f64,
    pub read_burst: u32,
    pub items_per_call: usize,
    /// Exact paths, over all calls.
    pub paths_per_second: f64,
    /// Wildcards, over all calls.
    pub wildcards_per_second: f64,
    /// The most items in progress per distribution.
    pub in_progress: Usage,
    /// The part of `in_progress` that only manual requests may use.
    pub reserve: Usage,
    /// Items that automatic work may submit in a day; 0 means no limit.
    pub paths_per_day: u64,
    pub economy: Economy,
    /// Plan and record everything, but send nothing.
    pub shadow: bool,
    /// How often the account's distributions are read.
    pub catalogue_refresh: Duration,
    pub mapping: Arc<MappingPolicy>,
    /// Origins whose domain does not reveal their bucket.
    pub origins: Arc<[OriginOverride]>,
    /// The names of API tokens, each with a distribution that it is limited to.
    pub token_distributions: Arc<[(String, String)]>,
    /// Who is told of completed and failed invalidations and of dead letters.
    pub notify: Arc<[NoticeTarget]>,
    /// How long finished work is kept.
    pub keep: Duration,
    /// Whether unsubscribing requires AWS credentials.
    pub authenticate_on_unsubscribe: bool,
    /// Seeds the jitter.
    pub seed: u64,
}

impl Settings {
    /// What the limits let through while a backlog may last.
    fn drain(&self) -> Drain {
        let pace = Pace {
            calls_per_second: self.calls_per_second,
            items_per_call: self.items_per_call,
            paths_per_second: self.paths_per_second,
            wildcards_per_second: self.wildcards_per_second,
            pool: self.in_progress.minus(self.reserve),
        };
        Drain::within(self.economy.max_delay, &pace)
    }

    /// The most wildcards of merging in one call: so many that the rate is open again for others, people
    /// first of all, after these seconds.
    fn made_per_call(&self) -> usize {
        const SECONDS: f64 = 3.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the rate is positive, and more than a usize is no limit"
        )]
        let made = (self.wildcards_per_second * SECONDS) as usize;
        made.max(1)
    }
}

/// All of the leader's work, which can be stopped and started again.
pub struct Dispatch {
    pub context: Context,
    pub settings: Settings,
}

/// The leader's running workers.
pub struct RunningDispatch(Tasks);

impl RunningDispatch {
    /// Tells all workers to stop and waits until they have finished their current work.
    pub async fn stop(&self) {
        self.0.end().await;
    }
}

/// Starts the worker that publishes the store's catalogue to this process. Every process needs it,
/// leader or not.
pub fn follow_catalogue(
    context: &Context,
    origins: Arc<[OriginOverride]>,
    publisher: CataloguePublisher,
    tasks: &Tasks,
) {
    let board = StatusBoard::new(Arc::clone(&context.status));
    let runner = Runner {
        tasks: tasks.clone(),
        clock: Arc::clone(&context.clock),
        board: board.clone(),
        over: CancellationToken::new(),
    };
    runner.start(CatalogueFollower {
        store: Arc::clone(&context.catalogue_store),
        wakeups: Arc::clone(&context.wakeups),
        board,
        origins,
        publisher,
        known: None,
    });
}

impl Dispatch {
    /// Restores the queues from the store and starts all workers, as a group within `tasks` that can
    /// be stopped separately, for a term.
    pub async fn start(
        &self,
        tasks: &Tasks,
        term: impl Into<Term>,
    ) -> Result<RunningDispatch, StoreError> {
        let Self { context, settings } = self;
        let term = term.into();
        let store = fenced(context.leader_store.lead(term.epoch()), &term);
        let dropped = store.set_notice_targets(&settings.notify).await?;
        if dropped > 0 {
            tracing::warn!(
                notices = dropped,
                "notices were dropped: their targets are not configured any more"
            );
        }
        let queues = restore_queues(&*store, settings).await?;
        let kept = context.catalogue_store.kept_catalogue(None).await?;
        let origins = Arc::clone(&settings.origins);
        let kept = kept.map(|kept| Catalogue::new(kept.snapshot, origins));
        let board = StatusBoard::new(Arc::clone(&context.status));
        let wildcards = settings.in_progress.wildcards;
        board.update(|status| status.wildcards_in_progress = wildcards);
        let limiter = Arc::new(ReadLimiter::empty(
            settings.reads_per_second,
            settings.read_burst,
            Arc::clone(&context.clock),
        ));
        let reader = AccountReader::new(
            Arc::clone(&context.cdn),
            Arc::clone(&context.clock),
            Arc::clone(&limiter),
            context.metrics.clone(),
        );
        let questions = Arc::new(Questions::default());
        let group = tasks.within();
        let runner = Runner {
            tasks: group.clone(),
            clock: Arc::clone(&context.clock),
            board: board.clone(),
            over: term.over().clone(),
        };
        runner.start(Mapper::new(
            context,
            settings,
            Arc::clone(&store) as _,
            Arc::clone(&queues),
            Arc::clone(&questions),
            board.clone(),
        ));
        runner.start(CatalogueRefresher::new(
            context,
            settings,
            Arc::clone(&store) as _,
            reader,
            Arc::clone(&questions),
            board.clone(),
            kept,
        ));
        runner.start(Tracker::new(
            context,
            settings,
            Arc::clone(&store) as _,
            Arc::clone(&queues),
            Arc::clone(&limiter),
            board.clone(),
        ));
        runner.start(Retention::new(
            Arc::clone(&store) as _,
            Arc::clone(&context.clock),
            settings.keep,
        ));
        let upkeep = Arc::clone(&store) as _;
        runner.start(Confirmer::new(context, settings, upkeep, board.clone()));
        if !settings.notify.is_empty() {
            let outbox = Arc::clone(&store) as _;
            runner.start(Notifier::new(context, settings, outbox, board.clone()));
        }
        runner.start(Announcer::new(context.status.subscribe()));
        let search = ConflictSearch {
            context: context.clone(),
            store: Arc::clone(&store) as _,
            limiter,
        };
        let parts = Parts {
            store,
            queues,
            questions,
            search: Arc::new(search),
            board,
            vacancy: term.vacancy(),
        };
        let mut submitter = Submitter::new(context, settings, parts);
        submitter.publish_restored().await?;
        runner.start(submitter);
        Ok(RunningDispatch(group))
    }
}

/// Restores the queues from the store.
async fn restore_queues(
    store: &dyn DispatchStore,
    settings: &Settings,
) -> Result<Arc<Queues>, StoreError> {
    let windows = BatchingWindows {
        quiet: settings.quiet,
        max_wait: settings.max_wait,
    };
    let pools = PoolLimits {
        limit: settings.in_progress,
        reserve: settings.reserve,
    };
    let queues = Queues::new(windows, pools);
    queues.set_backoffs(store.backoffs().await?);
    for one in store.usages().await? {
        queues.occupy(&one.distribution_id, one.usage);
    }
    queues.set_backlogs(store.backlogs(None).await?, true);
    // Shadow mode sends nothing: unresolved batches wait until the service starts in live mode.
    if !settings.shadow {
        for unresolved in store.unresolved().await? {
            queues.reopen(unresolved);
        }
    }
    Ok(Arc::new(queues))
}
