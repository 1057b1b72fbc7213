//! Looks at the store's file without changing anything, also while a service has it open.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use async_trait::async_trait;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteConnectOptions, sqlite::SqlitePoolOptions};

use super::{catalogue, migrations};
use crate::{
    domain::doctor::store::{SeenFile, SeenStore, StoreVersion, mounted},
    ports::doctor::StoreSource,
};

pub struct StoreInspector(PathBuf);

impl StoreInspector {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

#[async_trait]
impl StoreSource for StoreInspector {
    async fn look(&self) -> SeenStore {
        let path = &self.0;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let in_use = is_locked(path);
        let file = if !directory.is_dir() {
            SeenFile::NoDirectory(directory.display().to_string())
        } else if path.exists() && !path.is_file() {
            // A pipe would never be opened.
            SeenFile::Unreadable("it is not a regular file".to_owned())
        } else if path.exists() {
            match read(path, in_use).await {
                Ok((version, catalogue)) => SeenFile::Read { version, catalogue },
                Err(error) => SeenFile::Unreadable(format!("{error:#}")),
            }
        } else {
            SeenFile::Absent
        };
        let space = rustix::fs::statvfs(directory).ok();
        SeenStore {
            path: path.display().to_string(),
            file,
            in_use,
            free: space.map(|space| space.f_bavail.saturating_mul(space.f_frsize)),
            file_system: file_system(directory),
        }
    }
}

/// Whether a service holds the lock. It is taken for a moment, since there is no way to only look.
fn is_locked(store: &Path) -> bool {
    let mut name = store.as_os_str().to_owned();
    name.push("-lock");
    let lock = File::open(Path::new(&name));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn file_system(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounted(&mounts, directory.to_str()?)
}

type Content = (StoreVersion, Option<crate::domain::catalogue::Snapshot>);

async fn read(path: &Path, in_use: bool) -> anyhow::Result<Content> {
    File::open(path)?;
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        // Without a service and its -wal file, SQLite would make files here, which could belong to
        // the wrong user.
        .immutable(!in_use && !Path::new(&wal).exists());
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    let content = content(&pool).await;
    pool.close().await;
    content
}

async fn content(pool: &SqlitePool) -> anyhow::Result<Content> {
    let applied = sqlx::query("SELECT version, checksum FROM _sqlx_migrations")
        .fetch_all(pool)
        .await
        .context("it is not a store of purgefront, or it is damaged")?;
    let applied = applied.iter().map(|row| {
        let pair: (i64, Vec<u8>) = (row.try_get("version")?, row.try_get("checksum")?);
        Ok(pair)
    });
    let applied: HashMap<_, _> = applied.collect::<sqlx::Result<_>>()?;
    let known = migrations();
    let ours = known.iter();
    let same = ours.filter(|one| {
        let checksum = applied.get(&one.version);
        checksum.is_some_and(|checksum| **checksum == *one.checksum)
    });
    if same.count() < applied.len() {
        return Ok((StoreVersion::Other, None));
    }
    if applied.len() < known.iter().count() {
        return Ok((StoreVersion::Older, None));
    }
    let kept = catalogue::read(pool, None).await?;
    Ok((StoreVersion::Current, kept.map(|kept| kept.snapshot)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("store.db");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let seen = StoreInspector::new(pipe).look().await.file;
        let SeenFile::Unreadable(why) = seen else {
            panic!("{seen:?}");
        };
        assert_eq!(why, "it is not a regular file");
    }
}
