//! Plans as text.

use std::fmt::Write as _;

use crate::{
    domain::{
        ledger::price,
        mapping::WildcardPolicy,
        path::Item,
        preview::{Alternative, MergedItem, Preview, Previewed},
    },
    printable::printable,
};

/// CloudFront's limit on wildcards in progress per distribution.
const WILDCARDS_AT_ONCE: usize = 15;
/// How many reasons of an item are shown. A wildcard may have thousands.
const WHYS_SHOWN: usize = 10;

/// Whether a preview is merged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Merged<'a> {
    Yes,
    /// Nobody has said which keys there are. These are the limits on wildcards.
    NotAsked(&'a WildcardPolicy),
    /// What a person asks for is sent as it is.
    Never,
}

/// Renders what keys or paths would invalidate.
pub(super) fn show(
    preview: &Preview,
    bucket: Option<&str>,
    deleted: bool,
    merged: Merged<'_>,
) -> String {
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
        for words in distribution(one) {
            let indent = if words.is_empty() { "" } else { "  " };
            line(format_args!("{indent}{words}"));
        }
        if let (2.., Merged::Yes) = (preview.distributions.len(), merged) {
            let sum = totals(one.items.len(), one.wildcards(), one.evictions());
            line(format_args!("  {sum}"));
        }
        line(format_args!(""));
    }
    let Preview {
        paths, wildcards, ..
    } = preview;
    match merged {
        Merged::Yes => line(format_args!(
            "{}",
            totals(*paths, *wildcards, preview.evictions)
        )),
        Merged::NotAsked(_) | Merged::Never => line(format_args!(
            "{paths} paths, {wildcards} of them wildcards: {} after the month's first 1,000",
            price(*paths)
        )),
    }
    if let Merged::NotAsked(policy) = merged
        && could_merge(preview, policy)
    {
        line(format_args!(
            "nothing is merged: --list, or --known FILE, shows what merging would save"
        ));
    }
    text.trim_end().to_owned()
}

/// What would be sent to a distribution.
fn distribution(one: &Previewed) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &one.skipped {
        lines.push(format!("nothing to invalidate: {}", printable(why)));
    }
    for item in &one.items {
        lines.push(item.item.to_string());
        lines.extend(item.merged.map(|merged| format!("    {}", effect(merged))));
        let shown = item.why.iter().take(WHYS_SHOWN);
        lines.extend(shown.map(|why| format!("    {}", printable(why))));
        let more = item.why.len().saturating_sub(WHYS_SHOWN);
        if more > 0 {
            lines.push(format!("    and {} more", grouped(more)));
        }
    }
    for why in &one.prevented {
        lines.push(format!("prevented: {}", printable(why)));
    }
    if one.skipped.is_none() {
        let dead = one.dead_letters.iter();
        lines.extend(dead.map(|why| format!("dead letter: {}", printable(why))));
    }
    let wildcards = one.wildcards();
    if wildcards > WILDCARDS_AT_ONCE {
        lines.push(format!(
            "warning: {wildcards} wildcards. CloudFront accepts one per second and processes \
             {WILDCARDS_AT_ONCE} at a time. With query strings in the cache key, every file \
             needs a wildcard; a cache policy without them avoids that."
        ));
    }
    if let Some(curve) = &one.curve {
        lines.push(String::new());
        lines.extend(table(curve));
    }
    lines
}

fn effect(merged: MergedItem) -> String {
    let replaces = counted(merged.replaces, "item");
    match merged.evictions {
        Some(evictions) => {
            let evicts = counted(evictions, "unchanged object");
            format!("replaces {replaces}, evicts {evicts}")
        }
        None => format!("replaces {replaces}, evicts an unknown number of unchanged objects"),
    }
}

/// The last line of a plan. `evictions` are of the wildcards that merging makes; `None` if they are not known.
pub(super) fn totals(paths: usize, wildcards: usize, evictions: Option<usize>) -> String {
    let evictions = match evictions {
        Some(evictions) => evictions.to_string(),
        None => "unknown".to_owned(),
    };
    format!(
        "{paths} paths, {wildcards} of them wildcards, evictions: {evictions}; {} after the month's first 1,000",
        price(paths)
    )
}

/// The alternatives, under a heading.
pub(super) fn table(curve: &[Alternative]) -> impl Iterator<Item = String> {
    let heading = "--evictions-per-path at least    paths  wildcards  evictions".to_owned();
    let rows = curve.iter().map(|point| {
        let Alternative {
            evictions_per_path,
            paths,
            wildcards,
            evictions,
        } = point;
        format!("{evictions_per_path:>29.2} {paths:>8} {wildcards:>10} {evictions:>10}")
    });
    std::iter::once(heading).chain(rows)
}

/// Whether there are paths that the policy permits to merge.
fn could_merge(preview: &Preview, policy: &WildcardPolicy) -> bool {
    let least = if policy.allow_root {
        1
    } else {
        policy.min_stem.max(1) + 1
    };
    preview.distributions.iter().any(|one| {
        let items = one.items.iter().map(|one| &one.item);
        let mut texts: Vec<_> = items
            .filter(|item| !item.is_tag())
            .map(Item::as_str)
            .collect();
        texts.sort_unstable();
        texts.windows(2).any(|pair| {
            let both = pair[0].bytes().zip(pair[1].bytes());
            both.take_while(|(one, other)| one == other).count() >= least
        })
    })
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// A number with a comma before every three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::preview::PreviewedItem;

    fn preview(items: &[&str]) -> Preview {
        let items = items.iter().map(|item| PreviewedItem {
            item: Item::read(item).unwrap(),
            why: Vec::new(),
            merged: None,
        });
        let one = Previewed {
            items: items.collect(),
            ..Previewed::default()
        };
        Preview {
            distributions: vec![one],
            ..Preview::default()
        }
    }

    #[test]
    fn merging_is_recommended_where_the_policy_permits_it() {
        let policy = |min_stem, allow_root| WildcardPolicy {
            protected: Vec::new(),
            min_stem,
            allow_root,
        };
        for (items, min_stem, allow_root, expected) in [
            (&["/"][..], 0, true, false),
            (&["/", "/index.html"], 1, false, false),
            (&["/", "/index.html"], 0, true, true),
            (&["/a/1", "/b", "/a/2"], 1, false, true),
            (&["/a/1", "/b", "/a/2"], 3, false, false),
            (&["#tag", "#tag2"], 0, true, false),
        ] {
            let found = could_merge(&preview(items), &policy(min_stem, allow_root));
            assert_eq!(found, expected, "{items:?} {min_stem} {allow_root}");
        }
    }

    #[test]
    fn only_the_first_reasons_are_shown_and_the_others_counted() {
        let mut one = preview(&["/a/*"]).distributions.remove(0);
        one.items[0].why = (0..4_200).map(|at| format!("a/{at}: why")).collect();
        one.items[0].merged = Some(MergedItem {
            replaces: 4_200,
            evictions: Some(1),
        });
        let lines = distribution(&one);
        assert_eq!(lines.len(), 13);
        assert_eq!(
            lines[..2],
            [
                "/a/*",
                "    replaces 4,200 items, evicts 1 unchanged object"
            ]
        );
        assert_eq!(lines[11..], ["    a/9: why", "    and 4,190 more"]);
        one.items[0].why.truncate(10);
        assert_eq!(distribution(&one).len(), 12);
    }

    #[test]
    fn numbers_are_grouped() {
        let numbers = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
