//! Commands as a person types them, with AWS's command line and purgefront on the path.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// AWS's command line and moto are installed here, if they are.
pub fn tools() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin")
}

/// Purgefront's and the tests' own tools go before the machine's.
pub fn path() -> String {
    let ours = Path::new(env!("CARGO_BIN_EXE_purgefront"))
        .parent()
        .unwrap();
    format!("{}:{}:{}", ours.display(), tools().display(), env!("PATH"))
}

/// Runs commands in a directory: exit code, standard output, standard error.
pub fn run(
    commands: &str,
    home: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> (Option<i32>, String, String) {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .env_clear()
        .env("PATH", path())
        .env("HOME", home)
        .envs(environment)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}
