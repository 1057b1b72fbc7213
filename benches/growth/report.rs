//! What was found: a table to read, and a file to compare with.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{numbers::written, world};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    subjects: BTreeMap<String, Subject>,
    #[serde(skip)]
    current: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Subject {
    measured_at: Timestamp,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// How much work there was.
    at: String,
    what: String,
    value: f64,
    unit: String,
}

impl Report {
    /// What earlier runs found.
    pub fn read() -> Self {
        let text = fs::read(path()).ok();
        let read = text.and_then(|text| serde_json::from_slice(&text).ok());
        read.unwrap_or_default()
    }

    /// Forgets what earlier runs found of a subject. What is added next belongs to it.
    pub fn begin(&mut self, subject: &str) {
        subject.clone_into(&mut self.current);
        let new = Subject {
            measured_at: Timestamp::now(),
            rows: Vec::new(),
        };
        self.subjects.insert(subject.to_owned(), new);
    }

    pub fn add(&mut self, at: &str, what: &str, value: f64, unit: &str) {
        println!("{}: {at}: {what}: {} {unit}", self.current, written(value));
        let subject = self.subjects.get_mut(&self.current).unwrap();
        subject.rows.push(Row {
            at: at.to_owned(),
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
        });
    }

    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(self).unwrap();
        fs::write(path(), text).unwrap();
    }

    /// A table of each of these subjects: with what as rows, what was measured as columns.
    pub fn tables(&self, subjects: &[&str]) -> String {
        let mut text = String::new();
        for name in subjects {
            if let Some(subject) = self.subjects.get(*name) {
                writeln!(text, "### {}\n\n{}", heading(name), subject.table()).unwrap();
            }
        }
        text
    }
}

impl Subject {
    fn table(&self) -> String {
        let columns = distinct(self.rows.iter().map(|row| &row.what));
        let mut text = format!("| with | {} |\n| --- |", columns.join(" | "));
        text.push_str(&" ---: |".repeat(columns.len()));
        for at in distinct(self.rows.iter().map(|row| &row.at)) {
            write!(text, "\n| {at} |").unwrap();
            for column in &columns {
                let row = self
                    .rows
                    .iter()
                    .find(|row| row.at == at && row.what == *column);
                let cell = row.map_or("–".to_owned(), |row| {
                    format!("{} {}", written(row.value), row.unit)
                });
                write!(text, " {} |", cell.trim()).unwrap();
            }
        }
        text.push('\n');
        text
    }
}

/// Each value once, in the order of appearance.
fn distinct<'a>(values: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value.as_str()) {
            found.push(value.as_str());
        }
    }
    found
}

fn heading(subject: &str) -> &'static str {
    match subject {
        "history" => "Changes in the history",
        "backlog" => "Items that wait",
        "memory" => "Memory",
        "start" => "Start",
        "catalogue" => "Distributions in the account",
        "bytes" => "Bytes in the store",
        "replicas" => "Replicas",
        _ => "Size",
    }
}

fn path() -> PathBuf {
    world::directory().join("growth.json")
}
