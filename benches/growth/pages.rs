//! How long the service takes to answer what operators and their monitoring ask.

use std::time::Instant;

use crate::{
    numbers::{median, millis},
    support::service::{Service, TOKEN},
};

/// How often each page is asked for.
const ASKED: usize = 15;

pub struct Page {
    name: &'static str,
    /// Of which listener.
    admin: bool,
    path: &'static str,
}

const fn page(name: &'static str, admin: bool, path: &'static str) -> Page {
    Page { name, admin, path }
}

pub const MONITORED: [Page; 3] = [
    page("GET /readyz", true, "/readyz"),
    page("GET /metrics", true, "/metrics"),
    page("status page", true, "/"),
];

pub const ALL: [Page; 6] = [
    page("GET /readyz", true, "/readyz"),
    page("GET /metrics", true, "/metrics"),
    page("status page", true, "/"),
    page("GET /invalidations", false, "/invalidations"),
    page(
        "GET /invalidations?status=failed",
        false,
        "/invalidations?status=failed",
    ),
    page(
        "GET /changes of one object",
        false,
        "/changes?bucket=site&key=pages/0000/page-17.html",
    ),
];

/// The median time of each, in milliseconds.
pub async fn ask(service: &Service, pages: &[Page]) -> Vec<(&'static str, f64)> {
    let mut medians = Vec::new();
    for Page { name, admin, path } in pages {
        let base = if *admin {
            &service.admin_url
        } else {
            &service.url
        };
        let url = format!("{base}{path}");
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begin = Instant::now();
            let answer = service.client.get(&url).bearer_auth(TOKEN).send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            answer.bytes().await.unwrap();
            times.push(millis(begin.elapsed()));
        }
        medians.push((*name, median(times)));
    }
    medians
}
