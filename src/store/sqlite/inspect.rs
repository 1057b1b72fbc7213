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
    domain::doctor::store::{SeenFile, SeenLocal, SeenStore, StoreVersion, mounted},
    ports::{FreeSpace, doctor::StoreSource},
};

pub(crate) struct StoreInspector(PathBuf);

impl StoreInspector {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn directory(&self) -> &Path {
        match self.0.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }
}

impl FreeSpace for StoreInspector {
    fn free_bytes(&self) -> Option<u64> {
        free(self.directory())
    }
}

fn free(directory: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(directory).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[async_trait]
impl StoreSource for StoreInspector {
    async fn look(&self) -> SeenStore {
        let (path, directory) = (&self.0, self.directory());
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
        SeenStore::Local(SeenLocal {
            path: path.display().to_string(),
            file,
            in_use,
            free: free(directory),
            file_system: file_system(directory),
        })
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

    #[test]
    fn free_space_is_known_where_the_store_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let inspector = |name: &str| StoreInspector::new(directory.path().join(name));
        let free = inspector("purgefront.db").free_bytes();
        assert!(free.is_some_and(|bytes| bytes > 0), "{free:?}");
        assert_eq!(inspector("none/purgefront.db").free_bytes(), None);
    }

    #[tokio::test]
    async fn a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("store.db");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let seen = StoreInspector::new(pipe).look().await;
        let SeenStore::Local(SeenLocal {
            file: SeenFile::Unreadable(why),
            ..
        }) = seen
        else {
            panic!("{seen:?}");
        };
        assert_eq!(why, "it is not a regular file");
    }
}
