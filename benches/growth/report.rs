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

    /// The rows of these subjects; of all if none is named.
    pub fn table(&self, named: &[String]) -> String {
        let mut table =
            "| subject | with | measure | value |\n| --- | --- | --- | ---: |\n".to_owned();
        for (name, subject) in &self.subjects {
            if !named.is_empty() && !named.contains(name) {
                continue;
            }
            for row in &subject.rows {
                let Row {
                    at,
                    what,
                    value,
                    unit,
                } = row;
                let value = written(*value);
                writeln!(table, "| {name} | {at} | {what} | {value} {unit} |").unwrap();
            }
        }
        table
    }
}

fn path() -> PathBuf {
    world::directory().join("growth.json")
}
