//! How much may be in hand at once: requests whose bodies are whole, and bytes of bodies.
//!
//! Whoever dawdles with a body holds a connection and what was sent of it, never one of the
//! places that others need.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, Request},
};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// All bodies together: 500 of SNS's largest, or many thousands as S3 sends them.
const MAX_BYTES: usize = 128 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Capacity {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Capacity {
    /// So many requests: `server.max_requests`.
    pub fn new(requests: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(requests)),
            bytes: Arc::new(Semaphore::new(MAX_BYTES)),
        }
    }

    /// The places, for those who have no body to wait for.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }
}

/// A body of at most `MAX` bytes that has come whole, and its place among what is in hand.
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
        let Capacity { places, bytes } = Capacity::from_ref(state);
        let mut whole = Vec::new();
        let mut held = reserve(&bytes, 0)?;
        // Read as far as it may go, whatever length it promises: an answer on which much is left
        // unread resets the connection, and a proxy then says 502 instead.
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::not_read())?;
            if whole.len() + chunk.len() > MAX {
                return Err(Problem::too_large(MAX));
            }
            held.merge(reserve(&bytes, chunk.len())?);
            whole.extend_from_slice(&chunk);
        }
        let place = places.try_acquire_owned();
        Ok(Self {
            body: whole.into(),
            _bytes: held,
            _place: place.map_err(|_| Problem::overloaded())?,
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

    use axum::body::Body;
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
    async fn a_place_is_taken_when_the_body_is_whole() {
        let capacity = Capacity::new(1);
        let dawdling = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut dawdling = Box::pin(take(&capacity, dawdling));
        assert!((&mut dawdling).now_or_never().is_none());
        let first = take(&capacity, "first").await.unwrap();
        assert_eq!(first.body, "first");
        assert_eq!(take(&capacity, "second").await.err(), Some("overloaded"));
        drop(first);
        assert!(take(&capacity, chunks(&["sec", "ond"])).await.is_ok());
    }

    #[tokio::test]
    async fn no_body_is_too_large_and_not_all_of_them_together() {
        let capacity = Capacity {
            places: Arc::new(Semaphore::new(9)),
            bytes: Arc::new(Semaphore::new(15)),
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
