//! The work behind the 2xx: mapping, planning, submitting, following, and what they need.
//!
//! Each file is one worker, which runs in the loop of [`runner`]: it looks at the store, does what
//! is due, and sleeps until a wake-up or its next due time. Nothing is handed over in memory that a
//! restart could lose. Time comes from the clock port alone.

mod account;
mod attempt;
mod catalogue;
mod confirmer;
mod follower;
mod mapper;
mod others;
mod planner;
mod questions;
mod queues;
mod read_limiter;
mod retention;
mod runner;
mod status_board;
mod submitter;
mod tracker;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

pub use self::account::{AccountReader, AccountReading, ReadScope};
use self::{
    catalogue::CatalogueRefresher,
    confirmer::Confirmer,
    follower::CatalogueFollower,
    mapper::Mapper,
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
        batch::Usage, catalogue::Catalogue, mapping::MappingPolicy, origin::OriginOverride,
        status::Status,
    },
    ports::{
        Cdn, Clock, SnsTrust, StoreError, Wakeups,
        catalogue::{CatalogueHandle, CataloguePublisher, CatalogueStore},
        dispatch::{DispatchStore, Epoch, LeaderStore},
    },
    shutdown::Tasks,
    telemetry::Metrics,
};

/// What the work is done with.
#[derive(Clone)]
pub struct Context {
    /// Gives out the handle that a leader writes with.
    pub leader_store: Arc<dyn LeaderStore>,
    pub catalogue_store: Arc<dyn CatalogueStore>,
    pub cdn: Arc<dyn Cdn>,
    /// SNS, for confirmations.
    pub trust: Arc<dyn SnsTrust>,
    pub clock: Arc<dyn Clock>,
    pub wakeups: Arc<dyn Wakeups>,
    /// What the process knows of the account.
    pub catalogue: CatalogueHandle,
    /// Where the work stands, for whoever follows it.
    pub status: Arc<watch::Sender<Status>>,
    pub metrics: Metrics,
}

/// How the work is done: the configuration's part in it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A distribution is due when it has been quiet for so long,
    pub quiet: Duration,
    /// or when its first waiting change has waited so long.
    pub max_wait: Duration,
    /// How many waiting changes are planned at once.
    pub window: usize,
    /// `CreateInvalidation` calls a second.
    pub calls_per_second: f64,
    /// How many of them may come at once after a pause.
    pub call_burst: u32,
    /// Get and List calls a second.
    pub reads_per_second: f64,
    /// How many of them may come at once after a pause.
    pub read_burst: u32,
    pub items_per_call: usize,
    /// Exact paths a second, over all calls.
    pub paths_per_second: f64,
    /// Wildcards a second, over all calls.
    pub wildcards_per_second: f64,
    /// What may be in progress at a distribution,
    pub in_progress: Usage,
    /// and how much of that is for people alone.
    pub reserve: Usage,
    /// Automatic items a day; 0: no limit.
    pub paths_per_day: u64,
    /// Plan and record everything, send nothing.
    pub shadow: bool,
    /// How often the catalogue is read.
    pub catalogue_refresh: Duration,
    /// What the owner says of mapping,
    pub mapping: Arc<MappingPolicy>,
    /// and of origins whose names do not tell their bucket.
    pub origins: Arc<[OriginOverride]>,
    /// How long history is kept.
    pub keep: Duration,
    /// Whether unsubscribing shall need credentials.
    pub authenticate_on_unsubscribe: bool,
    /// Where the jitter begins.
    pub seed: u64,
}

/// The whole of the leader's work, as one value that can be started again.
pub struct Dispatch {
    pub context: Context,
    pub settings: Settings,
}

/// The leader's work while it runs.
pub struct RunningDispatch(Tasks);

impl RunningDispatch {
    /// Tells all workers to stop and waits until they have finished what they have in hand.
    pub async fn stop(&self) {
        self.0.end().await;
    }
}

/// Keeps `publisher`'s catalogue the one that the store has, for as long as `tasks` run: on every
/// process, whether it leads or not.
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
    /// Reads what the store knows and starts all workers, as a group of `tasks` that can be
    /// stopped by itself.
    pub async fn start(&self, tasks: &Tasks, epoch: Epoch) -> Result<RunningDispatch, StoreError> {
        let Self { context, settings } = self;
        let store = context.leader_store.lead(epoch);
        let queues = read_queues(&*store, settings).await?;
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
        ));
        runner.start(Retention::new(
            Arc::clone(&store) as _,
            Arc::clone(&context.clock),
            settings.keep,
        ));
        let upkeep = Arc::clone(&store) as _;
        runner.start(Confirmer::new(context, settings, upkeep, board.clone()));
        let parts = Parts {
            store,
            queues,
            questions,
            limiter,
            board,
        };
        runner.start(Submitter::new(context, settings, parts));
        Ok(RunningDispatch(group))
    }
}

/// The queues as the store knows them.
async fn read_queues(
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
    // In shadow mode nothing is sent: what was left without an answer waits for a live start.
    if !settings.shadow {
        for unresolved in store.unresolved().await? {
            queues.reopen(unresolved);
        }
    }
    Ok(Arc::new(queues))
}
