//! `purgefront man`: a page for each command, which man renders without a warning.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use crate::support::{not_tested, service::Setup};

/// The pages, by their files' names, as they were written into a directory that was not there.
fn pages() -> (tempfile::TempDir, BTreeMap<String, String>) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("share/man/man1");
    let (code, said, complaint) = Setup::alone().run(&["man", directory.to_str().unwrap()]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let page = |line: &str| {
        let name = line.rsplit('/').next().unwrap().to_owned();
        (name, fs::read_to_string(line).unwrap())
    };
    let pages: BTreeMap<_, _> = said.lines().map(page).collect();
    assert_eq!(pages.len(), fs::read_dir(&directory).unwrap().count());
    (home, pages)
}

/// The names of a command's subcommands, from its help.
fn subcommands(words: &[&str]) -> Vec<String> {
    let (_, help, _) = Setup::alone().run(&[words, &["--help"]].concat());
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return Vec::new();
    };
    let names = list.lines().take_while(|line| line.starts_with("  "));
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_page() {
    let (_home, pages) = pages();
    let mut expected = vec!["purgefront.1".to_owned()];
    for name in subcommands(&[]) {
        expected.push(format!("purgefront-{name}.1"));
        for nested in subcommands(&[&name]) {
            expected.push(format!("purgefront-{name}-{nested}.1"));
        }
    }
    expected.sort();
    assert!(expected.contains(&"purgefront-deadletters-replay.1".to_owned()));
    assert_eq!(pages.keys().cloned().collect::<Vec<_>>(), expected);
    for (name, text) in &pages {
        assert!(text.contains(".SH \"EXIT STATUS\""), "{name}");
        assert!(!text.contains('`'), "{name} has backticks:\n{text}");
    }
    for name in ["purgefront.1", "purgefront-serve.1", "purgefront-pause.1"] {
        for part in [".SH FILES", ".SH ENVIRONMENT", "PURGEFRONT_SECTION__KEY"] {
            assert!(pages[name].contains(part), "{name}: {part}");
        }
    }
}

#[test]
fn man_renders_each_page_without_a_warning() {
    let (home, pages) = pages();
    for (name, page) in pages {
        let run = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(home.path().join("share/man/man1").join(&name))
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output();
        let Ok(run) = run else {
            not_tested("there is no man here");
            return;
        };
        let warnings = String::from_utf8_lossy(&run.stderr);
        assert!(
            run.status.success() && warnings.is_empty(),
            "{name}: {warnings}\n{page}"
        );
        let shown = String::from_utf8(run.stdout).unwrap();
        for part in [
            "NAME",
            "SYNOPSIS",
            concat!("purgefront ", env!("CARGO_PKG_VERSION")),
            "Wrong usage, or an invalid configuration.",
        ] {
            assert!(
                shown.contains(part),
                "{name}: {part} is missing in:\n{shown}"
            );
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let (code, said, complaint) = Setup::alone().run(&["man", "/dev/null/man1"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(
        complaint.contains("/dev/null/man1 cannot be created"),
        "{complaint}"
    );
}
