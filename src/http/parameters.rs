//! Query parameters: all faults at once, in words for the caller.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use axum::extract::RawQuery;
use percent_encoding::percent_decode_str;

use super::problem::{Problem, RequestFault};

/// The parameters that have not been taken, and the faults so far.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    left: BTreeMap<String, String>,
    known: Vec<&'static str>,
    faults: Vec<RequestFault>,
}

impl Parameters {
    pub(super) fn read(RawQuery(query): RawQuery) -> Self {
        let mut parameters = Self::default();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => {
                    if parameters.left.insert(name.clone(), value).is_some() {
                        parameters.refuse(&name, "is given twice");
                    }
                }
                (Some(name), None) => parameters.refuse(&name, "is not percent-encoded UTF-8"),
                (None, _) => parameters.refuse("", "a name is not percent-encoded UTF-8"),
            }
        }
        parameters
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.left.remove(name)
    }

    /// A parameter that has to be given, and not empty.
    pub(super) fn required(&mut self, name: &'static str) -> String {
        match self.text(name) {
            Some(text) if text.is_empty() => self.refuse(name, "must not be empty"),
            Some(text) => return text,
            // It was given, but could not be read.
            None if self.faults.iter().any(|fault| fault.pointer == name) => {}
            None => self.refuse(name, "is required"),
        }
        String::new()
    }

    /// True only if it says so.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            Some("true") => true,
            None | Some("false") => false,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    pub(super) fn limit(&mut self, default: usize, most: usize) -> usize {
        let Some(text) = self.text("limit") else {
            return default;
        };
        let read = digits(&text).filter(|limit| (1..=most).contains(limit));
        read.unwrap_or_else(|| {
            self.refuse("limit", format!("must be a number between 1 and {most}"));
            default
        })
    }

    /// A time in whole seconds; zero if it is not given.
    pub(super) fn seconds(&mut self, name: &'static str, most: Duration) -> Duration {
        let Some(text) = self.text(name) else {
            return Duration::ZERO;
        };
        let read = digits(&text).map(Duration::from_secs);
        read.filter(|span| *span <= most).unwrap_or_else(|| {
            let most = most.as_secs();
            self.refuse(
                name,
                format!("must be a number of seconds between 0 and {most}"),
            );
            Duration::ZERO
        })
    }

    /// Where a page begins.
    pub(super) fn cursor(&mut self) -> Option<i64> {
        let text = self.text("cursor")?;
        let read = digits(&text);
        if read.is_none() {
            self.refuse("cursor", "must be the next_cursor of an earlier page");
        }
        read
    }

    pub(super) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(RequestFault {
            pointer: name.to_owned(),
            detail: detail.into(),
        });
    }

    /// Ends with all faults; parameters that were not taken are unknown.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.left).into_keys() {
            let known = match self.known.as_slice() {
                [] => "there are none here".to_owned(),
                known => format!("only {} are known", known.join(", ")),
            };
            self.refuse(&name, format!("unknown: {known}"));
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.faults))
        }
    }
}

/// A number without a sign, which parsing alone would accept.
fn digits<N: FromStr>(text: &str) -> Option<N> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Decodes a name or value of a query.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Parameters {
        Parameters::read(RawQuery(Some(query.to_owned())))
    }

    #[test]
    fn a_required_parameter_has_one_fault_in_words_for_it() {
        for (query, fault) in [
            ("", "is required"),
            ("key=", "must not be empty"),
            ("key=%ff", "is not percent-encoded UTF-8"),
        ] {
            let mut parameters = read(query);
            assert_eq!(parameters.required("key"), "");
            let faults = parameters.faults.iter();
            let faults: Vec<_> = faults
                .map(|one| (one.pointer.as_str(), one.detail.as_str()))
                .collect();
            assert_eq!(faults, [("key", fault)], "{query}");
            assert!(parameters.finish().is_err());
        }
    }

    #[test]
    fn parameters_are_decoded_and_all_faults_are_told() {
        let mut right = read("why=a+b%26c&all=true&limit=5&cursor=7");
        assert_eq!(right.text("why").as_deref(), Some("a b&c"));
        assert!(right.flag("all"));
        assert_eq!((right.limit(9, 10), right.cursor()), (5, Some(7)));
        assert!(right.finish().is_ok());
        let mut wrong = read("limit=many&cursor=x&x=1&limit=3&%FF=1&all=1");
        wrong.flag("all");
        wrong.limit(9, 10);
        wrong.cursor();
        assert_eq!(wrong.faults.len(), 4, "{wrong:?}");
        assert_eq!(wrong.left.len(), 1, "{wrong:?}");
        assert!(wrong.finish().is_err());
    }

    #[test]
    fn numbers_are_digits_only() {
        let most = Duration::from_secs(50);
        let mut right = read("wait=10&limit=010&cursor=0");
        assert_eq!(right.seconds("wait", most), Duration::from_secs(10));
        assert_eq!((right.limit(9, 10), right.cursor()), (10, Some(0)));
        assert!(right.finish().is_ok());
        let mut wrong = read("wait=%2B1&limit=%2B1&cursor=%2B1");
        wrong.seconds("wait", most);
        wrong.limit(9, 10);
        wrong.cursor();
        assert_eq!(wrong.faults.len(), 3, "{wrong:?}");
    }
}
