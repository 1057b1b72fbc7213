//! A crowd at the public door: 200 senders that dawdle, 200 that ask for certificates which do
//! not exist, each time another, and 1,000 that all ask for the same ones, at the default rates.
//! Whoever behaves gets in.

#![expect(
    clippy::disallowed_methods,
    reason = "senders come and wait in real time"
)]

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::support::{
    signer::{Signer, s3_records},
    world::World,
};

const SLOW: usize = 200;
const JUNK: usize = 200;
/// With the others more than `server.max_requests`.
const SHARING: usize = 1_000;
const GOOD: usize = 8;
/// How long the crowd is there before somebody comes whose certificate is not known yet.
const BEFORE: Duration = Duration::from_secs(12);
/// README's `sns.cert_fetch_burst`, and `sns.cert_fetches_per_minute` a second.
const BURST: usize = 50;
const PER_SECOND: usize = 25;
/// What SNS gives a delivery, and how long it waits between its default retries, of which there
/// are three (Amazon SNS Developer Guide, "Message delivery retries").
const SNS_WAITS: Duration = Duration::from_secs(15);
const SNS_RETRIES: Duration = Duration::from_secs(20);
const SNS_TRIES: u32 = 4;

/// Sends one byte a second, of the head or of the body, until it is hung up on.
async fn dawdle(address: &str, in_body: bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"POST /sns HTTP/1.1\r\nhost: purgefront\r\ncontent-length: 100000\r\n\r\n";
    let bytes = if in_body {
        stream.write_all(head).await.unwrap();
        b" ".repeat(100_000)
    } else {
        head.to_vec()
    };
    for byte in bytes {
        sleep(Duration::from_secs(1)).await;
        match stream.write_all(&[byte]).await {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) =>
            {
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A client, and so connections, of its own, as patient as SNS.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().timeout(SNS_WAITS);
    client.build().unwrap()
}

async fn post(client: &reqwest::Client, url: &str, body: String) -> u16 {
    client
        .post(url)
        .body(body)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// A message on the allowed topic with a junk address.
fn junk(template: &Value, digits: Uuid) -> String {
    let mut message = template.clone();
    let digits = digits.simple();
    let url = format!("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{digits}.pem");
    message["SigningCertURL"] = json!(url);
    message.to_string()
}

/// What each of the crowd did.
#[derive(Default)]
struct Counts {
    hung_up_on: AtomicUsize,
    refused: AtomicUsize,
    taken: AtomicUsize,
}

fn gather(world: &World, counts: &Arc<Counts>) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    let address = world.service.url.replace("http://", "");
    for at in 0..SLOW {
        let (address, counts) = (address.clone(), Arc::clone(counts));
        crowd.spawn(async move {
            loop {
                dawdle(&address, at % 2 == 0).await;
                counts.hung_up_on.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let url = format!("{}/sns", world.service.url);
    let template = world.upload().signed();
    for _ in 0..JUNK {
        let (url, template, counts) = (url.clone(), template.clone(), Arc::clone(counts));
        crowd.spawn(async move {
            let client = client();
            loop {
                assert_eq!(
                    post(&client, &url, junk(&template, Uuid::new_v4())).await,
                    503
                );
                counts.refused.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let began = Instant::now();
    for _ in 0..SHARING {
        let (url, template) = (url.clone(), template.clone());
        crowd.spawn(async move {
            let client = client();
            loop {
                let sent = Instant::now();
                let shared = Uuid::from_u128(u128::from(began.elapsed().as_secs() / 4));
                assert_eq!(post(&client, &url, junk(&template, shared)).await, 503);
                if sent.elapsed() < Duration::from_secs(1) {
                    sleep(Duration::from_secs(1)).await;
                }
            }
        });
    }
    crowd
}

/// Sends messages with the known certificate for as long as the crowd is there.
async fn behave(signer: Arc<Signer>, url: String, sender: usize, counts: Arc<Counts>) {
    let client = client();
    for at in 0.. {
        let text = s3_records(
            "site",
            &[("ObjectCreated:Put", &format!("key-{sender}-{at}"))],
        );
        let body = signer.notification(&text).body();
        assert_eq!(post(&client, &url, body).await, 200);
        counts.taken.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(100)).await;
    }
}

/// As SNS does: at once, and again later for as long as its default policy lets it.
async fn deliver(signer: &Signer, url: &str) -> Vec<u16> {
    let client = client();
    let body = signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", "new")]))
        .body();
    let mut answers = Vec::new();
    for _ in 0..SNS_TRIES {
        answers.push(post(&client, url, body.clone()).await);
        if answers.last() == Some(&200) {
            break;
        }
        sleep(SNS_RETRIES).await;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_and_junk_certificates_do_not_keep_others_out() {
    // Every connection has two ends, and one of them is ours.
    rlimit::increase_nofile_limit(8_192).unwrap();
    let world = World::start().await;
    let known = Arc::new(Signer::new());
    world.aws.sns.serve(&known.file_name, known.certificate());
    let url = format!("{}/sns", world.service.url);
    assert_eq!(deliver(&known, &url).await, [200]);

    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let mut crowd = gather(&world, &counts);
    for sender in 0..GOOD {
        crowd.spawn(behave(
            Arc::clone(&known),
            url.clone(),
            sender,
            Arc::clone(&counts),
        ));
    }
    let check = async {
        sleep(BEFORE).await;
        // The world's signer has not sent anything yet.
        let answers = deliver(&world.signer, &url).await;
        assert_eq!(answers.last(), Some(&200), "{answers:?}");
    };
    tokio::select! {
        () = check => {}
        ended = crowd.join_next() => ended.unwrap().unwrap(),
    }
    let lasted = began.elapsed();
    crowd.shutdown().await;

    let seconds = usize::try_from(lasted.as_secs()).unwrap() + 1;
    let most = BURST + PER_SECOND * seconds;
    let fetches = world.aws.sns.all_fetches();
    assert!(fetches <= most, "{fetches} fetches in {lasted:?}");
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    // The crowd was one.
    assert!(fetches > 2 * BURST, "{fetches} fetches in {lasted:?}");
    assert!(
        count(&counts.refused) > JUNK,
        "{} refused",
        count(&counts.refused)
    );
    assert!(
        count(&counts.hung_up_on) >= SLOW / 4,
        "{} hung up on",
        count(&counts.hung_up_on)
    );
    assert!(count(&counts.taken) > 100, "{} taken", count(&counts.taken));
    assert_eq!(world.service.ready().await.0, 200);
    assert_eq!(world.aws.sns.fetches(&world.signer.file_name), 1);
}

/// Somebody asks for long answers and reads none of them.
#[tokio::test]
async fn who_does_not_read_is_hung_up_on() {
    let world = World::start().await;
    let address = world.service.url.replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let question = b"GET /openapi.yaml HTTP/1.1\r\nhost: purgefront\r\n\r\n";
    let asking = async {
        // More than both ends' buffers hold; then it can only wait.
        while stream.write_all(&question.repeat(100)).await.is_ok() {}
    };
    let patience = Duration::from_secs(40);
    let ended = tokio::time::timeout(patience, asking).await;
    assert!(ended.is_ok(), "still connected");
}
