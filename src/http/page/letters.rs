//! Dead letters: the list, with the form that leads to the second step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::domain::history::DeadLetter;

/// The most dead letters on the status page, and on a page of their own.
pub(super) const SHOWN: usize = 10;
pub(super) const PAGE: usize = 50;
/// How much of a reason stands in the list of them.
const REASON: usize = 200;

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letters {
    pub(super) shown: Vec<DeadLetter>,
    /// Where the next page begins.
    pub(super) next: Option<i64>,
    /// How many there are; `None` if they could not be counted.
    pub(super) total: Option<u64>,
}

impl Letters {
    /// The page of those that were read, which may be one more than fit.
    pub(super) fn of(mut read: Vec<DeadLetter>, page: usize, total: Option<u64>) -> Self {
        let more = read.len() > page;
        read.truncate(page);
        let next = read.last().filter(|_| more).map(|last| last.id);
        Self {
            shown: read,
            next,
            total,
        }
    }

    /// Their reasons, each with one that has it: a browser could not send every reason unchanged.
    fn reasons(&self) -> BTreeMap<&str, i64> {
        let letters = self.shown.iter();
        letters
            .map(|letter| (letter.why.as_str(), letter.id))
            .collect()
    }

    /// The list, with a form that leads to the second step.
    pub(super) fn render(&self, now: Timestamp) -> Markup {
        html! {
            @if self.shown.is_empty() {
                p.muted { "There are none." }
            } @else {
                form.letters #letters-form method="get" action="/page/deadletters/confirm" {
                    fieldset.bulk {
                        legend { "Replay or drop many" }
                        (self.choices())
                        div.buttons {
                            button type="submit" name="do" value="replay" { "Replay…" }
                            button.danger type="submit" name="do" value="drop" { "Drop…" }
                        }
                    }
                    (self.table(now))
                }
                @if let Some(next) = self.next {
                    p.pages { a href=(format!("/page/deadletters?cursor={next}")) { "Older dead letters" } }
                }
            }
        }
    }

    fn choices(&self) -> Markup {
        html! {
            label { input #scope-ids type="radio" name="scope" value="ids" checked; " those that are ticked" }
            label { input #scope-why type="radio" name="scope" value="why"; " all with the reason " }
            select #why name="why" aria-label="the reason" {
                @for (why, id) in self.reasons() {
                    option value=(id) { (words::foreign_text(&why[..why.floor_char_boundary(REASON)]))
                        @if why.len() > REASON { "…" } }
                }
            }
            label { input #scope-all type="radio" name="scope" value="all"; " all"
                @if let Some(total) = self.total { " " (words::number(total)) }
            }
        }
    }

    fn table(&self, now: Timestamp) -> Markup {
        html! {
            table.cards role="table" {
                caption.hidden { "Dead letters, the newest first" }
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { span.hidden { "Tick" } }
                    th role="columnheader" scope="col" { "What" }
                    th role="columnheader" scope="col" { "Why it cannot succeed" }
                    th role="columnheader" scope="col" { "Distribution" }
                    th.n role="columnheader" scope="col" { "Since" }
                    th role="columnheader" scope="col" { span.hidden { "Actions" } }
                } }
                tbody role="rowgroup" {
                    @for letter in &self.shown { (row(letter, now)) }
                }
            }
        }
    }
}

fn row(letter: &DeadLetter, now: Timestamp) -> Markup {
    let id = letter.id;
    html! {
        tr role="row" {
            td.tick role="cell" {
                label { input id={ "tick-" (id) } type="checkbox" name="id" value=(id);
                    span.hidden { "Dead letter " (id) } }
            }
            th role="rowheader" scope="row" { (what(letter)) }
            td role="cell" data-label="Why" { (words::foreign(&letter.why)) }
            td role="cell" data-label="Distribution" {
                @match &letter.distribution_id {
                    Some(id) => (words::code(id)),
                    None => span.muted { "none" },
                }
            }
            td.n role="cell" data-label="Since" { (words::ago(now, letter.created_at)) }
            td.buttons role="cell" {
                button type="submit" name="one" value={ "replay-" (id) }
                    aria-label={ "Replay dead letter " (id) } { "Replay…" }
                button.danger type="submit" name="one" value={ "drop-" (id) }
                    aria-label={ "Drop dead letter " (id) } { "Drop…" }
            }
        }
    }
}

/// An item, an object, or a record that cannot be read.
pub(super) fn what(letter: &DeadLetter) -> Markup {
    let id = format!("content-{}", letter.id);
    html! {
        @match (&letter.bucket, &letter.key, &letter.content) {
            (Some(bucket), Some(key), _) => (super::invalidations::object(bucket, key)),
            (_, _, Some(content)) => (words::unfolded(&id, content)),
            _ => { "a " (words::foreign(&letter.kind)) }
        }
        p.muted { (words::foreign(&letter.kind)) " " (letter.id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: i64, why: &str) -> DeadLetter {
        DeadLetter {
            id,
            kind: "item".to_owned(),
            why: why.to_owned(),
            content: Some("/<b>\u{1b}".to_owned()),
            distribution_id: None,
            bucket: None,
            key: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_page_has_its_letters_their_reasons_and_where_the_next_begins() {
        let long = "é".repeat(300);
        let read = [
            letter(9, "invalid"),
            letter(8, &long),
            letter(7, "invalid"),
            letter(6, "x"),
        ];
        let page = Letters::of(read.to_vec(), 3, Some(4));
        assert_eq!((page.shown.len(), page.next), (3, Some(7)));
        assert_eq!(page.reasons(), [("invalid", 7), (&long, 8)].into());
        assert_eq!(Letters::of(read.to_vec(), 4, None).next, None);
        let shown = page.render(Timestamp::UNIX_EPOCH).into_string();
        assert!(!shown.contains("<b>") && shown.contains("/&lt;b&gt;\\u001b"));
        assert!(shown.contains("/page/deadletters?cursor=7"));
        let cut = format!("<option value=\"8\">{}…<", "é".repeat(100));
        assert!(shown.contains(&cut), "{shown}");
    }
}
