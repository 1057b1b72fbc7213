//! `purgefront plan`: shows what keys or paths would invalidate, why, and at what price.

mod files;

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{ConfigFile, DONE, USAGE, coded, complain, complain_of, say, say_lines};
use crate::{
    app,
    config::Config,
    dispatch::ReadScope,
    domain::{
        catalogue::{Catalogue, Distribution, Snapshot},
        change::Effect,
        ledger::price,
        path::Item,
        preview::{self, Preview},
    },
    printable::printable,
};

/// CloudFront's limit on wildcards in progress per distribution.
const WILDCARDS_AT_ONCE: usize = 15;

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
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
    files: files::FileArguments,
}

pub(super) fn run(mut arguments: PlanArguments) -> u8 {
    if let Some(changed) = arguments.files.changed.take() {
        return coded(files::plan(arguments.files, &changed, arguments.json));
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

/// The keys or paths on standard input, without empty ones.
fn read_keys(null: bool) -> io::Result<Vec<String>> {
    if !null {
        let lines = io::stdin().lock().lines();
        return lines
            .filter(|line| !line.as_ref().is_ok_and(String::is_empty))
            .collect();
    }
    let text = io::read_to_string(io::stdin())?;
    let keys = text.split('\0').filter(|key| !key.is_empty());
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
        ..
    } = arguments;
    if keys.is_empty() {
        keys = read_keys(null).context("standard input cannot be read")?;
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
        read_catalogue(&file, config)?
    } else {
        let reading = app::read_account(config, &scope)?;
        for warning in reading.warnings {
            complain(format_args!("warning: {warning}"));
        }
        reading.catalogue
    };
    let preview = match (&bucket, &distribution) {
        (Some(bucket), _) if !paths => {
            let effect = if deleted {
                Effect::Disappears
            } else {
                Effect::Appears
            };
            preview_keys(&catalogue, config, bucket, &keys, effect)?
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
        say_lines(show(&preview, bucket.as_deref(), deleted));
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

fn preview_keys(
    catalogue: &Catalogue,
    config: &Config,
    bucket: &str,
    keys: &[String],
    effect: Effect,
) -> anyhow::Result<Preview> {
    match preview::of_keys(
        catalogue,
        &config.mapping.policy,
        bucket,
        keys,
        effect,
        None,
    ) {
        Ok(preview) => Ok(preview),
        Err(missing) => bail!(
            "the catalogue lacks the details of {:?} and the cache policies {:?}: write it again \
              with `purgefront catalogue`",
            missing.details,
            missing.policies
        ),
    }
}

fn serving<'a>(catalogue: &'a Catalogue, bucket: &str) -> impl Iterator<Item = &'a Distribution> {
    let serving = catalogue.serving(bucket).iter();
    serving.map(|one| &*one.distribution)
}

/// Renders the preview as text.
fn show(preview: &Preview, bucket: Option<&str>, deleted: bool) -> String {
    let mut text = String::new();
    // Writing into a String never fails.
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    if deleted {
        line(format_args!(
            "Deleted keys: viewers may still get the old objects from the cache.\n"
        ));
    }
    if let (Some(bucket), true) = (bucket, preview.distributions.is_empty()) {
        line(format_args!(
            "no distribution has the bucket {} as an origin\n",
            printable(bucket)
        ));
    }
    for one in &preview.distributions {
        line(format_args!("{}", printable(&one.distribution_id)));
        if let Some(why) = &one.skipped {
            line(format_args!("  nothing to invalidate: {}", printable(why)));
        }
        for item in &one.items {
            line(format_args!("  {}", item.item));
            for why in &item.why {
                line(format_args!("      {}", printable(why)));
            }
        }
        if one.skipped.is_none() {
            for why in &one.dead_letters {
                line(format_args!("  dead letter: {}", printable(why)));
            }
        }
        let wildcards = one
            .items
            .iter()
            .filter(|item| item.item.is_wildcard())
            .count();
        if wildcards > WILDCARDS_AT_ONCE {
            line(format_args!(
                "  warning: {wildcards} wildcards. CloudFront accepts one per second and processes \
                  {WILDCARDS_AT_ONCE} at a time. With query strings in the cache key, every file \
                  needs a wildcard; a cache policy without them avoids that."
            ));
        }
        line(format_args!(""));
    }
    let Preview {
        paths, wildcards, ..
    } = preview;
    line(format_args!(
        "{paths} paths, {wildcards} of them wildcards: {} after the month's first 1,000",
        price(*paths)
    ));
    text.trim_end().to_owned()
}
