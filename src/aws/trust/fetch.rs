//! Fetches a certificate over HTTP: one request, no redirects, a bounded body.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode};

use crate::aws::{certificate::MAX_PEM_BYTES, with_causes};
use crate::domain::sns_message::CertificateUrl;

/// The timeout of a whole fetch. The request that waits for it has 10 s in total.
const TOTAL: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);

/// Fetches a certificate. A trait, so that tests need no TLS.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Returns the body at `url`, truncated to one byte more than 16 KiB, so that the caller can
    /// tell that it is too large. The error must be safe to show to anyone.
    async fn fetch(&self, url: &CertificateUrl) -> Result<Vec<u8>, String>;
}

/// Fetches from SNS over HTTPS, with the proxy and trusted roots of the environment; or from the
/// configured emulator, without a proxy.
pub struct HttpFetch {
    sns: Client,
    emulator: Option<Client>,
}

impl HttpFetch {
    /// `emulator` is its host and the addresses to use for it, instead of resolving it again.
    pub fn new(emulator: Option<(&str, &[SocketAddr])>) -> Result<Self, reqwest::Error> {
        let pinned = |(host, addresses): (&str, &[SocketAddr])| {
            client()
                .no_proxy()
                .resolve_to_addrs(host, addresses)
                .build()
        };
        Ok(Self {
            sns: client().https_only(true).build()?,
            emulator: emulator.map(pinned).transpose()?,
        })
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("purgefront/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, url: &CertificateUrl) -> Result<Vec<u8>, String> {
        let client = match &self.emulator {
            Some(emulator) if url.is_emulated() => emulator,
            _ => &self.sns,
        };
        let url = url.as_str();
        let result = get(client, url).await;
        if let Err(why) = &result {
            tracing::warn!(url, why, "fetching a signing certificate failed");
        }
        result
    }
}

async fn get(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let mut response = client.get(url).send().await.map_err(explain)?;
    if response.status() != StatusCode::OK {
        return Err(format!(
            "the response has status {}",
            response.status().as_u16()
        ));
    }
    let mut body = Vec::new();
    while body.len() <= MAX_PEM_BYTES
        && let Some(chunk) = response.chunk().await.map_err(explain)?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_PEM_BYTES + 1);
    Ok(body)
}

/// A short description of a failed request, safe to show to anyone. The causes are only logged.
fn explain(error: reqwest::Error) -> String {
    let text = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "connection failed"
    } else {
        "the request failed"
    };
    tracing::debug!(error = with_causes(error), "a fetch failed");
    text.to_owned()
}

#[cfg(test)]
mod tests {
    //! Which responses are accepted. The clients differ from the real ones only in using plain
    //! HTTP.

    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers every connection with these bytes, and counts them.
    async fn answering(answer: impl Into<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.into();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
            }
        });
        (origin, calls)
    }

    async fn fetch(origin: &str) -> Result<Vec<u8>, String> {
        let client = client().no_proxy().build().unwrap();
        get(&client, &format!("{origin}/cert.pem")).await
    }

    fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    #[tokio::test]
    async fn a_200_is_a_certificate() {
        let (origin, _) = answering(with_body("200 OK", b"PEM")).await;
        assert_eq!(fetch(&origin).await, Ok(b"PEM".to_vec()));
    }

    #[tokio::test]
    async fn every_other_status_is_a_failed_fetch() {
        for status in [201, 204, 206, 400, 403, 404, 429, 500, 503] {
            let (origin, _) = answering(with_body(&format!("{status} x"), b"")).await;
            let why = fetch(&origin).await.unwrap_err();
            assert_eq!(why, format!("the response has status {status}"));
        }
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let (target, followed) = answering(with_body("200 OK", b"PEM")).await;
        for status in [301, 302, 303, 307, 308] {
            let head = format!("{status} x\r\nlocation: {target}/cert.pem");
            let (origin, _) = answering(with_body(&head, b"")).await;
            let why = fetch(&origin).await.unwrap_err();
            assert_eq!(why, format!("the response has status {status}"));
        }
        assert_eq!(followed.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_body_without_end_is_cut_off() {
        let (origin, _) = answering(with_body("200 OK", &vec![b'x'; 1 << 20])).await;
        assert_eq!(fetch(&origin).await.unwrap().len(), MAX_PEM_BYTES + 1);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_failed_fetch() {
        let (origin, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nPEM").await;
        assert!(fetch(&origin).await.is_err());
    }

    #[tokio::test]
    async fn sns_is_only_asked_over_https() {
        let (origin, calls) = answering(with_body("200 OK", b"PEM")).await;
        let fetch = HttpFetch::new(None).unwrap();
        assert!(get(&fetch.sns, &origin).await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }
}
