//! TLS in front: the nginx configuration that is shipped, tried with the real nginx.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use reqwest::{Certificate, Client, StatusCode};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    not_tested,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    until,
};

const NAME: &str = "purgefront.example.com";
const SHIPPED: &str = include_str!("../deploy/nginx/purgefront.conf");
/// What a whole nginx needs around it: one process, all files in the test's directory.
const AROUND: &str = "pid HOME/pid; events {} http { access_log off; \
    client_body_temp_path HOME/a; proxy_temp_path HOME/b; fastcgi_temp_path HOME/c; \
    uwsgi_temp_path HOME/d; scgi_temp_path HOME/e; include HOME/purgefront.conf; }";

/// nginx in front of a service, and clients that trust it.
struct Nginx {
    child: Child,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    client: Client,
    _home: tempfile::TempDir,
}

impl Nginx {
    /// Starts it with the shipped file; nothing but addresses and paths is put in.
    async fn start(service: &Service) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut text = SHIPPED.to_owned();
        for (shipped, here) in [
            ("listen 443 ssl;", format!("listen {address} ssl;")),
            ("listen [::]:443 ssl;", String::new()),
            ("127.0.0.1:8080", service.url.replace("http://", "")),
            ("/etc/ssl/purgefront/fullchain.pem", path("cert.pem")),
            ("/etc/ssl/purgefront/privkey.pem", path("key.pem")),
        ] {
            assert_eq!(text.matches(shipped).count(), 1, "{shipped}");
            text = text.replace(shipped, &here);
        }
        fs::write(path("purgefront.conf"), text).unwrap();
        let around = AROUND.replace("HOME", &home.path().display().to_string());
        fs::write(path("nginx.conf"), around).unwrap();
        let mut child = Command::new("nginx")
            .args(["-p", &path(""), "-c", &path("nginx.conf")])
            .args(["-e", &path("error.log")])
            .args(["-g", "daemon off; master_process off;"])
            .spawn()
            .unwrap();
        until("nginx listens", || {
            let ended = child.try_wait().unwrap();
            let said = || fs::read_to_string(path("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx does not start: {}", said());
            TcpStream::connect(address).ok()
        })
        .await;
        let trusted = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([trusted])
            .resolve(NAME, address)
            .build()
            .unwrap();
        Self {
            child,
            address,
            certificate: made.cert.der().clone(),
            client,
            _home: home,
        }
    }

    /// Posts over HTTPS, perhaps with a token.
    async fn post(&self, path: &str, token: Option<&str>, body: String) -> StatusCode {
        let url = format!("https://{NAME}:{}{path}", self.address.port());
        let mut request = self.client.post(url).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().status()
    }

    async fn get(&self, path: &str) -> StatusCode {
        let url = format!("https://{NAME}:{}{path}", self.address.port());
        self.client.get(url).send().await.unwrap().status()
    }

    /// A connection to speak over by hand.
    async fn connect(&self) -> BufReader<TlsStream<tokio::net::TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = NAME.try_into().unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        BufReader::new(connector.connect(name, stream).await.unwrap())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether nginx is on this machine.
fn is_here() -> bool {
    let asked = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    if let Err(error) = &asked {
        not_tested(&format!("no nginx ({error}): apt-get install nginx-light"));
    }
    asked.is_ok()
}

#[tokio::test]
async fn what_is_public_goes_through_tls_and_nothing_else() {
    if !is_here() {
        return;
    }
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let nginx = Nginx::start(&service).await;

    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let body = signer.notification(&text).body();
    assert_eq!(nginx.post("/sns", None, body).await, 200);
    until("the invalidation", || {
        (aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;

    let order = json!({"distribution_id": "E1", "paths": ["/b"], "reason": "a test"}).to_string();
    assert_eq!(nginx.post("/invalidate", None, order.clone()).await, 401);
    assert_eq!(nginx.post("/invalidate", Some(TOKEN), order).await, 202);
    for path in ["/healthz", "/readyz", "/openapi.yaml"] {
        assert_eq!(nginx.get(path).await, 200, "{path}");
    }
    for path in ["/requests/x", "/invalidations", "/invalidations/x"] {
        assert_eq!(nginx.get(path).await, 401, "{path} asks for a token");
    }
    for path in ["/", "/metrics", "/deadletters", "/sns/x"] {
        assert_eq!(nginx.get(path).await, 404, "{path}");
    }
    // purgefront's own limits are let through to say so themselves; nginx's is the largest.
    let large = |bytes| "x".repeat(bytes);
    assert_eq!(nginx.post("/sns", None, large(512 * 1024 + 1)).await, 413);
    let most = nginx.post("/invalidate", Some(TOKEN), large(1024 * 1024));
    assert_eq!(most.await, 400, "not JSON, but not too large");
    let more = nginx.post("/invalidate", Some(TOKEN), large(1024 * 1024 + 1));
    assert_eq!(more.await, 413);
    // It is nginx that stops such a body: purgefront would say 405 here.
    let more = nginx.post("/healthz", None, large(1024 * 1024 + 1));
    assert_eq!(more.await, 413);
}

/// The log names who sent a message to nginx, whatever the sender says.
#[tokio::test]
async fn a_refused_sender_is_named() {
    if !is_here() {
        return;
    }
    let aws = FakeAws::start().await;
    let service = Setup::new(&aws).start().await;
    let nginx = Nginx::start(&service).await;
    let from = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_der(&nginx.certificate).unwrap()])
        .resolve(NAME, nginx.address)
        // Another one than nginx's own.
        .local_address(Some([127, 0, 0, 2].into()))
        .build()
        .unwrap();
    let answer = from
        .post(format!("https://{NAME}:{}/sns", nginx.address.port()))
        .header("x-amz-sns-rawdelivery", "true")
        .header("x-forwarded-for", "192.0.2.7")
        .body("{}")
        .send();
    assert_eq!(answer.await.unwrap().status(), 400);
    let lines = service.events();
    let refused = lines
        .iter()
        .find(|line| line["message"] == "message refused")
        .unwrap();
    assert_eq!(refused["sender"], "127.0.0.2");
}

#[tokio::test]
async fn a_slow_client_hurts_no_other() {
    if !is_here() {
        return;
    }
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let mut setup = Setup::new(&aws);
    // One request in hand, and any other would be answered 503.
    setup.set_env("PURGEFRONT_SERVER__MAX_REQUESTS", "1");
    let service = setup.start().await;
    let nginx = Nginx::start(&service).await;
    let notification = || {
        let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
        signer.notification(&text).body()
    };

    let body = notification();
    let (begin, rest) = body.as_bytes().split_at(100);
    let head = format!(
        "POST /sns HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut slow = nginx.connect().await;
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    slow.write_all(begin).await.unwrap();
    slow.flush().await.unwrap();

    for _ in 0..10 {
        assert_eq!(nginx.post("/sns", None, notification()).await, 200);
    }
    slow.write_all(rest).await.unwrap();
    slow.flush().await.unwrap();
    // The empty line that ends the 100, then the answer.
    slow.read_line(&mut answer).await.unwrap();
    answer.clear();
    slow.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
