//! What the subjects share: an AWS, a signer, and services on stores on the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use crate::{
    numbers::{float, per},
    process,
    sender::{self, MESSAGES, Requests},
    support::{
        aws::FakeAws,
        cloudfront::Distribution,
        distribution::Behaviour,
        service::{Service, Setup},
        signer::Signer,
    },
};

/// No change is due before an hour: nothing is planned or sent while intake and mapping are measured.
pub const HELD: &str = "[batching]\nquiet = \"1h\"\nmax_wait = \"1h\"\n";
/// The same, and the account is read at once.
pub const HELD_AND_READ: &str = "[batching]\nquiet = \"1h\"\nmax_wait = \"1h\"\n\
    [limits]\nreads_per_second = 1000\nread_burst = 1000\n";
/// Nothing bounds how fast work goes out.
pub const UNBOUNDED: &str = "[batching]\nquiet = \"0s\"\n\
    [limits]\ncalls_per_second = 1000\ncall_burst = 1000\n\
    reads_per_second = 1000\nread_burst = 1000\n\
    paths_per_second = 1000000\npaths_in_progress = 1000000\npaths_per_day = 0\n";

pub struct World {
    pub signer: Signer,
    requests: OnceLock<Requests>,
}

/// Where results and stores are, on the disk.
pub fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&directory).unwrap();
    directory
}

impl World {
    pub fn new() -> Self {
        Self {
            signer: Signer::new(),
            requests: OnceLock::new(),
        }
    }

    /// 20,000 signed messages. Each store takes them once.
    pub fn requests(&self) -> &Requests {
        let sign = || sender::uploads(&self.signer, MESSAGES);
        self.requests.get_or_init(sign)
    }

    /// An account with so many distributions, of which the first one serves the bucket `site` and the
    /// second one, if there is one, the bucket `other`.
    pub async fn aws(&self, distributions: usize) -> FakeAws {
        let aws = FakeAws::start().await;
        let signer = &self.signer;
        aws.sns.serve(&signer.file_name, signer.certificate());
        aws.cloudfront.put(Distribution::of("E1", "site"));
        if distributions > 1 {
            aws.cloudfront.put(Distribution::of("E2", "other"));
        }
        for at in 3..=distributions {
            aws.cloudfront.put(typical(at));
        }
        aws
    }
}

/// A distribution as a company has hundreds of.
fn typical(at: usize) -> Distribution {
    let mut distribution = Distribution::of(&format!("E{at}"), &format!("bucket-{at}"));
    distribution.aliases = vec![format!("www-{at}.example.com"), format!("{at}.example.com")];
    let api = (format!("api-{at}.example.com"), String::new());
    distribution.origins.push(api);
    distribution.behaviours = vec![
        Behaviour::of("/api/*", "origin-1"),
        Behaviour::of("/assets/*", "origin-0"),
        Behaviour::of("*.jpg", "origin-0"),
        Behaviour::of("*.png", "origin-0"),
    ];
    distribution.errors = vec![(404, "/404.html".to_owned(), 10)];
    distribution
}

/// A store in a directory of its own, which goes with it.
pub struct Store {
    pub path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Store {
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(self::directory()).unwrap();
        Self {
            path: directory.path().join("purgefront.db"),
            _directory: directory,
        }
    }
}

/// A service as operators start it, with these settings.
pub fn setup(aws: &FakeAws, store: &Path, settings: &str) -> Setup {
    let mut setup = Setup::new(aws);
    setup.set_settings(settings);
    setup.set_store(store.to_owned());
    setup.set_env("RUST_LOG", "info");
    // Histories that are made once are of use for years.
    setup.set_env("PURGEFRONT_STORE__KEEP", "87600h");
    let all = process::all_processors();
    setup.set_wrapper(&["taskset", "-c", &all]);
    setup
}

/// The same on one processor, so that its time can be compared.
pub fn confined(aws: &FakeAws, store: &Path, settings: &str) -> Setup {
    let mut setup = setup(aws, store, settings);
    setup.set_wrapper(&["taskset", "-c", "0"]);
    setup
}

/// Starts it, and waits until it knows the catalogue.
pub async fn started(setup: &Setup) -> Service {
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    service
}

/// Ends it as an operator does, so that its store is one file.
pub async fn stopped(service: Service) {
    assert!(service.terminate().await.success());
}

pub async fn waiting(service: &Service, distribution_id: &str) -> u64 {
    let name = format!("purgefront_waiting_items{{distribution_id=\"{distribution_id}\"}}");
    service.metric(&name).await
}

/// Waits until so many changes, and no more, wait mapped.
pub async fn until_mapped(service: &Service, distribution_id: &str, changes: usize) {
    let changes = u64::try_from(changes).unwrap();
    loop {
        let waiting = waiting(service, distribution_id).await;
        if waiting == changes && service.metric("purgefront_unmapped_changes").await == 0 {
            return;
        }
        pause(100).await;
    }
}

pub async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// What it takes to accept and map 20,000 messages.
pub struct Intake {
    pub messages_per_second: f64,
    /// Microseconds of the processor for each message,
    pub cpu: f64,
    /// and how many of them in the kernel.
    pub in_kernel: f64,
}

impl Intake {
    pub async fn measure(service: &Service, requests: &Requests, connections: usize) -> Self {
        let before = process::cpu(service.pid());
        let took = sender::send(&service.url, requests, connections).await;
        until_mapped(service, "E1", requests.len()).await;
        let spent = process::cpu(service.pid()).since(before);
        Self {
            messages_per_second: float(requests.len()) / took.as_secs_f64(),
            cpu: per(spent.all, requests.len()),
            in_kernel: per(spent.in_kernel, requests.len()),
        }
    }
}
