//! Dead letters: the list with its form, the second step that asks for a token, and what came of it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::{
    forms::{Action, Order, Selection},
    words,
};
use crate::{
    domain::history::DeadLetter,
    http::{
        letters::{self, MAX_LIMIT, REPLAYED_PER_CALL, Replayed},
        problem::Problem,
    },
    ports::{Clock, Wakeups, operations::OperationsStore},
};

/// The most dead letters on the status page, and on a page of their own.
pub(super) const SHOWN: usize = 10;
pub(super) const PAGE: usize = 50;
/// The most dead letters that the second step names.
pub(super) const NAMED: usize = 20;
/// For how long one step works: a request has a deadline.
const WORKS_FOR: SignedDuration = SignedDuration::from_secs(5);
/// A reason is found by its beginning: the rest may be long.
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

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) action: Action,
    pub(super) done: u64,
    /// Those that cannot be replayed.
    pub(super) kept: u64,
    /// Where the next step begins, if there is more to do.
    pub(super) next: Option<i64>,
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

    /// Their reasons, each once, cut where they are long.
    fn reasons(&self) -> BTreeSet<&str> {
        let reasons = self.shown.iter().map(|letter| letter.why.as_str());
        reasons
            .map(|why| &why[..why.floor_char_boundary(REASON)])
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
                @for why in self.reasons() { option value=(why) { (words::foreign_text(why)) } }
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
fn what(letter: &DeadLetter) -> Markup {
    html! {
        @match (&letter.bucket, &letter.key, &letter.content) {
            (Some(bucket), Some(key), _) => (super::invalidations::object(bucket, key)),
            (_, _, Some(content)) => { (words::short_code(content)) }
            _ => { "a " (words::foreign(&letter.kind)) }
        }
        p.muted { (words::foreign(&letter.kind)) " " (letter.id) }
    }
}

/// The second step: what is about to be done, and the token that it needs.
pub(super) struct Confirmation<'a> {
    pub(super) order: &'a Order,
    /// Some of the dead letters that it is about.
    pub(super) named: &'a [DeadLetter],
    /// How many there are, if known.
    pub(super) total: Option<u64>,
    pub(super) has_tokens: bool,
    /// Why the first try failed.
    pub(super) fault: Option<&'a str>,
}

impl Confirmation<'_> {
    pub(super) fn title(&self) -> String {
        let verb = match self.order.action {
            Action::Replay => "Replay",
            Action::Drop => "Drop",
        };
        match (&self.order.selection, self.total) {
            (Selection::Ids(ids), _) => {
                format!(
                    "{verb} {}?",
                    words::counted(ids.len() as u64, "dead letter")
                )
            }
            (Selection::Why(_), _) => format!("{verb} all dead letters with this reason?"),
            (Selection::All, Some(total)) => {
                format!("{verb} all {} dead letters?", words::number(total))
            }
            (Selection::All, None) => format!("{verb} all dead letters?"),
        }
    }

    fn effect(&self) -> &'static str {
        match self.order.action {
            Action::Replay => {
                "What can be done again waits again, and is sent in its turn. What still cannot succeed \
                 stays a dead letter."
            }
            Action::Drop => {
                "What is dropped is given up for good: viewers may get stale content, and nothing here \
                 shows it any more."
            }
        }
    }

    pub(super) fn render(&self) -> Markup {
        let verb = match self.order.action {
            Action::Replay => "Replay",
            Action::Drop => "Drop for good",
        };
        html! {
            section.step aria-labelledby="step-title" {
                h1 #step-title { (self.title()) }
                p { (self.effect()) }
                @if let Selection::Why(why) = &self.order.selection {
                    p { "The reason: " (words::foreign(why)) }
                }
                @if !self.named.is_empty() {
                    ul.named {
                        @for letter in self.named { li { (what(letter)) p { (words::foreign(&letter.why)) } } }
                    }
                    @if let Selection::Ids(ids) = &self.order.selection && ids.len() > self.named.len() {
                        p.muted { "and " (words::count(ids.len() - self.named.len())) " more" }
                    }
                }
                @if let Some(fault) = self.fault { p.fault role="alert" #fault { (fault) } }
                @if self.has_tokens {
                    form method="post" action="/page/deadletters" {
                        @for (name, value) in self.order.fields() {
                            input type="hidden" name=(name) value=(value);
                        }
                        label for="token" { "API token" }
                        input #token type="password" name="token" autocomplete="current-password"
                            required spellcheck="false" aria-describedby="token-help";
                        p.muted.small #token-help { "One that is not limited to some distributions." }
                        div.buttons {
                            button.danger[self.order.action == Action::Drop] type="submit" { (verb) }
                            a.button href="/page/deadletters" { "Cancel" }
                        }
                    }
                } @else {
                    p.fault { "This needs an API token, and none is configured. "
                        (words::sentence("`purgefront token` makes one: put what it prints into the configuration \
                            ([[api.tokens]]), or set PURGEFRONT_API_TOKEN, and restart the service.")) }
                    p { a.button href="/page/deadletters" { "Back" } }
                }
            }
        }
    }
}

impl Outcome {
    pub(super) fn render(&self, again: Option<&str>) -> Markup {
        let done = words::counted(self.done, "dead letter");
        html! {
            div.result role="status" {
                p {
                    @match self.action {
                        Action::Replay => { (done) " replayed" }
                        Action::Drop => { (done) " dropped" }
                    }
                    @if self.kept > 0 { ", " (words::number(self.kept)) " still cannot succeed and stayed" }
                    "."
                }
                @if let Some(again) = again {
                    p { "This step took too long to do all: " a href=(again) { "do the rest" } "." }
                }
            }
        }
    }
}

/// Carries an order out, as far as one step goes.
pub(super) async fn carry_out(
    order: &Order,
    store: &dyn OperationsStore,
    wakeups: &dyn Wakeups,
    clock: &dyn Clock,
) -> Result<Outcome, Problem> {
    let began = clock.now();
    let mut outcome = Outcome {
        action: order.action,
        done: 0,
        kept: 0,
        next: None,
    };
    let why = match &order.selection {
        Selection::Ids(ids) => {
            let mut letters = Vec::with_capacity(ids.len());
            for id in ids {
                letters.extend(store.dead_letter(*id).await?);
            }
            outcome.act(&letters, store, wakeups).await?;
            return Ok(outcome);
        }
        Selection::Why(why) => Some(why.as_str()),
        Selection::All => None,
    };
    let page = match order.action {
        Action::Replay => REPLAYED_PER_CALL,
        Action::Drop => MAX_LIMIT,
    };
    let mut cursor = order.cursor;
    loop {
        let (letters, next) = letters::chosen(store, why, cursor, page).await?;
        outcome.act(&letters, store, wakeups).await?;
        cursor = next;
        if cursor.is_none() || clock.now().duration_since(began) > WORKS_FOR {
            outcome.next = cursor;
            return Ok(outcome);
        }
    }
}

impl Outcome {
    async fn act(
        &mut self,
        letters: &[DeadLetter],
        store: &dyn OperationsStore,
        wakeups: &dyn Wakeups,
    ) -> Result<(), Problem> {
        match self.action {
            Action::Replay => {
                let Replayed { replayed, kept } =
                    letters::replay_all(store, wakeups, letters).await?;
                self.done += replayed;
                self.kept += kept;
            }
            Action::Drop => self.done += letters::drop_all(store, letters).await?,
        }
        Ok(())
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
        let cut = "é".repeat(100);
        assert_eq!(page.reasons(), ["invalid", cut.as_str()].into());
        assert_eq!(Letters::of(read.to_vec(), 4, None).next, None);
        let shown = page.render(Timestamp::UNIX_EPOCH).into_string();
        assert!(!shown.contains("<b>") && shown.contains("/&lt;b&gt;\\u001b"));
        assert!(shown.contains("/page/deadletters?cursor=7"));
    }

    #[test]
    fn the_second_step_asks_for_a_token_or_says_how_to_get_one() {
        let order = Order {
            action: Action::Drop,
            selection: Selection::Ids(vec![1, 2]),
            cursor: None,
        };
        let step = |has_tokens, fault| {
            let named = [letter(1, "invalid")];
            let (order, named) = (&order, &named[..]);
            let step = Confirmation {
                order,
                named,
                total: None,
                has_tokens,
                fault,
            };
            step.render().into_string()
        };
        let asks = step(true, Some("the token is unknown"));
        for part in [
            "Drop 2 dead letters?",
            "autocomplete=\"current-password\"",
            "role=\"alert\"",
            "name=\"id\" value=\"2\"",
            "and 1 more",
        ] {
            assert!(asks.contains(part), "{part}: {asks}");
        }
        let none = step(false, None);
        assert!(none.contains("PURGEFRONT_API_TOKEN") && !none.contains("<input"));
    }
}
