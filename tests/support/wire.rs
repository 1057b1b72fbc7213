//! A wire from a service to PostgreSQL that a test can cut or stall.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::postgres::{Address, Stream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are closed, and new ones as soon as they come.
    Cut,
    /// Nothing gets through, and nobody is told: as when a network is partitioned.
    Stalled,
}

/// It lasts as long as the test's runtime.
pub struct Wire {
    pub port: u16,
    state: watch::Sender<State>,
}

impl Wire {
    /// Takes connections on a port of its own, and passes on to a server what comes.
    pub async fn to(server: Address) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, state) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                if *state.borrow() == State::Cut {
                    continue;
                }
                if let Ok(inside) = server.connect().await {
                    tokio::spawn(carry(outside, inside, state.clone()));
                }
            }
        });
        Self {
            port,
            state: sender,
        }
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(outside: TcpStream, inside: Box<dyn Stream>, state: watch::Receiver<State>) {
    let (from_outside, to_outside) = split(outside);
    let (from_inside, to_inside) = split(inside);
    let mut cut = state.clone();
    tokio::select! {
        () = pass(from_outside, to_inside, state.clone()) => {}
        () = pass(from_inside, to_outside, state) => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state
            .wait_for(|state| *state != State::Stalled)
            .await
            .is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
