//! The state of the service in a line, and the warnings of readiness.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use maud::{Markup, html};

use super::words;
use crate::telemetry::{Check, CheckState};

/// The state of the service, and what needs attention: the worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headline {
    standing: Standing,
    /// Whether this process leads, and so knows how the work stands.
    leads: bool,
    warnings: Vec<Warning>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Well,
    Warned,
    /// Something stands still until an operator acts.
    Stuck,
    /// The service accepts nothing.
    NotReady,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Warning {
    /// The check's name in readiness and metrics.
    check: &'static str,
    failed: bool,
    detail: String,
}

impl Headline {
    /// What the checks of readiness come to.
    pub(super) fn of(
        ready: StatusCode,
        checks: &BTreeMap<&'static str, Check>,
        leads: bool,
    ) -> Self {
        let bad = checks.iter().filter_map(|(check, found)| {
            let failed = match found.state {
                CheckState::Ok => return None,
                CheckState::Warn => false,
                CheckState::Fail => true,
            };
            Some(Warning {
                check,
                failed,
                detail: found.detail.clone(),
            })
        });
        let mut warnings: Vec<_> = bad.collect();
        warnings.sort_by_key(|warning| !warning.failed);
        let standing = match warnings.first() {
            _ if ready != StatusCode::OK => Standing::NotReady,
            Some(warning) if warning.failed => Standing::Stuck,
            Some(_) => Standing::Warned,
            None => Standing::Well,
        };
        Self {
            standing,
            leads,
            warnings,
        }
    }

    /// The state in a few words.
    pub(super) fn title(&self) -> String {
        let warnings = self.warnings.len() as u64;
        match self.standing {
            Standing::Well if !self.leads => "Accepts messages".to_owned(),
            Standing::Well => "All is well".to_owned(),
            Standing::Warned => words::counted(warnings, "warning"),
            Standing::Stuck => {
                let failed = self.warnings.iter().filter(|warning| warning.failed);
                let failed = words::counted(failed.count() as u64, "failure");
                format!("{failed}: something stands still")
            }
            Standing::NotReady => "Not ready".to_owned(),
        }
    }

    fn explanation(&self) -> &'static str {
        match self.standing {
            Standing::Well if !self.leads => {
                "Messages are accepted. How sending stands, the replica that leads knows: see its page."
            }
            Standing::Well => "Messages are accepted, and nothing needs attention.",
            Standing::Warned => "Messages are accepted; what was accepted is safe.",
            Standing::Stuck => "Messages are accepted, but some work waits for an operator.",
            Standing::NotReady => {
                "Nothing is accepted now. SNS and callers get 503 and repeat; what was accepted is safe."
            }
        }
    }

    fn class(&self) -> &'static str {
        match self.standing {
            Standing::Well => "ok",
            Standing::Warned => "warn",
            Standing::Stuck | Standing::NotReady => "bad",
        }
    }

    pub(super) fn render(&self) -> Markup {
        html! {
            section.headline .(self.class()) #headline data-part aria-labelledby="headline-title" {
                h1 #headline-title { (self.title()) }
                p { (self.explanation()) }
                @if !self.warnings.is_empty() {
                    ul.warnings #warnings {
                        @for warning in &self.warnings {
                            li .(if warning.failed { "bad" } else { "warn" }) {
                                p.name {
                                    (name(warning.check)) " "
                                    span.tag { (if warning.failed { "failure" } else { "warning" }) }
                                }
                                p { (words::sentence(&warning.detail)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A check's name in words: `daily_limit` is `Daily limit`.
fn name(check: &str) -> String {
    if check == "cloudfront" {
        return "CloudFront".to_owned();
    }
    words::capital(&check.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headline(ready: StatusCode, checks: &[(&'static str, CheckState)]) -> Headline {
        let checks = checks.iter().map(|(name, state)| {
            let detail = format!("about {name}");
            let state = *state;
            (*name, Check { state, detail })
        });
        Headline::of(ready, &checks.collect(), true)
    }

    #[test]
    fn the_title_tells_the_worst() {
        use CheckState::{Fail, Ok, Warn};
        let ok = StatusCode::OK;
        let title = |ready, checks: &[_]| headline(ready, checks).title();
        assert_eq!(title(ok, &[("paused", Ok)]), "All is well");
        assert_eq!(title(ok, &[("paused", Warn), ("rules", Ok)]), "1 warning");
        assert_eq!(
            title(ok, &[("paused", Warn), ("rules", Warn)]),
            "2 warnings"
        );
        let stuck = [("paused", Warn), ("unreadable_rows", Fail)];
        assert_eq!(title(ok, &stuck), "1 failure: something stands still");
        let unready = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(title(unready, &[("store", Fail)]), "Not ready");
        // A follower does not know whether all is well.
        let follower = Headline::of(ok, &BTreeMap::new(), false);
        assert_eq!(follower.title(), "Accepts messages");
    }

    #[test]
    fn failures_come_first_each_with_its_detail() {
        let checks = [
            ("a", CheckState::Warn),
            ("daily_limit", CheckState::Warn),
            ("store", CheckState::Fail),
        ];
        let headline = headline(StatusCode::OK, &checks);
        let order: Vec<_> = headline.warnings.iter().map(|one| one.check).collect();
        assert_eq!(order, ["store", "a", "daily_limit"]);
        let shown = headline.render().into_string();
        assert!(shown.contains("Daily limit") && shown.contains("about daily_limit"));
        assert!(shown.contains("failure") && shown.contains("warning"));
    }
}
