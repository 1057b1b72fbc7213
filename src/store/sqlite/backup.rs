//! A consistent copy of a store that may be in use.
//!
//! `VACUUM INTO` copies within one read transaction. In WAL mode, that blocks no writer; it only
//! keeps the WAL from being reset, which therefore grows by what is written meanwhile. SQLite's
//! backup API would need the same snapshot if it copied in one step. In several steps it begins
//! again whenever another process has written, so beside a busy service it would not end. It is also
//! reachable through sqlx only with `unsafe` code.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use super::check::{check, failed, look, version};
use crate::store::LookError;

const EXISTS: &str = "it exists already, and is never overwritten; choose another name";

/// Copies the store to a new file, which is complete and synced when it has its name. Returns its
/// size in bytes.
pub(crate) async fn backup(store: &Path, copy: &Path) -> Result<u64, LookError> {
    let mut connection = look(store).await?;
    let found = version(&mut connection, store).await;
    found.map_err(|error| failed(store, error))??;
    let target = Target::new(copy).map_err(LookError::NotCopied)?;
    let size = async {
        let into = target.incomplete.to_str();
        let into = into.context("its name is not UTF-8, which SQLite requires")?;
        sqlx::query("VACUUM INTO ?")
            .bind(into)
            .execute(&mut connection)
            .await?;
        // A copy that was never read is a hope.
        let faults = check(&target.incomplete).await?.faults;
        ensure!(
            faults.is_empty(),
            "the copy is broken: {}",
            faults.join("; ")
        );
        target.complete()
    };
    size.await.map_err(LookError::NotCopied)
}

/// The file that is to be written. Without [`Target::complete`], nothing is left.
struct Target {
    directory: PathBuf,
    copy: PathBuf,
    /// New, private and beside the copy: nobody else can have put a link or a pipe there for SQLite to
    /// write to, SQLite's journal goes with it, and a rename is atomic only within a file system.
    workplace: PathBuf,
    incomplete: PathBuf,
    file: File,
}

impl Target {
    fn new(copy: &Path) -> anyhow::Result<Self> {
        let name = copy.file_name().context("it is not the name of a file")?;
        let parent = copy.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        // SQLite would take a relative name that begins with "file:" for a URI.
        let directory = fs::canonicalize(parent)
            .with_context(|| format!("the directory {} cannot be used", parent.display()))?;
        let copy = directory.join(name);
        refuse_existing(&copy)?;
        let mut workplace = copy.clone().into_os_string();
        workplace.push(format!(".incomplete-{:016x}", fastrand::u64(..)));
        let workplace = PathBuf::from(workplace);
        let unwritable = || format!("{} cannot be written", workplace.display());
        // Fails if anything has that name.
        let made = DirBuilder::new().mode(0o700).create(&workplace);
        made.with_context(unwritable)?;
        let incomplete = workplace.join("copy.db");
        // As for the store itself: it has object keys and subscription tokens.
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&incomplete)
            .with_context(unwritable)
            .inspect_err(|_| {
                let _ = fs::remove_dir(&workplace);
            })?;
        Ok(Self {
            directory,
            copy,
            workplace,
            incomplete,
            file,
        })
    }

    /// SQLite does not sync what `VACUUM INTO` has written. Source: SQLite's documentation, "VACUUM",
    /// section "VACUUM with an INTO clause".
    fn complete(&self) -> anyhow::Result<u64> {
        self.file.sync_all()?;
        let size = self.file.metadata()?.len();
        // Unlike a rename, a link never replaces what another backup has put there meanwhile.
        match fs::hard_link(&self.incomplete, &self.copy) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(EXISTS),
            // The file system has no links.
            Err(_) => {
                refuse_existing(&self.copy)?;
                fs::rename(&self.incomplete, &self.copy)?;
            }
        }
        File::open(&self.directory)?.sync_all()?;
        Ok(size)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.workplace);
    }
}

fn refuse_existing(copy: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(copy) {
        Ok(_) => bail!(EXISTS),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
