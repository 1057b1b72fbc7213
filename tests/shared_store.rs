//! What several processes do with one PostgreSQL database, and one process with a database that goes away.

#![expect(
    clippy::disallowed_methods,
    reason = "the database answers in real time"
)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use purgefront::{
    domain::{
        catalogue::Revision,
        change::{Acceptance, Content, MappedChange, NewMessage},
        mapping::{Mapping, Target},
        path::Item,
        s3_event::ObjectChange,
    },
    ports::{
        Clock as _, StoreError, Wakeup, Wakeups as _,
        dispatch::{DispatchStore, Epoch, LeaderStore as _},
        history::HistoryStore as _,
        intake::IntakeStore as _,
        leadership::{Acquisition, Leading, Leases as _},
    },
    shutdown::Tasks,
    store::{self, PostgresStore},
    telemetry::{CheckState, Health},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{Patience, clock::VirtualClock, postgres::Database, signer::TOPIC};

const ALL: usize = 100_000;
const SOON: Duration = Duration::from_secs(20);

/// A process that uses a database.
struct Process {
    store: Arc<PostgresStore>,
    health: Health,
}

impl Process {
    async fn start(database: &Database) -> Self {
        let health = Health::default();
        let clock = Arc::new(VirtualClock::new());
        let tasks = Tasks::default();
        let opened = store::open_postgres(database.url(), clock, health.clone(), tasks).await;
        Self {
            store: Arc::new(opened.unwrap()),
            health,
        }
    }

    async fn accept(&self, message: NewMessage) -> Result<Acceptance, StoreError> {
        timeout(SOON, self.store.accept_message(message))
            .await
            .unwrap()
    }

    fn leader(&self, epoch: i64) -> Arc<dyn DispatchStore> {
        self.store.lead(Epoch(epoch))
    }

    fn is_ready(&self) -> bool {
        self.health.checks()[store::HEALTH].state == CheckState::Ok
    }
}

fn message(keys: &[&str]) -> NewMessage {
    let now = VirtualClock::new().now();
    let change = |key: &&str| ObjectChange {
        bucket: "site".to_owned(),
        key: (*key).to_owned(),
        event: "ObjectCreated:Put".to_owned(),
        time: None,
        sequencer: None,
    };
    NewMessage {
        message_id: Uuid::new_v4(),
        signed_at: now,
        topic: TOPIC.parse().unwrap(),
        accepted_at: now,
        content: Content::Notification {
            changes: keys.iter().map(change).collect(),
            dead: Vec::new(),
        },
    }
}

/// Maps all unseen changes to one item.
async fn map(leader: &dyn DispatchStore) -> Result<(), StoreError> {
    let changes = leader.unseen_changes(ALL).await.unwrap();
    let mapped = changes.into_iter().map(|change| MappedChange {
        change,
        only: None,
        mapping: Mapping {
            targets: vec![Target {
                distribution_id: "E1".to_owned(),
                item: Item::read("/a").unwrap(),
                because: "a test".to_owned(),
            }],
            ..Mapping::default()
        },
    });
    leader.record_mapping(Revision(1), mapped.collect()).await
}

#[tokio::test]
async fn a_message_that_two_processes_get_is_kept_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (one, other) = tokio::join!(Process::start(&database), Process::start(&database));
    let messages: Vec<_> = (0..200).map(|_| message(&["a", "b"])).collect();
    let at = |process| {
        let messages = messages.clone();
        let accepted = messages
            .into_iter()
            .map(move |one| Process::accept(process, one));
        join_all(accepted)
    };
    let (first, second) = tokio::join!(at(&one), at(&other));
    for (first, second) in first.into_iter().zip(second) {
        let mut both = [first.unwrap(), second.unwrap()];
        both.sort_by_key(|one| *one == Acceptance::Duplicate);
        assert_eq!(both, [Acceptance::New, Acceptance::Duplicate]);
    }
    let unseen = one.leader(1).unseen_changes(ALL).await.unwrap();
    assert_eq!(unseen.len(), 400);
}

/// The mapper of a late distribution, and whoever asks for the journal's end, rely on it.
#[tokio::test]
async fn numbers_become_visible_in_order() {
    let Some(database) = Database::new().await else {
        return;
    };
    let one = Arc::new(Process::start(&database).await);
    let other = Arc::new(Process::start(&database).await);
    database.lead().await;
    let leader = one.leader(1);
    let send = |process: &Arc<Process>| {
        let process = Arc::clone(process);
        tokio::spawn(async move {
            for _ in 0..100 {
                let group = (0..5).map(|_| process.accept(message(&["a"])));
                for accepted in join_all(group).await {
                    accepted.unwrap();
                }
            }
        })
    };
    let (first, second) = (send(&one), send(&other));
    let mut seen = BTreeSet::new();
    while seen.len() < 1_000 {
        let end = leader.journal_end().await.unwrap();
        let known = leader.unseen_changes(ALL).await.unwrap();
        let highest = seen.last().copied().unwrap_or(0);
        for change in known {
            let is_new = seen.insert(change.seq);
            assert!(
                !is_new || change.seq > highest,
                "{} after {highest}",
                change.seq
            );
        }
        let missing: Vec<_> = (1..=end).filter(|seq| !seen.contains(seq)).collect();
        assert!(missing.is_empty(), "{missing:?} up to {end}");
    }
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn a_former_leader_writes_nothing() {
    let Some(database) = Database::new().await else {
        return;
    };
    let process = Process::start(&database).await;
    database.lead().await;
    process.accept(message(&["a"])).await.unwrap();
    let (former, current) = (process.leader(1), process.leader(2));
    assert!(matches!(map(&*current).await, Err(StoreError::LeadsNoMore)));
    database.lead().await;
    assert!(matches!(map(&*former).await, Err(StoreError::LeadsNoMore)));
    assert_eq!(former.unseen_changes(ALL).await.unwrap().len(), 1);
    map(&*current).await.unwrap();
    assert_eq!(current.unseen_changes(ALL).await.unwrap(), []);
    assert!(process.is_ready());
}

#[tokio::test]
async fn one_process_has_the_lease_until_it_releases_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (one, other) = tokio::join!(Process::start(&database), Process::start(&database));
    let (ours, theirs) = (one.store.leases(), other.store.leases());
    let wakeups = other.store.wakeups(Leading::default());
    let first = Acquisition::Taken {
        epoch: Epoch(1),
        vacant: Duration::ZERO,
    };
    assert_eq!(ours.acquire("one").await.unwrap(), first);
    let Acquisition::Held(held) = theirs.acquire("other").await.unwrap() else {
        panic!("both have it");
    };
    assert_eq!(held.holder, "one");
    assert!(held.left > Duration::ZERO && held.left <= Duration::from_secs(3));
    assert!(ours.renew(Epoch(1)).await.unwrap());
    assert!(!theirs.renew(Epoch(2)).await.unwrap());
    ours.release(Epoch(1)).await.unwrap();
    timeout(SOON, wakeups.woken(Wakeup::LeaseReleased))
        .await
        .unwrap();
    assert!(!ours.renew(Epoch(1)).await.unwrap());
    let Acquisition::Taken { epoch, vacant } = theirs.acquire("other").await.unwrap() else {
        panic!("nobody has it");
    };
    assert!(epoch > Epoch(1));
    assert_eq!(
        vacant,
        Duration::ZERO,
        "the former leader may have made calls until now"
    );
    // Of no effect.
    ours.release(Epoch(1)).await.unwrap();
    assert!(theirs.renew(epoch).await.unwrap());
}

/// By the database's clock, so the test waits for it.
#[tokio::test]
async fn a_lease_that_is_not_renewed_is_anybodys() {
    let Some(database) = Database::new().await else {
        return;
    };
    let process = Process::start(&database).await;
    let leases = process.store.leases();
    leases.acquire("one").await.unwrap();
    let patience = Patience::new();
    let (epoch, vacant) = loop {
        match leases.acquire("other").await.unwrap() {
            Acquisition::Taken { epoch, vacant } => break (epoch, vacant),
            Acquisition::Held(_) => patience.pause("the lease ends").await,
        }
    };
    assert_eq!(epoch, Epoch(2));
    assert!(vacant > Duration::ZERO);
    assert!(!leases.renew(Epoch(1)).await.unwrap());
    assert!(leases.renew(Epoch(2)).await.unwrap());
}

/// What the new leader reads is what the former one has written last.
#[tokio::test]
async fn taking_over_waits_for_the_former_leaders_transaction() {
    let Some(database) = Database::new().await else {
        return;
    };
    let process = Process::start(&database).await;
    let leases = process.store.leases();
    leases.acquire("one").await.unwrap();
    let mut writing = database.connect().await;
    let begin = "BEGIN; SELECT 1 FROM leases WHERE epoch = 1 FOR KEY SHARE";
    sqlx::raw_sql(begin).execute(&mut writing).await.unwrap();
    // A renewal does not wait.
    assert!(leases.renew(Epoch(1)).await.unwrap());
    let release = leases.release(Epoch(1));
    assert!(timeout(Duration::from_millis(300), release).await.is_err());
    sqlx::raw_sql("COMMIT").execute(&mut writing).await.unwrap();
    leases.release(Epoch(1)).await.unwrap();
}

#[tokio::test]
async fn intake_is_refused_while_the_database_is_away_and_goes_on_afterwards() {
    let Some(database) = Database::new().await else {
        return;
    };
    let process = Process::start(&database).await;
    process.accept(message(&["a"])).await.unwrap();
    database.permit(false).await;
    eventually!(process.accept(message(&["b"])).await.is_err());
    eventually!(!process.is_ready());
    let refused = timeout(Duration::from_secs(1), process.accept(message(&["c"]))).await;
    assert!(
        matches!(refused, Ok(Err(StoreError::Unavailable { .. }))),
        "{refused:?}"
    );
    let detail = process.health.checks()[store::HEALTH].detail.clone();
    assert!(
        detail.starts_with("the database is not available"),
        "{detail}"
    );
    database.permit(true).await;
    let last = message(&["d"]);
    eventually!(process.accept(last.clone()).await.is_ok());
    eventually!(process.is_ready());
    let unseen = process.leader(1).unseen_changes(ALL).await.unwrap();
    assert_eq!(unseen.len(), 2, "what was refused is not there");
}

#[tokio::test]
async fn wakeups_reach_the_leader_also_over_a_connection_that_was_lost() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (one, other) = tokio::join!(Process::start(&database), Process::start(&database));
    let leading = Leading::default();
    leading.set(true);
    let (leader, follower) = (
        one.store.wakeups(leading),
        other.store.wakeups(Leading::default()),
    );
    for ours in [&leader, &follower] {
        // All were woken once it listened.
        for wakeup in Wakeup::ALL {
            timeout(SOON, ours.woken(wakeup)).await.unwrap();
        }
    }
    follower.wake(Wakeup::ChangesAccepted);
    timeout(SOON, leader.woken(Wakeup::ChangesAccepted))
        .await
        .unwrap();
    leader.wake(Wakeup::ItemsWaiting);
    leader.wake(Wakeup::CatalogueKept);
    timeout(SOON, follower.woken(Wakeup::CatalogueKept))
        .await
        .unwrap();
    let meant_for_itself = follower.woken(Wakeup::ItemsWaiting);
    assert!(
        timeout(Duration::from_millis(50), meant_for_itself)
            .await
            .is_err()
    );
    timeout(SOON, leader.woken(Wakeup::ItemsWaiting))
        .await
        .unwrap();
    database.cut().await;
    timeout(SOON, leader.woken(Wakeup::OperatorActed))
        .await
        .unwrap();
    follower.wake(Wakeup::SubscriptionAccepted);
    timeout(SOON, leader.woken(Wakeup::SubscriptionAccepted))
        .await
        .unwrap();
}

/// A build is refused only by a schema that says so.
#[tokio::test]
async fn a_newer_schema_is_used_as_long_as_it_permits_that() {
    let Some(database) = Database::new().await else {
        return;
    };
    Process::start(&database).await.store.close().await;
    let mut connection = database.connect().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (1000000, 'newer', true, '', 0)";
    sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
    let process = Process::start(&database).await;
    process.accept(message(&["a"])).await.unwrap();
    assert_eq!(
        process.store.ended_subscriptions().await.unwrap(),
        Vec::<String>::new()
    );
    let incompatible = "UPDATE schema_marks SET min_version = 1000000";
    sqlx::raw_sql(incompatible)
        .execute(&mut connection)
        .await
        .unwrap();
    let clock = Arc::new(VirtualClock::new());
    let url = database.url();
    let opened = store::open_postgres(url, clock, Health::default(), Tasks::default()).await;
    assert!(matches!(
        opened.err(),
        Some(store::OpenError::OtherVersion(_))
    ));
}

/// Here a constraint takes the place of what nobody has thought of.
#[tokio::test]
async fn what_the_database_does_not_take_fails_no_others() {
    let Some(database) = Database::new().await else {
        return;
    };
    let process = Process::start(&database).await;
    let constraint = "ALTER TABLE changes ADD CHECK (object_key <> 'bad')";
    let mut connection = database.connect().await;
    sqlx::raw_sql(constraint)
        .execute(&mut connection)
        .await
        .unwrap();
    let keys = ["a", "bad", "b", "c"].into_iter().cycle().take(200);
    let accepted = join_all(keys.clone().map(|key| process.accept(message(&[key])))).await;
    for (key, accepted) in keys.zip(accepted) {
        assert_eq!(accepted.is_ok(), key != "bad", "{key}");
    }
    assert_eq!(
        process.leader(1).unseen_changes(ALL).await.unwrap().len(),
        150
    );
    assert!(process.is_ready());
}
