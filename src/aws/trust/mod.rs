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

use futures_util::FutureExt as _;
use futures_util::future::{Either, Shared, select};
use jiff::Timestamp;

pub use self::fetch::{Fetch, HttpFetch};
use super::certificate::SigningCertificate;
use crate::domain::{
    limits::TokenBucket,
    sns_message::{CertificateUrl, Refusal, SnsMessage},
};
use crate::ports::Clock;

/// How many certificates are kept in memory. SNS uses one or two at a time in most regions.
const KEPT: usize = 64;

/// The certificates that messages are verified with.
#[derive(Clone)]
pub struct SigningCertificates(Arc<Inner>);

struct Inner {
    fetch: Box<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The oldest first.
    kept: VecDeque<(CertificateUrl, Arc<SigningCertificate>)>,
    flights: HashMap<CertificateUrl, Flight>,
    turns: TokenBucket,
}

type Found = Result<Arc<SigningCertificate>, Refusal>;

/// A certificate on its way. It arrives whether or not anyone still waits for it.
type Flight = Shared<Pin<Box<dyn Future<Output = Found> + Send>>>;

impl SigningCertificates {
    /// `per_minute` and `burst` bound the fetches: `sns.cert_fetches_per_minute` and
    /// `sns.cert_fetch_burst`.
    pub fn new(fetch: impl Fetch, clock: Arc<dyn Clock>, per_minute: u32, burst: u32) -> Self {
        let turns = TokenBucket::full(f64::from(per_minute) / 60.0, burst, clock.now());
        Self(Arc::new(Inner {
            fetch: Box::new(fetch),
            clock,
            state: Mutex::new(State {
                kept: VecDeque::new(),
                flights: HashMap::new(),
                turns,
            }),
        }))
    }

    /// Whether SNS signed `message`. Waits for the certificate until `deadline` at most.
    pub async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal> {
        let certificate = self.get(message.certificate_url(), deadline).await?;
        certificate.check_name(message.topic())?;
        certificate.check_dates(message.timestamp())?;
        certificate.check_signature(
            message.signature_version(),
            message.string_to_sign().as_bytes(),
            message.signature(),
        )
    }

    async fn get(&self, url: &CertificateUrl, deadline: Timestamp) -> Found {
        let flight = {
            let mut state = self.0.state();
            if let Some((_, certificate)) = state.kept.iter().find(|(kept, _)| kept == url) {
                return Ok(Arc::clone(certificate));
            }
            state
                .flights
                .entry(url.clone())
                .or_insert_with(|| self.take_off(url.clone(), deadline))
                .clone()
        };
        match select(flight, self.0.clock.sleep_until(deadline)).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => unavailable("it did not come in time"),
        }
    }

    /// Starts obtaining a certificate, in a task of its own: a sender that hangs up must not
    /// end what others wait for.
    fn take_off(&self, url: CertificateUrl, deadline: Timestamp) -> Flight {
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            // Whatever happens, the flight has to land, or nobody could ever start another.
            let found = AssertUnwindSafe(inner.obtain(&url, deadline))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| unavailable("the fetch broke off"));
            inner.land(url, found.clone());
            found
        });
        let flight = task.map(|found| found.unwrap_or_else(|_| unavailable("shutting down")));
        Pin::from(Box::new(flight) as Box<dyn Future<Output = Found> + Send>).shared()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn obtain(&self, url: &CertificateUrl, deadline: Timestamp) -> Found {
        let turn = self.turn(deadline)?;
        self.clock.sleep_until(turn).await;
        let pem = self
            .fetch
            .fetch(url)
            .await
            .or_else(|why| unavailable(&why))?;
        SigningCertificate::from_pem(&pem).map(Arc::new)
    }

    /// When the next fetch may go. One that could only go after the deadline takes no turn
    /// from those that still can.
    fn turn(&self, deadline: Timestamp) -> Result<Timestamp, Refusal> {
        let mut state = self.state();
        let now = self.clock.now();
        if state.turns.next(now) > deadline {
            return unavailable("too many other certificates are asked for");
        }
        Ok(state.turns.reserve(now))
    }

    /// Ends a flight. Only success is remembered: the next message may try again.
    fn land(&self, url: CertificateUrl, found: Found) {
        let mut state = self.state();
        state.flights.remove(&url);
        if let Ok(certificate) = found {
            if state.kept.len() >= KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back((url, certificate));
        }
    }
}

fn unavailable<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::CertificateUnavailable(why.to_owned()))
}
