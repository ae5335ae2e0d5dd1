//! Gathers the sources of a run and judges them.

use std::io::BufRead;
use std::time::Duration;

use punctual_core::event::Stamped;
use punctual_core::execution::{Execution, HistoryRecord, Outcome};
use punctual_core::job::JobRecord;
use punctual_core::key::NodeId;
use punctual_core::node::{NodeRecord, Profile};
use punctual_core::store::CalendarRecord;
use punctual_core::time::Timestamp;
use punctual_core::trigger::TriggerRecord;

use crate::claims::Claims;
use crate::cluster::Cluster;
use crate::effects::Effects;
use crate::history::History;
use crate::lines::{self, Extent, InputError};
use crate::record::{BodyEvent, FaultEvent};
use crate::verdict::{Rule, Verdict};
use crate::{
    account, at_most_once, claims, commands, effects, lateness, overlap, owners, quiet, restore, schema,
    takeover,
};

/// The stretch of the store's time that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Triggers that are older than this owe nothing before it.
    pub from: Timestamp,
    /// Nothing after this is owed; an earlier [`FaultEvent::StopRequested`] takes its place.
    pub until: Timestamp,
}

/// The figures that a verdict depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `δ` of nodes that are not in the table of nodes; that of the default profile unless set.
    pub wind_down: Duration,
    /// How much longer than `δ` an overlap after a false death may be: the time to wake up; 1 s unless set.
    pub wake_slack: Duration,
    /// How long after a kill its bodies may have lived; 1 s unless set.
    pub kill_grace: Duration,
    /// The latest that a dead node's work may be offered again, if its profile is the fastest of the run; not judged unless
    /// set.
    pub takeover_bound: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wind_down: Profile::DEFAULT.wind_down,
            wake_slack: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            takeover_bound: None,
        }
    }
}

/// The final tables of a run, read after all nodes have stopped.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// All triggers.
    pub triggers: Vec<TriggerRecord>,
    /// All jobs. A trigger of a job that is missing is taken for one that needs no slot.
    pub jobs: Vec<JobRecord>,
    /// The whole history.
    pub history: Vec<HistoryRecord>,
    /// All live rows.
    pub live: Vec<Execution>,
    /// All nodes that the store remembers.
    pub nodes: Vec<NodeRecord>,
    /// The calendars that triggers name. What a trigger owes whose calendar is missing is not judged.
    pub calendars: Vec<CalendarRecord>,
}

/// Gathers the sources of one run. Each line is read once and kept as a few words.
#[derive(Debug)]
pub struct Checker {
    window: Window,
    options: Options,
    history: History,
    cluster: Cluster,
    tables: Option<Tables>,
    effects: Effects,
    migrations: Vec<i64>,
    lines: u64,
    torn: u64,
    journals: u64,
}

impl Checker {
    /// A checker that has read nothing yet.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            options: Options::default(),
            history: History::default(),
            cluster: Cluster::default(),
            tables: None,
            effects: Effects::default(),
            migrations: Vec::new(),
            lines: 0,
            torn: 0,
            journals: 0,
        }
    }

    /// Judges by other figures than the default ones.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Reads the journal of a process.
    ///
    /// # Errors
    /// If it cannot be read, or a line other than a torn last one is no event of a node.
    pub fn journal(&mut self, reader: impl BufRead, name: &str) -> Result<(), InputError> {
        let (history, cluster) = (&mut self.history, &mut self.cluster);
        let extent = lines::each(reader, name, |stamped: Stamped| {
            cluster.node_event(&stamped);
            history.node_event(stamped);
        })?;
        self.journals += 1;
        self.read(extent);
        Ok(())
    }

    /// Takes an event of a node, as [`Checker::journal`] takes those that were written down.
    pub fn node_event(&mut self, stamped: Stamped) {
        self.cluster.node_event(&stamped);
        self.history.node_event(stamped);
        self.journals = self.journals.max(1);
        self.lines += 1;
    }

    /// Takes an event of a body.
    pub fn body_event(&mut self, event: &BodyEvent) {
        self.history.body_event(event);
        self.lines += 1;
    }

    /// Takes a fault.
    pub fn fault_event(&mut self, fault: FaultEvent) {
        self.history.seen(fault.boot());
        self.cluster.fault(fault);
        self.lines += 1;
    }

    /// Reads a log of bodies.
    ///
    /// # Errors
    /// If it cannot be read, or a line other than a torn last one is no [`BodyEvent`].
    pub fn bodies(&mut self, reader: impl BufRead, name: &str) -> Result<(), InputError> {
        let extent = lines::each(reader, name, |event: BodyEvent| self.history.body_event(&event))?;
        self.read(extent);
        Ok(())
    }

    /// Reads what the driver did to the run.
    ///
    /// # Errors
    /// If it cannot be read, or a line other than a torn last one is no [`FaultEvent`].
    pub fn faults(&mut self, reader: impl BufRead, name: &str) -> Result<(), InputError> {
        let (history, cluster) = (&mut self.history, &mut self.cluster);
        let extent = lines::each(reader, name, |fault: FaultEvent| {
            history.seen(fault.boot());
            cluster.fault(fault);
        })?;
        self.read(extent);
        Ok(())
    }

    /// Takes the final tables.
    pub fn tables(&mut self, tables: Tables) {
        self.tables = Some(tables);
    }

    /// Takes what bodies wrote in the transactions that completed them. Without it that is not judged.
    pub fn effects(&mut self, effects: Effects) {
        self.effects = effects;
    }

    /// Takes the versions that the history of migrations names, each as often as it does. Without them that is not
    /// judged.
    pub fn migrations(&mut self, versions: impl IntoIterator<Item = i64>) {
        self.migrations.extend(versions);
    }

    fn read(&mut self, extent: Extent) {
        self.lines += extent.lines;
        self.torn += u64::from(extent.torn);
    }

    /// Judges what was gathered.
    pub fn verdict(self) -> Verdict {
        let Self { mut window, options, mut history, mut cluster, tables, .. } = self;
        let Self { effects, migrations, lines, torn, journals, .. } = self;
        let mut verdict = Verdict { lines, torn_lines: torn, ..Verdict::default() };
        verdict.clock_jumps = cluster.clock_jumps;
        for (missing, what) in [(tables.is_none(), "final tables"), (journals == 0, "journal of a node")] {
            if missing {
                verdict.broke(Rule::Incomplete, 1, format!("no {what} was handed in"), Vec::new);
            }
        }
        cluster.conclude();
        restore::judge_tokens(&history, &cluster.restores, &mut verdict);
        history.forget(|at| cluster.restores.iter().any(|restore| restore.has_lost(at)));
        let tables = tables.unwrap_or_default();
        let ended = tables.history.iter().filter(|record| record.outcome != Outcome::Skipped);
        let ended = ended.map(|record| (&record.occurrence, record.scheduled, record.id));
        for (of, at, id) in
            ended.chain(tables.live.iter().map(|row| (&row.occurrence, row.scheduled, row.id)))
        {
            if let Some(of) = of {
                history.fired(&of.key, of.generation, at, id);
            }
        }
        history.limits(&tables.jobs);
        cluster.table(&tables.nodes);
        window.until = cluster.stop.map_or(window.until, |(_, at)| at.min(window.until));

        let claims = Claims::gather(&history, &tables);
        claims::judge_firings(&history, &mut verdict);
        claims::judge_executions(&history, &claims, &mut verdict);
        claims::judge_records(&history, &tables, &mut verdict);
        owners::judge_fences(&history, &claims, cluster.store_jumps.is_empty(), &mut verdict);
        owners::judge_keys(&history, &effects, &mut verdict);
        at_most_once::judge(&history, &claims, &tables, &mut verdict);
        effects::judge(&history, &tables, &effects, &mut verdict);
        commands::judge(&history, &cluster, &mut verdict);
        schema::judge(&migrations, &mut verdict);
        quiet::judge(&history, &cluster, &tables, &mut verdict);
        account::judge(&history, &cluster, &tables, window, &mut verdict);
        let takeovers = takeover::judge(&cluster, history.horizon, options.takeover_bound, &mut verdict);
        let bodies = overlap::bodies(&history, &cluster, &claims, &options);
        let wind_down = |node: Option<NodeId>| {
            let known = node.and_then(|id| tables.nodes.iter().find(|node| node.info.id == id));
            known.map_or(options.wind_down, |node| node.info.profile.wind_down)
        };
        overlap::judge(&bodies, &cluster, wind_down, &options, &mut verdict);
        lateness::measure(&history, &cluster, &takeovers, &mut verdict);

        verdict.exclusive_running_at_kill = running_at_kill(&bodies, &cluster);
        verdict.fired = fired(&history, Timestamp::MIN, Timestamp::MAX);
        let seconds = window.until.since(window.from).as_secs_f64();
        // Exact up to 2^53 firings.
        verdict.firings_per_second =
            if seconds > 0.0 { fired(&history, window.from, window.until) as f64 / seconds } else { 0.0 };
        verdict.sum_up();
        verdict
    }
}

/// How many executions instants from `from` to `until` have.
fn fired(history: &History, from: Timestamp, until: Timestamp) -> u64 {
    let all = history.firings.values().flatten().filter(|((_, at), _)| (from..=until).contains(at));
    let total: usize = all.map(|(_, firing)| 1 + firing.others.len()).sum();
    u64::try_from(total).unwrap_or(u64::MAX)
}

/// The fewest exclusive bodies that ran at a kill; at a freeze, if there was no kill.
fn running_at_kill(bodies: &overlap::Bodies, cluster: &Cluster) -> u64 {
    let of_one = cluster.kills.iter().map(|(_, at)| *at);
    let mut moments: Vec<_> = of_one.chain(cluster.kill_alls.iter().copied()).collect();
    if moments.is_empty() {
        moments.extend(cluster.freezes.iter().map(|(_, at)| *at));
    }
    let running = |at| bodies.values().flatten().filter(|body| body.lived_at(at)).count();
    let fewest = moments.into_iter().map(running).min().unwrap_or(0);
    u64::try_from(fewest).unwrap_or(u64::MAX)
}
