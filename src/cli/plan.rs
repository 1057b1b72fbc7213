//! `purgefront plan`: keys or paths in; what would be sent, why, and at what price, out.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{ConfigFile, DONE, FAILED, USAGE, complain, complain_of, say, say_lines};
use crate::{
    app,
    config::Config,
    dispatch::ReadScope,
    domain::{
        catalogue::{Catalogue, Distribution, Snapshot},
        mapping::Missing,
        path::Item,
        preview::{self, Preview},
    },
    printable::printable,
};

/// What `CloudFront` takes for each path beyond the first 1,000 of a month, in thousandths of
/// a dollar. Source: `CloudFront` Developer Guide, "Pay for file invalidation".
const MILLS_PER_PATH: usize = 5;
/// Wildcards that `CloudFront` works on at once, at one distribution.
const WILDCARDS_AT_ONCE: usize = 15;

/// What is to be planned, and by which catalogue.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The bucket of the keys; with --paths, every distribution that has it.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// With --paths: the distribution.
    #[arg(long, value_name = "ID", conflicts_with = "bucket", requires = "paths")]
    distribution: Option<String>,
    /// The keys were deleted. The same goes out: viewers may have the old objects.
    #[arg(long)]
    deleted: bool,
    /// These are paths or #tags as people ask for them, not keys.
    #[arg(long)]
    paths: bool,
    /// A file that `purgefront catalogue` wrote; without it, the account is read.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The keys or paths; without any, one a line from standard input.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

pub(super) fn run(arguments: Arguments) -> u8 {
    let config = match arguments.file.load_for_mapping() {
        Ok(config) => config,
        Err(faults) => {
            complain_of(&faults);
            return USAGE;
        }
    };
    if arguments.bucket.is_none() && arguments.distribution.is_none() {
        complain("whose keys? Give --bucket NAME; or, with --paths, --distribution ID");
        return USAGE;
    }
    match plan(arguments, &config) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{error:#}"));
            FAILED
        }
    }
}

fn plan(arguments: Arguments, config: &Config) -> anyhow::Result<u8> {
    let Arguments {
        bucket,
        distribution,
        deleted,
        paths,
        catalogue,
        json,
        mut keys,
        ..
    } = arguments;
    if keys.is_empty() {
        let lines = io::stdin().lock().lines();
        keys = lines
            .collect::<Result<_, _>>()
            .context("standard input cannot be read")?;
        keys.retain(|key| !key.is_empty());
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
        Some(bucket) if !paths => ReadScope::Bucket(bucket.clone()),
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
        (Some(bucket), _) if !paths => preview_keys(&catalogue, config, bucket, &keys)?,
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
            "{} is no catalogue as `purgefront catalogue` prints it",
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
) -> anyhow::Result<Preview> {
    match preview::of_keys(catalogue, &config.mapping.policy, bucket, keys) {
        Ok(preview) => Ok(preview),
        Err(Missing::Bucket) => Ok(Preview::default()),
        Err(Missing::Knowledge(wanted)) => bail!(
            "the catalogue lacks the details of {:?} and the cache policies {:?}: write it anew \
             with `purgefront catalogue`",
            wanted.details,
            wanted.policies
        ),
    }
}

fn serving<'a>(catalogue: &'a Catalogue, bucket: &str) -> impl Iterator<Item = &'a Distribution> {
    let serving = catalogue.serving(bucket).iter();
    serving.map(|one| &*one.distribution)
}

/// The preview as people read it.
fn show(preview: &Preview, bucket: Option<&str>, deleted: bool) -> String {
    let mut text = String::new();
    // Writing into a String never fails.
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    if deleted {
        line(format_args!(
            "Deleted keys: what viewers may still have of them is dropped.\n"
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
            line(format_args!("  nothing: {}", printable(why)));
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
                "  warning: {wildcards} wildcards, of which CloudFront takes one a second and \
                 works on {WILDCARDS_AT_ONCE} at once. Query strings in a cache key make one of \
                 every file: a cache policy without them would not."
            ));
        }
        line(format_args!(""));
    }
    let Preview {
        paths, wildcards, ..
    } = preview;
    let mills = paths * MILLS_PER_PATH;
    line(format_args!(
        "{paths} paths, {wildcards} of them wildcards: ${}.{:03} beyond the month's first 1,000",
        mills / 1_000,
        mills % 1_000
    ));
    text.trim_end().to_owned()
}
