//! `purgefront plan`: shows what keys or paths would invalidate, why, and at what price.

mod files;
mod listing;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};

use self::text::Merged;
use super::{ConfigFile, DONE, USAGE, UsageFault, coded, complain, complain_of, say, say_lines};
use crate::{
    app,
    config::Config,
    dispatch::ReadScope,
    domain::{
        catalogue::{Catalogue, Distribution, Snapshot},
        change::Effect,
        consolidate::{Drain, WindowTerms},
        path::Item,
        preview::{self, Draft, MergedBy, Preview},
        survey::Bounds,
    },
};

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("planned").args(["changed", "bucket"]),
    group = ArgGroup::new("merging").args(["changed", "known", "list"]).multiple(true),
)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The bucket of the keys; with --paths, selects every distribution that serves it.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// With --paths, the distribution to plan for.
    #[arg(long, value_name = "ID", conflicts_with = "bucket", requires = "paths")]
    distribution: Option<String>,
    /// Plan for deleted keys. The old objects may be cached, so the items are the same, except where
    /// nothing but errors is cached.
    #[arg(long)]
    deleted: bool,
    /// Read the arguments as paths or #tags instead of keys.
    #[arg(long)]
    paths: bool,
    /// A file written by `purgefront catalogue`; by default, the account is read.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Standard input has keys or paths that end in NUL instead of newline, as from `git diff -z`,
    /// which quotes no names then.
    #[arg(short = 'z', long = "null", conflicts_with = "keys")]
    null: bool,
    /// The keys or paths; by default, one per line from standard input.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    merging: MergingArguments,
    #[command(flatten)]
    files: files::FileArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Merging into wildcards")]
struct MergingArguments {
    /// List the keys that merging needs in S3, with the bounds of the running service, and merge as it would, by
    /// `[economy]` of the configuration. Requires `s3:ListBucket`.
    #[arg(long, requires = "bucket", conflicts_with_all = ["known", "changed", "paths"])]
    list: bool,
    /// With --bucket, all keys that there are in the bucket, one per line, instead of listing it. With --changed,
    /// the viewer paths of all objects that there are; without them, paths are merged only if --max-items or
    /// --max-wildcards requires that. `-` is standard input. What has changed may be among them or not.
    #[arg(long, value_name = "FILE", requires = "planned", conflicts_with_all = ["paths", "distribution"])]
    known: Option<PathBuf>,
    /// How many unchanged objects may be evicted to save one path; by default, what the configuration says, and
    /// with --changed, 20. At 0, none is ever evicted, and paths are merged only where everything has changed.
    /// 12500 would weigh a path's price against that of the requests to S3 alone.
    #[arg(long, value_name = "NUMBER", requires = "merging", value_parser = evictions_per_path, allow_negative_numbers = true)]
    evictions_per_path: Option<f64>,
    /// Also show what other values of --evictions-per-path would give.
    #[arg(long, requires = "merging")]
    curve: bool,
}

fn evictions_per_path(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if number.is_finite() && number >= 0.0 {
        // Not -0.
        Ok(number.abs())
    } else {
        Err("it must be a finite number of at least 0".to_owned())
    }
}

pub(super) fn run(mut arguments: PlanArguments) -> u8 {
    if let Some(changed) = arguments.files.changed.take() {
        return coded(files::plan(
            arguments.files,
            &arguments.merging,
            &changed,
            arguments.json,
        ));
    }
    let config = match arguments.file.load_for_mapping() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    if arguments.bucket.is_none() && arguments.distribution.is_none() {
        complain("--bucket NAME is required; with --paths, --distribution ID works as well");
        return USAGE;
    }
    coded(plan(arguments, &config))
}

/// What stands in a file or on standard input, a line each or before NULs, without empty ones.
fn read_keys(file: &Path, null: bool) -> anyhow::Result<Vec<String>> {
    let text = files::read(file)?;
    let text =
        String::from_utf8(text).with_context(|| format!("{} is not UTF-8", files::name(file)))?;
    if null {
        let keys = text.split('\0').filter(|key| !key.is_empty());
        return Ok(keys.map(str::to_owned).collect());
    }
    let keys = text.lines().filter(|key| !key.is_empty());
    Ok(keys.map(str::to_owned).collect())
}

fn plan(arguments: PlanArguments, config: &Config) -> anyhow::Result<u8> {
    let PlanArguments {
        bucket,
        distribution,
        deleted,
        paths,
        catalogue,
        json,
        null,
        mut keys,
        merging,
        ..
    } = arguments;
    let stdin = Path::new("-");
    if keys.is_empty() {
        if merging.known.as_deref() == Some(stdin) {
            bail!(UsageFault(
                "only the keys or those of --known can come from standard input".to_owned()
            ));
        }
        keys = read_keys(stdin, null)?;
    }
    let mut items = Vec::new();
    if paths {
        for text in &keys {
            match Item::read(text) {
                Ok(item) => items.push(item),
                Err(why) => complain(format_args!("{text}: {why}")),
            }
        }
        if items.len() < keys.len() {
            return Ok(USAGE);
        }
    }
    let scope = match &bucket {
        Some(bucket) if !paths => ReadScope::Buckets(vec![bucket.clone()]),
        _ => ReadScope::List,
    };
    let catalogue = if let Some(file) = catalogue {
        Arc::new(read_catalogue(&file, config)?)
    } else {
        let reading = app::read_account(config, &scope)?;
        for warning in reading.warnings {
            complain(format_args!("warning: {warning}"));
        }
        Arc::new(reading.catalogue)
    };
    let preview = match (&bucket, &distribution) {
        (Some(bucket), _) if !paths => {
            let effect = if deleted {
                Effect::Disappears
            } else {
                Effect::Appears
            };
            let draft = draft(&catalogue, config, bucket, &keys, effect)?;
            merged(draft, &catalogue, config, bucket, &merging, null)?
        }
        (Some(bucket), _) => preview::of_items(serving(&catalogue, bucket), &items),
        (None, Some(id)) => match catalogue.get(id) {
            Some(distribution) => preview::of_items([distribution], &items),
            None => bail!("the catalogue has no distribution {id}"),
        },
        (None, None) => Preview::default(),
    };
    if json {
        say(serde_json::to_string(&preview)?);
    } else {
        let bucket = bucket.as_deref();
        let merged = if paths {
            Merged::Never
        } else if merging.list || merging.known.is_some() {
            Merged::Yes
        } else {
            Merged::NotAsked(&config.mapping.policy.wildcards)
        };
        say_lines(text::show(&preview, bucket, deleted, merged));
    }
    Ok(DONE)
}

fn read_catalogue(file: &Path, config: &Config) -> anyhow::Result<Catalogue> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the catalogue {} cannot be read", file.display()))?;
    let snapshot: Snapshot = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not a catalogue written by `purgefront catalogue`",
            file.display()
        )
    })?;
    Ok(Catalogue::new(
        snapshot,
        config.mapping.origins.clone().into(),
    ))
}

fn draft(
    catalogue: &Catalogue,
    config: &Config,
    bucket: &str,
    keys: &[String],
    effect: Effect,
) -> anyhow::Result<Draft> {
    let policy = &config.mapping.policy;
    match Draft::of_keys(catalogue, policy, bucket, keys, effect, None) {
        Ok(draft) => Ok(draft),
        Err(missing) => bail!(
            "the catalogue lacks the details of {:?} and the cache policies {:?}: write it again \
              with `purgefront catalogue`",
            missing.details,
            missing.policies
        ),
    }
}

/// Merges as the service would with nothing else in progress, if it is known which keys there are.
fn merged(
    draft: Draft,
    catalogue: &Arc<Catalogue>,
    config: &Config,
    bucket: &str,
    merging: &MergingArguments,
    null: bool,
) -> anyhow::Result<Preview> {
    let Config {
        economy, limits, ..
    } = config;
    let price = merging
        .evictions_per_path
        .unwrap_or(economy.evictions_per_path);
    let policy = &config.mapping.policy;
    let drain = Drain::within(economy.max_delay, &limits.pace());
    let surveyed = if let Some(file) = &merging.known {
        let keys = read_keys(file, null)?;
        let surveys = draft.surveys(catalogue, policy, |_| Bounds::NONE);
        listing::in_file(surveys, bucket, keys)
    } else if merging.list {
        if !economy.list_objects {
            complain("warning: economy.list_objects is false: the service does not list");
        }
        let surveys = draft.surveys(catalogue, policy, |paths| Bounds::of(paths, price, &drain));
        listing::in_s3(surveys)?
    } else {
        return Ok(draft.unmerged());
    };
    let by = MergedBy {
        terms: WindowTerms {
            guard: policy.wildcards.guard(Vec::new(), economy.widen_unlisted),
            evictions_per_path: price,
            drain,
        },
        surveyed,
        curve: merging.curve,
    };
    Ok(draft.merged(&by))
}

fn serving<'a>(catalogue: &'a Catalogue, bucket: &str) -> impl Iterator<Item = &'a Distribution> {
    let serving = catalogue.serving(bucket).iter();
    serving.map(|one| &*one.distribution)
}
