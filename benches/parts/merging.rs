//! Merging paths into wildcards: how time and memory grow with what has changed and what is known.

use std::{
    env,
    fmt::Write as _,
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use purgefront::domain::{
    consolidate::{Ceilings, EVICTIONS_PER_PATH, Guard, Known, Merged, Merging, Prices, Wanted},
    path::Item,
};

use crate::{document, process};

/// What a process is told that measures one case and nothing else, so that its memory is the case's.
const ONCE: &str = "merge-once";
const RUNS: usize = 11;
/// The default of `limits.wildcards_in_progress`.
const POOL: usize = 15;
const IN_ORDER: &str = "in order";
const MIXED: &str = "mixed";
/// How many keys are known, in which order, how many of ten have changed, and the most wildcards.
const CASES: [(usize, &str, usize, Option<usize>); 11] = [
    (10_000, IN_ORDER, 1, None),
    (100_000, IN_ORDER, 1, None),
    (1_000_000, IN_ORDER, 1, None),
    (10_000, MIXED, 1, None),
    (100_000, MIXED, 1, None),
    (1_000_000, MIXED, 1, None),
    (10_000, MIXED, 1, Some(POOL)),
    (100_000, MIXED, 1, Some(POOL)),
    (1_000_000, MIXED, 1, Some(POOL)),
    (1_000_000, MIXED, 9, None),
    (1_000_000, MIXED, 10, None),
];

/// Measures one case and prints it as a row of the table, if this process is there for that.
pub fn once() -> bool {
    let words: Vec<_> = env::args().skip(1).collect();
    let [word, keys, order, tenths, wildcards] = words.as_slice() else {
        return false;
    };
    if word != ONCE {
        return false;
    }
    let ceilings = Ceilings {
        wildcards: wildcards.parse().unwrap_or(Ceilings::NONE.wildcards),
        ..Ceilings::NONE
    };
    let (keys, tenths) = (keys.parse().unwrap(), tenths.parse().unwrap());
    measure(keys, order, tenths, ceilings);
    true
}

/// Writes the table of all cases.
pub fn write() {
    let mut table = "| known keys | order | changed | ceiling | time | each known key | input alone | most ever resident \
        | paths | wildcards | evictions |\n\
        | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (keys, order, tenths, wildcards) in CASES {
        let wildcards = wildcards.map_or_else(|| "none".to_owned(), |most| most.to_string());
        let words = [
            ONCE.to_owned(),
            keys.to_string(),
            order.to_owned(),
            tenths.to_string(),
            wildcards,
        ];
        let one = Command::new(env::current_exe().unwrap())
            .args(words)
            .output()
            .unwrap();
        assert!(one.status.success(), "{one:?}");
        let row = String::from_utf8(one.stdout).unwrap();
        eprint!("{row}");
        let _ = write!(table, "{row}");
    }
    let circumstances = document::circumstances();
    document::put(
        "merging",
        &format!(
            "{circumstances} One processor; the median of {RUNS} runs, and the memory after the first.\n\n{table}"
        ),
    );
}

fn measure(keys: usize, order: &str, tenths: usize, ceilings: Ceilings) {
    let mut keys: Vec<_> = (0..keys).map(|at| key(at, keys)).collect();
    let changed = keys.iter().enumerate();
    let changed = changed.filter(|(at, _)| has_changed(*at, tenths));
    let changed: Vec<_> = changed.map(|(_, key)| Item::parse(key).unwrap()).collect();
    if order == IN_ORDER {
        keys.sort_unstable();
    } else {
        fastrand::Rng::with_seed(18).shuffle(&mut keys);
    }
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let me = std::process::id();
    let input = process::memory(me);
    let (first, merged) = run(&changed, &keys, ceilings);
    let most = process::memory(me);
    let mut times = vec![first];
    times.extend((1..RUNS).map(|_| run(&changed, &keys, ceilings).0));
    times.sort_unstable();
    let time = times[RUNS / 2];
    let each = time.as_nanos() / u128::try_from(keys.len()).unwrap();
    let numbers = [
        grouped(keys.len()),
        order.to_owned(),
        grouped(changed.len()),
        if ceilings == Ceilings::NONE {
            "–".to_owned()
        } else {
            format!("{} wildcards", ceilings.wildcards)
        },
        format!("{:.1} ms", time.as_secs_f64() * 1e3),
        format!("{each} ns"),
        format!("{:.0} MiB", input.peak),
        format!("{:.0} MiB", most.peak),
        grouped(merged.items.len()),
        grouped(merged.wildcards),
        grouped(merged.evictions),
    ];
    println!("| {} |", numbers.join(" | "));
}

fn run(changed: &[Item], keys: &[&str], ceilings: Ceilings) -> (Duration, Merged) {
    let known = Known::all(keys.to_vec());
    let began = Instant::now();
    let merging = Merging::new(Wanted::new(black_box(changed), []), known, &Guard::NONE);
    let merged = merging.cheapest(&Prices::per_path(EVICTIONS_PER_PATH), ceilings);
    (began.elapsed(), merged)
}

/// A path of a site with so many, in folders of 1,000.
fn key(at: usize, of: usize) -> String {
    let folder = at / 1_000;
    let year = 2_000 + folder * 27 / of.div_ceil(1_000);
    format!(
        "/assets/{year}/section-{folder}/page-{:03}.html",
        at % 1_000
    )
}

/// Of a tenth: whole series of pages in some folders, and a few pages in the others. Of nine tenths: all
/// others.
fn has_changed(at: usize, tenths: usize) -> bool {
    let (folder, page) = (at / 1_000, at % 1_000);
    let few = if folder.is_multiple_of(3) {
        page / 100 % 4 == 1 || page == 7
    } else {
        page % 97 == folder % 97
    };
    match tenths {
        1 => few,
        9 => !few,
        _ => true,
    }
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let (head, rest) = digits.split_at((digits.len() - 1) % 3 + 1);
    let groups = rest.as_bytes().chunks(3);
    groups.fold(head.to_owned(), |text, group| {
        format!("{text},{}", String::from_utf8_lossy(group))
    })
}
