//! Signing certificates: fetched once, kept, and asked whether a message is SNS's.
//!
//! Whoever posts to us chooses the certificate's address, within one form on one host. So a
//! fetch is what a stranger could make us do in quantity: it happens once however many wait
//! for it, it has to wait its turn, and messages with a known certificate never wait at all.

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

/// How many certificates are kept in memory. SNS uses one or two at a time in most regions.
const KEPT: usize = 64;
/// For how long a fetch that failed is not repeated: less than SNS waits between its tries.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Why a certificate is not even asked for.
const CROWDED: &str = "too many other certificates are asked for";
/// How many failed fetches are remembered.
const MOST_FAILED: usize = 1_000;

/// What strangers can make us fetch, and wait for.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Fetches a minute: `sns.cert_fetches_per_minute`.
    pub per_minute: u32,
    /// Fetches at once: `sns.cert_fetch_burst`.
    pub burst: u32,
    /// Certificates on their way, and once more requests that wait for one which is: what waits
    /// has to leave room for what need not.
    pub most: usize,
}

/// The certificates that messages are verified with.
#[derive(Clone)]
pub struct SigningCertificates(Arc<Inner>);

struct Inner {
    fetch: Box<dyn Fetch>,
    cache: Arc<dyn CertificateCache>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// How many certificates may be on their way.
    max_fetches: usize,
    /// Places for those who wait for one that somebody else asked for.
    waiters: Semaphore,
}

/// A certificate in memory.
struct Kept {
    url: CertificateUrl,
    certificate: Arc<SigningCertificate>,
    /// Its text, until a message was verified with it and the text is on the cache.
    not_cached_yet: Option<String>,
}

struct State {
    /// The oldest first.
    kept: VecDeque<Kept>,
    /// Fetches that failed a moment ago, and until when that is remembered.
    failed: HashMap<CertificateUrl, (Timestamp, Refusal)>,
    fetches: HashMap<CertificateUrl, SharedFetch>,
    turns: TokenBucket,
}

type Found = Result<Arc<SigningCertificate>, Refusal>;

/// A certificate, and its text where it is not on the cache.
type Obtained = Result<(SigningCertificate, Option<String>), Refusal>;

/// A certificate on its way. It arrives whether or not anyone still waits for it.
type SharedFetch = Shared<Pin<Box<dyn Future<Output = Found> + Send>>>;

impl SigningCertificates {
    /// Nothing is known but what is on the cache.
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

    /// Whether SNS signed `message`. Waits for the certificate until `deadline` at most.
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

    /// Keeps a certificate for the next start, once it has verified something.
    fn keep(&self, url: &CertificateUrl) {
        let mut state = self.0.state();
        let known = state.kept.iter_mut().find(|kept| kept.url == *url);
        if let Some(pem) = known.and_then(|kept| kept.not_cached_yet.take()) {
            let (inner, url) = (Arc::clone(&self.0), url.clone());
            tokio::spawn(async move {
                if let Err(error) = inner.cache.keep_certificate(url.as_str(), &pem).await {
                    tracing::warn!(%error, "a signing certificate was not kept");
                }
            });
        }
    }

    async fn get(&self, url: &CertificateUrl, deadline: Timestamp) -> Found {
        let (fetch, _place) = {
            let mut state = self.0.state();
            if let Some(kept) = state.kept.iter().find(|kept| kept.url == *url) {
                return Ok(Arc::clone(&kept.certificate));
            }
            let now = self.0.clock.now();
            // A clock that was set back must not make a moment of hours.
            let fresh = |until: Timestamp| now < until && until <= now + FAILED_FOR;
            if let Some((until, why)) = state.failed.get(url)
                && fresh(*until)
            {
                return Err(why.clone());
            }
            match state.fetches.get(url) {
                Some(fetch) => match self.0.waiters.try_acquire() {
                    Ok(place) => (fetch.clone(), Some(place)),
                    Err(_) => return unavailable("too many others wait for it"),
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
            Either::Right(_) => unavailable("it did not come in time"),
        }
    }

    /// Starts obtaining a certificate, in a task of its own: a sender that hangs up must not
    /// end what others wait for.
    fn start(&self, url: CertificateUrl, deadline: Timestamp) -> SharedFetch {
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            // Whatever happens, the fetch has to finish, or nobody could ever start another.
            let obtained = AssertUnwindSafe(inner.obtain(&url, deadline))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| unavailable("the fetch broke off"));
            inner.finish(url, obtained)
        });
        let fetch = task.map(|found| found.unwrap_or_else(|_| unavailable("shutting down")));
        Pin::from(Box::new(fetch) as Box<dyn Future<Output = Found> + Send>).shared()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the cache, or else from SNS, with its text where the cache does not have it yet.
    async fn obtain(&self, url: &CertificateUrl, deadline: Timestamp) -> Obtained {
        if !url.is_emulated() {
            match self.cache.certificate(url.as_str()).await {
                Ok(Some(pem)) => {
                    return Ok((SigningCertificate::from_pem(pem.as_bytes())?, None));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "kept signing certificates cannot be read"),
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

    /// Ends a fetch. Only success is remembered: the next message may try again.
    fn finish(&self, url: CertificateUrl, obtained: Obtained) -> Found {
        let mut state = self.state();
        state.fetches.remove(&url);
        let (certificate, not_cached_yet) = obtained?;
        let certificate = Arc::new(certificate);
        // An emulator makes a new one at the old address whenever it starts.
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
