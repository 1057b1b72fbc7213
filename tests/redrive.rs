//! What SNS could not deliver is in the dead-letter queue, and goes through the checks again.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    connecting::Account,
    moto::Moto,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    until,
};

const QUEUE: &str = "site-changes-dead-letters";

fn days_ago(days: i64) -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the service judges by real time")]
    let now = Timestamp::now();
    now - SignedDuration::from_hours(24 * days)
}

fn upload(key: &str) -> String {
    s3_records("site", &[("ObjectCreated:Put", key)])
}

struct Outage {
    aws: FakeAws,
    account: Account,
    signer: Signer,
    service: Service,
}

impl Outage {
    /// The service is back, and the queue exists.
    async fn over() -> Self {
        let aws = FakeAws::start().await;
        let account = Account::start().await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        aws.cloudfront.put(Distribution::of("E1", "site"));
        let service = Setup::new(&aws).start().await;
        service.knows_the_catalogue().await;
        let queue = QUEUE.to_owned();
        account.state().things.queues.entry(queue).or_default();
        Self {
            aws,
            account,
            signer,
            service,
        }
    }

    fn put(&self, body: impl Into<String>) {
        self.account.state().put(QUEUE, body);
    }

    fn left(&self) -> usize {
        self.account.state().messages[QUEUE].len()
    }

    fn redrive(&self, words: &[&str]) -> (Option<i32>, String, String) {
        self.redrive_to(&self.service.admin_url, words)
    }

    fn redrive_to(&self, url: &str, words: &[&str]) -> (Option<i32>, String, String) {
        let admin = ["--admin-url", url];
        self.setup().run(&[&["redrive"], words, &admin].concat())
    }

    fn setup(&self) -> Setup {
        let mut setup = self.account.setup();
        setup.set_env("AWS_REGION", "us-east-1");
        setup
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_taken_once_and_leave_the_queue() {
    let outage = Outage::over().await;
    let Outage { aws, signer, .. } = &outage;
    let body = |key: &str, days| {
        let message = signer.notification(&upload(key));
        message.at(days_ago(days)).body()
    };
    let old = body("old", 13);
    for at in 0..24 {
        outage.put(body(&format!("{at}"), at % 14));
    }
    outage.put(&*old);
    outage.put(&*old);
    assert_eq!(
        outage.service.sns(&*old).await.status(),
        403,
        "too old for SNS"
    );

    let (code, said, _) = outage.redrive(&[QUEUE, "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("has about 26 messages"), "{said}");
    let calls = outage.account.calls();
    assert_eq!(calls, ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]);
    let (code, _, complaint) = outage.redrive(&[QUEUE]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("Not agreed to"), "{complaint}");
    assert_eq!(outage.left(), 26);

    let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes", "--max", "3"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert_eq!(outage.left(), 23);
    let url = format!("https://sqs.us-east-1.amazonaws.com/123456789012/{QUEUE}");
    outage.account.calls();
    let (code, said, complaint) = outage.redrive(&[&url, "--yes", "--json"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["outcome"], "done");
    assert_eq!(outage.left(), 0);
    let mut used = outage.account.calls();
    used.sort();
    used.dedup();
    let expected = [
        "sqs:DeleteMessageBatch",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    ];
    assert_eq!(used, expected);
    let all = || {
        let paths = aws.cloudfront.paths("E1");
        (paths.len() >= 25).then_some(paths)
    };
    let paths = until("all of them", all).await;
    assert_eq!(paths.iter().filter(|path| *path == "/old").count(), 1);
    let arn = format!("arn:aws:sqs:us-east-1:123456789012:{QUEUE}");
    let (code, said, _) = outage.redrive(&[&arn, "--yes"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("Nothing to do."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_stays_and_is_told_with_its_reason() {
    let outage = Outage::over().await;
    let signer = &outage.signer;
    let stranger = Signer::new();
    let good = signer.notification(&upload("good")).at(days_ago(3));
    let mut forged = good.signed();
    forged["Message"] = json!(upload("forged"));
    let topic = "arn:aws:sns:us-east-1:123456789012:another";
    let token = "cd".repeat(112);
    for (body, reason) in [
        (forged.to_string(), "signature"),
        (
            good.clone().with("TopicArn", topic).body(),
            "topic-not-allowed",
        ),
        (upload("raw"), "raw-delivery"),
        ("\u{1b}[31m".to_owned(), "not-json"),
        (
            signer
                .subscription_confirmation(&token)
                .at(days_ago(3))
                .body(),
            "token-expired",
        ),
    ] {
        outage.put(body);
        let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes"]);
        assert_eq!(code, Some(1), "{said}{complaint}");
        assert!(said.contains(&format!("{QUEUE}: {reason}: ")), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains(&token[..16]));
        let raw = said.contains("Messages without a signature");
        assert_eq!(raw, reason == "raw-delivery", "{said}");
        assert_eq!(outage.left(), 1, "{reason}");
        outage.account.state().messages.clear();
    }
    let ready = outage.service.ready().await.1;
    let told = ready["checks"]["refused_messages"]["state"].clone();
    assert_ne!(told, "warn", "SNS was refused nothing: {ready}");

    // These may be taken another time, when SNS or a clock is right again.
    let future = good.clone().at(days_ago(-2));
    for later in [stranger.notification("{}"), future] {
        outage.put(later.body());
        let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes"]);
        assert_eq!(code, Some(1), "{said}{complaint}");
        assert!(complaint.contains("Stopped: 503"), "{complaint}");
        assert!(!said.contains("refused"), "{said}");
        assert_eq!(outage.left(), 1);
        outage.account.state().messages.clear();
    }

    // A young one still confirms; and a bad one keeps no good one from its way.
    outage.put(
        signer
            .subscription_confirmation(&token)
            .at(days_ago(1))
            .body(),
    );
    outage.put(upload("raw"));
    outage.put(good.body());
    let (code, said, _) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("2 messages accepted"), "{said}");
    assert_eq!(outage.left(), 1);
    until("the confirmation", || {
        (!outage.aws.sns.confirmations().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_take_them_loses_none() {
    let outage = Outage::over().await;
    let body = |key: &str| outage.signer.notification(&upload(key)).at(days_ago(2));
    outage.put(body("a").body());
    outage.put(body("b").body());
    // Kept, but not deleted: the next run finds duplicates.
    outage.account.state().undeletable = 2;
    let (code, said, _) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("2 of them could not be deleted"), "{said}");
    let bodies: Vec<_> = outage.account.state().messages[QUEUE]
        .iter()
        .map(|one| one.body.clone())
        .collect();
    outage.account.state().messages.clear();
    for body in bodies {
        outage.put(body);
    }
    let (code, said, _) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 messages accepted, 2 that"), "{said}");

    // A missing permission is named, and nothing is lost.
    outage.put(body("c").body());
    outage
        .account
        .state()
        .denied
        .insert("sqs:ReceiveMessage".to_owned());
    let (code, _, complaint) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("sqs:ReceiveMessage"), "{complaint}");
    outage.account.state().denied.clear();
    let (code, _, complaint) = outage.redrive(&["no-such-queue", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("there is no queue no-such-queue"),
        "{complaint}"
    );

    // The public listener has no such route, and nobody listens where the service was.
    let setup = outage.setup();
    let url = outage.service.url.clone();
    let words = ["redrive", QUEUE, "--yes", "--admin-url", &url];
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("has no /redrive"), "{complaint}");
    outage.service.kill();
    outage.account.state().messages.clear();
    outage.account.state().put(QUEUE, "{}");
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("does not answer"), "{complaint}");
    assert_eq!(outage.account.state().messages[QUEUE].len(), 1);
}

/// Whoever else answers at a mistyped URL empties no queue.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_services_own_word_deletes() {
    let outage = Outage::over().await;
    let body = outage.signer.notification(&upload("a")).at(days_ago(2));
    outage.put(body.body());
    let elsewhere = format!(
        "307 Temporary Redirect\r\nlocation: {}/redrive",
        outage.service.admin_url
    );
    for head in ["204 No Content", "200 OK", "502 Bad Gateway", &elsewhere] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let length = if head.starts_with("204") {
            ""
        } else {
            "content-length: 6\r\n"
        };
        let page = if length.is_empty() { "" } else { "<html>" };
        let answer = format!("HTTP/1.1 {head}\r\n{length}connection: close\r\n\r\n{page}");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 8_192]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            // Closed only when the client has read it.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (code, said, complaint) = outage.redrive_to(&url, &[QUEUE, "--yes"]);
        assert_eq!(code, Some(1), "{head}: {said}{complaint}");
        assert!(complaint.contains("is not purgefront"), "{complaint}");
        assert!(said.contains("0 messages accepted, 0 that"), "{said}");
        assert_eq!(outage.left(), 1, "{head}");
        server.join().unwrap();
    }
    // None of these runs hid it from the next.
    let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("1 messages accepted, 0 that"), "{said}");
    assert_eq!(outage.left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_hide_is_not_told_as_done() {
    let outage = Outage::over().await;
    for key in ["a", "b"] {
        let body = outage.signer.notification(&upload(key)).at(days_ago(2));
        outage.put(body.body());
    }
    let denied = "sqs:ChangeMessageVisibilityBatch".to_owned();
    outage.account.state().denied.insert(denied);
    let (code, said, complaint) = outage.redrive_to(&outage.service.url, &[QUEUE, "--yes"]);
    assert_eq!(code, Some(1), "{said}{complaint}");
    assert!(
        said.contains("2 were not taken, and are invisible"),
        "{said}"
    );
    let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes", "--json"]);
    assert_eq!(code, Some(1), "{said}{complaint}");
    assert!(
        complaint.contains("About 2 other messages are still in"),
        "{complaint}"
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["outcome"], "incomplete", "{said}");
    assert_eq!(said["missed"], 2, "{said}");
    assert_eq!(outage.left(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_tells_what_it_did() {
    let outage = Outage::over().await;
    let body = outage.signer.notification(&upload("a")).at(days_ago(2));
    outage.put(body.body());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let setup = outage.setup();
    let child = Command::new(env!("CARGO_BIN_EXE_purgefront"))
        .args(["redrive", QUEUE, "--yes", "--admin-url", &url])
        .current_dir(setup.home())
        .env_clear()
        .envs(setup.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let posted = silent.accept().unwrap();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    drop(posted);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}{complaint}");
    assert!(said.contains("0 messages accepted"), "{said}");
    assert!(complaint.contains("Stopped: interrupted"), "{complaint}");
    let (code, said, complaint) = outage.redrive(&[QUEUE, "--yes"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::alone();
    for (name, value) in [
        (
            "AWS_ENDPOINT_URL",
            &*format!("http://{}", silent.local_addr().unwrap()),
        ),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secretexample"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        setup.set_env(name, value);
    }
    #[expect(clippy::disallowed_methods, reason = "the command waits in real time")]
    let begun = Instant::now();
    let words = [
        "redrive",
        QUEUE,
        "--dry-run",
        "--admin-url",
        "http://localhost:1",
    ];
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("sqs:GetQueueUrl"), "{complaint}");
    assert!(begun.elapsed() < Duration::from_secs(40), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_is_guarded_as_other_writes_of_operators() {
    let aws = FakeAws::start().await;
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_SERVER__ADMIN_LISTEN", "0.0.0.0:0");
    let service = setup.start().await;
    let url = service.admin_url.replace("0.0.0.0", "127.0.0.1");
    let post = || service.client.post(format!("{url}/redrive")).body("{}");
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    assert_eq!(status(post()).await, 401);
    assert_eq!(status(post().bearer_auth("wrong")).await, 401);
    let token = || post().bearer_auth(TOKEN);
    assert_eq!(status(token()).await, 400, "unknown-type");
    assert_eq!(status(token().header("origin", "https://a")).await, 403);
    assert_eq!(status(token().body("x".repeat(600_000))).await, 413);
    assert_eq!(status(token().body("x".repeat(500_000))).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_gives_and_deletes_the_messages() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    let outage = Outage::over().await;
    let old = outage.signer.notification(&upload("m")).at(days_ago(9));
    let body = serde_json::to_string(&old.body()).unwrap();
    moto.script(&format!(
        "url = sqs.create_queue(QueueName='{QUEUE}')['QueueUrl']\n\
         for body in [{body}, 'no message']:\n    sqs.send_message(QueueUrl=url, MessageBody=body)"
    ));
    let admin = &*outage.service.admin_url;
    let words = ["redrive", QUEUE, "--yes", "--json", "--admin-url", admin];
    let (code, said, complaint) = moto.purgefront(&words);
    assert_eq!(code, Some(1), "{said}{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["accepted"], 1, "{said}");
    assert_eq!(said["refused"][0]["reason"], "not-json", "{said}");
    let paths = || (outage.aws.cloudfront.paths("E1") == ["/m"]).then_some(());
    until("the invalidation", paths).await;
    let left = format!(
        "url = sqs.get_queue_url(QueueName='{QUEUE}')['QueueUrl']\n\
         names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']\n\
         found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)['Attributes']\n\
         print(sum(int(count) for count in found.values()))"
    );
    assert_eq!(moto.script(&left), 1);
}
