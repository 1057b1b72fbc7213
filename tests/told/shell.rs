//! What commands tell the shell: their exit codes, where they look, and what they read.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{aws::FakeAws, cloudfront::Distribution, service::Setup, signer::TOPIC};

fn run(arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_purgefront"))
        .args(arguments)
        .env_clear()
        .env("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), complaint)
}

#[test]
fn point_19_output_that_does_not_arrive_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = directory.path().join("catalogue.json");
    let empty = "{\"read_since\": \"2026-01-01T00:00:00Z\", \"distributions\": [], \
                 \"cache_policies\": {}}";
    fs::write(&catalogue, empty).unwrap();
    let catalogue = catalogue.to_str().unwrap();
    for arguments in [
        &["token"][..],
        &["check"],
        &["plan", "--bucket", "b", "--catalogue", catalogue, "key"],
        &["--help"],
        &["--version"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, complaint) = run(arguments, full.into());
        assert_eq!(code, Some(1), "{arguments:?} {complaint}");
        assert!(complaint.contains("could not be written"), "{complaint}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, complaint) = run(arguments, writer.into());
        assert_eq!(code, Some(1), "{arguments:?} {complaint}");
        assert!(complaint.contains("could not be written"), "{complaint}");
        assert_eq!(run(arguments, Stdio::null()).0, Some(0), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_19_so_is_that_of_a_command_that_asks_aws_or_the_service() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    let service = setup.start().await;
    setup.set_env("PURGEFRONT_ADMIN_URL", &service.admin_url);
    for arguments in [
        &["catalogue"][..],
        &["deadletters", "list", "--json"],
        &["pause"],
    ] {
        assert_eq!(setup.run(arguments).0, Some(0), "{arguments:?}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, complaint) = setup.run_into(arguments, full);
        assert_eq!(code, Some(1), "{arguments:?} {complaint}");
        assert!(complaint.contains("could not be written"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_18_a_store_of_a_newer_version_is_told_in_plain_words() {
    let aws = FakeAws::start().await;
    let setup = Setup::new(&aws);
    setup.start().await.kill();
    let options = SqliteConnectOptions::new().filename(setup.store());
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    let newer = "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 5";
    sqlx::query(newer).execute(&mut store).await.unwrap();
    store.close().await.unwrap();
    let (status, told) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(2));
    assert!(
        told.contains("a newer or another version of purgefront"),
        "{told}"
    );
    assert!(!told.contains("migration"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_20_clients_find_the_admin_listener_in_the_configuration() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    let service = setup.start().await;
    // The port was left to the system: there is nothing to read it from.
    let (code, _, complaint) = setup.run(&["pause"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("--admin-url"), "{complaint}");
    let port = service.admin_url.rsplit_once(':').unwrap().1;
    setup.set_env("PURGEFRONT_SERVER__ADMIN_LISTEN", format!("0.0.0.0:{port}"));
    for arguments in [&["pause"][..], &["resume"], &["deadletters", "list"]] {
        let (code, _, complaint) = setup.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?} {complaint}");
    }
    setup.set_env("PURGEFRONT_SERVER__ADMIN_LISTEN", "nowhere");
    let (code, _, complaint) = setup.run(&["pause"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("server.admin_listen"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_23_plan_reads_names_that_end_in_nul() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    let keys = "a\nb.html\0é.html\0";
    let (code, plan, complaint) = setup.run_with(&["plan", "--bucket", "site", "-z"], keys);
    assert_eq!(code, Some(0), "{complaint}");
    for item in ["  /a%0Ab.html\n", "  /%C3%A9.html\n"] {
        assert!(plan.contains(item), "{plan}");
    }
    assert!(plan.contains("2 paths"), "{plan}");
}
