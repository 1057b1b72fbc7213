//! How large the binary is, and what it is made of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{numbers::float, report::Report, support::service::program, world};

pub fn measure(report: &mut Report) {
    let binary = &PathBuf::from(program());
    report.add("the release build", "binary", mib(binary), "MiB");
    let stripped = world::directory().join("purgefront.stripped");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(binary));
    report.add(
        "the release build",
        "stripped binary",
        mib(&stripped),
        "MiB",
    );
    report.add(
        "Cargo.lock",
        "crates of a normal build",
        float(crates()),
        "",
    );
}

/// With all versions of each.
fn crates() -> usize {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--locked",
        "--offline",
        "-e",
        "normal",
        "--prefix",
        "none",
    ]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let tree = run(&mut cargo);
    // What was shown before is marked with an asterisk.
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.collect::<BTreeSet<_>>().len()
}

fn mib(file: &Path) -> f64 {
    let kib = fs::metadata(file).unwrap().len() / 1024;
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}
