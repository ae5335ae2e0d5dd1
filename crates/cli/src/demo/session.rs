//! A running demo: one turn after the other, in which faults come due, the dead come back, and the viewer sees it all.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_core::entropy::SeededEntropy;
use punctual_core::node::{NodeRecord, NodeState};
use punctual_core::{BootInstant, Clock, Entropy, JobStore, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::args::{Plan, Step};
use super::cluster::{Cluster, Status, name};
use super::failed::Failed;
use super::ground::Ground;
use super::outage::{self, Outage};
use super::view::{Moment, NodeLine, View};
use super::watch::Watch;

/// The length of a turn.
const TURN: Duration = Duration::from_millis(50);
/// How often the table of nodes is read.
const POLL: Duration = Duration::from_millis(500);
/// How many exclusive bodies must run when a fault comes, so that it hurts.
const WANTED: usize = 3;
/// How long a fault waits for them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a node may take to become a member.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How many times a node is stopped in one turn to catch it in a transaction.
const TRIALS: u32 = 6;

/// Everything that a running demo holds.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) watch: Watch,
    pub(crate) view: View,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) phase: &'static str,
    pub(crate) whole: Duration,
    /// How long a node stays away that the viewer killed.
    pub(crate) viewer_restart: Option<Duration>,
    /// How long a node stays frozen, and whether it is to be frozen inside of a transaction.
    pub(crate) freeze: (Duration, Inside),
    pub(crate) began: BootInstant,
    pub(crate) quit: bool,
    /// The command that restarts the database, and the folder for what it prints.
    pub(crate) restart: (String, PathBuf),
    ground: &'a Ground,
    entropy: SeededEntropy,
    comebacks: Vec<(BootInstant, usize)>,
    thaws: Vec<(BootInstant, usize)>,
    outage: Option<JoinHandle<Result<Outage, Failed>>>,
    table: (Timestamp, Vec<NodeRecord>),
    polled: Option<BootInstant>,
    signals: [Signal; 3],
}

/// Where a node is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// In the middle of a transaction, with its locks.
    Transaction,
    /// While it does not.
    Nothing,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        cluster: Cluster,
        watch: Watch,
        view: View,
        store: Arc<dyn JobStore>,
        ground: &'a Ground,
        seed: u64,
    ) -> Result<Self, Failed> {
        let hear = |kind| signal(kind).map_err(Failed::at("listening for signals"));
        Ok(Self {
            cluster,
            watch,
            view,
            store,
            phase: "starts",
            whole: Duration::ZERO,
            viewer_restart: None,
            freeze: (Duration::from_secs(20), Inside::Nothing),
            began: SystemClock.boot(),
            quit: false,
            restart: (String::new(), PathBuf::new()),
            ground,
            entropy: SeededEntropy::new(seed),
            comebacks: Vec::new(),
            thaws: Vec::new(),
            outage: None,
            table: (Timestamp::EPOCH, Vec::new()),
            polled: None,
            signals: [
                hear(SignalKind::interrupt())?,
                hear(SignalKind::terminate())?,
                hear(SignalKind::hangup())?,
            ],
        })
    }

    /// Starts all nodes and waits until each is a member.
    pub(crate) async fn up(&mut self) -> Result<(), Failed> {
        (0..self.cluster.len()).try_for_each(|seat| self.start(seat))?;
        let until = SystemClock.boot().plus(UP_WITHIN);
        while let Some(seat) = (0..self.cluster.len()).find(|seat| !self.watch.joined(*seat)) {
            if SystemClock.boot() > until {
                return Err(Failed::new(format!(
                    "{} did not join within {UP_WITHIN:?}{}",
                    name(seat),
                    self.said(seat)
                )));
            }
            self.turn().await?;
        }
        Ok(())
    }

    /// Lets the schedule run, and does what is planned.
    pub(crate) async fn play(&mut self, plan: Plan) -> Result<(), Failed> {
        self.phase = "runs";
        self.began = SystemClock.boot();
        let mut plan = plan.into_iter().peekable();
        while SystemClock.boot().since(self.began) < self.whole && !self.quit {
            let elapsed = SystemClock.boot().since(self.began);
            if let Some((at, step)) = plan.peek().copied()
                && at <= elapsed
                && self.attempt(step, elapsed.saturating_sub(at)).await?
            {
                plan.next();
            }
            self.turn().await?;
        }
        // What was due is not asked for before the store answers again.
        while self.outage.is_some() {
            self.turn().await?;
        }
        match plan.next().filter(|_| !self.quit) {
            Some((_, step)) => {
                Err(Failed::new(format!("there was no good moment for {step:?} before the end")))
            }
            None => Ok(()),
        }
    }

    /// Waits a moment, and takes in and shows what has happened meanwhile.
    pub(crate) async fn turn(&mut self) -> Result<(), Failed> {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            () = SystemClock.sleep(TURN) => {}
            _ = interrupt.recv() => return Err(Failed::wanted("interrupted; all nodes are ended")),
            _ = terminate.recv() => return Err(Failed::wanted("terminated; all nodes are ended")),
            _ = hangup.recv() => return Err(Failed::wanted("the terminal is gone; all nodes are ended")),
        }
        for (seat, status) in self.cluster.ended()? {
            self.watch.dead(seat);
            if self.phase != "stops" {
                return Err(Failed::new(format!(
                    "{} ended by itself ({status}){}",
                    name(seat),
                    self.said(seat)
                )));
            }
        }
        self.watch.catch_up()?;
        let now = SystemClock.boot();
        self.end_of_outage().await?;
        // A node does not start without its database.
        if self.outage.is_none() {
            for seat in due(&mut self.comebacks, now) {
                self.start(seat)?;
            }
        }
        for seat in due(&mut self.thaws, now) {
            self.thaw(seat)?;
        }
        while let Some(key) = self.view.key() {
            self.pressed(key).await?;
        }
        if self.polled.is_none_or(|last| now.since(last) >= POLL) {
            self.polled = Some(now);
            self.poll().await;
        }
        let mut view = std::mem::replace(&mut self.view, View::Lines { to_stderr: true, last: Some(now) });
        view.show(now, || self.moment(now));
        self.view = view;
        Ok(())
    }

    /// Ends what was to come later: frozen nodes go on, and if nobody is left, somebody is started.
    pub(crate) fn wind_up(&mut self) -> Result<(), Failed> {
        self.thaws.clear();
        self.cluster.with(Status::Frozen).into_iter().try_for_each(|seat| self.thaw(seat))?;
        if self.cluster.with(Status::Running).is_empty() && self.comebacks.is_empty() {
            self.view.say("no node is left: one is started to account for what is due");
            self.start(0)?;
        }
        Ok(())
    }

    fn start(&mut self, seat: usize) -> Result<(), Failed> {
        self.comebacks.retain(|(_, other)| *other != seat);
        self.cluster.start(seat)?;
        if let Some(process) = self.cluster.last(seat) {
            self.watch.follow(seat, process.journal.clone());
        }
        Ok(())
    }

    fn thaw(&mut self, seat: usize) -> Result<(), Failed> {
        if self.cluster.last(seat).is_some_and(|process| process.status == Status::Frozen) {
            self.cluster.thaw(seat)?;
            self.view.say(&format!("{} goes on (SIGCONT)", name(seat)));
        }
        Ok(())
    }

    /// Tries to do what is planned; `false` if the moment is not good yet.
    async fn attempt(&mut self, step: Step, waited: Duration) -> Result<bool, Failed> {
        if self.watch.exclusive() < WANTED && waited < PATIENCE {
            return Ok(false);
        }
        match step {
            Step::KillAll(back) => self.kill_all(back).map(|()| true),
            Step::Kill(back) => match self.victim(waited) {
                Some(seat) => self.kill(seat, back).map(|()| true),
                None => Ok(false),
            },
            Step::Freeze(span) => self.try_freeze(span, waited).await,
            Step::RestartDb => {
                let (command, dir) = self.restart.clone();
                self.view.say(&format!("the database is restarted: {command}"));
                self.outage = Some(tokio::spawn(outage::restart(Arc::clone(&self.store), command, dir)));
                Ok(true)
            }
        }
    }

    /// Takes note of a restart of the database that is over.
    async fn end_of_outage(&mut self) -> Result<(), Failed> {
        let Some(outage) = self.outage.take_if(|outage| outage.is_finished()) else { return Ok(()) };
        let outage = outage.await.map_err(Failed::at("watching the restart"))??;
        self.cluster.note_outage(outage, self.restart.0.clone())?;
        let span = outage.until.since(outage.from).as_secs_f64();
        self.view.say(&format!("the store answers again, after {span:.1} s"));
        Ok(())
    }

    /// A running node, at random; one that runs exclusive bodies, unless that was waited for in vain.
    fn victim(&self, waited: Duration) -> Option<usize> {
        let running = self.cluster.with(Status::Running);
        let busy: Vec<usize> =
            running.iter().copied().filter(|seat| self.watch.exclusive_of(*seat) > 0).collect();
        let from = if busy.is_empty() && waited >= PATIENCE { running } else { busy };
        let count = u64::try_from(from.len()).unwrap_or(0);
        let index = self.entropy.draw().checked_rem(count).and_then(|index| usize::try_from(index).ok())?;
        from.get(index).copied()
    }

    fn kill(&mut self, seat: usize, back: Option<Duration>) -> Result<(), Failed> {
        let (mine, all) = (self.watch.exclusive_of(seat), self.watch.exclusive());
        self.cluster.kill(seat)?;
        self.watch.catch_up()?;
        self.watch.dead(seat);
        self.thaws.retain(|(_, frozen)| *frozen != seat);
        self.come_back(seat, back);
        self.view.say(&format!("kill -9 {}, which ran {mine} of {all} exclusive bodies", name(seat)));
        Ok(())
    }

    fn kill_all(&mut self, back: Duration) -> Result<(), Failed> {
        let all = self.watch.exclusive();
        self.cluster.kill_all()?;
        self.watch.catch_up()?;
        self.thaws.clear();
        for seat in self.cluster.with(Status::Killed) {
            self.watch.dead(seat);
            self.come_back(seat, Some(back));
        }
        self.view.say(&format!("kill -9 all nodes, while {all} exclusive bodies ran"));
        Ok(())
    }

    fn come_back(&mut self, seat: usize, back: Option<Duration>) {
        self.comebacks.extend(back.map(|back| (SystemClock.boot().plus(back), seat)));
    }

    async fn try_freeze(&mut self, span: Duration, waited: Duration) -> Result<bool, Failed> {
        let inside = self.freeze.1;
        for _ in 0..if inside == Inside::Transaction { TRIALS } else { 1 } {
            let Some(seat) = self.victim(waited) else { return Ok(false) };
            let caught = self.stopped(seat, inside).await?;
            if caught {
                self.thaws.push((SystemClock.boot().plus(span), seat));
                let place = if inside == Inside::Transaction { "inside" } else { "outside" };
                self.view.say(&format!("{} is frozen (SIGSTOP) {place} a transaction", name(seat)));
                return Ok(true);
            }
            SystemClock.sleep(self.entropy.below(Duration::from_millis(8))).await;
        }
        Ok(false)
    }

    /// Stops a process, and leaves it so if that is inside or outside of a transaction as wished.
    async fn stopped(&mut self, seat: usize, inside: Inside) -> Result<bool, Failed> {
        let halted = self.cluster.halt(seat)?;
        let stands = self.ground.stands().await;
        let wanted = match (&stands, inside) {
            (Ok(stands), Inside::Transaction) => *stands,
            (Ok(stands), Inside::Nothing) => !stands,
            (Err(_), _) => false,
        };
        let caught = halted.stands && wanted;
        if caught {
            self.cluster.freeze(halted)?
        } else {
            self.cluster.let_go(halted)?
        }
        stands.map(|_| caught)
    }

    async fn pressed(&mut self, key: u8) -> Result<(), Failed> {
        match key {
            b'k' => match self.victim(PATIENCE) {
                Some(seat) => self.kill(seat, self.viewer_restart),
                None => Ok(()),
            },
            b'f' => {
                let Some(seat) = self.victim(PATIENCE) else { return Ok(()) };
                if self.stopped(seat, Inside::Nothing).await? {
                    self.thaws.push((SystemClock.boot().plus(self.freeze.0), seat));
                    self.view.say(&format!("{} is frozen (SIGSTOP)", name(seat)));
                }
                Ok(())
            }
            b't' => self.cluster.with(Status::Frozen).into_iter().try_for_each(|seat| self.thaw(seat)),
            b'r' => self.cluster.with(Status::Killed).first().map_or(Ok(()), |seat| self.start(*seat)),
            b'q' => {
                self.quit = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads the table of nodes; while the store does not answer, the last picture stands.
    async fn poll(&mut self) {
        let read = async {
            let now = self.store.now().await?;
            Ok::<_, punctual_core::Error>((now, self.store.inspect().nodes().await?))
        };
        let table = tokio::select! {
            table = read => table.ok(),
            () = SystemClock.sleep(POLL) => None,
        };
        self.table = table.unwrap_or_else(|| std::mem::take(&mut self.table));
    }

    fn moment(&self, now: BootInstant) -> Moment {
        let (store_now, records) = &self.table;
        let nodes = (0..self.cluster.len()).filter_map(|seat| {
            let process = self.cluster.last(seat)?;
            // A thawed process joins anew: its latest member counts.
            let record = records.iter().rfind(|record| record.info.pid == process.pid);
            Some(NodeLine {
                name: name(seat),
                pid: process.pid,
                status: process.status,
                standing: record.map_or("-", |record| match record.state {
                    NodeState::Up => "up",
                    NodeState::Left => "left",
                    NodeState::Dead => "dead",
                }),
                beat: record.and_then(|record| record.seen).map(|seen| store_now.since(seen)),
                running: self.watch.running(seat),
            })
        });
        Moment {
            now,
            elapsed: now.since(self.began),
            whole: self.whole,
            phase: self.phase,
            nodes: nodes.collect(),
            per_second: self.watch.per_second(now, 60),
            fired: self.watch.fired,
            skipped: self.watch.skipped,
            exclusive: self.watch.exclusive(),
            takeovers: self.watch.takeovers(),
            fenced: self.watch.fenced,
            remarks: self.watch.remarks(6).cloned().collect(),
        }
    }

    /// The last lines that the node of a seat printed, as the end of a sentence.
    fn said(&self, seat: usize) -> String {
        let Some(output) = self.cluster.last(seat).map(|process| process.output.clone()) else {
            return String::new();
        };
        let text = fs::read(&output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(8)).map(|line| format!("\n    {line}"));
        format!("; {} ends with{}", output.display(), last.collect::<String>())
    }
}

/// Takes out what has come due.
fn due(list: &mut Vec<(BootInstant, usize)>, now: BootInstant) -> Vec<usize> {
    let (due, later) = std::mem::take(list).into_iter().partition(|(at, _)| *at <= now);
    *list = later;
    due.into_iter().map(|(_, seat)| seat).collect()
}
