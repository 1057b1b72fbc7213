//! docs/troubleshooting.md has every problem, and no other.

use std::collections::BTreeSet;

use purgefront::http::SLUGS;
use serde_json::Value;

/// The names and statuses of the tables' rows.
fn documented() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../docs/troubleshooting.md");
    let (_, tables) = text.split_once("\n## By problem type\n").unwrap();
    let rows = tables.lines().filter_map(|line| {
        let (slug, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((slug, rest.split_once(" | ")?.0))
    });
    rows.collect()
}

#[test]
fn every_problem_is_in_the_document() {
    let named: Vec<_> = documented().into_iter().map(|(slug, _)| slug).collect();
    let unique: BTreeSet<_> = named.iter().copied().collect();
    assert_eq!(named.len(), unique.len(), "one row each");
    assert_eq!(unique, SLUGS.iter().copied().collect());
}

/// What nothing answers any more would still be documented.
#[test]
fn every_problem_is_one_that_the_code_has() {
    let mut code = String::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let folder = std::fs::read_dir(format!("{root}/http")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    // The pages in the folder have no problems of their own.
    let files = files.filter(|path| path.is_file());
    let refusals = format!("{root}/domain/sns_message/refusal.rs");
    for file in files.chain([refusals.into()]) {
        let text = std::fs::read_to_string(file).unwrap();
        let list = text.split_once("pub const SLUGS");
        let list = list.map(|(_, list)| list.split_once("];").unwrap().0);
        let text = text.replace(list.unwrap_or("\0"), "");
        code.push_str(text.split("#[cfg(test)]").next().unwrap());
    }
    for slug in SLUGS {
        assert!(code.contains(&format!("\"{slug}\"")), "{slug}");
    }
}

/// openapi.yaml lists names by status.
#[test]
fn statuses_are_those_of_the_description() {
    let api: Value = serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap();
    let mut described = BTreeSet::new();
    let paths = api["paths"].as_object().unwrap().values();
    for operation in paths.flat_map(|path| path.as_object().unwrap().values()) {
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let is_problem = response["$ref"] == "#/components/responses/Problem";
            let description = response["description"].as_str().unwrap_or_default();
            for name in description.split([',', ';']).filter(|_| is_problem) {
                described.insert((name.split_whitespace().next().unwrap(), status.as_str()));
            }
        }
    }
    let documented: BTreeSet<_> = documented().into_iter().collect();
    let is_name = |(name, _): &&(&str, &str)| SLUGS.contains(name);
    let named = described.iter().filter(is_name);
    let missing: Vec<_> = named.filter(|one| !documented.contains(one)).collect();
    assert!(described.len() > 20);
    assert_eq!(missing, Vec::<&(&str, &str)>::new());
}
