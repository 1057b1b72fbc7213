//! `purgefront plan --changed FILE`: plans viewer paths straight from files.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::{
    super::{DONE, FAILED, UsageFault, complain, say, say_lines},
    MergingArguments, text,
};
use crate::{
    domain::{
        consolidate::{
            Ceilings, EVICTIONS_PER_PATH, Guard, Known, Merged, Merging, Point, Prices, Wanted,
        },
        path::{IllegalItem, Item, check_spelling},
        preview::Alternative,
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

/// Plans the paths in a file. Returns the exit code.
pub(super) fn plan(
    arguments: FileArguments,
    sought: &MergingArguments,
    changed: &Path,
    json: bool,
) -> anyhow::Result<u8> {
    let known = sought.known.as_deref();
    if changed == Path::new("-") && known == Some(changed) {
        bail!(UsageFault(
            "only one of --changed and --known can be standard input".to_owned()
        ));
    }
    let text = read_ascii(changed)?;
    let items = parse(changed, &text, Item::read)?;
    for item in &items {
        if let Some(escape) = item.purges_nothing() {
            complain(format_args!(
                "warning: CloudFront takes {escape} in {item}, and drops nothing for it"
            ));
        }
    }
    let text = known.map(read_ascii).transpose()?;
    let known = match (known, &text) {
        (Some(file), Some(text)) => Known::all(parse(file, text, |line| {
            check_spelling(line).map(|()| line)
        })?),
        _ => Known::nothing(),
    };
    let guard = Guard {
        protected: arguments.protect,
        min_stem: arguments.min_stem,
        allow_root: !arguments.no_root && arguments.min_stem == 0,
        ..Guard::NONE
    };
    let ceilings = Ceilings {
        items: arguments.max_items.unwrap_or(usize::MAX),
        wildcards: arguments.max_wildcards.unwrap_or(usize::MAX),
    };
    let prices = Prices::per_path(sought.evictions_per_path.unwrap_or(EVICTIONS_PER_PATH));
    let merging = Merging::new(Wanted::new(&items, []), known, &guard);
    let merged = merging.cheapest(&prices, ceilings);
    let obeys = merged.obeys;
    let curve = sought.curve.then(|| merging.curve(&prices, ceilings));
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

/// The content of a file or of standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The same as text, of items: other bytes than ASCII are a fault.
fn read_ascii(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(file)?).map_err(|error| {
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

pub(super) fn name(file: &Path) -> String {
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
        Self {
            paths: merged.items.len(),
            items: merged.items,
            wildcards: merged.wildcards,
            evictions: (!merged.beyond_known).then_some(merged.evictions),
            curve: curve.map(|points| points.into_iter().map(Alternative::from).collect()),
        }
    }

    /// Renders the plan as text.
    fn show(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.items.iter().map(|item| printable(item).to_string()));
        lines.push(text::totals(self.paths, self.wildcards, self.evictions));
        if let Some(curve) = &self.curve {
            lines.push(String::new());
            lines.extend(text::table(curve));
        }
        lines.join("\n")
    }
}
