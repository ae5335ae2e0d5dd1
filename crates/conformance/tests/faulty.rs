//! The tester tested: broken stores are rejected, each by the case that was made for it.

mod common;

use punctual_conformance::faulty::{BrokenHarness, Fault, reject_all};

#[test]
fn each_broken_store_is_rejected_by_the_case_made_for_it() {
    let rejected = reject_all(Fault::ALL, common::Memory::default);
    println!("broken stores rejected: {}", rejected.unwrap_or_else(|wrong| panic!("{wrong:#?}")));
}

#[test]
fn the_names_of_cases_are_unique_and_each_has_its_sentence() {
    let mut names: Vec<_> = punctual_conformance::all_cases().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for case in punctual_conformance::all_cases() {
        let sentence = case.sentence();
        assert!(sentence.ends_with('.') && sentence.len() > 20, "{}: {sentence}", case.name);
    }
}

#[test]
fn sequences_notice_what_nobody_wrote_a_case_for() {
    let sequences = "sequences::are_answered_as_by_the_memory_store";
    let reject = |fault: &Fault| {
        punctual_conformance::check(BrokenHarness::new(common::Memory::default(), *fault), sequences).is_err()
    };
    let (rejected, missed): (Vec<Fault>, Vec<Fault>) = Fault::ALL.iter().copied().partition(reject);
    println!("broken stores rejected by sequences alone: {}", rejected.len());
    // Few sequences do not meet everything: each mistake has a case of its own. Most of them they must meet.
    assert!(rejected.len() >= 24, "not by {missed:?}");
}
