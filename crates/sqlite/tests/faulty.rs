//! The kit rejects stores that are broken where only a store with rows and statements can be.

mod common;

use punctual_conformance::faulty::{Fault, reject_all};

#[test]
fn each_broken_store_is_rejected_by_the_case_made_for_it() {
    let rejected = reject_all(Fault::OF_ROWS, || common::Sqlite);
    println!("broken stores rejected: {}", rejected.unwrap_or_else(|wrong| panic!("{wrong:#?}")));
}

#[test]
fn migrations_that_are_broken_are_rejected_by_the_case_made_for_it() {
    let rejected = reject_all(Fault::OF_MIGRATIONS, || common::Sqlite);
    println!("broken migrations rejected: {}", rejected.unwrap_or_else(|wrong| panic!("{wrong:#?}")));
}
