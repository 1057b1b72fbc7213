//! One step for many dead letters: what it is about, the token that it needs, and what it did.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::{
    forms::{Action, Order, Selection},
    letters::what,
    receipt, words,
};
use crate::{
    domain::history::DeadLetter,
    http::{
        letters::{self, MAX_LIMIT, REPLAYED_PER_CALL, Replayed},
        problem::Problem,
    },
    ports::{Clock, StoreError, Wakeups, operations::OperationsStore},
};

/// The most ticked dead letters that the second step names, and how many of a reason, or of all.
const NAMED: usize = 20;
const SAMPLE: usize = 5;
/// How far those with a reason are counted.
const COUNTED: usize = 10_000;
/// For how long one step works: a request has a deadline.
const WORKS_FOR: SignedDuration = SignedDuration::from_secs(5);

/// The dead letters that an order is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Ids(Vec<i64>),
    /// All with exactly this reason.
    Because(String),
    All,
}

impl Scope {
    /// What a form has selected; `None` if the dead letter that stands for its reason is gone.
    pub(super) async fn of(
        selection: &Selection,
        store: &dyn OperationsStore,
    ) -> Result<Option<Self>, StoreError> {
        Ok(match selection {
            Selection::Ids(ids) => Some(Self::Ids(ids.clone())),
            Selection::Like(id) => {
                let letter = store.dead_letter(*id).await?;
                letter.map(|letter| Self::Because(letter.why))
            }
            Selection::All => Some(Self::All),
        })
    }

    /// A page of them, the newest first: those before a number.
    async fn page(
        &self,
        store: &dyn OperationsStore,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        match self {
            Self::Ids(ids) => {
                let mut letters = Vec::new();
                for id in ids.iter().take(limit) {
                    letters.extend(store.dead_letter(*id).await?);
                }
                Ok(letters)
            }
            Self::Because(why) => store.dead_letters_because(why, before, limit).await,
            Self::All => store.dead_letters(before, limit).await,
        }
    }

    /// What a form selects them by, where `first` is the first of them.
    fn selection(&self, first: &DeadLetter) -> Selection {
        match self {
            Self::Ids(ids) => Selection::Ids(ids.clone()),
            Self::Because(_) => Selection::Like(first.id),
            Self::All => Selection::All,
        }
    }
}

/// The second step: what is about to be done, and the token that it needs.
pub(super) struct Confirmation<'a> {
    order: &'a Order,
    scope: Scope,
    /// Some of the dead letters that it is about.
    named: Vec<DeadLetter>,
    /// How many there are, if known: of a reason, as far as they are counted.
    total: Option<u64>,
    pub(super) has_tokens: bool,
    /// Why the first try failed.
    pub(super) fault: Option<&'a str>,
}

impl<'a> Confirmation<'a> {
    /// Reads what the step has to say.
    pub(super) async fn read(
        order: &'a Order,
        scope: Scope,
        store: &dyn OperationsStore,
    ) -> Result<Self, StoreError> {
        let before = order.cursor;
        let (most, total) = match &scope {
            Scope::Ids(ids) => (NAMED, Some(ids.len() as u64)),
            Scope::Because(why) => {
                let count = store.count_dead_letters_because(why, before, COUNTED + 1);
                (SAMPLE, Some(count.await?))
            }
            Scope::All if before.is_some() => (SAMPLE, None),
            Scope::All => (SAMPLE, store.count_dead_letters(usize::MAX).await.ok()),
        };
        let named = scope.page(store, before, most).await?;
        Ok(Self {
            order,
            scope,
            named,
            total,
            has_tokens: false,
            fault: None,
        })
    }

    pub(super) fn title(&self) -> String {
        let verb = match self.order.action {
            Action::Replay => "Replay",
            Action::Drop => "Drop",
        };
        let total = self.total.unwrap_or(0);
        match &self.scope {
            Scope::Ids(_) => format!("{verb} {}?", words::counted(total, "dead letter")),
            Scope::Because(_) if total > COUNTED as u64 => {
                let most = words::count(COUNTED);
                format!("{verb} more than {most} dead letters with this reason?")
            }
            Scope::Because(_) => {
                let letters = words::counted(total, "dead letter");
                format!("{verb} {letters} with this reason?")
            }
            Scope::All if self.order.cursor.is_some() => {
                format!("{verb} the rest of all dead letters?")
            }
            Scope::All if self.total.is_none() => format!("{verb} all dead letters?"),
            Scope::All => format!("{verb} all {} dead letters?", words::number(total)),
        }
    }

    fn effect(&self) -> &'static str {
        match self.order.action {
            Action::Replay => {
                "What can be done again waits again, and is sent in its turn. What still cannot succeed \
                 stays a dead letter."
            }
            Action::Drop => {
                "What is dropped is given up for good: viewers may get stale content, and only the \
                 object’s story still tells it."
            }
        }
    }

    /// Those that are not named, in words.
    fn others(&self) -> Option<String> {
        let named = self.named.len() as u64;
        match self.total {
            Some(total) if total > COUNTED as u64 && matches!(self.scope, Scope::Because(_)) => {
                Some("and many more".to_owned())
            }
            Some(total) if total > named => {
                Some(format!("and {} more", words::number(total - named)))
            }
            Some(_) => None,
            None => (self.named.len() == SAMPLE).then(|| "and possibly more".to_owned()),
        }
    }

    pub(super) fn render(&self) -> Markup {
        html! {
            section.step aria-labelledby="step-title" {
                h1 #step-title { (self.title()) }
                p { (self.effect()) }
                @if let Scope::Because(why) = &self.scope {
                    p { "The reason: " (words::foreign(why)) }
                }
                @if !self.named.is_empty() {
                    ul.named {
                        @for letter in &self.named {
                            li {
                                (what(letter))
                                @if !matches!(self.scope, Scope::Because(_)) { p { (words::foreign(&letter.why)) } }
                            }
                        }
                    }
                    @if let Some(others) = self.others() { p.muted { (others) } }
                }
                @if let Some(fault) = self.fault { p.fault role="alert" #fault { (fault) } }
                (self.form())
            }
        }
    }

    fn form(&self) -> Markup {
        let verb = match self.order.action {
            Action::Replay => "Replay",
            Action::Drop => "Drop for good",
        };
        html! {
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

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    action: Action,
    done: u64,
    /// Those that cannot be replayed.
    kept: u64,
    /// What is left to do, if the step took too long.
    rest: Option<Order>,
}

impl Outcome {
    /// Where the outcome is shown, so that a reload repeats nothing.
    pub(super) fn address(&self, now: Timestamp) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("done", self.action.name())
            .append_pair("count", &self.done.to_string())
            .append_pair("kept", &self.kept.to_string());
        if let Some(rest) = &self.rest {
            query.extend_pairs(rest.fields());
        }
        let query = receipt::signed(&query.finish(), now);
        format!("/page/deadletters?{query}")
    }

    /// Reads the query of an [`Self::address`] that this process made not long ago.
    pub(super) fn read(query: &str, now: Timestamp) -> Option<Self> {
        let query = receipt::verified(query, now)?.as_bytes();
        let field = |name| super::forms::field(query, name);
        Some(Self {
            action: Action::parse(&field("done")?)?,
            done: field("count")?.parse().ok()?,
            kept: field("kept")?.parse().ok()?,
            rest: Order::read(query).ok().filter(|rest| rest.cursor.is_some()),
        })
    }

    /// The same without a rest of which there is nothing any more.
    pub(super) async fn checked(mut self, store: &dyn OperationsStore) -> Result<Self, StoreError> {
        if let Some(rest) = self.rest.take()
            && let Some(scope) = Scope::of(&rest.selection, store).await?
            && !scope.page(store, rest.cursor, 1).await?.is_empty()
        {
            self.rest = Some(rest);
        }
        Ok(self)
    }

    pub(super) fn render(&self) -> Markup {
        let done = words::counted(self.done, "dead letter");
        let rest = self.rest.as_ref().map(Order::query);
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
                @if let Some(rest) = rest {
                    p { "This step took too long to do all: "
                        a href=(format!("/page/deadletters/confirm?{rest}")) { "do the rest" } "." }
                }
            }
        }
    }

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

/// Carries an order out, as far as one step goes.
pub(super) async fn carry_out(
    order: &Order,
    scope: &Scope,
    store: &dyn OperationsStore,
    wakeups: &dyn Wakeups,
    clock: &dyn Clock,
) -> Result<Outcome, Problem> {
    let began = clock.now();
    let action = order.action;
    let mut outcome = Outcome {
        action,
        done: 0,
        kept: 0,
        rest: None,
    };
    let page = match (scope, action) {
        (Scope::Ids(_), _) | (_, Action::Drop) => MAX_LIMIT,
        (_, Action::Replay) => REPLAYED_PER_CALL,
    };
    let mut cursor = order.cursor;
    loop {
        let letters = scope.page(store, cursor, page).await?;
        outcome.act(&letters, store, wakeups).await?;
        let is_last = letters.len() < page || matches!(scope, Scope::Ids(_));
        let Some(last) = letters.last().filter(|_| !is_last) else {
            return Ok(outcome);
        };
        cursor = Some(last.id);
        if clock.now().duration_since(began) > WORKS_FOR {
            let left = scope.page(store, cursor, 1).await?;
            outcome.rest = left.first().map(|first| Order {
                action,
                selection: scope.selection(first),
                cursor,
            });
            return Ok(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: i64) -> DeadLetter {
        DeadLetter {
            id,
            kind: "item".to_owned(),
            why: "invalid <i>".to_owned(),
            content: Some("/<b>\u{1b}".to_owned()),
            distribution_id: None,
            bucket: None,
            key: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn order(selection: Selection, cursor: Option<i64>) -> Order {
        Order {
            action: Action::Drop,
            selection,
            cursor,
        }
    }

    fn confirmation(order: &Order, scope: Scope, total: Option<u64>) -> Confirmation<'_> {
        Confirmation {
            order,
            scope,
            named: vec![letter(1)],
            total,
            has_tokens: true,
            fault: None,
        }
    }

    #[test]
    fn the_second_step_asks_for_a_token_or_says_how_to_get_one() {
        let order = order(Selection::Ids(vec![1, 2]), None);
        let step = |has_tokens, fault| {
            let step = Confirmation {
                has_tokens,
                fault,
                ..confirmation(&order, Scope::Ids(vec![1, 2]), Some(2))
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

    #[test]
    fn the_second_step_says_how_many_have_the_whole_reason() {
        let like = order(Selection::Like(1), None);
        let long = "é".repeat(300);
        let step = |total| {
            let step = confirmation(&like, Scope::Because(long.clone()), Some(total));
            step.render().into_string()
        };
        let shown = step(1_800);
        for part in [
            "Drop 1,800 dead letters with this reason?",
            &long,
            "and 1,799 more",
            "name=\"why\" value=\"1\"",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let more = step(10_001);
        assert!(
            more.contains("Drop more than 10,000 dead letters") && more.contains("and many more")
        );
    }

    #[test]
    fn an_outcome_is_read_as_it_was_written_but_no_other() {
        let now = Timestamp::UNIX_EPOCH;
        let outcome = Outcome {
            action: Action::Drop,
            done: 2_000,
            kept: 0,
            rest: Some(order(Selection::Like(7), Some(9))),
        };
        let address = outcome.address(now);
        let (_, query) = address.split_once('?').unwrap();
        let shown = outcome.render().into_string();
        assert!(shown.contains("2,000 dead letters dropped") && shown.contains("do the rest"));
        assert_eq!(Outcome::read(query, now), Some(outcome));
        for forged in [
            query.replace("count=2000", "count=9000"),
            "done=drop&count=123456&kept=0".to_owned(),
        ] {
            assert_eq!(Outcome::read(&forged, now), None, "{forged}");
        }
    }
}
