//! The tester tested: broken stores are rejected, each by the case that was made for it.

mod common;

use punctual_conformance::faulty::{Fault, reject_all};

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
