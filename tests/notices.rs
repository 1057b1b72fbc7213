//! Somebody is told of what completes and fails: signed, at least once, and without holding up anything.

use std::{
    fs,
    net::ToSocketAddrs as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, record},
    until,
};

const SECRETS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// A notice as it was received.
#[derive(Debug, Clone)]
struct Received {
    id: String,
    timestamp: String,
    signatures: Vec<String>,
    text: Bytes,
    body: Value,
}

/// Receives notices, and answers with a status.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
}

type Shared = (Arc<Mutex<Vec<Received>>>, Arc<AtomicU16>);

async fn receive(
    State((received, status)): State<Shared>,
    headers: HeaderMap,
    text: Bytes,
) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    received.lock().unwrap().push(Received {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature")
            .split(' ')
            .map(str::to_owned)
            .collect(),
        body: serde_json::from_slice(&text).unwrap(),
        text,
    });
    StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let received = Arc::default();
        let status = Arc::new(AtomicU16::new(204));
        let shared: Shared = (Arc::clone(&received), Arc::clone(&status));
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(shared);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            url,
            received,
            status,
        }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for so many, and returns them.
    async fn gets(&self, count: usize) -> Vec<Received> {
        until("notices", || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

/// Adds a `[[notify]]` with all secrets.
fn notifies(setup: &mut Setup, url: &str, more: &str) {
    let file = setup.home().join("secrets");
    let lines = SECRETS.map(|secret| format!("whsec_{}\n", STANDARD.encode(secret)));
    fs::write(&file, lines.concat()).unwrap();
    setup.add_settings(&format!(
        "[[notify]]\nurl = \"{url}\"\nsecret_file = \"{}\"\n{more}\n",
        file.display()
    ));
}

const PRIVATE: &str = "allow_private = true";

async fn account() -> (FakeAws, Setup) {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.complete_after(Duration::from_millis(1));
    let setup = Setup::new(&aws);
    (aws, setup)
}

async fn started(setup: &Setup) -> Service {
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    service
}

async fn invalidates(service: &Service, path: &str) {
    assert_eq!(service.invalidate("E1", &[path]).await.status(), 202);
}

#[tokio::test]
async fn a_completed_invalidation_is_told_and_signed() {
    let (_aws, mut setup) = account().await;
    let receiver = Receiver::start().await;
    notifies(&mut setup, &receiver.url, PRIVATE);
    let service = started(&setup).await;
    invalidates(&service, "/a").await;
    let notice = receiver.gets(1).await.remove(0);
    assert_eq!(notice.body["type"], "invalidation.completed");
    let page = service.get("/invalidations").await;
    assert_eq!(notice.body["data"], page["invalidations"][0]);
    assert_eq!(notice.body["data"]["status"], "completed");
    let signed = [
        notice.id.as_bytes(),
        b".",
        notice.timestamp.as_bytes(),
        b".",
        &notice.text,
    ]
    .concat();
    assert_eq!(notice.signatures.len(), 2);
    for (secret, signature) in SECRETS.iter().zip(&notice.signatures) {
        let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::verify(&key, &signed, &tag.unwrap()).unwrap();
    }
    let delivered = "purgefront_notices_total{outcome=\"delivered\"}";
    eventually!(service.metric(delivered).await == 1);
    eventually!(service.metric("purgefront_waiting_notices").await == 0);
}

#[tokio::test]
async fn what_fails_is_told_with_its_dead_letter() {
    let (aws, mut setup) = account().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let (receiver, letters) = (Receiver::start().await, Receiver::start().await);
    notifies(&mut setup, &receiver.url, PRIVATE);
    let only = format!("{PRIVATE}\nevents = [\"dead_letter\"]");
    notifies(&mut setup, &letters.url, &only);
    let service = started(&setup).await;
    aws.cloudfront.refuse_path("/bad");
    invalidates(&service, "/bad").await;
    let mut kinds: Vec<_> = receiver
        .gets(2)
        .await
        .into_iter()
        .map(|notice| notice.body["type"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["dead_letter", "invalidation.failed"]);
    let bad = serde_json::json!({"Records": [record("ObjectCreated:Put", "site", "%FF")]});
    let answer = service.sns(signer.notification(&bad.to_string()).body());
    assert_eq!(answer.await.status(), 200);
    let told = letters.gets(2).await;
    assert!(told.iter().all(|one| one.body["type"] == "dead_letter"));
    let mut kinds: Vec<_> = told.iter().map(|one| &one.body["data"]["kind"]).collect();
    kinds.sort_by_key(ToString::to_string);
    assert_eq!(kinds, ["item", "record"]);
}

#[tokio::test]
async fn a_notice_that_is_not_taken_is_repeated_with_its_id() {
    let (_aws, mut setup) = account().await;
    let receiver = Receiver::start().await;
    notifies(&mut setup, &receiver.url, PRIVATE);
    let service = started(&setup).await;
    receiver.answers(500);
    invalidates(&service, "/a").await;
    let refused = receiver.gets(3).await;
    let check = || async { service.ready().await.1["checks"]["notices"].clone() };
    eventually!(check().await["state"] == "warn");
    let told = check().await["detail"].to_string();
    assert!(
        told.contains("http://127.0.0.1:") && told.contains("status 500"),
        "{told}"
    );
    receiver.answers(200);
    eventually!(check().await["state"] == "ok");
    let delivered = "purgefront_notices_total{outcome=\"delivered\"}";
    eventually!(service.metric(delivered).await == 1);
    let all = receiver.received();
    assert!(all.iter().all(|one| one.id == refused[0].id));
    assert!(all.iter().all(|one| one.text == refused[0].text));
    assert!(service.log_text().contains("the response has status 500"));
    assert!(!service.log_text().contains("/hook"), "a URL may be secret");
}

#[tokio::test]
async fn what_was_not_delivered_survives_a_restart() {
    let (_aws, mut setup) = account().await;
    let receiver = Receiver::start().await;
    notifies(&mut setup, &receiver.url, PRIVATE);
    let service = started(&setup).await;
    receiver.answers(503);
    invalidates(&service, "/a").await;
    let refused = receiver.gets(1).await.remove(0);
    service.kill();
    receiver.answers(200);
    let before = receiver.received().len();
    let service = setup.start().await;
    let all = receiver.gets(before + 1).await;
    assert_eq!(all.last().unwrap().id, refused.id);
    eventually!(service.metric("purgefront_waiting_notices").await == 0);
}

#[tokio::test]
async fn a_dead_target_holds_up_nobody() {
    let (aws, mut setup) = account().await;
    // It takes connections, and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", dead.local_addr().unwrap());
    notifies(&mut setup, &url, PRIVATE);
    let receiver = Receiver::start().await;
    notifies(&mut setup, &receiver.url, PRIVATE);
    let service = started(&setup).await;
    // More than may be sent to a target at once.
    for nth in 1..=6 {
        invalidates(&service, &format!("/{nth}")).await;
        until("the call", || {
            (aws.cloudfront.calls().len() == nth).then_some(())
        })
        .await;
    }
    receiver.gets(6).await;
    eventually!(service.metric("purgefront_waiting_notices").await == 6);
}

#[tokio::test]
async fn what_waits_for_a_name_goes_to_its_new_url() {
    let (aws, mut setup) = account().await;
    let named = format!("{PRIVATE}\nname = \"deployments\"");
    notifies(&mut setup, "http://127.0.0.1:9/gone", &named);
    let service = started(&setup).await;
    invalidates(&service, "/a").await;
    eventually!(service.metric("purgefront_waiting_notices").await == 1);
    service.kill();
    let receiver = Receiver::start().await;
    let mut moved = Setup::new(&aws).sharing(&setup);
    notifies(&mut moved, &receiver.url, &named);
    let _service = started(&moved).await;
    assert_eq!(
        receiver.gets(1).await[0].body["type"],
        "invalidation.completed"
    );
}

#[tokio::test]
async fn a_private_address_is_told_nothing_unless_that_is_configured() {
    let (_aws, mut setup) = account().await;
    let receiver = Receiver::start().await;
    notifies(&mut setup, &receiver.url, "");
    let (status, told) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(2), "{told}");
    assert!(told.contains("allow_private = true"), "{told}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_told_nothing() {
    let (_aws, mut setup) = account().await;
    // The machine's own name, which is no name of loopback to whoever reads the configuration.
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim();
    let found = (name, 9).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    if !found.is_ok_and(|found| !found.is_empty() && found.iter().all(|one| one.ip().is_loopback()))
    {
        eprintln!("NOT TESTED: the name of this machine does not lead to itself");
        return;
    }
    notifies(&mut setup, &format!("https://{name}:9/"), "");
    setup.set_env("NO_PROXY", name);
    let service = started(&setup).await;
    invalidates(&service, "/a").await;
    let failed = "purgefront_notices_total{outcome=\"failed\"}";
    eventually!(service.metric(failed).await > 0);
    eventually!(service.metric("purgefront_waiting_notices").await == 1);
    let log = service.log_text();
    assert!(log.contains("its address is private"), "{log}");
}

#[tokio::test]
async fn a_proxy_may_be_at_a_private_address() {
    let (aws, mut setup) = account().await;
    notifies(&mut setup, "https://hooks.example.com/x", "");
    let service = started(&setup).await;
    invalidates(&service, "/a").await;
    until("the proxy is asked", || {
        let hosts = aws.hosts();
        hosts
            .iter()
            .any(|host| host.starts_with("hooks.example.com"))
            .then_some(())
    })
    .await;
    drop(service);
}
