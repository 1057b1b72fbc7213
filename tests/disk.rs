//! The store cannot write, and later it can: nothing that was answered 2xx is lost.

use std::{path::Path, process::Command};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

/// A disk that can be full: a tmpfs where we may mount one, else a file-size limit.
enum SmallDisk {
    Tmpfs(tempfile::TempDir),
    FileLimit,
}

impl SmallDisk {
    fn new(setup: &mut Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "purgefront-test"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            setup.set_store(directory.path().join("purgefront.db"));
            return Self::Tmpfs(directory);
        }
        eprintln!("no tmpfs can be mounted here: a file-size limit stands for a full disk");
        // A limit is a signal first; ignored, it becomes an error of the write.
        setup.set_wrapper(&[
            "sh",
            "-c",
            "trap '' XFSZ; exec prlimit --fsize=1500000: -- \"$@\"",
            "sh",
        ]);
        Self::FileLimit
    }

    /// What the metric may say, if the disk is a file system of its own.
    fn most(&self) -> u64 {
        match self {
            Self::Tmpfs(_) => 3 << 20,
            Self::FileLimit => u64::MAX,
        }
    }

    fn make_room(&self, service: &Service) {
        match self {
            Self::Tmpfs(directory) => remount(directory.path(), "size=64m"),
            Self::FileLimit => {
                let pid = service.pid().to_string();
                let status = Command::new("prlimit")
                    .args(["--fsize=unlimited:", "--pid", &pid])
                    .status()
                    .unwrap();
                assert!(status.success());
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Tmpfs(directory) = self {
            let _ = Command::new("umount")
                .arg("-l")
                .arg(directory.path())
                .status();
        }
    }
}

fn remount(path: &Path, size: &str) {
    let options = format!("remount,{size}");
    let status = Command::new("mount")
        .args(["-o", &options])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_full_disk_gives_503_and_both_recover() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    let disk = SmallDisk::new(&mut setup);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let free = service.metric("purgefront_store_free_bytes{}").await;
    assert!((1..=disk.most()).contains(&free), "{free}");

    // Long keys fill the disk soon.
    let body = |at: usize| {
        let keys: Vec<_> = (0..50)
            .map(|nth| format!("{at:05}-{nth}-{}", "x".repeat(900)))
            .collect();
        let records: Vec<_> = keys
            .iter()
            .map(|key| ("ObjectCreated:Put", key.as_str()))
            .collect();
        (
            keys.clone(),
            signer.notification(&s3_records("site", &records)).body(),
        )
    };
    let mut kept = Vec::new();
    let mut refused = None;
    for at in 0..500 {
        let (keys, body) = body(at);
        let answer = service.sns(body.clone()).await;
        if answer.status() == 200 {
            kept.extend(keys);
            continue;
        }
        assert_eq!(answer.status(), 503);
        assert!(answer.text().await.unwrap().contains("store-unavailable"));
        refused = Some((keys, body));
        break;
    }
    let (keys, body) = refused.expect("the disk is full at some time");
    eventually!(service.ready().await.0 == 503);
    let check = service.ready().await.1["checks"]["store"].clone();
    assert_eq!(check["state"], "fail");
    assert!(
        check["detail"].as_str().unwrap().contains("disk"),
        "{check}"
    );
    assert_eq!(service.sns(body.clone()).await.status(), 503);

    disk.make_room(&service);
    eventually!(service.ready().await.0 == 200);
    assert_eq!(service.sns(body).await.status(), 200);
    kept.extend(keys);
    let mut expected: Vec<_> = kept.iter().map(|key| format!("/{key}")).collect();
    expected.sort();
    let all = until("all that was kept", || {
        let mut paths = aws.cloudfront.paths("E1");
        paths.sort();
        paths.dedup();
        (paths.len() >= expected.len()).then_some(paths)
    });
    assert!(
        all.await == expected,
        "exactly what was answered 2xx is covered"
    );
}

#[tokio::test]
async fn a_write_that_does_not_come_back_is_503_after_ten_seconds() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    // An operator's sqlite3 holds the file.
    let options = SqliteConnectOptions::new().filename(setup.store());
    let mut operator = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut operator)
        .await
        .unwrap();

    let body = signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", "a")]))
        .body();
    let answer = service.sns(body.clone()).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("not-in-time"));
    eventually!(service.ready().await.0 == 503);
    assert_eq!(service.ready().await.1["checks"]["store"]["state"], "fail");

    sqlx::query("ROLLBACK")
        .execute(&mut operator)
        .await
        .unwrap();
    eventually!(service.ready().await.0 == 200);
    // Nobody knew whether it was kept; a repeat is safe either way.
    assert_eq!(service.sns(body).await.status(), 200);
    until("the invalidation", || {
        (aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;
}
