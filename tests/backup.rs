//! The store is backed up while it is in use, checked, restored, upgraded, and put back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    sync::Arc,
};

use serde_json::Value;

use crate::{
    sqlite_upgrade::make_first_release,
    support::{
        aws::FakeAws,
        cloudfront::{Distribution, Fault},
        service::Setup,
        signer::{Signer, s3_records},
        sqlite::execute,
        until,
    },
};

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

fn body(signer: &Signer, key: &str) -> String {
    let text = s3_records("site", &[("ObjectCreated:Put", key)]);
    signer.notification(&text).body()
}

fn checked(setup: &Setup, words: &[&str]) -> Value {
    let (code, said, complaint) = setup.run(&[&["store", "check", "--json"], words].concat());
    assert_eq!(code, Some(0), "{said}{complaint}");
    serde_json::from_str(&said).unwrap()
}

/// What was 2xx before the backup began is in it, whatever comes in meanwhile, and a batch that has
/// no answer yet goes out again under its own reference.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_accepted_before() {
    let (aws, signer, setup) = prepared().await;
    let service = Arc::new(setup.start().await);
    service.knows_the_catalogue().await;
    // CloudFront makes the invalidation, but its answer is lost, and it answers nothing afterwards.
    aws.cloudfront.fail_next([Fault::LostAfter]);
    assert_eq!(service.sns(body(&signer, "first")).await.status(), 200);
    until("the lost call", || {
        (!aws.cloudfront.calls().is_empty()).then_some(())
    })
    .await;
    aws.cloudfront.set_down(true);
    let before: Vec<_> = (0..50).map(|at| format!("before-{at}")).collect();
    for key in &before {
        assert_eq!(service.sns(body(&signer, key)).await.status(), 200);
    }
    let bodies: Vec<_> = (0..3_000)
        .map(|at| body(&signer, &format!("during-{at}")))
        .collect();
    let sending = Arc::clone(&service);
    let load = tokio::spawn(async move {
        for body in bodies {
            assert_eq!(sending.sns(body).await.status(), 200);
        }
    });
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("copy.db");
    let words = ["store", "backup", file.to_str().unwrap()];
    let (code, said, complaint) = setup.run(&words);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("copied and checked in"), "{said}");
    assert!(!load.is_finished(), "it was made under load");
    load.abort();
    let _ = load.await;
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 1);
    let found = checked(&setup, &[words[2]]);
    assert_eq!(found["open"]["unresolved_batches"], 1, "{found}");

    // A store in use can be checked, too.
    checked(&setup, &[]);
    Arc::into_inner(service).unwrap().kill();
    let mut elsewhere = Setup::new(&aws);
    elsewhere.set_store(file);
    aws.cloudfront.set_down(false);
    let service = elsewhere.start().await;
    for key in &before {
        until("a change from before the backup", || {
            let path = format!("/{key}");
            aws.cloudfront.paths("E1").contains(&path).then_some(())
        })
        .await;
    }
    let calls = aws.cloudfront.calls();
    let references = calls.iter().filter(|call| call.order.items == ["/first"]);
    let references: Vec<_> = references
        .map(|call| &call.order.caller_reference)
        .collect();
    assert!(references.len() > 1, "it was sent again");
    assert!(references.iter().all(|one| *one == references[0]));
    let first = aws.cloudfront.paths("E1");
    assert_eq!(first.iter().filter(|path| *path == "/first").count(), 1);
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten_and_nothing_half_is_left() {
    let (_aws, signer, setup) = prepared().await;
    let service = setup.start().await;
    for at in 0..100 {
        let body = body(&signer, &format!("{at}"));
        assert_eq!(service.sns(body).await.status(), 200);
    }
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("copy.db");
    fs::write(&file, "precious").unwrap();
    let words = ["store", "backup", file.to_str().unwrap()];
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("never overwritten"), "{complaint}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    fs::remove_file(&file).unwrap();

    // The disk is full.
    let limited = "trap '' XFSZ; exec prlimit --fsize=20000: -- \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_purgefront")])
        .args(words)
        .current_dir(setup.store().parent().unwrap())
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("no backup was made"), "{complaint}");
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 0);

    let (code, said, complaint) = setup.run(&[&words[..], &["--json"]].concat());
    assert_eq!(code, Some(0), "{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["bytes"], fs::metadata(&file).unwrap().len());
    drop(service);
}

/// What lies where an earlier version wrote is neither written to, nor waited for, nor in the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_written_to_nothing_that_was_there() {
    let (_aws, _signer, setup) = prepared().await;
    setup.start().await.kill();
    let copy = tempfile::tempdir().unwrap();
    let precious = copy.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let at = |name: &str| copy.path().join(name);
    symlink(&precious, at("a.db.incomplete")).unwrap();
    let fifo = Command::new("mkfifo").arg(at("b.db.incomplete")).status();
    assert!(fifo.unwrap().success());
    fs::write(at("c.db.incomplete"), "readable by all").unwrap();
    for name in ["a.db", "b.db", "c.db"] {
        let file = at(name);
        let (code, said, complaint) = setup.run(&["store", "backup", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}{complaint}");
        let found = fs::symlink_metadata(&file).unwrap();
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_store_is_told_as_broken() {
    let (_aws, signer, setup) = prepared().await;
    let service = setup.start().await;
    for at in 0..200 {
        let body = body(&signer, &format!("{at}"));
        assert_eq!(service.sns(body).await.status(), 200);
    }
    assert!(service.terminate().await.success());
    let (code, said, complaint) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("is sound"), "{said}");

    let dangling = "PRAGMA foreign_keys = OFF; UPDATE changes SET message = 99999 WHERE seq = 1";
    execute(setup.store(), dangling).await;
    let (code, said, _) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(1));
    let expected = "WRONG  1 rows of changes refer to rows of messages that do not exist";
    assert!(said.contains(expected), "{said}");

    let sound = fs::read(setup.store()).unwrap();
    let mut broken = sound.clone();
    let half = broken.len() / 2 / 4_096 * 4_096;
    broken[half..half + 8_192].fill(7);
    fs::write(setup.store(), broken).unwrap();
    let (code, said, complaint) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(1), "{said}{complaint}");
    assert!(said.contains("WRONG  "), "{said}");
    assert!(
        complaint.contains("put a backup in its place"),
        "{complaint}"
    );
    let (code, _, complaint) = setup.run(&["store", "backup", "copy.db"]);
    assert_eq!(code, Some(1), "{complaint}");
    assert!(!setup.store().with_file_name("copy.db").exists());

    for (content, told) in [("no database", "cannot be"), ("", "not a store")] {
        fs::write(setup.store(), content).unwrap();
        let (code, _, complaint) = setup.run(&["store", "check"]);
        assert_eq!(code, Some(1), "{content}");
        assert!(complaint.contains(told), "{complaint}");
    }
    fs::remove_file(setup.store()).unwrap();
    let (code, _, complaint) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("there is no store"), "{complaint}");
    assert!(!setup.store().exists());
}

/// `serve` migrates an older store; the way back is a backup from before; a newer one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_the_way_back() {
    let (aws, _signer, setup) = prepared().await;
    // Writes the configuration.
    setup.start().await.kill();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = setup.store().as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    make_first_release(setup.store()).await;
    let (code, said, complaint) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("`purgefront serve` migrates it"), "{said}");
    let before = setup.store().with_file_name("before.db");
    let (code, _, complaint) = setup.run(&["store", "backup", "before.db"]);
    assert_eq!(code, Some(0), "{complaint}");
    let version = |words: &[&str]| checked(&setup, words)["version"]["found"].clone();
    assert_eq!(version(&[]), 1, "a look migrates nothing");

    let service = setup.start().await;
    let current = version(&[]);
    assert_eq!(current, checked(&setup, &[])["version"]["current"]);
    assert_ne!(current, 1);
    assert_eq!(version(&["before.db"]), 1);
    service.kill();
    // The way back, and up again.
    let mut older = Setup::new(&aws);
    older.set_store(before);
    older.start().await.kill();

    let newer = "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 5";
    execute(setup.store(), newer).await;
    let (status, told) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(2));
    let (code, _, complaint) = setup.run(&["store", "check"]);
    assert_eq!(code, Some(2));
    for told in [told, complaint] {
        assert!(told.contains("run that version"), "{told}");
        assert!(told.contains("backup from before the upgrade"), "{told}");
    }
    let (code, ..) = setup.run(&["store", "backup", "newer.db"]);
    assert_eq!(code, Some(2), "nor is one backed up that cannot be checked");
}
