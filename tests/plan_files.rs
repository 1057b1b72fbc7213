//! `purgefront plan` plans viewer paths straight from files.

use std::fs;

use serde_json::{Value, json};

use crate::support::service::Setup;

/// A working directory with files of changed and known paths.
fn site(changed: &str, known: &str) -> Setup {
    let setup = Setup::alone();
    fs::write(setup.home.path().join("changed"), changed).unwrap();
    fs::write(setup.home.path().join("known"), known).unwrap();
    setup
}

const FILES: [&str; 5] = ["plan", "--changed", "changed", "--known", "known"];

fn planned(setup: &Setup, options: &[&str]) -> Value {
    let words = [&FILES[..], &["--json"], options].concat();
    let (code, json, complaint) = setup.run(&words);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    serde_json::from_str(&json).unwrap()
}

#[test]
fn files_become_the_cheapest_items() {
    let changed = "/img/1.jpg\n/img/2.jpg\r\n\n/a%20b\n#tag\n/img/1.jpg\n";
    let setup = site(changed, "/img/1.jpg\n/img/3.jpg\n/~me\n/index.html\n/a%20b");
    let all = ["/a%20b", "/img/1.jpg", "/img/2.jpg", "#tag"];
    assert_eq!(
        planned(&setup, &[]),
        json!({"items": ["/*", "#tag"], "paths": 2, "wildcards": 1, "evictions": 3})
    );
    for (options, items, evictions) in [
        (&["--evictions-per-path", "0"][..], &all[..], 0),
        (&["--evictions-per-path", "1e308"], &["/*", "#tag"], 3),
        (
            &["--evictions-per-path", "1.5"],
            &["/a%20b", "/img/*", "#tag"],
            1,
        ),
        (&["--no-root"], &["/a%20b", "/img/*", "#tag"], 1),
        (&["--min-stem", "1"], &["/a%20b", "/img/*", "#tag"], 1),
        (&["--max-wildcards", "0"], &all, 0),
        (
            &["--evictions-per-path", "0", "--max-items", "3"],
            &["/a%20b", "/img/*", "#tag"],
            1,
        ),
        (&["--protect", "/img/2*", "/index.html"], &all, 0),
        (
            &["--protect", "/img/2*", "--protect", "/index.html"],
            &all,
            0,
        ),
    ] {
        let plan = planned(&setup, options);
        assert_eq!(plan["items"], json!(items), "{options:?}");
        assert_eq!(plan["evictions"], json!(evictions), "{options:?}");
        assert_eq!(plan["paths"], json!(items.len()), "{options:?}");
    }
}

#[test]
fn a_plan_reads_as_text_and_shows_its_alternatives() {
    let setup = site("/a/1\n/a/2\n/b\n", "/a/1\n/a/2\n/b\n/c\n/d\n/e\n");
    let (code, text, complaint) = setup.run(&[&FILES[..], &["--curve"]].concat());
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let expected = "/*\n\
        1 paths, 1 of them wildcards, evictions: 3; $0.005 after the month's first 1,000\n\n\
        --evictions-per-path at least    paths  wildcards  evictions\n\
        \u{20}                        3.00        1          1          3\n\
        \u{20}                        0.00        2          1          0\n";
    assert_eq!(text, expected);
    let plan = planned(&setup, &["--curve"]);
    let curve = json!([
        {"evictions_per_path": 3.0, "paths": 1, "wildcards": 1, "evictions": 3},
        {"evictions_per_path": 0.0, "paths": 2, "wildcards": 1, "evictions": 0},
    ]);
    assert_eq!(plan["curve"], curve);
}

#[test]
fn without_known_paths_nothing_is_merged_unless_a_ceiling_requires_it() {
    let setup = Setup::alone();
    let plan = |input: &str, options: &[&str]| -> Value {
        let words = [&["plan", "--changed", "-", "--json"], options].concat();
        let (code, json, complaint) = setup.run_with(&words, input);
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
        serde_json::from_str(&json).unwrap()
    };
    let none = json!({"items": [], "paths": 0, "wildcards": 0, "evictions": 0});
    assert_eq!(plan("", &[]), none);
    assert_eq!(
        plan("", &["--max-items", "0", "--curve"])["items"],
        json!([])
    );
    let whole = plan("/b/2\n/a\n/b/1\n", &[]);
    assert_eq!(whole["items"], json!(["/a", "/b/1", "/b/2"]));
    assert_eq!(whole["evictions"], json!(0));
    let forced = plan("/b/2\n/a\n/b/1\n", &["--max-items", "2"]);
    assert_eq!(forced["items"], json!(["/a", "/b/*"]));
    assert_eq!(forced["evictions"], Value::Null);
}

#[test]
fn bad_lines_are_named() {
    let long = format!("/{}", "x".repeat(4_000));
    let changed = format!("/good\n/a b\nno-slash\n/%4\n/a~b\n{long}\n/\u{e9}\n#a,b\n");
    let setup = site(&changed, "/good\n/~fine\n\n#tag\n/bad path\n");
    let (code, text, complaint) = setup.run(&FILES);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    for expected in [
        "changed, line 2: /a b: ' ' must be percent-encoded",
        "changed, line 3: no-slash: a path starts with \"/\"",
        "changed, line 4: /%4: \"%\" must be followed by two hex digits",
        "changed, line 5: /a~b: CloudFront cannot invalidate a path with \"~\"",
        "…: a path has at most 4000 bytes, but this one has 4001",
        "changed, line 7: /\u{e9}: '\u{e9}' must be percent-encoded",
        "changed, line 8: #a,b: a tag is visible ASCII without commas",
        "changed: 7 lines are bad",
    ] {
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    }
    fs::write(setup.home.path().join("changed"), "/good\n").unwrap();
    let (code, _, complaint) = setup.run(&FILES);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("known, line 4: #tag: a path starts with \"/\""));
    assert!(complaint.contains("known, line 5: /bad path: ' ' must be"));
    fs::write(setup.home.path().join("known"), b"/good\n/\xff\n").unwrap();
    let (code, _, complaint) = setup.run(&FILES);
    assert_eq!(code, Some(2));
    assert!(
        complaint.contains("known, line 2: other bytes than ASCII must be"),
        "{complaint}"
    );
}

#[test]
fn what_cannot_be_planned_ends_with_the_code_of_its_fault() {
    let setup = site("/a\n/b\n", "/a\n/b\n/c\n");
    for (words, expected, complaint) in [
        (
            &["plan", "--changed", "nowhere"][..],
            1,
            "nowhere cannot be read",
        ),
        (
            &["plan", "--changed", "-", "--known", "-"],
            2,
            "only one of",
        ),
        (&["plan", "--known", "known"], 2, "--changed"),
        (
            &["plan", "--max-items", "1", "--bucket", "site"],
            2,
            "cannot be used with",
        ),
        (
            &["plan", "--changed", "changed", "--bucket", "site"],
            2,
            "cannot be used with",
        ),
        (
            &["plan", "--changed", "changed", "--config", "x"],
            2,
            "cannot be used with",
        ),
        (
            &["plan", "--changed", "changed", "--evictions-per-path", "-1"],
            2,
            "at least 0",
        ),
        (
            &[
                "plan",
                "--changed",
                "changed",
                "--evictions-per-path",
                "inf",
            ],
            2,
            "a finite number",
        ),
        (
            &["plan", "--changed", "changed", "--evictions-per-path", "x"],
            2,
            "not a number",
        ),
        (
            &["plan", "--changed", "changed", "--protect", "a"],
            2,
            "a path starts with",
        ),
        (
            &[
                "plan",
                "--changed",
                "changed",
                "--no-root",
                "--max-items",
                "1",
            ],
            1,
            "comes closest",
        ),
    ] {
        let (code, _, text) = setup.run(words);
        assert_eq!(code, Some(expected), "{words:?}: {text}");
        assert!(text.contains(complaint), "{words:?}: {text}");
    }
}
