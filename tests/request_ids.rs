//! Ids of requests: in every answer, and in what is logged meanwhile.

use std::collections::HashSet;

use reqwest::{Method, RequestBuilder, Response, header::HeaderValue};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    aws::FakeAws,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    until,
};

fn id(answer: &Response) -> &str {
    answer.headers()["x-request-id"].to_str().unwrap()
}

fn healthz(service: &Service) -> [RequestBuilder; 2] {
    let urls = [&service.url, &service.admin_url];
    urls.map(|url| service.client.get(format!("{url}/healthz")))
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let service = Setup::alone().start().await;
    let (public, admin) = (service.url.as_str(), service.admin_url.as_str());
    let mut seen = HashSet::new();
    for (url, method, path, size, status) in [
        (public, Method::GET, "/healthz", 0, 200),
        (public, Method::GET, "/nothing/here", 0, 404),
        (public, Method::GET, "/sns", 0, 405),
        (public, Method::GET, "/invalidations", 0, 401),
        (public, Method::POST, "/sns", 9, 400),
        (public, Method::POST, "/sns", 600_000, 413),
        (admin, Method::GET, "/healthz", 0, 200),
        (admin, Method::GET, "/nothing/here", 0, 404),
        (admin, Method::GET, "/pause", 0, 405),
        (admin, Method::POST, "/pause", 9, 400),
        (admin, Method::POST, "/pause", 60_000, 413),
    ] {
        let request = service.client.request(method, format!("{url}{path}"));
        let answer = request.body("x".repeat(size)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(id(&answer).parse::<Uuid>().is_ok(), "{path}");
        assert!(seen.insert(id(&answer).to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_callers_id_is_kept_where_it_is_harmless() {
    let service = Setup::alone().start().await;
    let every: String = ('!'..='~').collect();
    let longest = "x".repeat(128);
    for good in ["1", "Root=1-67891233-abcdef", &every, &longest] {
        for request in healthz(&service) {
            let answer = request.header("x-request-id", good).send().await.unwrap();
            assert_eq!(id(&answer), good);
        }
    }
    let too_long = "x".repeat(129);
    for bad in ["", "a b", "a\tb", "ä", "\u{9b}2J", "\u{2028}", &too_long] {
        let bad = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
        for request in healthz(&service) {
            let answer = request.header("x-request-id", &bad).send().await.unwrap();
            assert!(id(&answer).parse::<Uuid>().is_ok(), "{bad:?}");
        }
    }
    for request in healthz(&service) {
        let request = request.header("x-request-id", "a");
        let answer = request.header("x-request-id", "b").send().await.unwrap();
        assert!(id(&answer).parse::<Uuid>().is_ok(), "which of two?");
    }
}

/// What the spans of a line say of its request.
fn request(line: &Value) -> Option<&Value> {
    let spans = line["spans"].as_array()?;
    spans.iter().find(|span| span["name"] == "request")
}

#[tokio::test]
async fn lines_about_a_request_carry_its_id() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let mut forged = signer.notification(&text).signed();
    forged["Message"] = "another".into();
    for filter in ["warn,purgefront=debug", "info,purgefront::http=warn"] {
        let mut setup = Setup::new(&aws);
        setup.set_env("RUST_LOG", filter);
        let service = setup.start().await;
        let answer = service.sns(forged.to_string()).await;
        assert_eq!(answer.status(), 403);
        let refused = until("the line", || {
            let mut lines = service.events().into_iter();
            lines.find(|line| line["message"] == "message refused")
        })
        .await;
        let request = request(&refused).unwrap();
        assert_eq!(request["request_id"], id(&answer), "{filter}: {refused}");
        assert_eq!(request["method"], "POST");
        assert_eq!(request["route"], "/sns");
    }
}

#[tokio::test]
async fn one_line_at_debug_tells_how_a_request_ended() {
    let service = Setup::alone().start().await;
    let url = format!("{}/invalidations/the-raw-path?cursor=x", service.url);
    let call = service.client.get(url).bearer_auth(TOKEN);
    let answer = call.header("x-request-id", "\"};").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let answered = |line: &Value| {
        let request = request(line);
        request.is_some_and(|request| request["request_id"] == "\"};")
    };
    let line = until("the line", || service.events().into_iter().find(answered)).await;
    assert_eq!(line["message"], "answered");
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["status"], 404);
    assert!(line["seconds"].is_f64(), "{line}");
    assert_eq!(request(&line).unwrap()["route"], "/invalidations/{id}");
    assert_eq!(service.events().into_iter().filter(answered).count(), 1);
    assert!(!service.log_text().contains("the-raw-path"));
}
