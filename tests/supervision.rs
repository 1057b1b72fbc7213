//! No worker dies unseen: a long-lived task that panics is named, fails readiness, and stops the
//! service.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use jiff::Timestamp;
use purgefront::{
    app::{App, SystemClock},
    config::Config,
    domain::change::{Content, NewMessage},
    http::{self, Connections},
    ports::{Clock, Wakeup, Wakeups as _, dispatch::Epoch, intake::IntakeStore as _},
    shutdown::Tasks,
    store,
    telemetry::Health,
};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{
    clock::VirtualClock,
    inside::{Inside, settings},
    signer::TOPIC,
    simulated::Simulated,
    simulation::nature,
    until,
};

/// Every worker, and a verb of the store's that it alone calls.
const WORKERS: [(&str, &str); 7] = [
    ("mapper", "unseen_changes"),
    ("catalogue refresher", "keep_catalogue"),
    ("catalogue follower", "kept_catalogue"),
    ("submitter", "controls"),
    ("tracker", "in_progress"),
    ("retention", "prune"),
    ("confirmer", "pending_confirmations"),
];

async fn inside() -> (Arc<VirtualClock>, Inside) {
    let clock = Arc::new(VirtualClock::new());
    let cdn = Simulated::new(Arc::clone(&clock), nature(&["E1"]), 1);
    let inside = Inside::start(Arc::clone(&clock) as _, Arc::new(cdn), settings());
    (clock, inside.await)
}

/// Lets time pass and wakes everybody until something has come of it.
async fn until_it_has_come<T>(
    clock: &VirtualClock,
    inside: &Inside,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    until("what has to come", || {
        clock.advance(Duration::from_mins(1));
        for wakeup in Wakeup::ALL {
            inside.wakeups.wake(wakeup);
        }
        probe()
    })
    .await
}

#[tokio::test]
async fn each_worker_that_panics_is_named() {
    for (name, verb) in WORKERS {
        let (clock, inside) = inside().await;
        // Everybody has worked before.
        until_it_has_come(&clock, &inside, || inside.catalogue.get()).await;
        assert_eq!(inside.tasks.failed(), None);
        inside.store.tap.panic_in(verb);
        let failed = until_it_has_come(&clock, &inside, || inside.tasks.failed()).await;
        assert_eq!(failed, name, "{verb} panics");
        inside.tasks.end().await;
        inside.store.close().await;
    }
}

#[tokio::test]
async fn the_work_behind_the_2xx_stops_and_starts_again_as_a_whole() {
    let (clock, inside) = inside().await;
    until_it_has_come(&clock, &inside, || inside.catalogue.get()).await;
    for epoch in 2..4 {
        inside.running.stop().await;
        let running = inside.dispatch.start(&inside.tasks, Epoch(epoch)).await;
        let running = running.unwrap();
        let read_since = inside.catalogue.get().unwrap().snapshot().read_since;
        // It works: the catalogue is read again.
        until_it_has_come(&clock, &inside, || {
            let now_known = inside.catalogue.get().unwrap().snapshot().read_since;
            (now_known > read_since).then_some(())
        })
        .await;
        running.stop().await;
    }
    assert_eq!(inside.tasks.failed(), None);
    inside.tasks.end().await;
    inside.store.close().await;
}

/// A listener that breaks when the first connection comes.
struct BrokenListener(TcpListener);

impl axum::serve::Listener for BrokenListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let _ = self.0.accept().await;
        panic!("the listener panics, because a test wants it to");
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test]
async fn a_listener_that_panics_is_named() {
    for name in ["public listener", "admin listener"] {
        let tasks = Tasks::default();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connections = Connections {
            most: 8,
            idle: Duration::from_secs(1),
        };
        let stop = tasks.stop().clone();
        let served = http::serve(BrokenListener(socket), Router::new(), connections, stop);
        tasks.spawn(name, served);
        TcpStream::connect(address).await.unwrap();
        let failed = until("the listener is missed", || tasks.failed()).await;
        assert_eq!(failed, name);
    }
}

/// A clock that panics in whoever asks it next.
#[derive(Default)]
struct BrokenClock(AtomicBool);

#[async_trait]
impl Clock for BrokenClock {
    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn now(&self) -> Timestamp {
        let broken = self.0.load(Ordering::SeqCst);
        assert!(!broken, "the clock panics, because a test wants it to");
        SystemClock.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        SystemClock.sleep_until(at).await;
    }
}

#[tokio::test]
async fn a_store_whose_writer_panics_refuses_and_is_named() {
    let home = tempfile::tempdir().unwrap();
    let tasks = Tasks::default();
    let clock = Arc::new(BrokenClock::default());
    let path = home.path().join("purgefront.db");
    let health = Health::default();
    let store = store::open_sqlite(&path, Arc::clone(&clock) as _, health, tasks.apart());
    let store = store.await.unwrap();
    let message = |accepted_at| NewMessage {
        message_id: Uuid::new_v4(),
        signed_at: accepted_at,
        topic: TOPIC.parse().unwrap(),
        accepted_at,
        content: Content::UnsubscribeConfirmation,
    };
    let now = clock.now();
    store.accept_message(message(now)).await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    // The one that it dies over is refused, and so are all after it: nobody waits for ever.
    for _ in 0..3 {
        assert!(store.accept_message(message(now)).await.is_err());
    }
    let failed = until("the writer is missed", || tasks.failed()).await;
    assert_eq!(failed, "store writer");
    store.close().await;
}

#[tokio::test]
async fn a_task_that_ends_early_fails_readiness_drains_and_fails_the_service() {
    for panics in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let settings = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             drain = \"2s\"\n[store]\nurl = \"sqlite://{}\"\n[sns]\ntopics = [\"{TOPIC}\"]\n",
            home.path().join("purgefront.db").display()
        );
        let app = App::build(Config::parse(&settings, []).unwrap());
        let app = app.await.unwrap();
        let url = format!("http://{}", app.admin_address().unwrap());
        let tasks = app.tasks().clone();
        let running = tokio::spawn(app.run());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = async || {
            let answer = client.get(format!("{url}/readyz")).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.text().await.unwrap())
        };
        eventually!(ready().await.0 == 200);
        tasks.spawn("test worker", async move {
            assert!(!panics, "a fault of its own");
        });
        // While it drains it still answers, and says why it goes.
        eventually!(ready().await.0 == 503);
        assert!(ready().await.1.contains("test worker"));
        let ended = running.await.unwrap();
        let error = ended.expect_err("the service fails").to_string();
        assert!(error.contains("test worker"), "{error}");
    }
}
