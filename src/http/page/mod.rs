//! The status page of the admin listener, and the pages that it leads to.
//!
//! Each section is a pure value that is read here and rendered by its own module. The page appears
//! whatever fails: where the store cannot be read, the section says so.

mod chart;
mod distributions;
mod errors;
mod facts;
mod forms;
mod headline;
mod invalidations;
mod letters;
mod object;
mod receipt;
mod shell;
mod step;
mod words;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery, State, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use jiff::{Timestamp, tz::Offset};
use maud::{Markup, html};

pub(super) use self::errors::for_people;
use self::{
    distributions::{Figures, Row},
    facts::{Costs, Intake, Month, Sending},
    forms::{FormFault, Order},
    headline::Headline,
    invalidations::READ as INVALIDATIONS_READ,
    letters::Letters,
    object::Search,
    shell::Page,
    step::{Confirmation, Outcome, Scope},
};
use super::{AppState, auth::Caller, probes, problem::Problem};
use crate::{
    domain::{
        history::InvalidationQuery,
        ledger::MonthStatus,
        operations::{Controls, DayBudget, day_of},
        propagation::{self, day_before},
        status::Audience,
        story::ChangeQuery,
    },
    ports::StoreError,
    telemetry::Check,
};

/// The most completed invalidations that the figures of a distribution's last day are made from.
const COMPLETIONS: usize = 2_000;

/// The routes of the pages. They have the guard of the operators' endpoints.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(show))
        .route("/page.css", get(shell::style))
        .route("/page.js", get(shell::script))
        .route("/page/distributions", get(more_distributions))
        .route("/page/invalidations/{id}", get(invalidation))
        .route("/page/object", get(story))
        .route("/page/deadletters", get(dead_letters).post(act))
        .route("/page/deadletters/confirm", get(confirm))
}

async fn show(State(state): State<AppState>) -> Response {
    let now = state.clock.now();
    let (ready, checks, letters_total) = probes::checks(&state, usize::MAX).await;
    let headline = Headline::of(ready, &checks, state.status.borrow().leadership.leads());
    let today = day_of(now);
    let newest = InvalidationQuery {
        limit: INVALIDATIONS_READ,
        ..InvalidationQuery::default()
    };
    let (controls, silent_since, letters, newest) = tokio::join!(
        state.operations.controls(today),
        state.history.silent_since(),
        state.operations.dead_letters(None, letters::SHOWN + 1),
        state.history.invalidations(&newest),
    );
    let controls = controls.ok();
    let rows = rows(&state, controls.as_ref(), now);
    let figures = figures(&state, &rows[..distributions::told(&rows)], now).await;
    let facts = {
        let status = state.status.borrow();
        let limit = state.day_limit;
        let warned = [probes::SUBSCRIPTIONS, probes::UNSUBSCRIBED]
            .iter()
            .any(|check| checks.get(check).is_some_and(|found| *found != Check::ok()));
        let sending = Sending::of(&status, controls.as_ref().map(|known| known.pauses.clone()));
        let topics = state.sns.topics.len();
        let intake = Intake::of(&status, silent_since.ok(), topics, warned);
        let costs = controls.map(
            |Controls {
                 spending, ledger, ..
             }| Costs {
                month: MonthStatus::of(ledger, &state.economy, now),
                today: DayBudget { limit, spending },
            },
        );
        let month = Offset::UTC.to_datetime(now).strftime("%B %Y").to_string();
        let month = Month::of(month, costs);
        facts::render(&sending, &intake, &month, now)
    };
    let letters = letters.map(|read| Letters::of(read, letters::SHOWN, letters_total));
    let content = html! {
        (headline.render())
        (facts)
        (shell::section("distributions", "Distributions",
            &distributions::overview(&rows, figures.as_ref(), now)))
        (shell::section("object", "One object’s story", &Search::default().render()))
        (shell::section("deadletters", "Dead letters",
            &or_unreadable(&letters, |page| page.render(now))))
        (shell::section("invalidations", "Recent invalidations",
            &or_unreadable(&newest, |newest| invalidations::recent(newest, now))))
    };
    let parts = [
        ("distributions", "Distributions"),
        ("object", "Object"),
        ("deadletters", "Dead letters"),
        ("invalidations", "Invalidations"),
    ];
    let page = Page {
        title: &headline.title(),
        now,
        live: true,
        parts: &parts,
        content,
    };
    page.respond(StatusCode::OK)
}

/// All distributions, in the page's order.
fn rows(state: &AppState, controls: Option<&Controls>, now: Timestamp) -> Vec<Row> {
    let pauses = controls
        .map(|controls| controls.pauses.clone())
        .unwrap_or_default();
    let catalogue = state.catalogue.get();
    distributions::rows(&state.status.borrow(), &pauses, catalogue.as_deref(), now)
}

/// What the store knows of these distributions' completed invalidations; `None` if it cannot be read.
async fn figures(state: &AppState, rows: &[Row], now: Timestamp) -> Option<Figures> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let (completions, last_completed) = tokio::join!(
        state
            .history
            .completions(&ids, day_before(now), COMPLETIONS),
        state.history.last_completed(&ids),
    );
    Some(Figures {
        propagation: propagation::by_distribution(completions.ok()?, now),
        last_completed: last_completed.ok()?,
    })
}

fn or_unreadable<T>(read: &Result<T, StoreError>, render: impl FnOnce(&T) -> Markup) -> Markup {
    read.as_ref().map_or_else(|_| shell::unreadable(), render)
}

/// A page that is not kept up to date.
fn plain(status: StatusCode, title: &str, now: Timestamp, content: Markup) -> Response {
    let page = Page {
        title,
        now,
        live: false,
        parts: &[],
        content,
    };
    page.respond(status)
}

/// A page for what could not be done.
fn failed(status: StatusCode, now: Timestamp, title: &str, detail: &str) -> Response {
    let content = html! {
        h1 { (title) }
        p { (detail) }
        p { a.button href="/" { "Back to the status page" } }
    };
    plain(status, title, now, content)
}

fn store_unreadable(now: Timestamp) -> Response {
    let detail = "The store cannot be read now: try again, and see the status page.";
    failed(
        StatusCode::SERVICE_UNAVAILABLE,
        now,
        "Not readable now",
        detail,
    )
}

async fn more_distributions(State(state): State<AppState>, RawQuery(query): RawQuery) -> Response {
    let now = state.clock.now();
    let query = query.unwrap_or_default();
    let from = forms::field(query.as_bytes(), "from").and_then(|from| from.parse().ok());
    let from = from.unwrap_or(0);
    let controls = state.operations.controls(day_of(now)).await.ok();
    let rows = rows(&state, controls.as_ref(), now);
    let begin = distributions::page_of(rows.len(), from);
    let shown = &rows[begin..rows.len().min(begin + distributions::SHOWN)];
    let figures = figures(&state, shown, now).await;
    let content = html! {
        section #distributions data-part aria-labelledby="distributions-title" {
            h1 #distributions-title { "Distributions" }
            (distributions::render(&rows, begin, figures.as_ref(), now))
        }
    };
    let page = Page {
        title: "Distributions",
        now,
        live: true,
        parts: &[],
        content,
    };
    page.respond(StatusCode::OK)
}

async fn invalidation(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let now = state.clock.now();
    match state.history.invalidation(&id).await {
        Ok(Some(detail)) => Page {
            title: "Invalidation",
            now,
            live: true,
            parts: &[],
            content: invalidations::detail(&detail, now),
        }
        .respond(StatusCode::OK),
        Ok(None) => {
            let detail = "There is no invalidation with this id, or it is older than the history that is kept.";
            failed(StatusCode::NOT_FOUND, now, "Not found", detail)
        }
        Err(_) => store_unreadable(now),
    }
}

async fn story(State(state): State<AppState>, RawQuery(query): RawQuery) -> Response {
    let now = state.clock.now();
    let query = query.unwrap_or_default();
    let given = |name| forms::field(query.as_bytes(), name);
    let search = Search {
        bucket: given("bucket").unwrap_or_default(),
        key: given("key").unwrap_or_default(),
    };
    let mut told = html! {};
    if !search.bucket.is_empty() && !search.key.is_empty() {
        let query = ChangeQuery {
            bucket: search.bucket.clone(),
            key: search.key.clone(),
            viewer: None,
            before: given("cursor").and_then(|cursor| cursor.parse().ok()),
            limit: object::SHOWN,
        };
        let Ok(page) = state.history.changes(&query).await else {
            return store_unreadable(now);
        };
        let status = state.status.borrow();
        let changes = page.changes.into_iter();
        let changes: Vec<_> = changes
            .map(|story| story.told(&status, Audience::Everything, now))
            .collect();
        told = html! {
            section #story data-part aria-labelledby="story-title" {
                h2 #story-title { "Changes of " (words::code(&search.key)) }
                (search.story(&changes, page.next, now))
            }
        };
    }
    let content = html! {
        h1 { "One object’s story" }
        section #search aria-label="Search" { (search.render()) }
        (told)
    };
    let page = Page {
        title: "Object",
        now,
        live: true,
        parts: &[],
        content,
    };
    page.respond(StatusCode::OK)
}

async fn dead_letters(State(state): State<AppState>, RawQuery(query): RawQuery) -> Response {
    let now = state.clock.now();
    let query = query.unwrap_or_default();
    let given = |name| forms::field(query.as_bytes(), name);
    let mut outcome = Outcome::read(&query, now);
    if let Some(done) = outcome.take() {
        match done.checked(&*state.operations).await {
            Ok(done) => outcome = Some(done),
            Err(_) => return store_unreadable(now),
        }
    }
    let cursor = given("cursor").filter(|_| outcome.is_none());
    let cursor = cursor.and_then(|cursor| cursor.parse().ok());
    let (total, read) = tokio::join!(
        state.operations.count_dead_letters(usize::MAX),
        state.operations.dead_letters(cursor, letters::PAGE + 1),
    );
    let Ok(read) = read else {
        return store_unreadable(now);
    };
    let letters = Letters::of(read, letters::PAGE, total.ok());
    let content = html! {
        h1 { "Dead letters" }
        @if let Some(outcome) = outcome { (outcome.render()) }
        p.muted { "Accepted work that can never succeed as it is. Mend what is told, then replay; or drop." }
        section #deadletters data-part aria-label="List" { (letters.render(now)) }
    };
    plain(StatusCode::OK, "Dead letters", now, content)
}

async fn confirm(State(state): State<AppState>, RawQuery(query): RawQuery) -> Response {
    let now = state.clock.now();
    match Order::read(query.unwrap_or_default().as_bytes()) {
        Ok(order) => second_step(&state, &order, StatusCode::OK, None).await,
        Err(fault) => badly_filled(now, fault),
    }
}

fn badly_filled(now: Timestamp, fault: FormFault) -> Response {
    let content = html! {
        h1 { "Nothing was done" }
        p { (words::foreign(&fault.to_string())) "." }
        p { a.button href="/page/deadletters" { "Back to the dead letters" } }
    };
    plain(StatusCode::BAD_REQUEST, "Nothing was done", now, content)
}

async fn second_step(
    state: &AppState,
    order: &Order,
    status: StatusCode,
    fault: Option<&str>,
) -> Response {
    let now = state.clock.now();
    let step = match Scope::of(&order.selection, &*state.operations).await {
        Ok(Some(scope)) => Confirmation::read(order, scope, &*state.operations).await,
        Ok(None) => return badly_filled(now, FormFault::Gone),
        Err(error) => Err(error),
    };
    let Ok(mut step) = step else {
        return store_unreadable(now);
    };
    step.has_tokens = !state.tokens.is_empty();
    step.fault = fault;
    plain(status, &step.title(), now, step.render())
}

/// Replays or drops dead letters. Whoever does it shows a token, wherever the listener is: a page is
/// more easily clicked on by mistake than a command is typed.
async fn act(State(state): State<AppState>, body: Result<Bytes, BytesRejection>) -> Response {
    let now = state.clock.now();
    let Ok(body) = body else {
        return Problem::too_large(super::ADMIN_BODY).into_response();
    };
    let order = match Order::read(&body) {
        Ok(order) => order,
        Err(fault) => return badly_filled(now, fault),
    };
    let given = forms::field(&body, "token");
    let refused = match Caller::of(&state.tokens, given.as_deref(), &state.metrics) {
        Ok(caller) if caller.limited_to().is_none() => None,
        Ok(_) => {
            Some("This token is limited to some distributions: it cannot be used for operations.")
        }
        Err(why) => Some(why.on_the_page()),
    };
    if refused.is_some() {
        return second_step(&state, &order, StatusCode::FORBIDDEN, refused).await;
    }
    let scope = match Scope::of(&order.selection, &*state.operations).await {
        Ok(Some(scope)) => scope,
        Ok(None) => return badly_filled(now, FormFault::Gone),
        Err(_) => return store_unreadable(now),
    };
    let (store, wakeups) = (&*state.operations, &*state.wakeups);
    match step::carry_out(&order, &scope, store, wakeups, &*state.clock).await {
        Ok(outcome) => Redirect::to(&outcome.address(now)).into_response(),
        Err(problem) => problem.into_response(),
    }
}
