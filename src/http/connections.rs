//! Connections: how many there may be, and how long each may dawdle.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, serve::Listener};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Of a request's line and headers together.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a sender may take none of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// How many there may be at once; more wait to be accepted.
    pub most: usize,
    /// How long one may send nothing between two requests, and how long a request's line and
    /// headers may take.
    pub idle: Duration,
}

/// Serves until it is told to stop, and lets requests in progress finish. The listener itself logs
/// and retries when it cannot accept, for example without free file descriptors.
pub async fn serve(
    mut listener: impl Listener,
    routes: Router,
    connections: Connections,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(connections.most));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(connections.idle)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let (stream, _) = listener.accept().await;
            let routes = routes
                .clone()
                .map_request(|request: Request<Incoming>| request.map(Body::new));
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE_TIMEOUT));
            let stream = TokioIo::new(Box::pin(stream));
            let connection = builder.serve_connection(stream, TowerToHyperService::new(routes));
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // What a sender breaks off is its own affair.
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(permit);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    graceful.shutdown().await;
}
