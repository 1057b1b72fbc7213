//! Ends TLS in front of a service, as a load balancer or Caddy does.

use std::{net::TcpListener, sync::Arc, thread};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::proxy::Ca;

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// Takes connections to [`NAME`] at the returned port, in a thread that lives as long as the tests do,
/// and passes on to an address what comes.
pub fn start(ca: &Ca, to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(ca.config(NAME));
    let to: Arc<str> = to.into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, to) = (acceptor.clone(), Arc::clone(&to));
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else {
                        return;
                    };
                    if let Ok(mut inside) = TcpStream::connect(&*to).await {
                        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                    }
                });
            }
        });
    });
    port
}
