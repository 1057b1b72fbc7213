//! The endpoint, and the store with its disk.

use rcgen::generate_simple_self_signed;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use super::{Clinic, of};

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_has_to_be_purgefronts() {
    let clinic = Clinic::open().await;
    let purgefront = "urn:purgefront:problem:not-json".to_owned();
    let answers = |health, status, problem: &str| {
        clinic.account.state().endpoint = Some((health, status, problem.to_owned()));
    };
    for health in [502, 301, 404] {
        answers(health, 400, &purgefront);
        clinic.only("endpoint.reachable", "failure", &[]);
    }
    for (status, problem) in [
        (404, "urn:purgefront:problem:not-found"),
        (400, "about:blank"),
        (200, "urn:purgefront:problem:not-json"),
    ] {
        answers(200, status, problem);
        clinic.only("endpoint.purgefront", "failure", &[]);
    }
    // A challenge is what SNS gets where it has to send a password.
    answers(200, 401, "urn:purgefront:problem:no-credentials");
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_needs_tls_that_everybody_trusts() {
    let mut clinic = Clinic::open().await;
    clinic.setup.set_env("NO_PROXY", "127.0.0.1");
    let subscribe = |clinic: &Clinic, url: &str| {
        url.clone_into(&mut clinic.account.state().things.subscriptions[0].endpoint);
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // The client does not go on.
            let _ = acceptor.accept(stream).await;
        }
    });
    subscribe(&clinic, &format!("https://{address}/sns"));
    let found = clinic.only("endpoint.reachable", "failure", &[]);
    let why = found["why"].as_str().unwrap();
    assert!(why.starts_with("its certificate is not trusted: "), "{why}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    subscribe(&clinic, &format!("https://{address}/sns"));
    let found = clinic.only("endpoint.reachable", "failure", &[]);
    let why = found["why"].as_str().unwrap();
    assert!(why.starts_with("cannot be reached: "), "{why}");

    // The real service, but without TLS.
    clinic.write_settings();
    let service = clinic.setup.start().await;
    subscribe(&clinic, &format!("{}/sns", service.url));
    let found = clinic.only("endpoint.reachable", "failure", &[]);
    assert!(found["why"].as_str().unwrap().starts_with("is not HTTPS"));
    let (_, checks) = clinic.examine(&[]);
    assert_eq!(of(&checks, "endpoint.purgefront")["level"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_read_without_being_changed() {
    let mut clinic = Clinic::open().await;
    clinic.write_settings();
    let service = clinic.setup.start().await;
    service.knows_the_catalogue().await;
    assert!(service.terminate().await.success());
    let store = clinic.setup.store().to_owned();
    let bytes = std::fs::read(&store).unwrap();
    let files = || {
        let files = std::fs::read_dir(store.parent().unwrap()).unwrap();
        let mut files: Vec<_> = files.map(|one| one.unwrap().file_name()).collect();
        files.sort();
        files
    };
    let before = files();
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    assert_eq!(
        of(&checks, "store.opens")["why"],
        "can be read; no service has it open"
    );
    assert_eq!(of(&checks, "store.version")["why"], "is of this version");
    assert_eq!((std::fs::read(&store).unwrap(), files()), (bytes, before));

    let newer = "INSERT INTO _sqlx_migrations VALUES (99, 'x', 0, 1, x'00', 0)";
    crate::support::sqlite::execute(&store, newer).await;
    clinic.only("store.version", "failure", &[]);
    std::fs::write(&store, "something else").unwrap();
    clinic.only("store.opens", "failure", &[]);
    let inner = clinic.setup.home().join("not/there yet/purgefront.db");
    clinic.setup.set_store(inner);
    let found = clinic.only("store.opens", "failure", &[]);
    clinic.mend(&found);
}
