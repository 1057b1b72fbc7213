//! What all pages share: the frame, the headers, and the two files.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::words;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing inline runs, nothing comes from elsewhere, and nobody frames the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) now: Timestamp,
    /// Whether the script keeps it up to date.
    pub(super) live: bool,
    /// Links to parts of the page; without any, one to the status page.
    pub(super) parts: &'a [(&'a str, &'a str)],
    pub(super) content: Markup,
}

impl Page<'_> {
    pub(super) fn respond(&self, status: StatusCode) -> Response {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let mut response = (status, self.render().into_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, html);
        harden(headers);
        response
    }

    fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – purgefront" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/page.css";
                    script src="/page.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.top { div.frame {
                        a.brand href="/" { "purgefront" }
                        nav aria-label="Parts of the page" { ul {
                            @for (id, name) in self.parts {
                                li { a href={ "#" (id) } { (name) } }
                            }
                            @if self.parts.is_empty() {
                                li { a href="/" { "Status" } }
                                li { a href="/page/deadletters" { "Dead letters" } }
                            }
                        } }
                        p.updated #updated {
                            "Last updated " span data-updated { (words::moment(self.now, self.now)) } " UTC"
                            " · " a href="" { "Refresh" }
                        }
                    } }
                    p.live #live role="status" aria-live="polite" {}
                    main #main.frame tabindex="-1" data-live[self.live] { (self.content) }
                    footer.frame { p.muted {
                        "purgefront " (env!("CARGO_PKG_VERSION")) ". All times are in UTC."
                    } }
                }
            }
        }
    }
}

/// The headers of everything that a browser gets from here.
fn harden(headers: &mut HeaderMap) {
    let ours = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With no-referrer, browsers would send "Origin: null" with the page's own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in ours {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

pub(in crate::http) async fn style(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| tag(STYLE));
    file(&headers, STYLE, "text/css; charset=utf-8", &TAG)
}

pub(in crate::http) async fn script(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| tag(SCRIPT));
    file(&headers, SCRIPT, "text/javascript; charset=utf-8", &TAG)
}

/// The entity tag of a file: it changes with the content.
fn tag(content: &str) -> String {
    format!("\"{}\"", hex::encode(digest(&SHA256, content.as_bytes())))
}

/// Browsers keep the file, and ask each time whether it is still the same.
fn file(headers: &HeaderMap, content: &'static str, kind: &'static str, tag: &str) -> Response {
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, kind)], content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    harden(headers);
    response
}

/// Stands where the store could not be read.
pub(super) fn unreadable() -> Markup {
    html! { p.bad { "The store cannot be read now. " a href="" { "Try again" } "." } }
}

/// What a section of the page is known by.
pub(super) fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) data-part aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            (content)
        }
    }
}
