//! What `--wait` does with a service that hangs, is gone, or has no place for one who waits.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::support::service::Setup;

const ID: &str = "019ac000-0000-7000-8000-000000000001";

fn view(state: &str) -> Json<Value> {
    Json(json!({"id": ID, "state": state}))
}

/// A stand-in for the service, which says how looks at a request end: by how many there were, and whether
/// this one is to wait. Remembers the queries.
async fn service<A, F>(look: A) -> (Setup, Arc<Mutex<Vec<String>>>)
where
    A: Fn(usize, bool) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let queries = Arc::clone(&seen);
    let look = move |uri: axum::http::Uri| {
        let query = uri.query().unwrap_or_default().to_owned();
        let waits = query != "wait=0";
        let mut queries = queries.lock().unwrap();
        queries.push(query);
        look(queries.len(), waits)
    };
    let routes = Router::new()
        .route(
            "/invalidate",
            post(async || (StatusCode::ACCEPTED, view("accepted"))),
        )
        .route("/requests/{id}", get(look));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::alone();
    let url = format!("http://{}", listener.local_addr().unwrap());
    setup.set_env("PURGEFRONT_URL", url);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (setup, seen)
}

fn invalidate(setup: &Setup, wait: &str) -> (Option<i32>, String, String) {
    setup.run(&["invalidate", "--distribution", "E1", "/a", wait])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_service_that_hangs_ends_and_says_what_is_not_known() {
    let (setup, seen) = service(|_, _| std::future::pending()).await;
    let (code, said, complaint) = invalidate(&setup, "--wait=2s");
    assert_eq!(code, Some(1));
    assert!(said.contains(": accepted\n"), "{said}");
    assert!(
        complaint.contains("the service does not answer"),
        "{complaint}"
    );
    assert!(!complaint.contains("continues"), "{complaint}");
    // No call was to wait for longer than what was left.
    let seen = seen.lock().unwrap();
    let short = ["wait=0", "wait=1", "wait=2"];
    assert!(
        seen.iter().all(|query| short.contains(&query.as_str())),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_call_that_hangs_ends_with_the_wait() {
    let (setup, _) = service(|_, _| std::future::pending()).await;
    let (code, said, complaint) = setup.run(&["status", ID, "--wait=1s"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(
        complaint.contains("the service does not answer"),
        "{complaint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_to_wait_asks_now_and_then() {
    let look = async |looks, waits| {
        if waits {
            let again = [("retry-after", "1")];
            return (StatusCode::TOO_MANY_REQUESTS, again, view("")).into_response();
        }
        let state = if looks > 3 { "completed" } else { "accepted" };
        view(state).into_response()
    };
    let (setup, seen) = service(look).await;
    let (code, said, complaint) = invalidate(&setup, "--wait");
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains(": completed\n"), "{said}");
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, ["wait=50", "wait=0", "wait=0", "wait=0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_passed_over_while_there_is_time() {
    let look = async |looks, _| match looks {
        1 => (StatusCode::BAD_GATEWAY, [("retry-after", "1")]).into_response(),
        _ => view("completed").into_response(),
    };
    let (setup, _) = service(look).await;
    assert_eq!(invalidate(&setup, "--wait=5m").0, Some(0));
    // At the end of the time, the last one is told.
    let look = async |_, _| (StatusCode::BAD_GATEWAY, [("retry-after", "1")]).into_response();
    let (setup, seen) = service(look).await;
    let (code, _, complaint) = invalidate(&setup, "--wait=2s");
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("could not be asked: 502 Bad Gateway"),
        "{complaint}"
    );
    assert!(!complaint.contains("continues"), "{complaint}");
    assert!(seen.lock().unwrap().len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_not_joined_to_wait_is_no_key() {
    let (setup, _) = service(async |_, _| view("completed").into_response()).await;
    for words in [
        &["invalidate", "--bucket", "b", "--wait", "90s", "k1"][..],
        &["invalidate", "--bucket", "b", "k1", "--wait", "1m 30s"],
        &["status", "--wait", "90s"],
    ] {
        let (code, _, complaint) = setup.run(words);
        assert_eq!(code, Some(2), "{words:?}");
        assert!(complaint.contains("write --wait="), "{complaint}");
    }
    for words in [
        &["invalidate", "--bucket", "b", "--wait=90s", "90s"][..],
        &["invalidate", "--bucket", "b", "90s"],
    ] {
        let (code, _, complaint) = setup.run(words);
        assert_eq!(code, Some(0), "{words:?}: {complaint}");
    }
    let words = ["invalidate", "--bucket", "b", "--wait", "-"];
    assert_eq!(setup.run_with(&words, "90s\n").0, Some(0));
}
