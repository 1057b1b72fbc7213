//! Several services on one PostgreSQL, each by a wire of its own, in front of one CloudFront.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::Client;

use super::{
    Patience,
    aws::FakeAws,
    pause,
    postgres::Database,
    service::{Service, Setup},
    wire::Wire,
};

/// The addresses of the replicas that run, as a load balancer knows them.
pub type Addresses = Arc<Mutex<Vec<Option<String>>>>;

pub struct Replicas {
    pub addresses: Addresses,
    all: Vec<Replica>,
}

struct Replica {
    setup: Setup,
    wire: Wire,
    service: Option<Service>,
}

impl Replicas {
    /// Starts as many, with the same settings.
    pub async fn start(count: usize, aws: &FakeAws, database: &Database, settings: &str) -> Self {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let wire = Wire::to(database.address()).await;
            let mut setup = Setup::new(aws);
            setup.set_settings(settings);
            setup.set_store_url(database.url_at(wire.port));
            all.push(Replica {
                setup,
                wire,
                service: None,
            });
        }
        let addresses = Arc::new(Mutex::new(vec![None; count]));
        let mut replicas = Self { addresses, all };
        for one in 0..count {
            replicas.start_one(one).await;
        }
        replicas
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub async fn start_one(&mut self, one: usize) {
        let replica = &mut self.all[one];
        let service = replica.setup.start().await;
        self.addresses.lock().unwrap()[one] = Some(service.url.clone());
        replica.service = Some(service);
    }

    /// Starts it with another binary from now on.
    pub fn set_program(&mut self, one: usize, program: &str) {
        self.all[one].setup.set_program(program);
    }

    /// SIGKILL.
    pub fn kill(&mut self, one: usize) {
        self.addresses.lock().unwrap()[one] = None;
        if let Some(service) = self.all[one].service.take() {
            service.kill();
        }
    }

    /// SIGTERM, to its end.
    pub async fn terminate(&mut self, one: usize) {
        let service = self.all[one].service.take().unwrap();
        let status = service.terminate().await;
        self.addresses.lock().unwrap()[one] = None;
        assert!(status.success(), "{status}");
    }

    /// The same for all that run.
    pub async fn terminate_all(&mut self) {
        for one in 0..self.all.len() {
            if self.all[one].service.is_some() {
                self.terminate(one).await;
            }
        }
    }

    /// SIGSTOP: it neither works nor knows that time goes by.
    pub fn freeze(&self, one: usize) {
        self.signal(one, "-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self, one: usize) {
        self.signal(one, "-CONT");
    }

    fn signal(&self, one: usize, signal: &str) {
        let pid = self.service(one).pid().to_string();
        let done = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(done.success());
    }

    pub fn wire(&self, one: usize) -> &Wire {
        &self.all[one].wire
    }

    pub fn service(&self, one: usize) -> &Service {
        self.all[one].service.as_ref().unwrap()
    }

    pub fn setup(&self, one: usize) -> &Setup {
        &self.all[one].setup
    }

    /// Waits until one of those that answer leads.
    pub async fn leader(&self) -> usize {
        let patience = Patience::new();
        loop {
            for one in 0..self.all.len() {
                if let Some(service) = &self.all[one].service
                    && leads(service).await
                {
                    return one;
                }
            }
            patience.pause("one of the replicas leads").await;
        }
    }
}

/// Whether a service says that it leads. One that does not answer does not say so.
async fn leads(service: &Service) -> bool {
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let answer = client
        .get(format!("{}/metrics", service.admin_url))
        .send()
        .await;
    let Ok(answer) = answer else { return false };
    let text = answer.text().await.unwrap_or_default();
    text.lines().any(|line| line == "purgefront_leader 1")
}

/// As SNS does behind a load balancer: to any replica, again and again until one takes it.
pub async fn send(addresses: Addresses, bodies: Vec<String>, gap: Duration) {
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .build()
        .unwrap();
    for body in bodies {
        loop {
            let running: Vec<_> = addresses
                .lock()
                .unwrap()
                .iter()
                .flatten()
                .cloned()
                .collect();
            let Some(address) = fastrand::choice(running) else {
                pause().await;
                continue;
            };
            match client
                .post(format!("{address}/sns"))
                .body(body.clone())
                .send()
                .await
            {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => assert_eq!(answer.status(), 503),
                Err(_) => {}
            }
            pause().await;
        }
        wait(gap).await;
    }
}

/// How much is open: changes that were not mapped, items that wait, and batches that are not completed.
pub async fn left(database: &Database) -> i64 {
    let open = "SELECT (SELECT count(*) FROM changes WHERE state < 2) \
                + (SELECT count(*) FROM targets WHERE batch IS NULL) \
                + (SELECT count(*) FROM batches WHERE status IN ('pending', 'in_progress'))";
    database.count(open).await
}

/// Waits until nothing is open.
pub async fn all_done(database: &Database) {
    let patience = Patience::new();
    loop {
        let left = left(database).await;
        if left == 0 {
            return;
        }
        patience.pause(&format!("{left} are still open")).await;
    }
}

pub async fn wait(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the services run in real time")]
    tokio::time::sleep(span).await;
}
