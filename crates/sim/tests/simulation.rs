//! A few seeds on each store: no promise is broken, the same seed gives the same run, and a mistake is found.

use std::collections::BTreeSet;

use punctual_sim::simulation::{Fault, Mutant, Order, Report, Store, run};

const GOES_ON: &str = "a run goes on whatever befalls it";

fn order(seed: u64, store: Store, mutant: Option<Mutant>) -> Order {
    Order { seed, minutes: 4, store, mutant, keep_lines: false }
}

/// Runs seeds without a mistake.
#[track_caller]
fn clean(seeds: std::ops::RangeInclusive<u64>, store: Store) -> Vec<Report> {
    let reports: Vec<Report> = seeds.map(|seed| run(order(seed, store, None)).expect(GOES_ON)).collect();
    for report in &reports {
        assert_eq!(report.breaches, [], "seed {} on {}", report.seed, store.name());
        assert!(
            report.firings > 240 && report.attempts > 240,
            "seed {} did nothing: {report:?}",
            report.seed
        );
    }
    reports
}

#[test]
fn the_memory_store_breaks_no_promise() {
    let reports = clean(1..=8, Store::Memory);
    let faults: BTreeSet<Fault> = reports.iter().flat_map(|report| report.faults.keys().copied()).collect();
    assert!(faults.len() >= 20, "only {faults:?}");
    assert!(reports.iter().map(|report| report.takeovers).sum::<u64>() >= 8);
}

#[test]
fn the_sqlite_store_breaks_no_promise() {
    clean(1..=2, Store::Sqlite);
}

#[test]
fn a_seed_gives_the_same_run_each_time_and_another_one_another_run() {
    for store in [Store::Memory, Store::Sqlite] {
        let hash = |seed| run(order(seed, store, None)).expect(GOES_ON).hash;
        assert_eq!(hash(7), hash(7), "{}", store.name());
    }
    let hash = |seed| run(order(seed, Store::Memory, None)).expect(GOES_ON).hash;
    assert_ne!(hash(7), hash(8));
}

#[test]
fn mistakes_are_found_by_the_promise_that_is_meant_for_them() {
    for mutant in [Mutant::M10, Mutant::M17, Mutant::M19] {
        let found = (1..=20).any(|seed| {
            let report = run(order(seed, Store::Memory, Some(mutant))).expect(GOES_ON);
            report.breaches.iter().any(|breach| breach.promise == mutant.promise())
        });
        assert!(found, "{} escaped", mutant.name());
    }
}
