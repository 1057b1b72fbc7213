//! Commits of the store, synced to the disk of the build directory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use futures_util::future::join_all;
use purgefront::{
    app::SystemClock,
    domain::{
        catalogue::Revision,
        change::{Acceptance, Content, MappedChange, NewMessage, Subject},
        mapping::{Mapping, Target},
        path::Item,
        s3_event::ObjectChange,
    },
    ports::{
        Clock as _,
        dispatch::{DispatchStore, Epoch, LeaderStore as _},
        intake::IntakeStore as _,
    },
    shutdown::Tasks,
    store::{self, SqliteStore},
    telemetry::Health,
};
use tokio::{runtime::Runtime, task::coop::unconstrained};
use uuid::Uuid;

use crate::{page, support::signer::TOPIC};

/// The changes of one `record_mapping`.
const MAPPED: usize = 64;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    // Disks vary: samples of equal length, for twice as long as elsewhere.
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(30);
    group.measurement_time(Duration::from_secs(6));
    for messages in [1, 64, 256] {
        let place = Place::new();
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("{messages} concurrent accept_message"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| place.accept(messages)).sum());
        });
    }
    let place = Place::new();
    group.throughput(Throughput::Elements(MAPPED as u64));
    group.bench_function(format!("record_mapping of {MAPPED} changes"), |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| place.record_mapping()).sum());
    });
    group.finish();
}

/// A store of its own, and the runtime that it runs on.
struct Place {
    runtime: Runtime,
    store: SqliteStore,
    leader: Arc<dyn DispatchStore>,
    _home: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        // Not in /tmp, which may be memory, where syncing costs nothing.
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // With one thread, the writer does not begin before all messages of a round are in its queue.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let path = home.path().join("purgefront.db");
        let (health, tasks) = (Health::default(), Tasks::default());
        let opened = store::open_sqlite(&path, Arc::new(SystemClock), health, tasks);
        let store = runtime.block_on(opened).unwrap();
        Self {
            runtime,
            leader: store.lead(Epoch(1)),
            store,
            _home: home,
        }
    }

    /// How long it takes to accept so many messages at once, in one commit.
    fn accept(&self, messages: usize) -> Duration {
        let messages: Vec<_> = (0..messages).map(message).collect();
        let begin = Instant::now();
        let calls = messages
            .into_iter()
            .map(|message| self.store.accept_message(message));
        // Unconstrained: tokio would otherwise let the writer begin after 128 messages.
        let accepted = self.runtime.block_on(unconstrained(join_all(calls)));
        let took = begin.elapsed();
        for one in accepted {
            assert_eq!(one.unwrap(), Acceptance::New);
        }
        took
    }

    /// How long it takes to record that changes need one item each. They are accepted before.
    fn record_mapping(&self) -> Duration {
        self.accept(MAPPED);
        let unseen = self.leader.unseen_changes(MAPPED);
        let unseen = self.runtime.block_on(unseen).unwrap();
        assert_eq!(unseen.len(), MAPPED);
        let mapped = unseen.into_iter().map(|change| MappedChange {
            mapping: Mapping {
                targets: vec![target(&change.subject)],
                ..Mapping::default()
            },
            only: None,
            change,
        });
        let mapped = mapped.collect();
        let begin = Instant::now();
        let recording = self.leader.record_mapping(Revision(1), mapped);
        self.runtime.block_on(recording).unwrap();
        begin.elapsed()
    }
}

/// A message with one change.
fn message(at: usize) -> NewMessage {
    let now = SystemClock.now();
    let change = ObjectChange {
        bucket: "site".to_owned(),
        key: page(at),
        event: "ObjectCreated:Put".to_owned(),
        time: Some(now),
        sequencer: Some("006976B8A6AECEE0CB".to_owned()),
    };
    NewMessage {
        message_id: Uuid::new_v4(),
        signed_at: now,
        topic: TOPIC.parse().unwrap(),
        accepted_at: now,
        content: Content::Notification {
            changes: vec![change],
            dead: Vec::new(),
        },
    }
}

/// The object's own path at one distribution.
fn target(subject: &Subject) -> Target {
    let Subject::Object { key, .. } = subject else {
        panic!("a change of an object: {subject:?}");
    };
    Target {
        distribution_id: "E2QWRUHAPOMQZL".to_owned(),
        item: Item::parse(&format!("/{key}")).unwrap(),
        because: "origin site, default behaviour".to_owned(),
    }
}
