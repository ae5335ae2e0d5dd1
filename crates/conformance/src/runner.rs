//! Running cases: through libtest-mimic for people, one by one for tests of the kit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use punctual_core::memory::ManualClock;
use punctual_core::{Error, Result, Timestamp};
use tokio::runtime::{Builder, Runtime};

use crate::bench::Bench;
use crate::case::{Case, Need, all_cases};
use crate::harness::{Harness, Space, StoreClock};
use crate::report::{Outcome, Report, Tested};

/// 2030-01-01T00:00:00Z: where settable clocks begin.
const BEGIN: Timestamp = Timestamp::from_secs(1_893_456_000);

/// Runs all cases that the command line selects, and says whether all of them passed.
///
/// The command line is that of `cargo test`. Cases that do not apply are shown as ignored, with the reason.
#[expect(clippy::print_stderr, reason = "a test runner talks to people")]
pub fn run(harness: impl Harness) -> ExitCode {
    let arguments = Arguments::from_args();
    match run_with(Arc::new(harness), &arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the kit could not run: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run_with(harness: Arc<dyn Harness>, arguments: &Arguments) -> Result<ExitCode> {
    let runtime = Arc::new(runtime()?);
    let able = runtime.block_on(Abilities::probe(&*harness))?;
    let tested = Arc::new(Mutex::new(Vec::new()));
    let trials = all_cases().enumerate().map(|(index, case)| {
        let missing = case.needs.iter().find(|need| !able.can(**need)).map(|need| need.reason());
        let label = missing.map_or_else(String::new, |why| format!("not applicable: {why}"));
        if let Some(why) = missing {
            push(&tested, Tested { case, outcome: Outcome::NotApplicable(why.to_owned()) });
        }
        let (harness, runtime, tested) = (Arc::clone(&harness), Arc::clone(&runtime), Arc::clone(&tested));
        let body = move || {
            if let Some(why) = missing {
                return Err(Failed::from(why));
            }
            let verdict = judge(&runtime, harness, case, index);
            let outcome = verdict.clone().map_or_else(Outcome::Failed, |()| Outcome::Passed);
            push(&tested, Tested { case, outcome });
            verdict.map_err(Failed::from)
        };
        Trial::test(case.name, body).with_kind(label).with_ignored_flag(missing.is_some())
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    let tested = std::mem::take(&mut *tested.lock().unwrap_or_else(PoisonError::into_inner));
    Report::new(harness.name(), able.shared, tested).write_where_asked()?;
    Ok(conclusion.exit_code())
}

fn push(tested: &Mutex<Vec<Tested>>, one: Tested) {
    tested.lock().unwrap_or_else(PoisonError::into_inner).push(one);
}

/// Runs one case by its name.
///
/// # Errors
/// Why the case rejects the store, or that there is no such case.
pub fn check(harness: impl Harness, name: &str) -> Result<(), String> {
    let (index, case) = all_cases()
        .enumerate()
        .find(|(_, case)| case.name == name)
        .ok_or_else(|| format!("no case {name}"))?;
    let runtime = runtime().map_err(|error| error.chain())?;
    judge(&runtime, Arc::new(harness), case, index)
}

fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Error::internal("runtime", "the executor cannot start").with_source(error))
}

fn judge(runtime: &Runtime, harness: Arc<dyn Harness>, case: Case, index: usize) -> Result<(), String> {
    let space = space_of(index);
    let run = || {
        runtime.block_on(async {
            let bench = Bench::open(harness, space, case.name).await;
            (case.run)(bench).await;
        });
    };
    let sentence = || format!("the contract says: {}", case.sentence());
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| format!("{}\n{}", text(&*panic), sentence()))
}

fn space_of(index: usize) -> Space {
    Space::new(&format!("kit{:x}_{index}", std::process::id()), ManualClock::at(BEGIN))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// What a harness can do.
struct Abilities {
    clock: StoreClock,
    locks: bool,
    wake: bool,
    lock_fences: bool,
    shared: bool,
}

impl Abilities {
    async fn probe(harness: &dyn Harness) -> Result<Self> {
        let space = space_of(usize::MAX);
        let store = harness.open(&space).await?;
        Ok(Self {
            clock: harness.clock(),
            locks: harness.locks(&space).await?.is_some(),
            wake: store.wake().is_some(),
            lock_fences: store.features().lock_fences,
            shared: store.features().shared,
        })
    }

    fn can(&self, need: Need) -> bool {
        match need {
            Need::Clock => self.clock == StoreClock::Settable,
            Need::Locks => self.locks,
            Need::Wake => self.wake,
            Need::LockFences => self.lock_fences,
        }
    }
}
