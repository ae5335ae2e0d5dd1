//! The tester tested: broken stores are rejected, each by the case that was made for it.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::faulty::{Broken, Fault};
use punctual_conformance::{Harness, Space, StoreClock, check};
use punctual_core::{JobStore, Result};

struct BrokenMemory {
    sound: common::Memory,
    fault: Fault,
}

#[async_trait]
impl Harness for BrokenMemory {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(Broken::new(self.sound.open(space).await?, self.fault)))
    }
}

#[test]
fn each_broken_store_is_rejected_by_the_case_made_for_it() {
    for fault in Fault::ALL {
        let broken = BrokenMemory { sound: common::Memory::default(), fault };
        let why = check(broken, fault.caught_by()).expect_err(&format!("{fault:?} must be rejected"));
        assert!(why.contains("the contract says"), "{why}");
        check(common::Memory::default(), fault.caught_by()).expect("the sound store passes");
    }
    println!("broken stores rejected: {}", Fault::ALL.len());
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
