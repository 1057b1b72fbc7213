//! One object's story: each change of it, from its upload to its end.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::domain::{
    status::HeldBy,
    story::{ChangeSource, ChangeState, ChangeView, EndState, TargetView},
};

/// The most changes on a page, and the most ends of a change.
pub(super) const SHOWN: usize = 20;
const ENDS: usize = 50;

/// What was searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) bucket: String,
    pub(super) key: String,
}

impl Search {
    /// The form.
    pub(super) fn render(&self) -> Markup {
        html! {
            form.search #search-form method="get" action="/page/object" role="search" aria-label="One object" {
                p { label for="bucket" { "Bucket" }
                    input #bucket name="bucket" value=(self.bucket) required autocomplete="off"
                        spellcheck="false" autocapitalize="off"; }
                p.grow { label for="key" { "Key" }
                    input #key name="key" value=(self.key) required autocomplete="off"
                        spellcheck="false" autocapitalize="off"; }
                button type="submit" { "Show its story" }
            }
        }
    }

    /// What became of the object; `next` is where the older changes begin.
    pub(super) fn story(
        &self,
        changes: &[ChangeView],
        next: Option<i64>,
        now: Timestamp,
    ) -> Markup {
        html! {
            @if changes.is_empty() && next.is_some() {
                p { "No change of this object is among those searched so far: older ones may be." }
            } @else if changes.is_empty() {
                p { "No change of this object is known: none has come, or it is older than the history that \
                     is kept. Keys are case-sensitive, and begin without a slash." }
            }
            ol.story {
                @for change in changes { (render_change(change, now)) }
            }
            @if let Some(next) = next {
                p.pages { a href=(self.link(next)) { "Older changes" } }
            }
        }
    }

    fn link(&self, cursor: i64) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("bucket", &self.bucket)
            .append_pair("key", &self.key)
            .append_pair("cursor", &cursor.to_string())
            .finish();
        format!("/page/object?{query}")
    }
}

fn render_change(change: &ChangeView, now: Timestamp) -> Markup {
    let more = change.targets.len().saturating_sub(ENDS);
    let skipped = change.skipped.len().saturating_sub(ENDS);
    html! {
        li {
            p { (change_state(change.state)) " " (source(&change.source, now)) }
            ol.steps {
                li { "Accepted " (words::moment_ago(now, change.accepted_at)) }
                @for held in change.held_by.iter().flatten() { (render_held(held, now)) }
                @for target in change.targets.iter().take(ENDS) { (render_target(target, now)) }
                @if more > 0 { li.muted { "and " (words::count(more)) " more items" } }
                @for skip in change.skipped.iter().take(ENDS) {
                    li {
                        span.tag { "skipped" } " "
                        @match &skip.distribution_id {
                            Some(id) => (words::code(id)),
                            None => "everywhere",
                        }
                        ": " (words::foreign(&skip.why))
                    }
                }
                @if skipped > 0 { li.muted { "and " (words::count(skipped)) " more skips" } }
            }
        }
    }
}

fn source(source: &ChangeSource, now: Timestamp) -> Markup {
    match source {
        ChangeSource::Event {
            event,
            message_id,
            sequencer,
            time,
        } => html! {
            strong { (words::foreign(event)) }
            @if let Some(time) = time { " at " (words::moment(now, *time)) }
            span.muted.small.line { "message " (words::code(&message_id.to_string()))
                @if let Some(sequencer) = sequencer { ", sequencer " (words::code(sequencer)) } }
        },
        ChangeSource::Manual {
            request_id,
            token,
            reason,
        } => html! {
            strong { "request" } " by " (words::foreign(token))
            @if let Some(reason) = reason { ": " q { (words::foreign(reason)) } }
            span.muted.small.line { "request " (words::code(&request_id.to_string())) }
        },
    }
}

fn render_target(target: &TargetView, now: Timestamp) -> Markup {
    html! {
        li {
            (end_state(target.state)) " "
            @if let Some(item) = &target.item { (words::code(item)) }
            @if let Some(id) = &target.distribution_id { " at " (words::code(id)) }
            @if let Some(wildcard) = &target.covered_by { " covered by " (words::code(wildcard)) }
            @if let Some(because) = &target.because { span.muted { " (" (words::foreign(because)) ")" } }
            @if let Some(id) = target.invalidation_id {
                p { "Invalidation " a href=(format!("/page/invalidations/{id}")) {
                        (words::code(target.cloudfront_id.as_deref().unwrap_or("without an id yet"))) }
                    @if let Some(at) = target.submitted_at { ", submitted " (words::moment(now, at)) }
                    @if let Some(at) = target.completed_at { ", completed " (words::moment(now, at)) }
                }
            }
            @if let Some(dead) = &target.dead_letter {
                p { (words::foreign(&dead.why)) span.muted { " (dead letter " (dead.id) ")" } }
            }
            @if let Some(failure) = &target.failure { p { (words::foreign(failure)) } }
            @match &target.held_by {
                Some(held) if !held.is_empty() => ul {
                    @for held in held { (render_held(held, now)) }
                },
                Some(_) => {}
                None => p.muted { "Only the replica that leads knows what holds it." },
            }
        }
    }
}

fn render_held(held: &HeldBy, now: Timestamp) -> Markup {
    html! {
        li {
            span.tag.warn { "held: " (held.hold.replace('_', " ")) } " " (words::sentence(&held.detail))
            @if let Some(at) = held.retry_at.filter(|at| *at > now) {
                ". Tried again in " (words::span(at.duration_since(now)))
            }
        }
    }
}

fn change_state(state: ChangeState) -> Markup {
    let (class, text) = match state {
        ChangeState::Accepted => ("", "accepted, not mapped yet"),
        ChangeState::Waiting => ("", "waiting"),
        ChangeState::Pending => ("", "pending"),
        ChangeState::InProgress => ("", "in progress"),
        ChangeState::Completed => ("ok", "completed"),
        ChangeState::Shadowed => ("warn", "shadowed"),
        ChangeState::Failed => ("bad", "failed"),
        ChangeState::Skipped => ("", "nothing to invalidate"),
    };
    html! { span.tag .(class) { (text) } }
}

fn end_state(state: EndState) -> Markup {
    let (class, text) = match state {
        EndState::Waiting => ("", "waiting"),
        EndState::Pending => ("", "pending"),
        EndState::InProgress => ("", "in progress"),
        EndState::Shadowed => ("warn", "shadowed"),
        EndState::Completed => ("ok", "completed"),
        EndState::Failed => ("bad", "failed"),
        EndState::DeadLetter => ("bad", "dead letter"),
    };
    html! { span.tag .(class) { (text) } }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{history::Skipped, story::DeadEnd};

    fn change(state: ChangeState) -> ChangeView {
        ChangeView {
            id: 1,
            source: ChangeSource::Event {
                event: "ObjectCreated:Put".to_owned(),
                message_id: Uuid::nil(),
                sequencer: Some("00AF".to_owned()),
                time: None,
            },
            bucket: "site".to_owned(),
            key: "a".to_owned(),
            accepted_at: Timestamp::UNIX_EPOCH,
            state,
            held_by: Some(Vec::new()),
            targets: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn target(state: EndState) -> TargetView {
        TargetView {
            distribution_id: Some("E1".to_owned()),
            item: Some("/<a>".to_owned()),
            because: None,
            covered_by: None,
            state,
            held_by: Some(Vec::new()),
            invalidation_id: None,
            cloudfront_id: None,
            submitted_at: None,
            completed_at: None,
            dead_letter: None,
            failure: None,
        }
    }

    fn story(changes: &[ChangeView], next: Option<i64>) -> String {
        let search = Search {
            bucket: "site".to_owned(),
            key: "a&b \"<i>".to_owned(),
        };
        search
            .story(changes, next, Timestamp::UNIX_EPOCH)
            .into_string()
    }

    #[test]
    fn each_end_is_told_with_its_reason() {
        let mut one = change(ChangeState::Failed);
        one.targets = vec![target(EndState::Completed), target(EndState::DeadLetter)];
        let why = "no <path>".to_owned();
        one.targets[1].dead_letter = Some(DeadEnd { id: 77, why });
        one.targets.push(target(EndState::Failed));
        one.targets[0].covered_by = Some("/<b>*".to_owned());
        one.targets[2].failure = Some("rejected; <dropped>".to_owned());
        one.skipped = vec![Skipped {
            distribution_id: None,
            why: "no distribution has it".to_owned(),
        }];
        let shown = story(&[one], Some(5));
        for part in [
            ">failed<",
            ">completed<",
            ">dead letter<",
            "no &lt;path&gt;",
            "dead letter 77",
            " covered by <code",
            "/&lt;b&gt;*",
            "rejected; &lt;dropped&gt;",
            "everywhere: <bdi>no distribution has it",
            "/page/object?bucket=site&amp;key=a%26b+%22%3Ci%3E&amp;cursor=5",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("<a>"));
    }

    #[test]
    fn a_story_is_bounded_and_an_unknown_object_has_none() {
        let mut one = change(ChangeState::Waiting);
        one.targets = vec![target(EndState::Waiting); 80];
        let shown = story(&[one], None);
        assert_eq!(shown.matches("&lt;a&gt;").count(), ENDS);
        assert!(shown.contains("and 30 more items"));
        assert!(story(&[], None).contains("No change of this object is known"));
        let unfinished = story(&[], Some(5));
        assert!(unfinished.contains("searched so far") && unfinished.contains("cursor=5"));
    }
}
