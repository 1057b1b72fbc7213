//! A CONNECT proxy that ends TLS for AWS's names with a CA of its own, as moto's proxy does.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::Router;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};

/// The hosts that were asked for, AWS's or not.
pub type Hosts = Arc<Mutex<BTreeSet<String>>>;

/// A running proxy; it ends with the test's runtime.
pub struct Proxy {
    pub address: SocketAddr,
    /// What clients have to trust.
    pub ca_pem: String,
    pub hosts: Hosts,
}

/// A certificate authority, and the certificates that it has issued.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Proxy {
    /// Starts a proxy that serves `routes` for every host that `known` lets through.
    pub async fn start(routes: Router, known: fn(&str) -> bool) -> Self {
        let ca = Arc::new(Ca::new());
        let ca_pem = ca.pem();
        let hosts = Hosts::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (streams, accepted) = mpsc::channel(1_024);
        let asked = Arc::clone(&hosts);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (ca, asked, streams) = (Arc::clone(&ca), Arc::clone(&asked), streams.clone());
                tokio::spawn(async move {
                    if let Some(stream) = connect(stream, &ca, &asked, known).await {
                        let _ = streams.send(stream).await;
                    }
                });
            }
        });
        let accepted = Accepted(accepted, address);
        tokio::spawn(async move { axum::serve(accepted, routes).await });
        Self {
            address,
            ca_pem,
            hosts,
        }
    }
}

/// Reads a CONNECT, notes its host, and answers the TLS handshake behind it.
async fn connect(
    mut stream: TcpStream,
    ca: &Ca,
    asked: &Hosts,
    known: fn(&str) -> bool,
) -> Option<TlsStream<TcpStream>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    // Without CONNECT, it would be for plain HTTP.
    let (method, target) = head.split_once(' ')?;
    let target = target.split(' ').next()?;
    asked.lock().unwrap().insert(target.to_owned());
    let host = target
        .strip_suffix(":443")
        .filter(|host| method == "CONNECT" && known(host));
    let Some(host) = host else {
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .await
            .ok()?;
        return None;
    };
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .ok()?;
    TlsAcceptor::from(ca.config(host)).accept(stream).await.ok()
}

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has its own name as signed by itself.
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "CA of the tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            issuer,
            configs: Mutex::default(),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn config(&self, host: &str) -> Arc<ServerConfig> {
        let mut configs = self.configs.lock().unwrap();
        let make = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let config = ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
            Arc::new(config)
        };
        Arc::clone(configs.entry(host.to_owned()).or_insert_with(make))
    }
}

/// The connections that came through, as axum takes them.
struct Accepted(mpsc::Receiver<TlsStream<TcpStream>>, SocketAddr);

impl axum::serve::Listener for Accepted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.0.recv().await {
            Some(stream) => (stream, self.1),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.1)
    }
}
