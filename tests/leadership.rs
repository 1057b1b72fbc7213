//! One of several processes leads: it gives up as soon as it cannot know that it does, and another
//! follows soon.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use purgefront::{
    dispatch::{Context, Dispatch, Leadership},
    domain::{
        change::{Asked, NewRequest},
        path::Item,
        status::{Leadership as Standing, Status},
    },
    ports::{
        Clock as _, Wakeup, Wakeups as _,
        intake::IntakeStore as _,
        leadership::{Leading, Leases as _},
    },
    shutdown::Tasks,
    store::LocalWakeups,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{
    leases::{SharedLease, Trouble},
    nature::Nature,
    simulation::{World, nature},
};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(50);

/// One store and one CloudFront, and processes that may lead.
struct Cluster {
    world: World,
    lease: Arc<SharedLease>,
}

/// A process of the cluster.
struct Process {
    status: watch::Receiver<Status>,
    wakeups: Arc<LocalWakeups>,
    leading: Leading,
    stopping: CancellationToken,
    tasks: Tasks,
}

impl Cluster {
    async fn new() -> Self {
        Self::with(nature(&["E1"])).await
    }

    async fn with(nature: Nature) -> Self {
        let world = World::start(nature, 7).await;
        let lease = SharedLease::new(&world.clock);
        let cluster = Self { world, lease };
        // The account is read, and then only the processes of the cluster work.
        cluster.pass(5 * SECOND).await;
        cluster.world.inside.running.stop().await;
        cluster
    }

    async fn process(&self, holder: &str) -> Process {
        let wakeups = Arc::new(LocalWakeups::default());
        self.lease.join(&wakeups);
        let Dispatch { context, settings } = &self.world.inside.dispatch;
        let context = Context {
            wakeups: Arc::clone(&wakeups) as _,
            status: Arc::default(),
            ..context.clone()
        };
        let process = Process {
            status: context.status.subscribe(),
            wakeups,
            leading: Leading::default(),
            stopping: CancellationToken::new(),
            tasks: Tasks::default(),
        };
        let leadership = Leadership {
            dispatch: Dispatch {
                context,
                settings: settings.clone(),
            },
            leases: Arc::clone(&self.lease) as _,
            holder: holder.to_owned(),
            leading: process.leading.clone(),
            stopping: process.stopping.clone(),
        };
        leadership.start(&process.tasks);
        self.settle().await;
        process
    }

    async fn settle(&self) {
        self.world.inside.settle().await;
    }

    /// Lets time pass, step by step.
    async fn pass(&self, span: Duration) {
        let end = self.world.clock.now() + span;
        self.settle().await;
        while self.world.clock.now() < end {
            self.world.clock.advance_until(end);
            self.settle().await;
        }
    }

    /// Lets time pass in which no process runs, as after SIGSTOP.
    fn freeze(&self, span: Duration) {
        self.world.clock.advance(span);
    }

    async fn ask(&self, path: &str, process: &Process) {
        let request = NewRequest {
            id: Uuid::now_v7(),
            token: "test".to_owned(),
            reason: None,
            asked: Asked::Items {
                distribution_id: "E1".to_owned(),
                items: vec![Item::parse(path).unwrap()],
            },
            idempotency: None,
            accepted_at: self.world.clock.now(),
        };
        self.world
            .inside
            .store
            .accept_request(request)
            .await
            .unwrap();
        process.wakeups.wake(Wakeup::ChangesAccepted);
    }

    fn made(&self) -> usize {
        self.world.cdn.made().len()
    }

    fn attempts(&self) -> usize {
        self.world.cdn.attempts().len()
    }

    fn log(&self) -> Vec<String> {
        self.lease.take_log()
    }

    async fn end(self, processes: Vec<Process>) {
        for process in processes {
            let tasks = process.tasks.clone();
            let ending = tokio::spawn(async move { tasks.end().await });
            while !ending.is_finished() {
                self.settle().await;
                self.world.clock.advance_to_next();
            }
            assert_eq!(process.tasks.failed(), None);
        }
        self.world.end().await;
    }
}

impl Process {
    fn leads(&self) -> bool {
        let status = self.status.borrow();
        let leads = matches!(status.leadership, Standing::Leads(_));
        assert_eq!(leads, self.leading.get());
        leads
    }

    /// Who leads, as a follower knows it.
    fn follows(&self) -> Option<(String, Timestamp)> {
        match &self.status.borrow().leadership {
            Standing::Follows(leader) => leader.as_ref().map(|one| (one.holder.clone(), one.since)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn one_leads_and_the_others_know_who() {
    let cluster = Cluster::new().await;
    let begun = cluster.world.clock.now();
    let a = cluster.process("a").await;
    let b = cluster.process("b").await;
    assert!(a.leads() && !b.leads());
    assert_eq!(b.follows(), Some(("a".to_owned(), begun)));
    cluster.ask("/x", &a).await;
    cluster.pass(30 * SECOND).await;
    assert_eq!(cluster.made(), 1);
    // It renews, so that nobody else takes it, and needs no new epoch.
    assert!(a.leads() && !b.leads());
    assert_eq!(cluster.log(), ["a takes 1"]);
    // A follower says nothing of the work, and knows the catalogue.
    let known = |process: &Process| {
        let findings = process.status.borrow().findings();
        findings
            .into_iter()
            .map(|one| one.check)
            .collect::<Vec<_>>()
    };
    assert!(known(&a).contains(&"cloudfront") && !known(&b).contains(&"cloudfront"));
    cluster.end(vec![a, b]).await;
}

#[tokio::test]
async fn a_stop_lets_another_lead_within_a_moment() {
    let cluster = Cluster::new().await;
    let a = cluster.process("a").await;
    let b = cluster.process("b").await;
    cluster.pass(5 * SECOND).await;
    a.stopping.cancel();
    cluster.pass(MOMENT).await;
    assert!(!a.leads() && b.leads());
    assert_eq!(cluster.log(), ["a takes 1", "a releases 1", "b takes 2"]);
    // What stops does not try again, and its task goes on until it is told to stop.
    cluster.pass(10 * SECOND).await;
    assert!(!a.leads() && b.leads());
    assert_eq!(a.tasks.failed(), None);
    cluster.ask("/x", &b).await;
    cluster.pass(10 * SECOND).await;
    assert_eq!(cluster.made(), 1);
    cluster.end(vec![a, b]).await;
}

#[tokio::test]
async fn a_stop_waits_a_moment_for_calls_under_way_and_no_longer() {
    for (answered, latency) in [(true, SECOND / 2), (false, 30 * SECOND)] {
        let mut nature = nature(&["E1"]);
        nature.latency = latency;
        let cluster = Cluster::with(nature).await;
        let a = cluster.process("a").await;
        cluster.ask("/x", &a).await;
        while cluster.attempts() == 0 {
            cluster.settle().await;
            cluster.world.clock.advance_to_next();
        }
        a.stopping.cancel();
        cluster.pass(SECOND + MOMENT).await;
        assert_eq!(cluster.log(), ["a takes 1", "a releases 1"]);
        let open = cluster.world.inside.leader.unresolved().await.unwrap();
        assert_eq!(open.is_empty(), answered, "{latency:?}");
        cluster.end(vec![a]).await;
    }
}

#[tokio::test]
async fn a_killed_leader_is_followed_as_soon_as_its_lease_ends() {
    let cluster = Cluster::new().await;
    // A process that never renews.
    cluster.lease.acquire("dead").await.unwrap();
    let b = cluster.process("b").await;
    assert_eq!(b.follows().map(|one| one.0).as_deref(), Some("dead"));
    cluster.ask("/x", &b).await;
    cluster.pass(3 * SECOND - MOMENT).await;
    assert!(!b.leads());
    cluster.pass(2 * MOMENT).await;
    assert!(b.leads());
    // The rates are empty at first: half a call per second.
    cluster.pass(2 * SECOND + MOMENT).await;
    assert_eq!(cluster.made(), 1, "{:?}", cluster.world.cdn.log());
    cluster.end(vec![b]).await;
}

#[tokio::test]
async fn a_renewal_that_fails_ends_the_term_and_a_new_epoch_begins() {
    for trouble in [Trouble::Away, Trouble::Silent] {
        let cluster = Cluster::new().await;
        let a = cluster.process("a").await;
        cluster.ask("/x", &a).await;
        cluster.pass(10 * SECOND).await;
        assert_eq!(cluster.made(), 1);
        cluster.lease.set_trouble(trouble);
        cluster.pass(3 * SECOND).await;
        assert!(!a.leads(), "{trouble:?}");
        assert_eq!(a.follows(), None);
        // Nothing is sent meanwhile.
        cluster.ask("/y", &a).await;
        cluster.pass(10 * SECOND).await;
        assert_eq!(cluster.made(), 1);
        if trouble == Trouble::Silent {
            // A call that is never answered is for the store to end.
            std::mem::forget(a);
            continue;
        }
        cluster.lease.set_trouble(Trouble::None);
        cluster.pass(10 * SECOND).await;
        assert!(a.leads());
        assert_eq!(cluster.log().last().unwrap(), "a takes 2");
        assert_eq!(cluster.made(), 2);
        cluster.end(vec![a]).await;
    }
}

#[tokio::test]
async fn a_process_that_was_frozen_does_nothing_before_it_leads_anew() {
    // Short of the lease's end, and beyond it.
    for (frozen, log) in [
        (2 * SECOND + MOMENT, &["a releases 1", "a takes 2"][..]),
        (60 * SECOND, &["b takes 2"][..]),
    ] {
        let cluster = Cluster::new().await;
        let a = cluster.process("a").await;
        cluster.pass(10 * SECOND).await;
        cluster.ask("/x", &a).await;
        let _ = cluster.log();
        let writes = |cluster: &Cluster| {
            let tap = &cluster.world.inside.store.tap;
            ["record_mapping", "freeze", "record_attempt"].map(|verb| tap.calls(verb))
        };
        let before = writes(&cluster);
        cluster.freeze(frozen);
        if frozen > 3 * SECOND {
            cluster.lease.acquire("b").await.unwrap();
        }
        cluster.settle().await;
        assert_eq!(writes(&cluster), before, "nothing is written");
        assert!(!a.leads());
        cluster.pass(SECOND).await;
        assert_eq!(cluster.log(), log);
        cluster.pass(10 * SECOND).await;
        assert!(a.leads() && cluster.made() == 1);
        cluster.end(vec![a]).await;
    }
}

#[tokio::test]
async fn a_write_with_an_unknown_outcome_ends_the_term() {
    let cluster = Cluster::new().await;
    let a = cluster.process("a").await;
    cluster.pass(10 * SECOND).await;
    cluster.world.inside.store.tap.lose_replies(1.0, 7);
    cluster.ask("/x", &a).await;
    cluster.settle().await;
    while cluster.world.inside.store.tap.calls("freeze") == 0 {
        cluster.world.clock.advance_to_next();
        cluster.settle().await;
    }
    assert!(!a.leads());
    assert_eq!(cluster.attempts(), 0, "no call follows a write in doubt");
    cluster.world.inside.store.tap.lose_replies(0.0, 7);
    cluster.pass(20 * SECOND).await;
    assert_eq!(cluster.log(), ["a takes 1", "a releases 1", "a takes 2"]);
    assert_eq!(cluster.made(), 1, "what was frozen is sent, once");
    cluster.end(vec![a]).await;
}

#[tokio::test]
async fn a_store_that_hangs_does_not_hold_up_the_end_of_a_term() {
    let cluster = Cluster::new().await;
    let a = cluster.process("a").await;
    let b = cluster.process("b").await;
    cluster.pass(10 * SECOND).await;
    let gate = cluster.world.inside.store.tap.hold("controls");
    a.wakeups.wake(Wakeup::OperatorActed);
    cluster.settle().await;
    a.stopping.cancel();
    cluster.pass(SECOND + MOMENT).await;
    assert!(!a.leads());
    gate.close();
    cluster.pass(MOMENT).await;
    assert!(b.leads());
    cluster.end(vec![a, b]).await;
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let cluster = Cluster::new().await;
    cluster.lease.set_trouble(Trouble::Away);
    let a = cluster.process("a").await;
    cluster.pass(60 * SECOND).await;
    assert!(!a.leads());
    assert_eq!(a.follows(), None);
    cluster.lease.set_trouble(Trouble::None);
    cluster.pass(SECOND).await;
    assert!(a.leads() && cluster.lease.is_held(1));
    cluster.end(vec![a]).await;
}
