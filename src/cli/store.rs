//! `purgefront store`: a backup of the store while it is in use, a check of it, and a copy to another store.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigFile, DONE, FAILED, USAGE, complain, complain_of, say};
use crate::{
    app,
    domain::{store_check::StoreCheck, store_location::StoreLocation},
    store::{self, Copied, CopyError, LookError, OpenError},
};

/// Back up the store, check it, and copy it to another store.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Copy the store to a new file while the service runs. A copy of the file alone would lack what
    /// is still in the WAL.
    Backup {
        /// The new file; an existing one is never overwritten.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Say whether a store is sound, its version, and what is open in it. The service may run.
    Check {
        /// The store or a backup of it; by default, the store of the configuration.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Copy everything to an empty store, such as from a file to PostgreSQL. No service may use either.
    Copy {
        /// The store to copy, as in `store.url`: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`. Only
        /// you see a password in the variable `PGPASSWORD`; in an argument, everybody on the machine does.
        from: String,
        /// A new file or an empty database.
        to: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(action: &Action) -> u8 {
    match action {
        Action::Backup { file, common } => with_store(common, async |store| {
            backup(&store, file, common.json).await
        }),
        Action::Check { file, common } => with_store(common, async |store| {
            let file = file.clone().map(StoreLocation::File);
            check(file.as_ref().unwrap_or(&store), common.json).await
        }),
        Action::Copy { from, to, json } => copy(from, to, *json),
    }
}

/// Does something with the configuration's store.
fn with_store(
    common: &Common,
    work: impl AsyncFnOnce(StoreLocation) -> Result<u8, LookError>,
) -> u8 {
    let store = match common.config.load_for_mapping() {
        Ok(config) => config.store.location,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    match app::block_on(work(store)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => failed(&error, exit_code(&error), common.json),
        Err(error) => {
            complain(error);
            FAILED
        }
    }
}

fn failed(error: &dyn std::error::Error, code: u8, json: bool) -> u8 {
    if json {
        say(json!({"outcome": "failed", "error": error.to_string()}));
    }
    complain(error);
    code
}

fn exit_code(error: &LookError) -> u8 {
    match error {
        LookError::Open(OpenError::OtherVersion(_))
        | LookError::Missing(_)
        | LookError::NoFile { .. } => USAGE,
        _ => FAILED,
    }
}

fn copy(from: &str, to: &str, json: bool) -> u8 {
    let location = |what, url| {
        StoreLocation::parse(url).map_err(|why| format!("{what} is no URL of a store: {why}"))
    };
    let (from, to) = match (location("FROM", from), location("TO", to)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(fault), _) | (_, Err(fault)) => {
            complain(fault);
            return USAGE;
        }
    };
    let begun = app::now();
    match app::block_on(store::copy(&from, &to)) {
        Ok(Ok(copied)) => {
            let seconds = app::now().duration_since(begun).as_secs_f64();
            show_copied(&from, &to, &copied, seconds, json);
            DONE
        }
        Ok(Err(error)) => {
            let code = match &error {
                CopyError::Look(error) => exit_code(error),
                CopyError::Same(_) | CopyError::Older(_) | CopyError::NotEmpty { .. } => USAGE,
                _ => FAILED,
            };
            failed(&error, code, json)
        }
        Err(error) => {
            complain(error);
            FAILED
        }
    }
}

fn show_copied(
    from: &StoreLocation,
    to: &StoreLocation,
    copied: &Copied,
    seconds: f64,
    json: bool,
) {
    let rows: u64 = copied.rows.iter().map(|(_, rows)| rows).sum();
    if json {
        let tables = copied.rows.iter();
        let tables: serde_json::Map<_, _> = tables
            .map(|(table, rows)| ((*table).to_owned(), Value::from(*rows)))
            .collect();
        say(json!({
            "outcome": "done",
            "from": from.to_string(),
            "to": to.to_string(),
            "rows": rows,
            "tables": tables,
            "seconds": seconds,
        }));
    } else {
        for (table, rows) in copied.rows.iter().filter(|(_, rows)| *rows > 0) {
            say(format_args!("{rows:>10}  {table}"));
        }
        say(format_args!(
            "{to}: {rows} rows of {from}, copied and counted in {seconds:.1} s"
        ));
    }
}

async fn backup(store: &StoreLocation, file: &Path, json: bool) -> Result<u8, LookError> {
    let begun = app::now();
    let bytes = store::backup(store, file).await?;
    let seconds = app::now().duration_since(begun).as_secs_f64();
    if json {
        say(json!({
            "outcome": "done",
            "file": file.display().to_string(),
            "bytes": bytes,
            "seconds": seconds,
        }));
    } else {
        say(format_args!(
            "{}: {}, copied and checked in {seconds:.1} s",
            file.display(),
            size(bytes)
        ));
    }
    Ok(DONE)
}

async fn check(store: &StoreLocation, json: bool) -> Result<u8, LookError> {
    let found = store::check(store).await?;
    if json {
        let mut found_json = json!(found);
        found_json["file"] = Value::from(store.to_string());
        say(found_json);
    } else {
        show(store, &found);
    }
    Ok(if found.faults.is_empty() {
        DONE
    } else {
        FAILED
    })
}

fn show(store: &StoreLocation, found: &StoreCheck) {
    let StoreCheck {
        faults,
        version,
        open,
    } = found;
    for fault in faults {
        say(format_args!("WRONG  {fault}"));
    }
    if faults.is_empty() {
        say(format_args!("ok     {store} is sound"));
    }
    if version.is_older() {
        say(format_args!(
            "note   version {} of the schema: `purgefront serve` migrates it to {} when it starts. The way \
             back is a backup from before: purgefront store backup FILE",
            version.found, version.current
        ));
    } else {
        say(format_args!(
            "ok     version {} of the schema",
            version.found
        ));
    }
    if let Some(open) = open {
        say(format_args!(
            "open   {} changes not mapped yet, {} items waiting, {} invalidations without an answer from \
             CloudFront, {} in progress, {} dead letters",
            open.unmapped_changes,
            open.waiting_items,
            open.unresolved_batches,
            open.in_progress,
            open.dead_letters
        ));
    }
    if !faults.is_empty() {
        complain(
            "The store is broken: stop the service, keep the file, and put a backup in its place \
             (docs/recovery.md).",
        );
    }
}

/// A size with three digits or so.
fn size(bytes: u64) -> String {
    let mut whole = bytes;
    let mut rest = 0;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if whole < 1_000 && unit == "bytes" {
            return format!("{whole} {unit}");
        }
        if whole < 1_000 {
            return format!("{whole}.{} {unit}", rest / 100);
        }
        (whole, rest) = (whole / 1_000, whole % 1_000);
    }
    format!("{whole}.{} TB", rest / 100)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (98_304, "98.3 kB"),
            (999_999, "999.9 kB"),
            (1_234_567, "1.2 MB"),
            (2_500_000_000, "2.5 GB"),
            (7_000_000_000_000, "7.0 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
