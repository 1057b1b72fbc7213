//! The figures that criterion keeps, as a table of docs/performance.md.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::Value;

use crate::document;

/// Writes the table, with the medians of the last run of each benchmark.
pub fn write() {
    let mut rows = Vec::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/criterion");
    collect(&kept, &mut rows);
    rows.sort();
    let mut table = "| part | time | each |\n| --- | ---: | ---: |\n".to_owned();
    for row in rows {
        writeln!(table, "{row}").unwrap();
    }
    document::put(
        "parts",
        &format!("{}\n\n{table}", document::circumstances()),
    );
}

fn collect(directory: &Path, rows: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("new") {
            rows.push(row(&path));
        } else if path.is_dir() {
            collect(&path, rows);
        }
    }
}

/// One benchmark: its name, how long it takes, and how long that is for each of its elements.
fn row(directory: &Path) -> String {
    let read = |name: &str| -> Value {
        let text = fs::read(directory.join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (benchmark, estimates) = (read("benchmark.json"), read("estimates.json"));
    let name = benchmark["full_id"].as_str().unwrap();
    let time = estimates["median"]["point_estimate"].as_f64().unwrap();
    let elements = benchmark["throughput"]["Elements"].as_f64();
    let each = elements.filter(|elements| *elements > 1.0);
    let each = each.map_or_else(String::new, |elements| written(time / elements));
    format!("| {name} | {} | {each} |", written(time))
}

/// Nanoseconds in the unit that suits them.
fn written(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1e3 => format!("{short:.0} ns"),
        middle if middle < 1e6 => format!("{:.2} µs", middle / 1e3),
        long => format!("{:.2} ms", long / 1e6),
    }
}
