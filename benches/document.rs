//! Puts what was measured into docs/performance.md, each benchmark into its own section.

use std::{fs, path::PathBuf, process::Command};

/// A file of docs/.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

/// Replaces a section, which stands between two comments.
pub fn put(section: &str, text: &str) {
    let path = path("performance.md");
    let document = fs::read_to_string(&path).unwrap();
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- {edge} {section} -->\n"));
    let (before, rest) = document.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let written = format!("{before}{begin}\n{}\n\n{end}{after}", text.trim());
    fs::write(path, written).unwrap();
}

/// When and where something was measured, in one sentence.
pub fn circumstances() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    let compiler = Command::new("rustc").arg("--version").output().unwrap();
    let compiler = String::from_utf8(compiler.stdout).unwrap();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!(
        "Measured on {} with {}, Linux {}, {}, store on the disk of the build directory.",
        jiff::Timestamp::now().strftime("%-d %B %Y"),
        model.unwrap_or("an unknown processor").trim(),
        kernel.trim(),
        compiler.split(' ').take(2).collect::<Vec<_>>().join(" ")
    )
}
