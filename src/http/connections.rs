//! Serves connections, with limits on their number and on slow or idle peers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

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

use super::sender::PeerAddress;

/// The request line and headers together.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a response may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// The most connections at a time; further ones wait to be accepted.
    pub most: usize,
    /// The longest time between two requests, and for the request line and headers to arrive.
    pub idle: Duration,
}

/// Serves until `stop`, then lets requests in progress finish. The listener itself logs and retries
/// failures to accept, for example for lack of file descriptors.
pub async fn serve(
    mut listener: impl Listener<Addr = SocketAddr>,
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
            let (stream, peer) = listener.accept().await;
            let routes = routes
                .clone()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddress(peer));
                    request.map(Body::new)
                });
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE_TIMEOUT));
            let stream = TokioIo::new(Box::pin(stream));
            let connection = builder.serve_connection(stream, TowerToHyperService::new(routes));
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
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
