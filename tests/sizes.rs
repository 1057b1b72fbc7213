//! Tests are read, so they are short: no file with two charges, no function that has to be
//! scrolled.

use std::{
    fs,
    path::{Path, PathBuf},
};

const MOST_LINES_OF_A_FILE: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 80;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a source that is there for tests alone: all of it in a file or folder named so,
/// else what follows `mod tests {`.
fn tests_of<'a>(path: &Path, text: &'a str) -> &'a str {
    let mut names = path.iter().map(|name| name.to_str().unwrap());
    if names.any(|name| name.starts_with("tests")) {
        return text;
    }
    let begin = text.find("\nmod tests {");
    begin.map_or("", |begin| &text[begin..])
}

/// The functions of a source that rustfmt has formatted, and how many lines each has.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function_name(code) else {
            continue;
        };
        let signature = lines[at..].iter();
        let mut signature = signature.map(|line| line.trim_end());
        // Without a body, it is a trait's.
        let ends = |line: &&str| line.ends_with(['{', '}', ';']);
        let Some(last) = signature.find(ends).filter(|last| !last.ends_with(';')) else {
            continue;
        };
        let closing = format!("{}}}", &line[..line.len() - code.len()]);
        let rest = lines[at..].iter().position(|line| *line == closing);
        match rest {
            Some(rest) if last.ends_with('{') => found.push((name, rest + 1)),
            _ => found.push((name, 1)),
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("fn ")?;
    let qualifies = |word: &str| word.starts_with("pub") || ["async", "const"].contains(&word);
    let name = after.split(['(', '<']).next()?;
    before.split_whitespace().all(qualifies).then_some(name)
}

#[test]
fn tests_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut found);
    }
    let mut faults = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root).unwrap();
        let shown = path.display();
        let lines = text.lines().count();
        if path.starts_with("tests") && lines > MOST_LINES_OF_A_FILE {
            faults.push(format!("{shown}: {lines} lines"));
        }
        for (name, lines) in functions(tests_of(path, &text)) {
            if lines > MOST_LINES_OF_A_FUNCTION {
                faults.push(format!("{shown}: {name} has {lines} lines"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_check_of_sizes_sees_what_it_should() {
    let source = [
        "fn short() {}",
        "impl A {",
        "    pub(super) async fn long<T>(",
        "        one: T,",
        "    ) -> T {",
        "        if one {",
        "        }",
        "    }",
        "}",
        "trait B {",
        "    fn declared(&self);",
        "    fn in_lines(",
        "        &self,",
        "    ) -> u8;",
        "}",
        "#[test]",
        "fn last() {",
        "    let fn_name = \"no fn () {\";",
        "}",
    ]
    .join("\n");
    let expected = [("short", 1), ("long", 6), ("last", 3)];
    assert_eq!(functions(&source), expected);

    let part = |path: &str, text| tests_of(Path::new(path), text).lines().count();
    assert_eq!(part("tests/a.rs", "a\nb"), 2);
    assert_eq!(part("src/a/tests.rs", "a\nb"), 2);
    assert_eq!(part("src/a/tests/b.rs", "a\nb"), 2);
    assert_eq!(part("src/a.rs", "a\nb"), 0);
    assert_eq!(part("src/a.rs", "a\n#[cfg(test)]\nmod tests {\n}"), 3);
}
