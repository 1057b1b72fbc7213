//! Imports run downwards only, and no file has two charges.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every part of the crate, and the parts that it may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "aws",
            "config",
            "connect",
            "dispatch",
            "doctor",
            "domain",
            "printable",
            "recovery",
            "secret",
            "store",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "aws",
            "config",
            "connect",
            "dispatch",
            "doctor",
            "domain",
            "http",
            "ports",
            "recovery",
            "shutdown",
            "store",
            "telemetry",
            "webhook",
        ],
    ),
    (
        "http",
        &["domain", "ports", "printable", "secret", "telemetry"],
    ),
    ("dispatch", &["domain", "ports", "shutdown", "telemetry"]),
    ("connect", &["domain", "ports"]),
    ("doctor", &["domain", "ports"]),
    ("recovery", &["domain", "ports"]),
    ("store", &["domain", "ports", "shutdown", "telemetry"]),
    ("aws", &["domain", "ports"]),
    ("webhook", &["addresses", "domain", "ports", "secret"]),
    ("ports", &["domain"]),
    ("config", &["addresses", "domain", "printable", "secret"]),
    ("domain", &[]),
    ("shutdown", &[]),
    ("addresses", &[]),
    ("printable", &[]),
    ("secret", &[]),
    ("telemetry", &["domain", "printable"]),
];

/// What only some parts may touch.
const FRAMEWORKS: &[(&str, &[&str])] = &[
    ("axum", &["app", "http"]),
    ("axum_extra", &["http"]),
    ("maud", &["http"]),
    ("sqlx", &["store"]),
    ("rusqlite", &["store"]),
    ("rustix", &["app", "store"]),
    ("aws_config", &["app", "aws"]),
    ("aws_sdk_cloudfront", &["aws"]),
    ("aws_sdk_s3", &["aws"]),
    ("aws_sdk_sns", &["aws"]),
    ("aws_sdk_sqs", &["aws"]),
    ("aws_sdk_sts", &["aws"]),
    ("aws_smithy_http_client", &["aws"]),
    ("reqwest", &["app", "aws", "cli", "doctor", "webhook"]),
    ("clap", &["cli"]),
];

const DOMAIN_NEVER: &[&str] = &[
    "tokio",
    "tracing",
    "async_trait",
    "futures_util",
    "std::fs",
    "std::net",
    "std::time::Instant",
];
const MOST_LINES: usize = 500;

/// Who may start tasks, and what those are. Long-lived ones are started in one place, which names
/// them and sees it when they end.
const MAY_SPAWN: &[(&str, &str)] = &[
    ("shutdown.rs", "long-lived tasks"),
    ("http/connections.rs", "one connection each"),
    (
        "aws/trust/mod.rs",
        "one fetch, or the keeping of one certificate, each",
    ),
    (
        "dispatch/notifier.rs",
        "one delivery each, joined by the notifier",
    ),
    (
        "store/postgres/mod.rs",
        "the beginning of one transaction each, which must not be broken off",
    ),
    (
        "dispatch/submitter/mod.rs",
        "one plan or one call each, joined by the submitter",
    ),
    (
        "dispatch/listings.rs",
        "one survey of buckets each, joined by the submitter",
    ),
    (
        "dispatch/planner.rs",
        "the computation of one large plan each, joined by its task",
    ),
    (
        "store/sqlite/hot/mod.rs",
        "one group of writes, or one read, each, joined by who asked for it",
    ),
];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and strings' worth of doubt: `//` to line's end.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether `word::` stands in the code as a path's first segment.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(&format!("{path}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
    })
}

#[test]
fn imports_run_downwards_and_files_have_one_charge() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut faults = Vec::new();
    for path in found {
        let relative = path
            .strip_prefix(&source)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let part = relative.split(['/', '.']).next().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let code = code(&text);
        if !text.starts_with("//! ") {
            faults.push(format!(
                "{relative}: the first line does not say its charge"
            ));
        }
        if text.lines().count() > MOST_LINES {
            faults.push(format!("{relative}: more than {MOST_LINES} lines"));
        }
        let tests = relative.contains("tests");
        if !tests && spawns(&code) && !MAY_SPAWN.iter().any(|(file, _)| *file == relative) {
            faults.push(format!(
                "{relative}: starts a task by itself; long-lived ones are started by shutdown.rs"
            ));
        }
        if part == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == part) else {
            faults.push(format!("{relative}: no part of the architecture"));
            continue;
        };
        for (other, _) in MAY_USE {
            let used = uses_part(&code, other);
            if used && *other != part && !allowed.contains(other) {
                faults.push(format!("{relative}: {part} may not use {other}"));
            }
        }
        for (framework, users) in FRAMEWORKS {
            if names(&code, framework) && !users.contains(&part) {
                faults.push(format!("{relative}: {part} may not use {framework}"));
            }
        }
        if part == "domain" {
            for never in DOMAIN_NEVER
                .iter()
                .filter(|never| names(&code, never) || code.contains(&format!("use {never}")))
            {
                faults.push(format!("{relative}: domain code may not use {never}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `crate::other::…`, or `other::…` within a `use crate::{…}`.
fn uses_part(code: &str, other: &str) -> bool {
    let direct = code.contains(&format!("crate::{other}::"))
        || code.contains(&format!("purgefront::{other}::"));
    let grouped = code.split("use crate::{").skip(1).any(|rest| {
        let mut depth = 1_usize;
        let mut segment = String::new();
        for char in rest.chars() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if depth == 1 => segment.push(char),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        segment
            .split(',')
            .any(|item| item.trim().split("::").next() == Some(other))
    });
    direct || grouped
}

/// Whether code starts a task by tokio itself. What tests start ends with them.
fn spawns(code: &str) -> bool {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
    [
        "tokio::spawn(",
        "task::spawn(",
        "spawn_blocking(",
        "spawn_local(",
    ]
    .iter()
    .any(|call| code.contains(call))
        || code.contains("JoinSet::new()")
        || code.contains("TaskTracker::new()")
        || code.contains("tokio::task::spawn")
        || code.contains("use tokio::spawn")
}

#[test]
fn a_bare_spawn_of_a_long_lived_task_is_found() {
    let worker = "pub fn start(self) {\n    tokio::spawn(async move { self.run().await });\n}";
    assert!(spawns(worker));
    assert!(spawns(
        "let tasks = TaskTracker::new();\ntasks.spawn(worker.run());"
    ));
    assert!(spawns("use tokio::spawn;"));
    assert!(!spawns("tasks.spawn(\"mapper\", mapper.run());"));
    let in_tests = "fn a() {}\n#[cfg(test)]\nmod tests {\n    tokio::spawn(async {});\n}";
    assert!(!spawns(in_tests));
}

#[test]
fn the_check_sees_what_it_should() {
    let grouped = "use crate::{\n    domain::{batch, path},\n    store::open,\n};";
    assert!(uses_part(grouped, "domain") && uses_part(grouped, "store"));
    assert!(!uses_part(grouped, "batch") && !uses_part(grouped, "aws"));
    assert!(uses_part("crate::aws::CloudFront", "aws"));
    assert!(names("use axum::Router;", "axum") && !names("my_axum::x", "axum"));
}
