//! Text that means harm, from everybody who can send some, and everywhere that people read it:
//! logs in both forms, and the command line on a terminal.

use std::{fs, sync::Arc};

use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    distribution::Behaviour,
    service::{Service, Setup, TOKEN},
    signer::{Signer, TOPIC, record},
    until,
};

/// Colours, a bell, a cleared screen (once in one byte), lines that look like others', a turned
/// direction of writing, markup.
const EVIL: &str = "evil\u{1b}[31m\u{7}\u{9b}2J\r\n{\"level\":\"INFO\",\"message\":\"forged\"}\n\
                    2026-01-01T00:00:00Z  INFO forged\u{2028}forged\t\u{7f}\u{202e}gpj.exe\u{2066}\
                    <script>alert(1)</script>\u{0}";

/// What may stand in XML.
const EVIL_XML: &str = "/evil\u{9b}31m\u{202e}*";

/// Runs a command on a terminal of its own, and shows on standard error what it shows there. When
/// this ends, the terminal hangs up, and that has to end the command.
const TERMINAL: &[&str] = &[
    "python3",
    "-c",
    "import os, pty, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.dup2(2, 1); \
     pty.spawn(sys.argv[1:])",
];

/// That nothing in it is more than text on its line.
fn assert_harmless(what: &str, text: &str) {
    let obeyed = |char: &char| {
        (char.is_control() && !matches!(char, '\n' | '\t'))
            || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found: Vec<_> = text.chars().filter(obeyed).collect();
    assert!(found.is_empty(), "{what}: {found:?} in {text:?}");
    let forged = text.lines().find(|line| {
        let line = line.trim_start();
        line.starts_with("{\"level\":\"INFO\",\"message\":\"forged")
            || line.starts_with("2026-01-01")
    });
    assert!(forged.is_none(), "{what}: {forged:?}");
}

/// Everything that a stranger, a publisher or a caller can write goes to the service.
async fn send_all(service: &Service, signer: &Signer) {
    publish_all(service, signer).await;
    forge_all(service, signer).await;
    send_headers(service, &signer.notification("x").body()).await;
    ask_all(service).await;
}

fn encoded() -> String {
    percent_encoding::utf8_percent_encode(EVIL, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What whoever may publish to the topic can have signed.
async fn publish_all(service: &Service, signer: &Signer) {
    let mut strange = record("ObjectCreated:Put", "site", "a");
    strange[EVIL] = json!(EVIL);
    strange["awsRegion"] = json!(EVIL);
    strange["eventTime"] = json!(EVIL);
    let test_event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": EVIL,
        "Time": "2026-11-23T10:00:00.000Z", "RequestId": EVIL, "HostId": EVIL});
    for text in [
        json!({"Records": [
            record("ObjectCreated:Put", "site", &encoded()),
            record("ObjectCreated:Put", EVIL, "evil"),
            record(EVIL, "site", "evil"),
            record("ObjectCreated:Put", "site", "~%FF\u{1b}[31m\u{9b}"),
            strange,
        ]})
        .to_string(),
        test_event.to_string(),
        EVIL.to_owned(),
        json!({ EVIL: EVIL }).to_string(),
    ] {
        let answer = service.sns(signer.notification(&text).body()).await;
        assert_eq!(answer.status(), 200, "{text}");
    }
}

/// What anybody can post to `/sns`.
async fn forge_all(service: &Service, signer: &Signer) {
    let good = signer.notification("x");
    for field in [
        "Type",
        "TopicArn",
        "MessageId",
        "Subject",
        "Timestamp",
        "SigningCertURL",
        "Signature",
        "SignatureVersion",
        "SubscribeURL",
        "Message",
    ] {
        let mut forged = good.signed();
        forged[field] = json!(EVIL);
        service.sns(forged.to_string()).await;
    }
    let twice = json!(EVIL);
    service.sns(format!("{{{twice}: 1, {twice}: 2}}")).await;
    service.sns(EVIL).await;
}

/// A header's value may hold what is no ASCII.
async fn send_headers(service: &Service, body: &str) {
    let header =
        reqwest::header::HeaderValue::from_bytes("evil\u{9b}31m\u{202e}\tx".as_bytes()).unwrap();
    for name in [
        "authorization",
        "user-agent",
        "x-amz-sns-message-type",
        "content-type",
        "origin",
        "x-forwarded-for",
    ] {
        for url in [
            format!("{}/sns", service.url),
            format!("{}/invalidate", service.url),
            format!("{}/pause", service.admin_url),
        ] {
            let request = service.client.post(url).header(name, header.clone());
            let answer = request.body(body.to_owned()).send().await.unwrap();
            assert!(
                !answer
                    .headers()
                    .values()
                    .any(|value| value.as_bytes().contains(&0x9b))
            );
        }
    }
}

/// What a caller with a token, or an operator, can ask.
async fn ask_all(service: &Service) {
    let body = json!({"distribution_id": "E1", "paths": ["/asked-for"], "reason": EVIL});
    let hostile = json!({"distribution_id": EVIL, "paths": [EVIL], "reason": EVIL, EVIL: EVIL});
    for body in [body, hostile] {
        let request = service.client.post(format!("{}/invalidate", service.url));
        let request = request.bearer_auth(TOKEN).body(body.to_string());
        request.send().await.unwrap();
    }
    for path in [
        "/requests/",
        "/invalidations/",
        "/invalidations?status=",
        "/",
    ] {
        let evil = encoded();
        let request = service.client.get(format!("{}{path}{evil}", service.url));
        let answer = request.bearer_auth(TOKEN).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}");
    }
    let request = service.client.post(format!("{}/pause", service.admin_url));
    let body = json!({"distribution_id": EVIL}).to_string();
    request.body(body).send().await.unwrap();
}

fn prepared(aws: &FakeAws, signer: &Signer) -> Setup {
    let mut site = Distribution::of("E1", "site");
    site.behaviours = vec![Behaviour::of(EVIL_XML, "origin-0")];
    aws.cloudfront.put(site);
    aws.sns.serve(&signer.file_name, signer.certificate());
    Setup::new(aws)
}

/// What the service logs on a terminal.
async fn on_a_terminal(setup: &mut Setup, signer: &Signer) -> String {
    setup.set_wrapper(TERMINAL);
    let mut service = setup.spawn();
    let logs = Arc::clone(&service.logs);
    let address = |key: &str| {
        let logs = logs.lock().unwrap();
        let line = logs
            .iter()
            .find(|line| line.contains(&format!("key=\"{key}\"")))?;
        let (_, address) = line.split_once("address=")?;
        Some(format!("http://{}", address.trim_end()))
    };
    let listens = || Some((address("server.listen")?, address("server.admin_listen")?));
    (service.url, service.admin_url) = until("the service listens", listens).await;
    send_all(&service, signer).await;
    eventually!(service.metric("purgefront_dead_letters").await >= 4);
    eventually!(service.log_text().contains("evil\\u001b[31m"));
    let logs = service.logs.lock().unwrap();
    // The terminal ends lines with both.
    let lines = logs.iter().map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        assert!(line.starts_with("20"), "a line of its own: {line:?}");
        format!("{line}\n")
    });
    lines.collect()
}

/// What a person types, and reads.
async fn typed(setup: &Setup, service: &Service) -> Vec<(String, String)> {
    let file = |name: &str, text: &str| {
        let path = setup.store().with_file_name(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let signer = Signer::new();
    let mut message = signer.notification("x").signed();
    message["Subject"] = json!(EVIL);
    let doubled = json!(EVIL);
    let message = file("message", &message.to_string());
    let doubled = file("doubled", &format!("{{{doubled}: 1, {doubled}: 2}}"));
    let quoted = json!(EVIL).to_string().replace('\u{7f}', "\\u007f");
    let config = file(
        "evil.toml",
        &format!(
            "[sns]\ntopics = [{quoted}]\n{quoted} = {quoted}\n[server]\nlisten = {quoted}\n\
         [[api.tokens]]\nname = {quoted}\nsha256 = {quoted}\n[[rule]]\nbucket = {quoted}\n\
         match = {quoted}\nalso = [{quoted}]\n"
        ),
    );
    let catalogue = file("catalogue", &setup.run(&["catalogue"]).1);
    let bad_catalogue = file("bad-catalogue", &json!({ EVIL: EVIL }).to_string());
    let stranger = stranger().await;
    let admin = service.admin_url.as_str();
    let without_null = EVIL.replace('\0', "");
    let option = format!("--{without_null}");
    let words: Vec<Vec<&str>> = vec![
        vec!["deadletters", "list", "--admin-url", admin],
        vec!["deadletters", "list", "--json", "--admin-url", admin],
        vec!["pause", &without_null, "--admin-url", admin],
        vec!["deadletters", "list", "--admin-url", &stranger],
        vec!["deadletters", "replay", "1", "--admin-url", &stranger],
        vec!["plan", &option],
        vec![&without_null],
        vec!["catalogue"],
        vec!["plan", "--bucket", "site", &without_null],
        vec!["plan", "--bucket", &without_null, &without_null],
        vec!["plan", "--bucket", "site", "--json", &without_null],
        vec![
            "plan",
            "--bucket",
            "site",
            "--catalogue",
            &catalogue,
            &without_null,
        ],
        vec![
            "plan",
            "--bucket",
            "site",
            "--catalogue",
            &bad_catalogue,
            "a",
        ],
        vec!["plan", "--distribution", "E1", "--paths", &without_null],
        vec!["plan", "--distribution", &without_null, "--paths", "/a"],
        vec!["verify", &message],
        vec!["verify", &doubled],
        vec!["check", "--config", &config],
        vec![
            "token",
            "--name",
            &without_null,
            "--distribution",
            &without_null,
        ],
    ];
    let said = words.into_iter().map(|words| {
        let (code, out, err) = setup.run(&words);
        assert!(code.is_some_and(|code| code <= 2), "{words:?}: {err}");
        (format!("{words:?}"), out + &err)
    });
    said.collect()
}

/// Somebody else at the address of the operators' listener.
async fn stranger() -> String {
    let letter = json!({"id": EVIL, "created_at": EVIL, "kind": EVIL, "key": EVIL, "why": EVIL});
    let answer = json!({"dead_letters": [letter], "detail": EVIL});
    let routes = Router::new()
        .route(
            "/deadletters",
            axum::routing::get({
                let answer = answer.clone();
                async move || Json(answer)
            }),
        )
        .fallback(async move || (axum::http::StatusCode::CONFLICT, Json(answer)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_escaped_wherever_people_read_it() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    let mut setup = prepared(&aws, &signer);
    let service = setup.start().await;
    send_all(&service, &signer).await;
    eventually!(service.metric("purgefront_dead_letters").await >= 4);
    let typed = typed(&setup, &service).await;
    for (words, said) in &typed {
        assert_harmless(words, said);
    }
    let silent: Vec<_> = typed
        .iter()
        .filter(|(_, said)| !said.contains("evil"))
        .collect();
    assert!(silent.len() < 4, "most show it, escaped, but: {silent:#?}");
    let escaped = "evil\\u001b[31m\\u0007\\u009b2J";
    eventually!(service.log_text().contains(escaped));
    let raw = service.log_text();
    for line in raw.lines() {
        assert_harmless("the log", line);
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    service.kill();

    let text = on_a_terminal(&mut setup, &signer).await;
    assert_harmless("the terminal", &text);
    assert!(text.contains(escaped), "{text}");
    assert!(text.contains(TOPIC));
}
