//! The work behind the 2xx: mapping, planning, submitting, following, and what they need.
//!
//! Each file is one worker with a loop of its own. A worker looks at the store, does what is
//! due, and sleeps until a signal or its next due time; nothing is handed over in memory that
//! a restart could lose. Time comes from the clock port alone.

mod attempt;
mod budget;
mod catalogue;
mod confirm;
mod lane;
mod mapper;
mod pace;
mod queues;
mod retain;
mod submit;
mod survey;
mod track;

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{batch::Usage, catalogue::Catalogue, mapping::MappingPolicy, origin::OriginOverride},
    health::Health,
    ports::{Cdn, Clock, SnsTrust, Store, StoreError},
    signals::Signals,
    telemetry::Metrics,
};

pub use self::survey::{Scope, Survey};
use self::{
    catalogue::CatalogueKeeper,
    confirm::Confirmer,
    mapper::Mapper,
    pace::Pace,
    queues::{Pools, Queues},
    retain::Retainer,
    submit::Submitter,
    track::Tracker,
};

/// What every worker works with.
#[derive(Clone)]
pub struct Context {
    /// The journal and all that follows from it.
    pub store: Arc<dyn Store>,
    /// `CloudFront`.
    pub cdn: Arc<dyn Cdn>,
    /// SNS, for confirmations.
    pub trust: Arc<dyn SnsTrust>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What the request path says, and is told.
    pub signals: Arc<Signals>,
    /// What readiness shows.
    pub health: Health,
    /// What is counted.
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
    /// Items in one call, at most.
    pub items_per_call: usize,
    /// Exact paths a second, over all calls.
    pub paths_per_second: f64,
    /// Wildcards a second, over all calls.
    pub wildcards_per_second: f64,
    /// What may be in progress at a distribution,
    pub in_progress: Usage,
    /// and how much of that is for people alone.
    pub reserve: Usage,
    /// Items a day without anybody asking for them; 0: no limit.
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

/// Reads what the store knows and starts all workers. They run until `stop` is cancelled, and
/// finish what they have in hand.
pub async fn start(
    context: Context,
    settings: &Settings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    if let Some(kept) = context.store.catalogue().await? {
        let origins = Arc::clone(&settings.origins);
        context
            .signals
            .update_catalogue(|_| Catalogue::new(kept, origins));
    }
    let pools = Pools {
        limit: settings.in_progress,
        reserve: settings.reserve,
    };
    let queues = Queues::new(
        settings.quiet,
        settings.max_wait,
        pools,
        context.metrics.clone(),
    );
    let queues = Arc::new(queues);
    let brakes = context.store.brakes().await?;
    queues.set_waits(&brakes);
    queues.set_pauses(&brakes);
    for (distribution_id, usage) in context.store.usages().await? {
        queues.occupy(&distribution_id, usage);
    }
    for (distribution_id, backlog) in context.store.backlogs().await? {
        queues.add(&distribution_id, backlog);
    }
    // In shadow mode nothing is sent: what was left without an answer waits for a live start.
    if !settings.shadow {
        for unresolved in context.store.unresolved().await? {
            queues.reopen(unresolved);
        }
    }
    let pace = Arc::new(Pace::new(
        settings.reads_per_second,
        settings.read_burst,
        Arc::clone(&context.clock),
    ));
    let mapper = Mapper::new(context.clone(), Arc::clone(&queues), settings);
    tasks.spawn(mapper.run(stop.clone()));
    let keeper = CatalogueKeeper::new(context.clone(), Arc::clone(&pace), settings);
    tasks.spawn(keeper.run(stop.clone()));
    let submitter = Submitter::new(
        context.clone(),
        Arc::clone(&queues),
        Arc::clone(&pace),
        settings,
    );
    tasks.spawn(submitter.run(stop.clone()));
    tasks.spawn(Tracker::new(context.clone(), queues, pace, settings.seed).run(stop.clone()));
    tasks.spawn(Retainer::new(context.clone(), settings.keep).run(stop.clone()));
    tasks.spawn(Confirmer::new(context, settings).run(stop.clone()));
    Ok(())
}

/// How long a worker leaves a store alone that did not answer it.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often a worker looks at the store though nobody signalled: a commit whose outcome was
/// in doubt may have succeeded without anybody to say so.
const POLL: Duration = Duration::from_secs(30);
