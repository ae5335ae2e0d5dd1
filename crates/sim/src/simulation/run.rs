//! The run of one seed: a cluster through its faults, the time to heal, the end, and the judgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use punctual_checker::{Checker, FaultEvent, Options, Rule, Tables, Window};
use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{Execution, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter, MAX_PAGE, Page};
use punctual_core::store::Readable;
use punctual_core::trigger::TriggerState;
use punctual_core::{Clock, Entropy, Error, JobStore, Profile, Result, Timestamp};

use super::clock::{START, StoreClock};
use super::cluster::{Cluster, OPERATOR};
use super::fault::{Fault, Weather, between};
use super::ground::{Ground, Store};
use super::line::now_or_never;
use super::log::{Closed, Log};
use super::mutant::Mutant;
use super::operator;
use super::witness::Breach;
use super::world::{Entry, HOUR, Micros, SECOND, World};

/// How long the definitions may take.
const DEFINING: Micros = 30 * SECOND;

/// How long the cluster has after the last fault: the longest bound of a take-over, what hangs, and what queues.
const HEALING: Micros = 180 * SECOND;

/// How long before the stop the last instant is that the nodes had time for.
const NOTICE: Duration = Duration::from_secs(20);

/// How long the nodes may take to stop.
const STOPPING: Micros = 300 * SECOND;

/// What is added to the bound of a take-over, which holds where observers reach the store: they, too, are cut off.
const DISTURBED: Duration = Duration::from_secs(90);

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What everything follows from.
    pub seed: u64,
    /// How long the faults go on, in minutes of virtual time.
    pub minutes: u64,
    /// On which store.
    pub store: Store,
    /// A mistake to put in.
    pub mutant: Option<Mutant>,
    /// Whether to keep the lines of the log.
    pub keep_lines: bool,
}

/// What came out of the run of a seed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that was written down.
    pub hash: u64,
    /// Executions of triggers.
    pub firings: u64,
    /// Bodies that began.
    pub attempts: u64,
    /// Nodes that were declared dead.
    pub takeovers: u64,
    /// How often each kind of fault came.
    pub faults: BTreeMap<Fault, u64>,
    /// The longest time from a death to the moment at which the work was offered again, in seconds.
    pub takeover_seconds: f64,
    /// How many promises were broken.
    pub violations: u64,
    /// Some of them.
    pub breaches: Vec<Breach>,
    /// The lines of the log, if they were kept: events of nodes, bodies and faults as JSON.
    pub lines: Vec<String>,
}

/// Runs a seed.
///
/// # Errors
/// If the simulation itself cannot go on: a store that cannot be opened, a step that waits.
pub fn run(order: Order) -> Result<Report> {
    let dice = SeededEntropy::new(order.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let weather = Weather::draw(&dice);
    let profiles = profiles(&dice);
    let longest = profiles
        .iter()
        .map(|profile| profile.takeover_bound(Duration::from_secs(1)))
        .max()
        .unwrap_or_default();
    // Until the end is known; the stop says it.
    let window = Window { from: START, until: Timestamp::MAX };
    let options = Options {
        kill_grace: Duration::ZERO,
        takeover_bound: Some(longest + DISTURBED),
        ..Options::default()
    };
    let mut log = Log::new(Checker::new(window).with_options(options));
    if order.keep_lines {
        log.keep_lines();
    }
    let world = World::new(dice, weather, log, profiles.len());
    let clock = Arc::new(StoreClock::new(Arc::clone(&world)));
    let ground = Ground::new(order.store, &clock)?;
    let mut cluster = Cluster::new(Arc::clone(&world), ground, clock, &profiles, order.mutant);

    begin(&mut cluster)?;
    let end = world.now() + order.minutes * 60 * SECOND;
    advance(&mut cluster, end, |_| false)?;
    cluster.heal()?;
    advance(&mut cluster, end + HEALING, |_| false)?;
    stop(&mut cluster)?;
    let tables = tables(&cluster)?;
    drop(cluster);
    judge(order.seed, &world, tables)
}

/// The figures of the operator and of each node.
fn profiles(dice: &SeededEntropy) -> Vec<Profile> {
    let nodes = between(dice, 3, 6);
    let style = dice.draw() % 4;
    let one = |_| match (style, dice.draw() % 5) {
        (0, _) | (3, 0 | 1) => Profile::DEFAULT,
        (1, _) | (3, 2 | 3) => Profile::FAST,
        (2, 0) | (3, _) => Profile::CALM,
        _ => Profile::DEFAULT,
    };
    (0..=nodes).map(one).collect()
}

/// Starts the processes in fair weather, and writes the definitions.
fn begin(cluster: &mut Cluster) -> Result<()> {
    cluster.start(OPERATOR)?;
    advance(cluster, SECOND, |_| false)?;
    let plans = Arc::clone(&cluster.plans);
    cluster.ask(OPERATOR, |scheduler| operator::define(scheduler, plans));
    for host in cluster.nodes() {
        cluster.start(host)?;
    }
    advance(cluster, DEFINING, |_| false)?;
    cluster.begin_storm();
    Ok(())
}

/// Lets time pass up to `until`, or until `done`.
fn advance(cluster: &mut Cluster, until: Micros, done: impl Fn(&Cluster) -> bool) -> Result<()> {
    let world = Arc::clone(&cluster.world);
    loop {
        cluster.drive();
        if done(cluster) {
            return Ok(());
        }
        match world.next(until) {
            None => return Ok(()),
            Some(Entry::Alarm(host, waker)) => {
                waker.wake();
                world.rouse(host);
            }
            Some(Entry::Step(_, deed) | Entry::Answer(deed)) => deed(&world),
            Some(Entry::Event(event)) => cluster.happens(event)?,
        }
    }
}

/// Asks all nodes to stop, and waits until they have, and until nothing is under way any more.
fn stop(cluster: &mut Cluster) -> Result<()> {
    let world = Arc::clone(&cluster.world);
    let at = cluster.clock.wall().minus(NOTICE);
    world.write(|log| log.fault(&FaultEvent::StopRequested { boot_us: cluster.boot(), at }));
    cluster.ending = true;
    for host in cluster.nodes() {
        cluster.ask_to_stop(host);
    }
    let until = world.now() + STOPPING;
    advance(cluster, until, |cluster| cluster.alive().is_empty() && !cluster.world.is_under_way())?;
    if cluster.alive().is_empty() {
        return Ok(());
    }
    Err(Error::internal("simulate", "a node does not stop"))
}

/// The final tables.
fn tables(cluster: &Cluster) -> Result<Tables> {
    let (store, _) = cluster.ground.open(&cluster.world, OPERATOR)?;
    now_or_never(Box::pin(read_tables(store)))
}

async fn read_tables(store: Arc<dyn JobStore>) -> Result<Tables> {
    let inspect = store.inspect();
    let mut history: Vec<HistoryRecord> = Vec::new();
    loop {
        let before = history.last().map(|record| record.id);
        let page = inspect.history(HistoryFilter { before, ..HistoryFilter::default() }).await?;
        let last = page.len() < usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        history.extend(page);
        if last {
            break;
        }
    }
    let rows = inspect.executions(ExecutionFilter::default()).await?;
    let live: Vec<Execution> = rows
        .into_iter()
        .filter_map(|row| match row {
            Readable::Row(row) => Some(row),
            Readable::Poison(_) => None,
        })
        .collect();
    Ok(Tables {
        triggers: inspect.triggers(Page::first(MAX_PAGE)).await?,
        jobs: inspect.jobs(Page::first(MAX_PAGE)).await?,
        history,
        live,
        nodes: inspect.nodes().await?,
        calendars: inspect.calendars().await?,
    })
}

/// What the checker and the witness say.
fn judge(seed: u64, world: &Arc<World>, tables: Tables) -> Result<Report> {
    let set_aside: Vec<Breach> = tables
        .triggers
        .iter()
        .filter(|trigger| trigger.state == TriggerState::Error)
        .map(|trigger| Breach {
            promise: "G1".to_owned(),
            text: format!("the last resort was needed: {} is set aside, {:?}", trigger.key, trigger.error),
            events: Vec::new(),
        })
        .collect();
    let Closed { mut checker, hash, faults, lines } =
        world.close_log().ok_or_else(|| Error::internal("simulate", "the log was closed before"))?;
    checker.tables(tables);
    let verdict = checker.verdict();
    // A body knows the store's clock as it is now; where that was set back after the claim, it is no witness of when
    // the work was claimed. Claims themselves are seen by the witness.
    let set_back = faults.contains_key(&Fault::StoreClockBack);
    let counts = |rule: &Rule| !(set_back && *rule == Rule::Early);
    let mut violations: u64 =
        verdict.broken.iter().filter(|(rule, _)| counts(rule)).map(|(_, times)| times).sum();
    let mut breaches: Vec<Breach> = verdict
        .violations
        .iter()
        .filter(|violation| counts(&violation.rule))
        .map(|violation| Breach {
            promise: format!("{:?}", violation.guarantee),
            text: violation.text.clone(),
            events: violation.events.clone(),
        })
        .collect();
    violations += u64::try_from(set_aside.len()).unwrap_or(u64::MAX);
    breaches.extend(set_aside);
    let mut witness = world.witness();
    violations += witness.broken;
    breaches.append(&mut witness.breaches);
    drop(witness);
    Ok(Report {
        seed,
        hash,
        firings: verdict.fired,
        attempts: verdict.attempts,
        takeovers: verdict.takeovers,
        faults,
        takeover_seconds: verdict.takeover_seconds_max,
        violations,
        breaches,
        lines,
    })
}

/// How many hours so many minutes are.
pub(crate) fn hours(minutes: u64) -> f64 {
    Duration::from_secs(minutes * 60).as_secs_f64() / Duration::from_micros(HOUR).as_secs_f64()
}
