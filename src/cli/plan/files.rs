//! `purgefront plan --changed FILE`: plans viewer paths straight from files.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::super::{DONE, FAILED, UsageFault, complain, say, say_lines};
use crate::{
    domain::{
        consolidate::{
            Ceilings, EVICTIONS_PER_PATH, Guard, Known, Merged, Merging, Point, Prices, Wanted,
        },
        ledger::price,
        path::{IllegalItem, Item, check_spelling},
    },
    printable::printable,
};

/// How many faults of a file are shown.
const FAULTS_SHOWN: usize = 10;
/// How many characters of a line are shown.
const CHARACTERS_SHOWN: usize = 100;

/// The arguments for planning keys, which is done with an account and a configuration.
const OF_KEYS: [&str; 8] = [
    "config",
    "bucket",
    "distribution",
    "deleted",
    "paths",
    "catalogue",
    "null",
    "keys",
];

#[derive(Debug, Args)]
#[command(next_help_heading = "Planning from files")]
pub(super) struct FileArguments {
    /// Plan these viewer paths, one per line as CloudFront matches them, without an account or a
    /// configuration; `-` is standard input. A line that ends in `*` is a wildcard, and `#` begins a tag.
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_KEYS)]
    pub(super) changed: Option<PathBuf>,
    /// The viewer paths of all objects that there are, changed or not; `-` is standard input. Without it,
    /// paths are merged only if --max-items or --max-wildcards requires that.
    #[arg(long, value_name = "FILE", requires = "changed", conflicts_with_all = OF_KEYS)]
    known: Option<PathBuf>,
    /// How many unchanged objects may be evicted to save one path. At 0, none is ever evicted, and paths are
    /// merged only where everything has changed. 12500 would weigh a path's price against that of the
    /// requests to S3 alone.
    #[arg(long, value_name = "NUMBER", requires = "changed", conflicts_with_all = OF_KEYS, default_value_t = EVICTIONS_PER_PATH,
          value_parser = evictions_per_path, allow_negative_numbers = true)]
    evictions_per_path: f64,
    /// The most wildcards.
    #[arg(long, value_name = "NUMBER", requires = "changed", conflicts_with_all = OF_KEYS)]
    max_wildcards: Option<usize>,
    /// The most items: paths, wildcards and tags.
    #[arg(long, value_name = "NUMBER", requires = "changed", conflicts_with_all = OF_KEYS)]
    max_items: Option<usize>,
    /// Paths that no merging may cover, or wildcards for such paths.
    #[arg(long, value_name = "PATTERN", requires = "changed", conflicts_with_all = OF_KEYS, num_args = 1.., value_parser = pattern)]
    protect: Vec<Item>,
    /// The fewest bytes that merging leaves between the first slash and the `*`.
    #[arg(long, value_name = "NUMBER", requires = "changed", conflicts_with_all = OF_KEYS, default_value_t = 0)]
    min_stem: usize,
    /// Never merge everything into `/*`.
    #[arg(long, requires = "changed", conflicts_with_all = OF_KEYS)]
    no_root: bool,
    /// Also show what other values of --evictions-per-path would give.
    #[arg(long, requires = "changed", conflicts_with_all = OF_KEYS)]
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

fn pattern(text: &str) -> Result<Item, IllegalItem> {
    Item::parse(text)
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Planned {
    items: Vec<Item>,
    /// The number of all items; each is billed as one path.
    paths: usize,
    wildcards: usize,
    /// `None` (null) if that cannot be known.
    evictions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    curve: Option<Vec<Alternative>>,
}

#[derive(Debug, Serialize)]
struct Alternative {
    /// The lowest value at which this is the plan.
    evictions_per_path: f64,
    paths: usize,
    wildcards: usize,
    evictions: usize,
}

/// Plans the paths in a file. Returns the exit code.
pub(super) fn plan(arguments: FileArguments, changed: &Path, json: bool) -> anyhow::Result<u8> {
    let known = arguments.known.as_deref();
    if changed == Path::new("-") && known == Some(changed) {
        bail!(UsageFault(
            "only one of --changed and --known can be standard input".to_owned()
        ));
    }
    let text = read(changed)?;
    let items = parse(changed, &text, Item::read)?;
    for item in &items {
        if let Some(escape) = item.purges_nothing() {
            complain(format_args!(
                "warning: CloudFront takes {escape} in {item}, and drops nothing for it"
            ));
        }
    }
    let text = known.map(read).transpose()?;
    let known = match (known, &text) {
        (Some(file), Some(text)) => Known::all(parse(file, text, |line| {
            check_spelling(line).map(|()| line)
        })?),
        _ => Known::nothing(),
    };
    let guard = Guard {
        protected: arguments.protect,
        min_stem: arguments.min_stem,
        allow_root: !arguments.no_root,
        ..Guard::NONE
    };
    let ceilings = Ceilings {
        items: arguments.max_items.unwrap_or(usize::MAX),
        wildcards: arguments.max_wildcards.unwrap_or(usize::MAX),
    };
    let prices = Prices::per_path(arguments.evictions_per_path);
    let merging = Merging::new(Wanted::new(&items, []), known, &guard);
    let merged = merging.cheapest(&prices, ceilings);
    let obeys = merged.obeys;
    let curve = arguments.curve.then(|| merging.curve(&prices, ceilings));
    let planned = Planned::new(merged, curve);
    if json {
        say(serde_json::to_string(&planned)?);
    } else {
        say_lines(planned.show());
    }
    if obeys {
        return Ok(DONE);
    }
    complain("no plan keeps to --max-items and --max-wildcards: this one comes closest");
    Ok(FAILED)
}

/// The text of a file or of standard input.
fn read(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
    } else {
        bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let number = before.split(|byte| *byte == b'\n').count();
        let name = name(file);
        let what = "other bytes than ASCII must be percent-encoded";
        UsageFault(format!("{name}, line {number}: {what}")).into()
    })
}

/// The lines that are not empty, or the faults of the first bad ones.
fn parse<'a, T>(
    file: &Path,
    text: &'a str,
    take: impl Fn(&'a str) -> Result<T, IllegalItem>,
) -> anyhow::Result<Vec<T>> {
    let mut taken = Vec::new();
    let mut faults = 0;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        match take(line) {
            Ok(one) => taken.push(one),
            Err(why) => {
                faults += 1;
                if faults <= FAULTS_SHOWN {
                    let name = name(file);
                    let line = beginning(line);
                    complain(format_args!("{name}, line {number}: {line}: {why}"));
                }
            }
        }
    }
    match faults {
        0 => Ok(taken),
        1 => bail!(UsageFault(format!("{}: 1 line is bad", name(file)))),
        _ => bail!(UsageFault(format!(
            "{}: {faults} lines are bad",
            name(file)
        ))),
    }
}

fn name(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// A line, or what identifies it.
fn beginning(line: &str) -> String {
    match line.char_indices().nth(CHARACTERS_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

impl Planned {
    fn new(merged: Merged, curve: Option<Vec<Point>>) -> Self {
        let alternative = |point: Point| Alternative {
            evictions_per_path: point.path,
            paths: point.items,
            wildcards: point.wildcards,
            evictions: point.evictions,
        };
        Self {
            paths: merged.items.len(),
            items: merged.items,
            wildcards: merged.wildcards,
            evictions: (!merged.beyond_known).then_some(merged.evictions),
            curve: curve.map(|points| points.into_iter().map(alternative).collect()),
        }
    }

    /// Renders the plan as text.
    fn show(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.items.iter().map(|item| printable(item).to_string()));
        let Self {
            paths, wildcards, ..
        } = self;
        let evictions = match self.evictions {
            Some(evictions) => evictions.to_string(),
            None => "unknown".to_owned(),
        };
        let usd = price(*paths);
        lines.push(format!(
            "{paths} paths, {wildcards} of them wildcards, evictions: {evictions}; \
             {usd} after the month's first 1,000"
        ));
        if let Some(curve) = &self.curve {
            lines.push(String::new());
            lines.push("--evictions-per-path at least    paths  wildcards  evictions".to_owned());
            lines.extend(curve.iter().map(Alternative::show));
        }
        lines.join("\n")
    }
}

impl Alternative {
    fn show(&self) -> String {
        let Self {
            evictions_per_path,
            paths,
            wildcards,
            evictions,
        } = self;
        format!("{evictions_per_path:>29.2} {paths:>8} {wildcards:>10} {evictions:>10}")
    }
}
