//! What was measured, as a table and in ratios.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::servers::Kind;

/// One run of one server, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    /// Microseconds of the server's CPU time a message, in user and in kernel mode.
    pub cpu: f64,
    pub p50: f64,
    /// In milliseconds.
    pub p99: f64,
    /// The most memory of the server, in MiB.
    pub memory: f64,
}

/// The runs of each server with each number of connections.
#[derive(Default)]
pub struct Runs(BTreeMap<(usize, Kind), Vec<Figures>>);

impl Runs {
    pub fn add(&mut self, connections: usize, kind: Kind, figures: Figures) {
        self.0.entry((connections, kind)).or_default().push(figures);
    }

    pub fn medians(&self) -> BTreeMap<(usize, Kind), Figures> {
        let medians = self.0.iter().map(|(at, runs)| {
            let median = |of: fn(&Figures) -> f64| {
                let mut values: Vec<_> = runs.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            let figures = Figures {
                per_second: median(|run| run.per_second),
                cpu: median(|run| run.cpu),
                p50: median(|run| run.p50),
                p99: median(|run| run.p99),
                memory: median(|run| run.memory),
            };
            (*at, figures)
        });
        medians.collect()
    }
}

/// A table of the medians, and how purgefront compares.
pub fn table(medians: &BTreeMap<(usize, Kind), Figures>) -> String {
    let mut text = "| connections | server | messages/s | CPU time a message | p50 | p99 | memory, at most |\n\
                    | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for ((connections, kind), figures) in medians {
        writeln!(
            text,
            "| {connections} | {} | {:.0} | {:.1} µs | {:.1} ms | {:.1} ms | {:.0} MiB |",
            kind.name(),
            figures.per_second,
            figures.cpu,
            figures.p50,
            figures.p99,
            figures.memory
        )
        .unwrap();
    }
    text.push('\n');
    let connections: std::collections::BTreeSet<_> = medians.keys().map(|(at, _)| *at).collect();
    for connections in connections {
        let of = |kind| medians.get(&(connections, kind));
        let Some(own) = of(Kind::Purgefront) else {
            continue;
        };
        write!(text, "- {connections} connections:").unwrap();
        if let Some(base) = of(Kind::Baseline) {
            write!(
                text,
                " {:.2} times the baseline's CPU time a message, {:.0} % of its messages a second, \
                 {:.1} times its p99",
                own.cpu / base.cpu,
                100.0 * own.per_second / base.per_second,
                own.p99 / base.p99
            )
            .unwrap();
        }
        if let Some(peer) = of(Kind::Express) {
            write!(
                text,
                "; {:.1} times as many messages a second as Express, and 1/{:.1} of its CPU time",
                own.per_second / peer.per_second,
                peer.cpu / own.cpu
            )
            .unwrap();
        }
        text.push_str(".\n");
    }
    text
}
