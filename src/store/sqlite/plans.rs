//! Tests that statements find their rows by indexes, however much history there is.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{
    dead_letters::{BECAUSE, COUNT_BECAUSE, WAIT_AGAIN},
    figures::{COMPLETIONS, LAST_COMPLETED, SPENT},
    history::{IS_SETTLED, NEWEST_MESSAGE, select_invalidations},
    ledger::LEDGER,
    mapping::{OLDEST, select_waiting},
    merges::MADE_SINCE,
    migrations, notices,
    stories::{PARTS, select_changes},
};
use crate::domain::{
    batch::BatchStatus, history::InvalidationQuery, story::ChangeQuery, wait::Wait,
};

/// Checks that a statement neither scans a table nor sorts.
async fn uses_indexes(statement: &str) {
    for step in steps(statement).await {
        // What a subquery has limited, and a list of ids, may be read to the end.
        let bounded = step.starts_with("SCAN (subquery") || step.contains("VIRTUAL TABLE");
        let slow = step.starts_with("SCAN") && !bounded || step.contains("TEMP B-TREE");
        assert!(!slow, "{statement}: {step}");
    }
}

#[tokio::test]
async fn an_item_is_replayed_by_indexes() {
    uses_indexes(WAIT_AGAIN).await;
}

#[tokio::test]
async fn dead_letters_with_a_reason_are_found_by_an_index() {
    for statement in [BECAUSE, COUNT_BECAUSE] {
        uses_indexes(statement).await;
        let plan = steps(statement).await.join("\n");
        assert!(plan.contains("dead_letters_by_reason (why=?"), "{plan}");
    }
}

#[tokio::test]
async fn notices_are_found_by_indexes() {
    for statement in [notices::DUE, notices::NEXT, notices::SURPLUS] {
        uses_indexes(statement).await;
    }
}

#[tokio::test]
async fn the_newest_message_is_found_by_indexes() {
    uses_indexes(NEWEST_MESSAGE).await;
}

#[tokio::test]
async fn figures_are_read_by_indexes() {
    for statement in [COMPLETIONS, LAST_COMPLETED, SPENT, LEDGER] {
        uses_indexes(statement).await;
    }
    for statement in [COMPLETIONS, LAST_COMPLETED] {
        let plan = steps(statement).await.join("\n");
        assert!(plan.contains("INDEX batches_completed"), "{plan}");
    }
}

#[tokio::test]
async fn wildcards_that_were_made_are_found_by_an_index() {
    uses_indexes(MADE_SINCE).await;
    let plan = steps(MADE_SINCE).await.join("\n");
    let index = "INDEX batch_merges_of_distribution (distribution_id=? AND frozen_at>?)";
    assert!(plan.contains(index), "{plan}");
}

/// The steps of a statement's plan.
async fn steps(statement: &str) -> Vec<String> {
    let mut store = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let schema = migrations();
    schema.run_direct(None, &mut store, false).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let plan = sqlx::query(explain).fetch_all(&mut store).await.unwrap();
    assert!(!plan.is_empty());
    plan.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn a_request_and_a_story_are_read_by_indexes() {
    for statement in [&[IS_SETTLED], &PARTS[..]].concat() {
        for step in steps(statement).await {
            let lists = ["SCAN CONSTANT ROW", "SCAN json_each", "SCAN (subquery"];
            let is_list = lists.iter().any(|list| step.starts_with(list));
            assert!(!step.starts_with("SCAN") || is_list, "{statement}: {step}");
        }
    }
}

#[tokio::test]
async fn waiting_changes_are_found_by_indexes() {
    let wait = Wait::Details("E1".to_owned());
    uses_indexes(select_waiting(&wait, 7, 10).sql().as_str()).await;
    uses_indexes(OLDEST).await;
}

#[tokio::test]
async fn invalidations_are_listed_by_indexes() {
    // Several distributions without a status are merged by sorting.
    let ids = vec!["E1".to_owned(), "E2".to_owned()];
    let failed = Some(BatchStatus::Failed);
    for (distributions, status) in [(None, None), (None, failed), (Some(ids), failed)] {
        let query = InvalidationQuery {
            distributions,
            status,
            before: Some(7),
            limit: 10,
        };
        uses_indexes(select_invalidations(&query).sql().as_str()).await;
    }
}

#[tokio::test]
async fn the_changes_of_an_object_are_found_by_an_index() {
    let query = ChangeQuery {
        bucket: "site".to_owned(),
        key: "a".to_owned(),
        viewer: None,
        before: None,
        limit: 10,
    };
    let plan = async |unhashed| {
        let select = select_changes(&query, 20_000, 90_000, unhashed, 10);
        steps(select.sql().as_str()).await.join("\n")
    };
    let hashed = plan(0).await;
    let by_index = "SEARCH changes USING INDEX changes_of_object (<expr>=? AND object_hash=?)";
    assert!(hashed.contains(by_index), "{hashed}");
    // Those from before there were hashes: a stride of them, by their numbers.
    let unhashed = plan(50_000).await;
    let by_number = "SEARCH changes USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    assert_eq!(unhashed, by_number);
}
