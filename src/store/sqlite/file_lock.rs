//! Locks the store's file against a second service, and creates it readable only by its owner.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

use crate::store::OpenError;

/// Holds the lock until it is dropped.
///
/// The lock is on a file next to the store, because SQLite locks the store's own file with POSIX
/// locks, which this process would lose as soon as it closed another descriptor of that file.
#[derive(Debug)]
pub(super) struct FileLock(
    #[expect(dead_code, reason = "the lock lasts as long as the open file")] File,
);

impl FileLock {
    pub(super) fn take(store: &Path) -> Result<Self, OpenError> {
        let mut name = store.as_os_str().to_owned();
        name.push("-lock");
        let failed = |source| OpenError::Failed {
            store: store.display().to_string(),
            source,
        };
        let file = open_private(Path::new(&name))
            .with_context(|| format!("cannot write {}", Path::new(&name).display()))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.display().to_string())),
            Err(TryLockError::Error(error)) => Err(failed(error.into())),
        }
    }
}

/// Opens a file for writing. A new one is readable only by its owner, because it will contain object
/// keys and subscription tokens. SQLite gives the store's other files the same mode.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
}
