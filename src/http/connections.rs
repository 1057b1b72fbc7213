//! Connections: how many there may be, and how long each may dawdle.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What a request's line and headers may take together.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a sender may take none of an answer.
const WRITE: Duration = Duration::from_secs(10);
/// After an error that is not one connection's, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// How many there may be at once; more wait to be accepted.
    pub most: usize,
    /// How long one may send nothing between two requests, and how long a request's line and
    /// headers may take.
    pub idle: Duration,
}

/// Serves until it is told to stop, and lets the requests in hand end.
pub async fn serve(
    listener: TcpListener,
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
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let stream = accept(&listener).await;
            let routes = routes
                .clone()
                .map_request(|request: Request<Incoming>| request.map(Body::new));
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE));
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

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the machine recovers in real time"
                )]
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
