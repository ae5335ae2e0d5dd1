//! Running cases: through libtest-mimic for people, one by one for tests of the kit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use punctual_core::memory::ManualClock;
use punctual_core::store::{ClaimShape, StoreFeatures};
use punctual_core::{Error, NodeId, Result, Timestamp, TriggerId};
use tokio::runtime::{Builder, Runtime};

use crate::bench::Bench;
use crate::case::{Case, Need, Section, all_cases};
use crate::child;
use crate::contradiction::Contradiction;
use crate::harness::{Harness, Space, Spoil, StoreClock};
use crate::mutants;
use crate::probe::Probe;
use crate::report::{Outcome, Report, Tested};

/// 2030-01-01T00:00:00Z: where settable clocks begin.
const BEGIN: Timestamp = Timestamp::from_secs(1_893_456_000);

/// What precedes the sentence of a case that rejects a store.
pub(crate) const SENTENCE: &str = "the contract says: ";

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
    if let Some(told) = child::told() {
        return child::play(&runtime, harness, &told);
    }
    if let Some(told) = mutants::told() {
        return mutants::play(&runtime, &harness, &told);
    }
    let able = runtime.block_on(Abilities::probe(&*harness))?;
    if let Some(wanted) = mutants::Wanted::by_environment()? {
        let cases = all_cases().filter(|case| case.needs.iter().all(|need| able.can(*need))).collect();
        let ground = mutants::Ground { runtime, harness, cases, filter: arguments.filter.clone() };
        return Ok(ExitCode::from(u8::from(!mutants::run(&ground, &wanted)?)));
    }
    let tested = Arc::new(Mutex::new(Vec::new()));
    let trials = all_cases().map(|case| {
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
            let verdict = judge(&runtime, harness, case);
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
    let case = all_cases().find(|case| case.name == name).ok_or_else(|| format!("no case {name}"))?;
    let runtime = runtime().map_err(|error| error.chain())?;
    judge(&runtime, Arc::new(harness), case)
}

fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Error::internal("runtime", "the executor cannot start").with_source(error))
}

pub(crate) fn judge(runtime: &Runtime, harness: Arc<dyn Harness>, case: Case) -> Result<(), String> {
    let place = Place::new();
    let run = || {
        runtime.block_on(async {
            let space = place.space.clone();
            let bench = match case.section {
                Section::E => Bench::for_migrations(harness, space, case.name),
                _ => Bench::open(harness, space, case.name).await,
            };
            (case.run)(bench).await;
        });
    };
    let sentence = || format!("{SENTENCE}{}", case.sentence());
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| format!("{}\n{}", text(&*panic), sentence()))
}

/// A space that nothing else has, and the folder of its files, which goes when this is dropped.
struct Place {
    space: Space,
}

impl Place {
    fn new() -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let n = PLACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("kit{:x}_{n}", std::process::id());
        let folder = std::env::temp_dir().join(format!("punctual-{name}"));
        // A folder that cannot be made shows where somebody wants to write to it.
        let _ = std::fs::create_dir_all(&folder);
        Self { space: Space::new(&name, &folder, ManualClock::at(BEGIN)) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.space.folder());
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// Whether several processes may claim from a store. One whose claims are safe only within a lock must compare the fences
/// of that lock, or a node that was frozen while it held it claims beside its successor.
fn is_shared(features: StoreFeatures) -> bool {
    features.shared && (features.claims != ClaimShape::WithinLock || features.lock_fences)
}

/// What a harness can do.
struct Abilities {
    clock: StoreClock,
    locks: bool,
    wake: bool,
    statements: bool,
    process: bool,
    plans: bool,
    spoil: bool,
    check: bool,
    contradict: bool,
    lock_fences: bool,
    migrations: bool,
    shared: bool,
}

impl Abilities {
    async fn probe(harness: &dyn Harness) -> Result<Self> {
        let place = Place::new();
        let space = &place.space;
        let store = harness.open(space).await?;
        Ok(Self {
            clock: harness.clock(),
            locks: harness.locks(space).await?.is_some(),
            wake: store.wake().is_some(),
            statements: harness.open_hooked(space, Arc::new(Probe::default())).await?.is_some(),
            process: harness.for_a_second_process().is_some(),
            plans: harness.plans(space, &[]).await?.is_some(),
            spoil: harness.spoil(space, Spoil::Trigger(TriggerId::from_stored(0))).await?,
            check: store.checks().is_some(),
            contradict: harness.contradict(space, Contradiction::NoNode(NodeId::from_stored(0))).await?,
            lock_fences: store.features().lock_fences,
            migrations: harness.migrations(space).await?.is_some(),
            shared: is_shared(store.features()),
        })
    }

    fn can(&self, need: Need) -> bool {
        match need {
            Need::Clock => self.clock == StoreClock::Settable,
            Need::Locks => self.locks,
            Need::Wake => self.wake,
            Need::Statements => self.statements,
            Need::Process => self.process,
            Need::Plans => self.plans,
            Need::Spoil => self.spoil,
            Need::Check => self.check,
            Need::Contradict => self.contradict,
            Need::LockFences => self.lock_fences,
            Need::Migrations => self.migrations,
        }
    }
}
