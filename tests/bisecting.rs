//! While the bad items of a batch are looked for, everything else goes on, on a clock that jumps.

use std::time::Duration;

use crate::support::{
    nature::Nature,
    simulation::{Input, World, nature},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn change(id: &str, key: &str) -> Input {
    Input::Events(id.to_owned(), vec![key.to_owned()])
}

fn path(id: &str, path: &str) -> Input {
    Input::Request(id.to_owned(), vec![path.to_owned()])
}

/// When CloudFront took an item.
fn taken(world: &World, item: &str) -> Option<Duration> {
    let mut attempts = world.cdn.attempts().into_iter();
    let of_it = |sent: &String| sent == item;
    let taken = attempts.find(|one| one.answer == "created" && one.order.items.iter().any(of_it));
    taken.map(|one| one.at)
}

/// 1,000 changes of A, a tenth of them with a key that CloudFront takes in no batch.
fn bad_flood() -> (Nature, Input) {
    let keys: Vec<_> = (0..1_000).map(|nth| format!("k{nth}")).collect();
    let nature = Nature {
        bad: keys
            .iter()
            .step_by(10)
            .map(|key| format!("/{key}"))
            .collect(),
        ..nature(&["A", "B"])
    };
    (nature, Input::Events("A".to_owned(), keys))
}

#[tokio::test]
async fn a_search_for_a_hundred_bad_items_delays_nobody() {
    let (nature, flood) = bad_flood();
    let world = World::start(nature, 1).await;
    let minute = |nth: u32| MINUTE * nth;
    let mut inputs = vec![(SECOND * 5, flood)];
    // By turns: the person's request waits while B's change comes, too.
    for nth in 1..6 {
        inputs.push((minute(nth), path("A", &format!("/asked-{nth}"))));
        inputs.push((minute(nth) + SECOND, change("B", &format!("changed-{nth}"))));
    }
    let over = |world: &World| world.cdn.elapsed() > minute(7);
    world.play(&inputs, minute(8), over).await;
    let waited = |item: String, accepted: Duration| {
        taken(&world, &item).map(|at| at.saturating_sub(accepted))
    };
    let people = (1..6).map(|nth| waited(format!("/asked-{nth}"), minute(nth)));
    let people: Vec<_> = people.collect();
    let others = (1..6).map(|nth| waited(format!("/changed-{nth}"), minute(nth) + SECOND));
    let others: Vec<_> = others.collect();
    eprintln!("at A, people wait {people:?}; B waits {others:?}");
    let soon = |waited: &Option<Duration>| waited.is_some_and(|waited| waited <= SECOND * 30);
    assert!(people.iter().all(soon), "people wait {people:?}");
    assert!(others.iter().all(soon), "B waits {others:?}");
    world.is_fair();
    world.end().await;
}

/// The search itself has its turns, too, and comes to its end.
#[tokio::test]
async fn a_stream_of_requests_stops_no_search() {
    let keys: Vec<_> = (0..100).map(|nth| format!("k{nth}")).collect();
    let nature = Nature {
        bad: vec!["/k10".to_owned(), "/k77".to_owned()],
        ..nature(&["A"])
    };
    let world = World::start(nature, 1).await;
    let mut inputs = vec![(SECOND * 5, Input::Events("A".to_owned(), keys))];
    let stream = (10..310).map(|nth| (SECOND * nth, path("A", &format!("/asked-{nth}"))));
    inputs.extend(stream);
    world.play(&inputs, MINUTE * 10, |_| true).await;
    // Two bad ones among 100 cost some 25 calls, and every second one is the search's.
    let unfound: Vec<_> = (0..100)
        .map(|nth| format!("/k{nth}"))
        .filter(|item| taken(&world, item).is_none())
        .collect();
    assert_eq!(unfound, ["/k10", "/k77"]);
    world.play_to_the_end(&[], MINUTE * 10).await;
    world.holds().await;
    world.end().await;
}

#[tokio::test]
async fn what_a_person_asks_for_is_tried_apart_from_the_suspects() {
    let keys: Vec<_> = (0..200).map(|nth| format!("k{nth}")).collect();
    let nature = Nature {
        bad: keys
            .iter()
            .step_by(4)
            .map(|key| format!("/{key}"))
            .collect(),
        ..nature(&["A"])
    };
    let world = World::start(nature, 1).await;
    let asked: Vec<_> = (0..5).map(|nth| format!("/asked-{nth}")).collect();
    let inputs = [
        // So that all that is known of A is known.
        (SECOND * 5, change("A", "before")),
        (SECOND * 10, Input::Events("A".to_owned(), keys)),
        (SECOND * 10, Input::Request("A".to_owned(), asked.clone())),
    ];
    let over = |world: &World| asked.iter().all(|item| taken(world, item).is_some());
    world.play(&inputs, MINUTE * 30, over).await;
    let attempts = world.cdn.attempts();
    let mixed = |items: &[String]| items.contains(&asked[0]) && items.contains(&"/k0".to_owned());
    let first = attempts.iter().position(|one| mixed(&one.order.items));
    let first = first.expect("a batch has bad items and the person's");
    assert_eq!(attempts[first].answer, "invalid");
    let further = attempts.len() - 1 - first;
    assert!(further <= 2, "it took {further} further calls");
    world.end().await;
}
