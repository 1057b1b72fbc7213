//! Limits the number of concurrent requests, and the memory for their bodies.
//!
//! A request counts only when its body is complete. Slow senders occupy a connection and memory, but
//! no place that others need. Requests that only wait have places of their own.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRef, FromRequest, Request},
};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// For all bodies together: 250 of the largest that /sns accepts, or many thousands of usual size.
const MAX_BYTES: usize = 128 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Capacity {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    waiters: Arc<Semaphore>,
}

impl Capacity {
    /// `requests` is `server.max_requests`.
    pub fn new(requests: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(requests)),
            bytes: Arc::new(Semaphore::new(MAX_BYTES)),
            waiters: Arc::new(Semaphore::new((requests / 4).max(1))),
        }
    }

    /// A place for a request that is answered at once.
    pub(super) fn take_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Problem::overloaded())
    }

    /// A place for a request that waits for something to happen: a quarter of the others.
    pub(super) fn take_waiter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let waiter = Arc::clone(&self.waiters).try_acquire_owned();
        waiter.map_err(|_| Problem::too_many_waiting())
    }

    /// The places, for requests without a body.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }
}

/// A complete body of at most `MAX` bytes, with the request's place.
pub(super) struct AdmittedBody<const MAX: usize> {
    pub(super) body: Bytes,
    _bytes: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl<S, const MAX: usize> FromRequest<S> for AdmittedBody<MAX>
where
    Capacity: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::read(request.into_body(), &Capacity::from_ref(state)).await
    }
}

impl<const MAX: usize> AdmittedBody<MAX> {
    /// Reads a body to its end, then takes a place.
    pub(super) async fn read(body: Body, capacity: &Capacity) -> Result<Self, Problem> {
        let bytes = &capacity.bytes;
        let mut whole = Vec::new();
        let mut held = reserve(bytes, 0)?;
        // Read up to the limit, whatever Content-Length says: an answer before most of the body has
        // been read resets the connection, and a proxy then responds with 502.
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::not_read())?;
            if whole.len() + chunk.len() > MAX {
                return Err(Problem::too_large(MAX));
            }
            held.merge(reserve(bytes, chunk.len())?);
            whole.extend_from_slice(&chunk);
        }
        Ok(Self {
            body: whole.into(),
            _bytes: held,
            _place: capacity.take_place()?,
        })
    }
}

fn reserve(bytes: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let count = u32::try_from(count).map_err(|_| Problem::overloaded())?;
    let reserved = Arc::clone(bytes).try_acquire_many_owned(count);
    reserved.map_err(|_| Problem::overloaded())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, stream};

    use super::*;

    async fn take(
        capacity: &Capacity,
        body: impl Into<Body>,
    ) -> Result<AdmittedBody<10>, &'static str> {
        let request = Request::new(body.into());
        let taken = AdmittedBody::from_request(request, capacity).await;
        taken.map_err(|problem| problem.slug())
    }

    fn chunks(chunks: &'static [&'static str]) -> Body {
        let chunks = chunks.iter().map(|chunk| Ok::<_, Infallible>(*chunk));
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_request_takes_its_place_when_its_body_is_complete() {
        let capacity = Capacity::new(1);
        let slow = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut slow = Box::pin(take(&capacity, slow));
        assert!((&mut slow).now_or_never().is_none());
        let first = take(&capacity, "first").await.unwrap();
        assert_eq!(first.body, "first");
        assert_eq!(take(&capacity, "second").await.err(), Some("overloaded"));
        drop(first);
        assert!(take(&capacity, chunks(&["sec", "ond"])).await.is_ok());
    }

    #[tokio::test]
    async fn each_body_and_all_bodies_together_are_limited() {
        let capacity = Capacity {
            bytes: Arc::new(Semaphore::new(15)),
            ..Capacity::new(9)
        };
        for body in [Body::from("12345678901"), chunks(&["123456", "78901"])] {
            assert_eq!(take(&capacity, body).await.err(), Some("too-large"));
        }
        let first = take(&capacity, "1234567890").await.unwrap();
        assert_eq!(take(&capacity, "123456").await.err(), Some("overloaded"));
        drop(first);
        assert!(take(&capacity, chunks(&["12345", "67890"])).await.is_ok());
    }
}
