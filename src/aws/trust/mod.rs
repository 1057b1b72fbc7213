//! Verifies messages with SNS's signing certificates, which are fetched once and cached.
//!
//! The sender of a message chooses the certificate's URL, though only within one path pattern on
//! one host, so an attacker could make us fetch many certificates. Therefore concurrent requests
//! share a fetch, fetches are rate-limited, and messages with a cached certificate never wait.

mod fetch;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, Shared, select};
use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use self::fetch::{Fetch, HttpFetch};
use super::certificate::SigningCertificate;
use crate::domain::{
    limits::TokenBucket,
    sns_message::{CertificateUrl, Refusal, SnsMessage},
};
use crate::ports::{CertificateCache, Clock};

/// Certificates cached in memory. SNS uses one or two at a time in most regions.
const KEPT: usize = 64;
/// How long a failed fetch is not repeated. SNS waits longer than this between retries.
const FAILED_FOR: Duration = Duration::from_secs(2);
const CROWDED: &str = "too many other certificates are being fetched";
/// The most failed fetches that are remembered.
const MOST_FAILED: usize = 1_000;

/// Bounds on fetches, since anyone who knows a topic's ARN can cause them.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// `sns.cert_fetches_per_minute`
    pub per_minute: u32,
    /// `sns.cert_fetch_burst`
    pub burst: u32,
    /// The most concurrent fetches, and the most requests that wait for a fetch that another
    /// request started. Waiting requests must leave capacity for those that need no fetch.
    pub most: usize,
}

/// Verifies messages. Clones share one cache.
#[derive(Clone)]
pub struct SigningCertificates(Arc<Inner>);

struct Inner {
    fetch: Box<dyn Fetch>,
    cache: Arc<dyn CertificateCache>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    max_fetches: usize,
    /// Permits for requests that wait for a fetch started by another request.
    waiters: Semaphore,
}

/// A certificate cached in memory.
struct Kept {
    url: CertificateUrl,
    certificate: Arc<SigningCertificate>,
    /// The PEM text, until a message is verified with it and the text goes to the cache.
    not_cached_yet: Option<String>,
}

struct State {
    /// Oldest first.
    kept: VecDeque<Kept>,
    /// Recently failed fetches, and until when they are not repeated.
    failed: HashMap<CertificateUrl, (Timestamp, Refusal)>,
    fetches: HashMap<CertificateUrl, SharedFetch>,
    turns: TokenBucket,
}

type CertificateResult = Result<Arc<SigningCertificate>, Refusal>;

/// A certificate, and its PEM text if it is not in the cache.
type Obtained = Result<(SigningCertificate, Option<String>), Refusal>;

/// A running fetch. It completes whether or not anyone still waits for it.
type SharedFetch = Shared<Pin<Box<dyn Future<Output = CertificateResult> + Send>>>;

impl SigningCertificates {
    pub fn new(
        fetch: impl Fetch,
        cache: Arc<dyn CertificateCache>,
        clock: Arc<dyn Clock>,
        limits: FetchLimits,
    ) -> Self {
        let FetchLimits {
            per_minute,
            burst,
            most,
        } = limits;
        let turns = TokenBucket::full(f64::from(per_minute) / 60.0, burst, clock.now());
        Self(Arc::new(Inner {
            fetch: Box::new(fetch),
            cache,
            clock,
            state: Mutex::new(State {
                kept: VecDeque::new(),
                failed: HashMap::new(),
                fetches: HashMap::new(),
                turns,
            }),
            max_fetches: most.max(1),
            waiters: Semaphore::new(most.max(1)),
        }))
    }

    /// Verifies that SNS signed `message`. Waits for the certificate at most until `deadline`.
    pub async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal> {
        let url = message.certificate_url();
        let certificate = self.get(url, deadline).await?;
        if !url.is_emulated() {
            certificate.check_name(message.topic())?;
        }
        certificate.check_dates(message.timestamp())?;
        certificate.check_signature(
            message.signature_version(),
            message.string_to_sign().as_bytes(),
            message.signature(),
        )?;
        self.keep(url);
        Ok(())
    }

    /// Writes a certificate to the cache, after it has verified its first message.
    fn keep(&self, url: &CertificateUrl) {
        let mut state = self.0.state();
        let known = state.kept.iter_mut().find(|kept| kept.url == *url);
        if let Some(pem) = known.and_then(|kept| kept.not_cached_yet.take()) {
            let (inner, url) = (Arc::clone(&self.0), url.clone());
            tokio::spawn(async move {
                if let Err(error) = inner.cache.keep_certificate(url.as_str(), &pem).await {
                    tracing::warn!(%error, "caching a signing certificate failed");
                }
            });
        }
    }

    async fn get(&self, url: &CertificateUrl, deadline: Timestamp) -> CertificateResult {
        let (fetch, _place) = {
            let mut state = self.0.state();
            if let Some(kept) = state.kept.iter().find(|kept| kept.url == *url) {
                return Ok(Arc::clone(&kept.certificate));
            }
            let now = self.0.clock.now();
            // If the clock is set back, failures must not be remembered for hours.
            let fresh = |until: Timestamp| now < until && until <= now + FAILED_FOR;
            if let Some((until, why)) = state.failed.get(url)
                && fresh(*until)
            {
                return Err(why.clone());
            }
            match state.fetches.get(url) {
                Some(fetch) => match self.0.waiters.try_acquire() {
                    Ok(place) => (fetch.clone(), Some(place)),
                    Err(_) => return unavailable("too many requests are waiting for it"),
                },
                None if state.fetches.len() >= self.0.max_fetches => {
                    return unavailable(CROWDED);
                }
                None => {
                    let fetch = self.start(url.clone(), deadline);
                    state.fetches.insert(url.clone(), fetch.clone());
                    (fetch, None)
                }
            }
        };
        match select(fetch, self.0.clock.sleep_until(deadline)).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => unavailable("it did not arrive in time"),
        }
    }

    /// Starts a fetch in a task of its own, so that it goes on for the other waiters if the sender
    /// that caused it disconnects.
    fn start(&self, url: CertificateUrl, deadline: Timestamp) -> SharedFetch {
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            // The fetch must finish even if it panics, or no other could be started for this URL.
            let obtained = AssertUnwindSafe(inner.obtain(&url, deadline))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| unavailable("the fetch failed unexpectedly"));
            inner.finish(url, obtained)
        });
        let fetch = task.map(|found| found.unwrap_or_else(|_| unavailable("shutting down")));
        Pin::from(Box::new(fetch) as Box<dyn Future<Output = CertificateResult> + Send>).shared()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a certificate from the cache or fetches it.
    async fn obtain(&self, url: &CertificateUrl, deadline: Timestamp) -> Obtained {
        if !url.is_emulated() {
            match self.cache.certificate(url.as_str()).await {
                Ok(Some(pem)) => {
                    return Ok((SigningCertificate::from_pem(pem.as_bytes())?, None));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "reading cached signing certificates failed"),
            }
        }
        let turn = self.turn(deadline)?;
        self.clock.sleep_until(turn).await;
        let fetched = self.fetch.fetch(url).await;
        let found = fetched
            .or_else(|why| unavailable(&why))
            .and_then(|pem| Ok((SigningCertificate::from_pem(&pem)?, pem)));
        match found {
            Ok((certificate, pem)) => Ok((certificate, String::from_utf8(pem).ok())),
            Err(why) => {
                self.remember(url, &why);
                Err(why)
            }
        }
    }

    fn remember(&self, url: &CertificateUrl, why: &Refusal) {
        let mut state = self.state();
        let now = self.clock.now();
        if state.failed.len() >= MOST_FAILED {
            state.failed.retain(|_, (until, _)| now < *until);
        }
        if state.failed.len() < MOST_FAILED {
            let until = now + FAILED_FOR;
            state.failed.insert(url.clone(), (until, why.clone()));
        }
    }

    fn turn(&self, deadline: Timestamp) -> Result<Timestamp, Refusal> {
        let mut state = self.state();
        let now = self.clock.now();
        if state.turns.next(now) > deadline {
            return unavailable(CROWDED);
        }
        Ok(state.turns.reserve(now))
    }

    /// Ends a fetch, and caches the certificate in memory if it succeeded.
    fn finish(&self, url: CertificateUrl, obtained: Obtained) -> CertificateResult {
        let mut state = self.state();
        state.fetches.remove(&url);
        let (certificate, not_cached_yet) = obtained?;
        let certificate = Arc::new(certificate);
        // An emulator creates a new certificate at the same URL whenever it starts.
        if !url.is_emulated() {
            state.failed.remove(&url);
            if state.kept.len() >= KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back(Kept {
                url,
                certificate: Arc::clone(&certificate),
                not_cached_yet,
            });
        }
        Ok(certificate)
    }
}

fn unavailable<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::CertificateUnavailable(why.to_owned()))
}
