//! What a person types: check, serve, and how the service starts and stops.

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::Setup,
    signer::{Signer, TOPIC, s3_records},
};

#[test]
fn check_says_whether_a_configuration_is_right() {
    let mut setup = Setup::alone();
    let (code, _, complaint) = setup.run(&["check"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("sns.topics"), "{complaint}");
    setup.set_env("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]"));
    let (code, said, _) = setup.run(&["check"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "The configuration is right.\n")
    );
    setup.set_env("PURGEFRONT_SNS__TOPIC", "x");
    setup.set_env("PURGEFRONT_BATCHING__QUIET", "soon");
    let (code, _, complaint) = setup.run(&["check"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("2 faults") && complaint.contains("did you mean sns.topics?"));
    let (code, ..) = setup.run(&["serve"]);
    assert_eq!(code, Some(2), "serve does not start on it either");
    assert_eq!(setup.run(&["serv"]).0, Some(2));
    assert_eq!(setup.run(&["--help"]).0, Some(0));
}

#[tokio::test]
async fn a_store_serves_one_service() {
    let aws = FakeAws::start().await;
    let setup = Setup::new(&aws);
    let first = setup.start().await;
    let (status, said) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("another purgefront uses the store"), "{said}");
    first.kill();
    setup.start().await;
}

/// The address may be free again soon, so whatever starts the service tries again, as after any failure.
#[tokio::test]
async fn an_address_in_use_is_a_failure_that_says_what_to_do() {
    let aws = FakeAws::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (variable, key) in [
        ("PURGEFRONT_SERVER__LISTEN", "server.listen"),
        ("PURGEFRONT_SERVER__ADMIN_LISTEN", "server.admin_listen"),
    ] {
        let mut setup = Setup::new(&aws);
        setup.set_env(variable, address.to_string());
        let (status, said) = setup.spawn().ended().await;
        assert_eq!(status.code(), Some(1), "{said}");
        let told =
            format!("cannot listen on {address} ({key}): another program does; stop it, or set");
        assert!(said.contains(&told), "{said}");
    }
}

#[tokio::test]
async fn sigterm_lets_what_is_in_hand_end() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    let mut slow = signer.certificate();
    slow.delay = std::time::Duration::from_millis(800);
    aws.sns.serve(&signer.file_name, slow);
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    let body = signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", "a")]))
        .body();
    let request = service
        .client
        .post(format!("{}/sns", service.url))
        .body(body)
        .send();
    let request = tokio::spawn(request);
    crate::support::until("the request is in hand", || {
        (aws.sns.fetches(&signer.file_name) > 0).then_some(())
    })
    .await;
    let status = service.terminate().await;
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert_eq!(status.code(), Some(0));
    // It was kept: the next start sends it.
    let service = setup.start().await;
    crate::support::until("the invalidation", || {
        (aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;
    drop(service);
}

#[tokio::test]
async fn healthcheck_says_whether_the_service_answers() {
    let aws = FakeAws::start().await;
    let mut setup = Setup::new(&aws);
    let service = setup.start().await;
    let url = service.url.clone();
    let port = url.rsplit_once(':').unwrap().1;
    // In a container its configuration is the service's own, which listens everywhere; a
    // proxy is for the way out.
    setup.set_env("PURGEFRONT_SERVER__LISTEN", format!("0.0.0.0:{port}"));
    setup.set_env("HTTP_PROXY", "http://127.0.0.1:9");
    let well = (Some(0), String::new(), String::new());
    assert_eq!(setup.run(&["healthcheck"]), well);
    assert_eq!(setup.run(&["healthcheck", "--url", &url]), well);
    let elsewhere = format!("{url}/elsewhere");
    assert_eq!(
        setup.run(&["healthcheck", "--url", &elsewhere]).0,
        Some(1),
        "404"
    );
    service.kill();
    let (code, said, complaint) = setup.run(&["healthcheck"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(complaint.contains("does not answer"), "{complaint}");
    // One that takes connections and never answers.
    let stuck = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", stuck.local_addr().unwrap());
    assert_eq!(setup.run(&["healthcheck", "--url", &url]).0, Some(1));
}

#[tokio::test]
async fn probes_answer_on_both_listeners() {
    let aws = FakeAws::start().await;
    let service = Setup::new(&aws).start().await;
    for url in [&service.url, &service.admin_url] {
        for path in ["/healthz", "/readyz"] {
            let response = service
                .client
                .get(format!("{url}{path}"))
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 200, "{path}");
        }
    }
    let public = service
        .client
        .get(format!("{}/readyz", service.url))
        .send()
        .await
        .unwrap();
    assert!(!public.text().await.unwrap().contains("detail"));
    let metrics = format!("{}/metrics", service.url);
    assert_eq!(
        service.client.get(metrics).send().await.unwrap().status(),
        404
    );
}
