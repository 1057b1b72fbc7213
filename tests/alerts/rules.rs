//! The alert rules, and what of them a scrape of the service's metrics sets off.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file as it is.
pub const FILE: &str = include_str!("../../deploy/monitoring/rules.yml");

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
pub struct Rule {
    pub alert: String,
    pub expr: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

pub fn all() -> Vec<Rule> {
    let file: File = serde_saphyr::from_str(FILE).unwrap();
    file.groups
        .into_iter()
        .flat_map(|group| group.rules)
        .collect()
}

/// One scrape: each series by its name and labels, with its value.
#[derive(Clone)]
pub struct Scrape(BTreeMap<Series, f64>);

type Series = (String, BTreeMap<String, String>);

impl Scrape {
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(sample).collect())
    }

    /// The same, if nothing moves for so long: what has an age gets older.
    pub fn later(mut self, seconds: f64) -> Self {
        for ((name, _), value) in &mut self.0 {
            if name.ends_with("_age_seconds") && *value > 0.0 {
                *value += seconds;
            }
        }
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(name, _)| name.as_str())
    }

    /// The values of a label of a metric.
    pub fn labels<'a>(&'a self, metric: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
        let series = self.0.keys().filter(move |(name, _)| name == metric);
        series.filter_map(move |(_, labels)| labels.get(label).map(String::as_str))
    }
}

fn sample(line: &str) -> (Series, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let pairs = rest.strip_suffix('}').unwrap().split(',');
    let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    ((name.to_owned(), pairs.collect()), value.parse().unwrap())
}

/// The few forms that the rules have. Any other fails the tests.
pub enum Expression {
    /// `metric{...} > 1`
    Now(Selector, Comparison),
    /// `increase(metric{...}[5m]) > 1`
    Increase(Selector, Comparison),
    /// `sum without(label, other) (metric) > 1`; of one service, whatever the labels.
    Sum(Selector, Comparison),
    /// `changes(metric[30m]) > 1`
    Changes(Selector),
    /// `absent(metric{...})`
    Absent(Selector),
    /// `metric{...} > 1 unless on(label, other) metric{...} > 1`
    Unless {
        metric: Selector,
        comparison: Comparison,
        /// Which labels the two have in common.
        on: Vec<String>,
        but: Selector,
        but_comparison: Comparison,
    },
}

pub struct Selector {
    pub metric: String,
    /// A label, and the values that it may have.
    pub labels: Vec<(String, Vec<String>)>,
}

pub struct Comparison {
    operator: String,
    number: f64,
}

impl Expression {
    pub fn parse(text: &str) -> Self {
        if let Some(rest) = text.strip_prefix("absent(") {
            return Self::Absent(Selector::parse(rest.strip_suffix(')').unwrap()));
        }
        if let Some((left, right)) = text.split_once(" unless on(") {
            let (on, right) = right.split_once(") ").unwrap();
            let (metric, comparison) = Comparison::split(left);
            let (but, but_comparison) = Comparison::split(right);
            return Self::Unless {
                metric: Selector::parse(metric),
                comparison,
                on: on.split(", ").map(str::to_owned).collect(),
                but: Selector::parse(but),
                but_comparison,
            };
        }
        let (left, comparison) = Comparison::split(text);
        if let Some(rest) = left.strip_prefix("sum without(") {
            let (_, metric) = rest.split_once(") (").unwrap();
            let metric = metric.strip_suffix(')').unwrap();
            return Self::Sum(Selector::parse(metric), comparison);
        }
        let ranged = |rest: &str| {
            let (selector, range) = rest.rsplit_once('[').unwrap();
            assert!(range.ends_with("m])") || range.ends_with("h])"), "{text}");
            Selector::parse(selector)
        };
        match left.split_once('(') {
            None => Self::Now(Selector::parse(left), comparison),
            Some(("increase", rest)) => Self::Increase(ranged(rest), comparison),
            Some(("changes", rest)) => Self::Changes(ranged(rest)),
            Some(_) => panic!("no form that is known here: {text}"),
        }
    }

    pub fn selector(&self) -> &Selector {
        match self {
            Self::Now(selector, _)
            | Self::Sum(selector, _)
            | Self::Increase(selector, _)
            | Self::Changes(selector)
            | Self::Absent(selector)
            | Self::Unless {
                metric: selector, ..
            } => selector,
        }
    }

    /// Whether it is true now, in a process that was seen for the first time at `before`.
    pub fn holds(&self, before: &Scrape, now: &Scrape) -> bool {
        match self {
            Self::Now(selector, comparison) => {
                let mut values = now.0.iter().filter(|(series, _)| selector.takes(series));
                values.any(|(_, value)| comparison.holds(*value))
            }
            Self::Sum(selector, comparison) => {
                let all = now.0.iter().filter(|(series, _)| selector.takes(series));
                let values: Vec<_> = all.map(|(_, value)| value).collect();
                !values.is_empty() && comparison.holds(values.into_iter().sum())
            }
            // What had no series before has not increased, as far as Prometheus can see.
            Self::Increase(selector, comparison) => now.0.iter().any(|(series, value)| {
                let earlier = before.0.get(series);
                selector.takes(series) && earlier.is_some_and(|one| comparison.holds(value - one))
            }),
            Self::Unless {
                metric,
                comparison,
                on,
                but,
                but_comparison,
            } => {
                let found = |selector: &Selector, comparison: &Comparison| -> Vec<Vec<_>> {
                    let all = now.0.iter().filter(|(series, value)| {
                        selector.takes(series) && comparison.holds(**value)
                    });
                    let common = |labels: &BTreeMap<String, String>| {
                        on.iter().map(|label| labels.get(label).cloned()).collect()
                    };
                    all.map(|((_, labels), _)| common(labels)).collect()
                };
                let except = found(but, but_comparison);
                let mut all = found(metric, comparison).into_iter();
                all.any(|one| !except.contains(&one))
            }
            // Those of the process itself: it has not ended.
            Self::Changes(_) | Self::Absent(_) => false,
        }
    }
}

impl Selector {
    fn parse(text: &str) -> Self {
        let (metric, rest) = text.split_once('{').unwrap_or((text, "}"));
        let matchers = rest.strip_suffix('}').unwrap().split(',');
        let matchers = matchers.filter(|matcher| !matcher.is_empty());
        let labels = matchers.map(|matcher| {
            let (label, value) = matcher.split_once('=').unwrap();
            let (any, value) = match value.strip_prefix('~') {
                Some(value) => (true, value),
                None => (false, value),
            };
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(any || !value.contains('|'), "{text}");
            let plain = |char: char| char.is_ascii_alphanumeric() || "_-|".contains(char);
            assert!(value.chars().all(plain), "alternatives only: {text}");
            (
                label.to_owned(),
                value.split('|').map(str::to_owned).collect(),
            )
        });
        Self {
            metric: metric.to_owned(),
            labels: labels.collect(),
        }
    }

    fn takes(&self, (name, labels): &Series) -> bool {
        let mut wanted = self.labels.iter();
        *name == self.metric
            && wanted.all(|(label, values)| {
                labels
                    .get(label)
                    .is_some_and(|value| values.contains(value))
            })
    }
}

impl Comparison {
    /// Splits `left > 1` at its operator.
    fn split(text: &str) -> (&str, Self) {
        let (left, number) = text.rsplit_once(' ').unwrap();
        let (left, operator) = left.rsplit_once(' ').unwrap();
        let comparison = Self {
            operator: operator.to_owned(),
            number: number.parse().unwrap(),
        };
        (left, comparison)
    }

    fn holds(&self, value: f64) -> bool {
        match self.operator.as_str() {
            ">" => value > self.number,
            ">=" => value >= self.number,
            "<" => value < self.number,
            other => panic!("no operator that is known here: {other}"),
        }
    }
}
