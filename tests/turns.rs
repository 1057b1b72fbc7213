//! The judge of turns sees what it should, and nothing else, or every test over it would prove
//! little.

use std::time::Duration;

use crate::support::turns::{Answer, Arrival, Conditions, Delay, Turn, delays};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn arrival(seconds: u64, id: &str, item: &str) -> Arrival {
    Arrival {
        at: at(seconds),
        mapped_at: at(seconds),
        distribution_id: id.to_owned(),
        item: item.to_owned(),
    }
}

fn turn(seconds: u64, id: &str, items: &[&str], answer: Answer) -> Turn {
    Turn {
        at: at(seconds),
        distribution_id: id.to_owned(),
        items: items.iter().map(|item| (*item).to_owned()).collect(),
        answer,
    }
}

fn conditions() -> Conditions {
    Conditions {
        max_wait: at(10),
        propagation: at(10),
        certain_room: 1_900,
        end: at(600),
        ..Conditions::default()
    }
}

/// A call every two seconds for others, so many and so answered, and at last one for E1.
fn calls_of_others(others: &[&str], count: u64, answer: Answer) -> Vec<Turn> {
    let nth = |nth: u64| {
        let id = others[usize::try_from(nth).unwrap() % others.len()];
        turn(2 * nth, id, &["/theirs"], answer)
    };
    let mut turns: Vec<_> = (0..count).map(nth).collect();
    turns.push(turn(2 * count, "E1", &["/a"], Answer::Taken));
    turns
}

fn judged(turns: &[Turn]) -> Vec<Delay> {
    delays(&[arrival(1, "E1", "/a")], turns, &conditions())
}

#[test]
fn each_other_has_its_turns_and_a_stream_has_not_all_of_them() {
    // Overdue at 21 s: that is ten calls, and then six are fair.
    assert_eq!(judged(&calls_of_others(&["E2"], 17, Answer::Taken)), []);
    let told = judged(&calls_of_others(&["E2"], 18, Answer::Taken));
    let expected = Delay {
        distribution_id: "E1".to_owned(),
        since: at(21),
        until: at(34),
        others: 7,
        healthy: 1,
    };
    assert_eq!(told, [expected]);
    // Ten others make 29 calls fair.
    let ids: Vec<_> = (0..10).map(|nth| format!("O{nth}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert_eq!(judged(&calls_of_others(&ids, 11 + 29, Answer::Taken)), []);
    assert_eq!(
        judged(&calls_of_others(&ids, 11 + 30, Answer::Taken)).len(),
        1
    );
}

#[test]
fn refused_others_have_few_calls_however_many_they_are() {
    let ids: Vec<_> = (0..10).map(|nth| format!("O{nth}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    // In the second round, all of them are known as refused.
    let told = judged(&calls_of_others(&ids, 30, Answer::Refused));
    assert_eq!((told.len(), told[0].healthy), (1, 0));
    // While the bad items of a batch are looked for, too.
    let told = judged(&calls_of_others(&["E2"], 30, Answer::BadItems));
    assert_eq!((told.len(), told[0].healthy), (1, 0));
}

#[test]
fn who_is_refused_itself_or_has_no_room_does_not_wait() {
    let mut turns = calls_of_others(&["E2"], 60, Answer::Taken);
    turns.insert(0, turn(0, "E1", &["/b"], Answer::Refused));
    assert_eq!(judged(&turns), []);
    turns[0].answer = Answer::Taken;
    assert_eq!(judged(&turns).len(), 1);
    turns[0].items = (0..1_901).map(|nth| format!("/{nth}")).collect();
    assert_eq!(judged(&turns), []);
    // A suspect waits, too, until the bad item stands alone.
    turns[0] = turn(0, "E1", &["/x", "/y"], Answer::BadItems);
    assert_eq!(judged(&turns), []);
    turns.insert(1, turn(0, "E1", &["/x"], Answer::Taken));
    assert_eq!(judged(&turns), []);
    turns.insert(2, turn(0, "E1", &["/y"], Answer::BadItems));
    assert_eq!(judged(&turns).len(), 1);
}

#[test]
fn what_waits_for_a_wildcard_is_no_delay() {
    let turns = calls_of_others(&["E2"], 60, Answer::Taken);
    let beneath = [arrival(1, "E1", "/a"), arrival(1, "E1", "/*")];
    assert_eq!(delays(&beneath, &turns, &conditions()), []);
    let beside = [arrival(1, "E1", "/a"), arrival(1, "E1", "/b*")];
    assert_eq!(delays(&beside, &turns, &conditions()).len(), 1);
}

#[test]
fn an_account_that_stands_still_delays_who_waits() {
    let arrivals = [arrival(1, "E1", "/a")];
    let turns = [turn(30, "E2", &["/theirs"], Answer::Taken)];
    let mut conditions = conditions();
    conditions.end = at(30 + 900);
    assert_eq!(delays(&arrivals, &turns, &conditions), []);
    conditions.end = at(30 + 1_000);
    assert_eq!(delays(&arrivals, &turns, &conditions).len(), 1);
    conditions.excused = vec![at(20)..at(500)];
    assert_eq!(delays(&arrivals, &turns, &conditions), []);
}
