//! A crowd at the public door: senders that dawdle, and senders that ask for certificates which
//! do not exist. Whoever behaves gets in. `soak::crowd` brings hundreds of each.

#![expect(
    clippy::disallowed_methods,
    reason = "senders come and wait in real time"
)]

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::support::{
    Patience,
    service::PATIENCE,
    signer::{Signer, s3_records},
    until,
    world::World,
};

/// How many senders of each kind there are.
pub struct Crowd {
    pub slow: usize,
    /// Each asks for another certificate with every message,
    pub junk: usize,
    /// or all for the same ones.
    pub sharing: usize,
    /// With a certificate that is known.
    pub good: usize,
    /// How long a junk sender waits after each answer.
    pub pause: Duration,
    /// How long each waits for an answer.
    pub waits: Duration,
}

/// What a crowd has met so far.
#[derive(Default)]
pub struct Counts {
    pub hung_up_on: AtomicUsize,
    pub refused: AtomicUsize,
    pub taken: AtomicUsize,
}

impl Counts {
    pub fn of(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }

    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends one byte a second, of the head or of the body, until it is hung up on.
async fn dawdle(address: &str, in_body: bool) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = b"POST /sns HTTP/1.1\r\nhost: purgefront\r\ncontent-length: 100000\r\n\r\n";
    let bytes = if in_body {
        stream.write_all(head).await?;
        b" ".repeat(100_000)
    } else {
        head.to_vec()
    };
    for byte in bytes {
        sleep(Duration::from_secs(1)).await;
        if let Err(error) = stream.write_all(&[byte]).await {
            let is_hung_up = matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            );
            return if is_hung_up { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// A client, and so connections, of its own.
pub fn client(waits: Duration) -> Client {
    let client = Client::builder().no_proxy().timeout(waits);
    // Reading the machine's certificates a thousand times would be most of the sender's work.
    client.tls_certs_only([]).build().unwrap()
}

async fn post(client: &Client, url: &str, body: String) -> Result<u16, String> {
    let answer = client.post(url).body(body).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    Ok(answer.status().as_u16())
}

/// Posts what is to be answered so; returns what it was answered instead.
async fn expects(status: u16, client: &Client, url: &str, body: String) -> Option<String> {
    match post(client, url, body).await {
        Ok(answer) if answer == status => None,
        Ok(answer) => Some(format!("{answer} instead of {status}")),
        Err(error) => Some(error),
    }
}

/// A message on the allowed topic with a junk address.
fn junk(template: &Value, digits: Uuid) -> String {
    let mut message = template.clone();
    let digits = digits.simple();
    let url = format!("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{digits}.pem");
    message["SigningCertURL"] = json!(url);
    message.to_string()
}

impl Crowd {
    /// Brings it to the door. It stays until it is dropped; only a sender that meets what it
    /// should not ends, and says what that was.
    pub fn gather(
        &self,
        world: &World,
        known: &Arc<Signer>,
        counts: &Arc<Counts>,
    ) -> JoinSet<String> {
        let mut senders = JoinSet::new();
        let address = world.service.url.replace("http://", "");
        for at in 0..self.slow {
            senders.spawn(dawdle_always(
                address.clone(),
                at % 2 == 0,
                Arc::clone(counts),
            ));
        }
        let url = format!("{}/sns", world.service.url);
        let template = world.upload().signed();
        for _ in 0..self.junk {
            let (client, pause) = (client(self.waits), self.pause);
            let (url, template, counts) = (url.clone(), template.clone(), Arc::clone(counts));
            senders.spawn(ask_for_junk(client, url, template, counts, pause));
        }
        let began = Instant::now();
        for _ in 0..self.sharing {
            let (client, url, template) = (client(self.waits), url.clone(), template.clone());
            senders.spawn(ask_for_the_same(client, url, template, began));
        }
        for sender in 0..self.good {
            let client = client(self.waits);
            let (known, url, counts) = (Arc::clone(known), url.clone(), Arc::clone(counts));
            senders.spawn(behave(client, known, url, sender, counts));
        }
        senders
    }
}

async fn dawdle_always(address: String, in_body: bool, counts: Arc<Counts>) -> String {
    loop {
        if let Err(error) = dawdle(&address, in_body).await {
            return error.to_string();
        }
        Counts::count(&counts.hung_up_on);
    }
}

async fn ask_for_junk(
    client: Client,
    url: String,
    template: Value,
    counts: Arc<Counts>,
    pause: Duration,
) -> String {
    loop {
        let message = junk(&template, Uuid::new_v4());
        if let Some(met) = expects(503, &client, &url, message).await {
            return met;
        }
        Counts::count(&counts.refused);
        sleep(pause).await;
    }
}

/// The certificate is another one every four seconds.
async fn ask_for_the_same(client: Client, url: String, template: Value, began: Instant) -> String {
    loop {
        let sent = Instant::now();
        let shared = Uuid::from_u128(u128::from(began.elapsed().as_secs() / 4));
        if let Some(met) = expects(503, &client, &url, junk(&template, shared)).await {
            return met;
        }
        if sent.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Sends messages with the known certificate for as long as the crowd is there.
async fn behave(
    client: Client,
    signer: Arc<Signer>,
    url: String,
    sender: usize,
    counts: Arc<Counts>,
) -> String {
    let mut at = 0;
    loop {
        let key = format!("key-{sender}-{at}");
        let text = s3_records("site", &[("ObjectCreated:Put", &key)]);
        let body = signer.notification(&text).body();
        if let Some(met) = expects(200, &client, &url, body).await {
            return met;
        }
        at += 1;
        Counts::count(&counts.taken);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Delivers one message as SNS does: again and again, so often and with such pauses. No answer
/// is 0.
pub async fn deliver(
    client: &Client,
    signer: &Signer,
    url: &str,
    tries: usize,
    pause: Duration,
) -> Vec<u16> {
    let text = s3_records("site", &[("ObjectCreated:Put", "new")]);
    let body = signer.notification(&text).body();
    let mut answers = Vec::new();
    while answers.len() < tries {
        answers.push(post(client, url, body.clone()).await.unwrap_or_default());
        if answers.last() == Some(&200) {
            break;
        }
        sleep(pause).await;
    }
    answers
}

/// A burst of certificates, and so many a minute, that 20 senders are over with ease.
const FETCHES: [(&str, &str); 3] = [
    ("PURGEFRONT_SNS__CERT_FETCH_BURST", "5"),
    ("PURGEFRONT_SNS__CERT_FETCHES_PER_MINUTE", "300"),
    // Fewer places than the slow and the junk senders together would take.
    ("PURGEFRONT_SERVER__MAX_REQUESTS", "32"),
];
const BURST: u64 = 5;
const PER_SECOND: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_and_junk_certificates_do_not_keep_others_out() {
    let world = World::start_with(&FETCHES).await;
    let known = Arc::new(Signer::new());
    world.aws.sns.serve(&known.file_name, known.certificate());
    let url = format!("{}/sns", world.service.url);
    let client = client(PATIENCE);
    let once = async |signer: &Signer| deliver(&client, signer, &url, 1, Duration::ZERO).await;
    assert_eq!(once(&known).await, [200]);

    let crowd = Crowd {
        slow: 20,
        junk: 20,
        sharing: 0,
        good: 4,
        pause: Duration::from_millis(20),
        waits: PATIENCE,
    };
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let mut senders = crowd.gather(&world, &known, &counts);
    let fetches = || u64::try_from(world.aws.sns.all_fetches()).unwrap();
    let check = async {
        // Until it is one: all that dawdle in a body have lost their connection once.
        until("a crowd", || {
            let is_one = Counts::of(&counts.hung_up_on) >= crowd.slow / 2
                && Counts::of(&counts.refused) > crowd.junk
                && Counts::of(&counts.taken) > 10 * crowd.good
                && fetches() > 3 * BURST;
            is_one.then_some(())
        })
        .await;
        // The world's signer has not sent anything yet.
        let patience = Patience::new();
        while once(&world.signer).await != [200] {
            patience.pause("a new certificate gets in").await;
        }
        let taken = Counts::of(&counts.taken);
        until("known ones still get in", || {
            (Counts::of(&counts.taken) > taken + 10).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = check => {}
        met = senders.join_next() => panic!("a sender met {met:?}"),
    }
    senders.shutdown().await;
    let most = BURST + PER_SECOND * (began.elapsed().as_secs() + 1);
    let fetches = fetches();
    assert!(fetches <= most, "{fetches} fetches where {most} may be");
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
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    assert!(ended.is_ok(), "still connected");
}
