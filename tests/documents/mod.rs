//! Every command line of README.md and docs/ is run, as a reader would run it.

mod links;
pub mod markdown;
mod problems;
mod scene;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use markdown::Block;
use scene::{Scene, World};

use crate::support::{self, moto::Moto, not_tested, postgres::Database, proxy::Ca};

/// Languages of blocks that are not commands.
const NOT_COMMANDS: &[&str] = &[
    "toml",
    "json",
    "text",
    "yaml",
    "nginx",
    "caddyfile",
    "promql",
    "sql",
    "ini",
];

/// Documents whose outputs, in a `text` block after the commands, are compared.
const COMPARED: &[&str] = &["docs/getting-started.md", "docs/merging.md"];

/// README.md and the documents, with their texts.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("docs")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let name = |path: PathBuf| format!("docs/{}", path.file_name().unwrap().display());
    let mut names: Vec<_> = paths.map(name).collect();
    names.extend(["README.md".to_owned(), "SECURITY.md".to_owned()]);
    names.sort();
    let text = |name: &String| fs::read_to_string(root.join(name)).unwrap();
    names
        .iter()
        .map(|name| (name.clone(), text(name)))
        .collect()
}

/// What a reader has who begins with a document.
fn world(document: &str) -> World {
    match document {
        "docs/getting-started.md" => World::Bare,
        _ => World::Running,
    }
}

/// A `console` block has commands after prompts, and what they print between them.
fn without_prompts(block: &Block) -> Block {
    let mut block = block.clone();
    if block.language == "console" {
        let lines = block
            .text
            .lines()
            .map(|line| line.strip_prefix("$ ").unwrap_or_default());
        block.text = lines.map(|line| format!("{line}\n")).collect();
        "sh".clone_into(&mut block.language);
    }
    block
}

/// Runs a document's commands, and compares what they print; the fault, if there is one.
async fn run(document: &str, blocks: &[Block]) -> Result<(), String> {
    let is_command = |block: &&Block| block.language == "sh";
    let blocks: Vec<_> = blocks.iter().map(without_prompts).collect();
    let mut commands: Vec<_> = blocks.iter().filter(is_command).collect();
    let unknown = |block: &&Block| !is_command(block) && !NOT_COMMANDS.contains(&&*block.language);
    if let Some(block) = blocks.iter().find(unknown) {
        let Block { line, language, .. } = block;
        return Err(format!(
            "{document}:{line}: commands stand in ```sh, not in ```{language}"
        ));
    }
    if commands.is_empty() {
        return Ok(());
    }
    let missing = scene::missing_tools(&commands);
    if !missing.is_empty() {
        not_tested(&format!("{document} needs {}", missing.join(", ")));
        return Ok(());
    }
    let is_of_database = |block: &Block| block.text.contains("postgres://");
    let database = if commands.iter().any(|block| is_of_database(block)) {
        Database::new().await
    } else {
        None
    };
    if database.is_none() {
        commands.retain(|block| !is_of_database(block));
    }
    let ca = Ca::new();
    let Some(moto) = Moto::trusting(&ca.pem()).await else {
        return Ok(());
    };
    let url = database.as_ref().map(Database::url);
    let scene = Scene::set(moto, &ca, world(document), url)?;
    let printed = scene.play(document, &commands)?;
    if !COMPARED.contains(&document) {
        return Ok(());
    }
    let mut faults = Vec::new();
    for pair in blocks.windows(2) {
        let (command, shown) = (&pair[0], &pair[1]);
        if command.language != "sh" || shown.language != "text" || !shown.follows {
            continue;
        }
        let at = commands.iter().position(|one| *one == command).unwrap();
        let (expected, printed) = (scene.translate(&shown.text), &printed[at]);
        if let Some(missing) = missing_line(&expected, printed) {
            let line = shown.line;
            faults.push(format!(
                "{document}:{line}: not printed: {missing}\nbut:\n{printed}"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("\n\n"))
}

/// The first line that was not printed after those before it. `…` stands for anything.
fn missing_line<'a>(expected: &'a str, printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines();
    let is_missing = |line: &&str| !printed.any(|printed| is_like(line.trim_end(), printed));
    expected
        .lines()
        .filter(|line| !matches!(line.trim(), "" | "…"))
        .find(is_missing)
}

fn is_like(expected: &str, printed: &str) -> bool {
    let Some((begin, rest)) = expected.split_once('…') else {
        return expected == printed.trim_end();
    };
    let Some(mut left) = printed.strip_prefix(begin) else {
        return false;
    };
    let mut parts = rest.split('…').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.trim_end().ends_with(part);
        }
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_command_of_every_document_works() {
    let only = support::text("DOCUMENT");
    let mut scenes = Vec::new();
    for (name, text) in documents() {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        scenes.push(tokio::spawn(async move {
            let (blocks, _) = markdown::code(&text);
            run(&name, &blocks).await
        }));
    }
    assert!(!scenes.is_empty());
    let mut faults = Vec::new();
    for scene in scenes {
        faults.extend(scene.await.unwrap().err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn getting_started_has_ten_steps_that_each_end_in_a_check() {
    let documents = documents();
    let is_it = |(name, _): &&(String, String)| name == "docs/getting-started.md";
    let (_, text) = documents.iter().find(is_it).unwrap();
    let steps = text
        .split("\n## ")
        .filter(|step| step.starts_with(|char: char| char.is_ascii_digit()));
    let steps: Vec<_> = steps.collect();
    assert_eq!(steps.len(), 10);
    for (number, step) in (1..).zip(steps) {
        assert!(step.starts_with(&format!("{number}. ")), "{step}");
        let (blocks, _) = markdown::code(step);
        let last: Vec<_> = blocks
            .iter()
            .rev()
            .take(2)
            .map(|block| &*block.language)
            .collect();
        assert_eq!(last, ["text", "sh"], "{step}");
    }
}

/// Commands in the text have to exist, with their options.
#[test]
fn commands_in_the_text_exist() {
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for (line, code) in markdown::code(&text).1 {
            if let Err(fault) = exists(&code) {
                faults.push(format!("{name}:{line}: `{code}`: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn exists(code: &str) -> Result<(), String> {
    let is_setting =
        |word: &&str| word.contains('=') && word.starts_with(|char: char| char.is_uppercase());
    let words: Vec<_> = code.split_whitespace().skip_while(is_setting).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match words[..] {
        ["make", target, ..] => {
            let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
            let line = format!("\n{target}:");
            makefile
                .contains(&line)
                .then_some(())
                .ok_or("no such target".to_owned())
        }
        ["cargo", "test", .., test] => {
            let file = root.join("tests").join(format!("{test}.rs"));
            file.exists().then_some(()).ok_or("no such test".to_owned())
        }
        ["purgefront", ref words @ ..] => has_options(words),
        _ => Ok(()),
    }
}

fn has_options(words: &[&str]) -> Result<(), String> {
    let help = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_purgefront"));
        let output = command
            .args(words)
            .arg("--help")
            .env_clear()
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(told)
    };
    let mut known = &words[..0];
    let mut told = help(known).unwrap();
    for length in 1..=words.len() {
        let is_name = words[length - 1].starts_with(|char: char| char.is_ascii_lowercase());
        if !is_name || !told.contains("Commands:\n") {
            break;
        }
        known = &words[..length];
        told = help(known).ok_or("no such command")?;
    }
    let options = words.iter().filter(|word| word.starts_with('-'));
    let mut options = options.map(|word| word.split('=').next().unwrap());
    match options.find(|option| !told.contains(option)) {
        Some(option) => Err(format!("{} has no {option}", known.join(" "))),
        None => Ok(()),
    }
}

#[test]
fn commands_that_do_not_exist_are_found() {
    for right in [
        "purgefront plan --bucket X",
        "purgefront deadletters list",
        "make test",
        "purgefront",
    ] {
        assert_eq!(exists(right), Ok(()), "{right}");
    }
    for wrong in [
        "purgefront plann",
        "purgefront plan --buckets X",
        "purgefront deadletters x",
        "make tests",
    ] {
        assert!(exists(wrong).is_err(), "{wrong}");
    }
    assert_eq!(missing_line("a…c\n…\nd", "x\nabc \nd\n"), None);
    assert_eq!(missing_line("d\na…c", "abc\nd\n"), Some("a…c"));
    assert_eq!(missing_line("a…c", "abcd"), Some("a…c"));
}
