//! How long the service takes from its start until it is ready.
//!
//! The starts that are measured read the machine's own trusted roots, as an operator's do. So they do
//! not believe the fake AWS, and work with what they know of the account; nothing waits for more.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    filled::Filled,
    numbers::{float, median, millis, written},
    process,
    report::Report,
    support::aws::FakeAws,
    world::{HELD, Store, World, pause, setup, started, stopped},
};

const ROUNDS: usize = 5;
const HISTORY: usize = 10_000_000;

pub async fn measure(world: &World, report: &mut Report) {
    empty(world, report).await;
    for distributions in [10, 100, 500, 5_000] {
        with_catalogue(world, report, distributions).await;
    }
    with_history(world, report).await;
}

/// The store does not even exist.
async fn empty(world: &World, report: &mut Report) {
    let aws = world.aws(1).await;
    let mut found = Found::default();
    for _ in 0..ROUNDS {
        found.start(&aws, &Store::new().path).await;
    }
    found.tell(report, "no store");
}

async fn with_catalogue(world: &World, report: &mut Report, distributions: usize) {
    let aws = world.aws(distributions).await;
    let store = Store::new();
    stopped(started(&setup(&aws, &store.path, HELD)).await).await;
    let mut found = Found::default();
    for _ in 0..ROUNDS {
        found.start(&aws, &store.path).await;
    }
    let at = format!("{} distributions known", written(float(distributions)));
    found.tell(report, &at);
}

async fn with_history(world: &World, report: &mut Report) {
    let aws = world.aws(1).await;
    let filled = Filled::ready(&aws, HISTORY).await;
    let mut found = Found::default();
    for _ in 0..ROUNDS {
        found.start(&aws, &filled.path).await;
    }
    found.tell(report, "10,000,000 changes in history");
}

#[derive(Default)]
struct Found {
    /// Until the first 200 of `GET /readyz`, in milliseconds,
    times: Vec<f64>,
    /// and the processor time until then.
    cpu: Vec<f64>,
}

impl Found {
    async fn start(&mut self, aws: &FakeAws, store: &Path) {
        let address = free_address().await;
        let mut setup = setup(aws, store, HELD);
        setup.set_env("PURGEFRONT_SERVER__LISTEN", &address);
        setup.unset_env("SSL_CERT_FILE");
        let begin = Instant::now();
        let service = setup.spawn();
        while !is_ready(&address).await {
            pause(1).await;
        }
        self.times.push(millis(begin.elapsed()));
        self.cpu.push(millis(process::exact_cpu(service.pid())));
        // Not in the middle of its first reading of the account.
        pause(500).await;
        stopped(service).await;
    }

    fn tell(self, report: &mut Report, at: &str) {
        report.add(
            at,
            "from start to ready, median of 5",
            median(self.times),
            "ms",
        );
        report.add(at, "processor time until then", median(self.cpu), "ms");
    }
}

/// An address that nobody listens on.
async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Asks over a connection of its own.
async fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(request).await?;
        stream.read_to_end(&mut answer).await
    };
    // The socket may be open long before anybody answers, but not for ever.
    let asked = tokio::time::timeout(Duration::from_mins(1), asked).await;
    asked.is_ok_and(|asked| asked.is_ok()) && answer.starts_with(b"HTTP/1.1 200 ")
}
