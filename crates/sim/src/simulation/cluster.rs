//! The processes of a run, and what happens to them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use punctual_checker::FaultEvent;
use punctual_core::entropy::SeededEntropy;
use punctual_core::event::{Event as Told, Listener, Stamped};
use punctual_core::{BootInstant, Entropy, Error, ErrorKind, Profile, Result};
use punctual_runtime::{Builder, Scheduler};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::clock::{ProcessClock, StoreClock};
use super::court::Court;
use super::fault::{Fault, between, one_in};
use super::ground::Ground;
use super::line::Line;
use super::mutant::Mutant;
use super::process::Process;
use super::witness::Promise;
use super::work::{self, Plan, Site};
use super::world::{Event, Host, Micros, SECOND, World};

/// The host of the operator, which runs no node.
pub(crate) const OPERATOR: Host = 0;

/// How long nodes wait for their bodies when they are asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How many bodies a node runs at once: more than it ever has, or so few that some wait.
const ROOMY: u32 = 32;
const NARROW: u32 = 6;

/// The places where processes run.
pub(crate) struct Cluster {
    pub(crate) world: Arc<World>,
    pub(crate) ground: Ground,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) hosts: Vec<Machine>,
    mutant: Option<Mutant>,
    pids: u32,
    /// Whether the faults are over.
    pub(crate) healed: bool,
    /// Whether processes that have ended stay away.
    pub(crate) ending: bool,
}

/// A place where a process runs.
pub(crate) struct Machine {
    name: String,
    pub(crate) profile: Profile,
    pub(crate) running: Option<Running>,
    frozen: bool,
    was_killed: bool,
}

/// A process that runs.
pub(crate) struct Running {
    process: Process,
    pid: u32,
    clock: Arc<ProcessClock>,
    dead: Arc<AtomicBool>,
    scheduler: Arc<Mutex<Option<Scheduler>>>,
    node: Option<JoinHandle<Result<()>>>,
    shutdown: Option<oneshot::Sender<()>>,
}

/// Draws the same id for the first node of each process on a host.
#[derive(Debug)]
struct SameId {
    host: Host,
    is_used: AtomicBool,
    seeded: SeededEntropy,
}

impl Entropy for SameId {
    fn draw(&self) -> u64 {
        let drawn = self.seeded.draw();
        if self.is_used.swap(true, Ordering::SeqCst) {
            return drawn;
        }
        u64::try_from(self.host).unwrap_or(u64::MAX).wrapping_add(1) << 32
    }
}

/// Writes down what a node tells, with true time and the number of its process.
#[derive(Debug)]
struct Ear {
    world: Arc<World>,
    pid: u32,
    /// What is to be left out of what it says, because it differs from run to run.
    folder: Option<String>,
}

impl Listener for Ear {
    fn hear(&self, event: &Stamped) {
        let boot_us = BootInstant::from_micros(self.world.now());
        let mut stamped = Stamped { boot_us, ..event.clone() };
        match (&mut stamped.event, &self.folder) {
            (Told::Joined { pid, .. }, _) => *pid = self.pid,
            (Told::Trouble { error }, Some(folder)) => *error = error.replace(folder.as_str(), ""),
            _ => {}
        }
        self.world.write(|log| log.node(&stamped));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    pub(crate) fn scheduler(&self) -> Option<Scheduler> {
        locked(&self.scheduler).clone()
    }
}

impl Cluster {
    pub(crate) fn new(
        world: Arc<World>,
        ground: Ground,
        clock: Arc<StoreClock>,
        profiles: &[Profile],
        mutant: Option<Mutant>,
    ) -> Self {
        let machine = |host: usize, profile: Profile| Machine {
            name: if host == OPERATOR { "operator".to_owned() } else { format!("node-{host}") },
            profile,
            running: None,
            frozen: false,
            was_killed: false,
        };
        let hosts = profiles.iter().enumerate().map(|(host, profile)| machine(host, *profile)).collect();
        Self {
            world,
            ground,
            clock,
            plans: Arc::new(work::plans()),
            hosts,
            mutant,
            pids: 1_000,
            healed: false,
            ending: false,
        }
    }

    pub(crate) fn boot(&self) -> BootInstant {
        BootInstant::from_micros(self.world.now())
    }

    /// The hosts of nodes.
    pub(crate) fn nodes(&self) -> std::ops::Range<Host> {
        OPERATOR + 1..self.hosts.len()
    }

    // ---- processes ----

    /// Starts a process on a host that has none.
    pub(crate) fn start(&mut self, host: Host) -> Result<()> {
        if self.hosts[host].running.is_some() || (self.ending && host != OPERATOR) {
            return Ok(());
        }
        self.pids += 1;
        let (pid, world) = (self.pids, Arc::clone(&self.world));
        let dice = &world.dice;
        let drift =
            if one_in(dice, 2) { 0 } else { i64::try_from(between(dice, 0, 19_600)).unwrap_or(0) - 9_800 };
        if drift != 0 && host != OPERATOR {
            world.count(Fault::ClockDrift);
        }
        let boot = between(dice, SECOND, 1_000_000 * SECOND);
        let clock = Arc::new(ProcessClock::new(Arc::clone(&world), host, drift, boot));
        let (store, scissors) = self.ground.open(&world, host)?;
        let court =
            Arc::new(Court::new(Arc::clone(&world), host, pid, store, Arc::clone(&self.clock), self.mutant));
        let line = Line::new(Arc::clone(&world), host, court, scissors);
        let dead = Arc::new(AtomicBool::new(false));
        let entropy = self.entropy(host);
        let machine = &mut self.hosts[host];
        let site =
            Site { world: Arc::clone(&world), host, pid, clock: Arc::clone(&clock), dead: Arc::clone(&dead) };
        // Nodes with little room claim ahead of it, as far as the lease allows, and give back what they have no turn for.
        let (capacity, prefetch) = match between(dice, 0, 3) {
            0 => (ROOMY, Duration::ZERO),
            1 => (NARROW, machine.profile.hold / 4),
            _ => (ROOMY, machine.profile.hold / 4),
        };
        let builder = Scheduler::builder(line)
            .clock(Arc::clone(&clock) as Arc<dyn punctual_core::Clock>)
            .entropy(entropy)
            .name(machine.name.clone())
            .profile(machine.profile)
            .capacity(capacity)
            .prefetch(prefetch)
            .grace(GRACE)
            .listener(Ear { world: Arc::clone(&world), pid, folder: self.ground.folder() })
            .state(site)
            .job(work::body);
        let no_executor =
            |error| Error::unavailable("simulate", "no executor could be made").with_source(error);
        let process = Process::start().map_err(no_executor)?;
        let scheduler = Arc::<Mutex<Option<Scheduler>>>::default();
        let (shutdown, stop) = oneshot::channel();
        let is_node = host != OPERATOR;
        let node = process.spawn(run(builder, Arc::clone(&scheduler), stop, is_node));
        if is_node {
            let boot_us = BootInstant::from_micros(world.now());
            let event = if std::mem::take(&mut machine.was_killed) {
                world.count(Fault::Restart);
                FaultEvent::Restart { pid, boot_us }
            } else {
                FaultEvent::Start { pid, boot_us }
            };
            world.write(|log| log.fault(&event));
        }
        machine.frozen = false;
        machine.running = Some(Running {
            process,
            pid,
            clock,
            dead,
            scheduler,
            node: Some(node),
            shutdown: Some(shutdown),
        });
        world.rouse(host);
        Ok(())
    }

    /// The random numbers of a process; the first of them is the id of its node.
    fn entropy(&self, host: Host) -> Arc<dyn Entropy> {
        let seeded = SeededEntropy::new(self.world.dice.draw());
        if self.mutant == Some(Mutant::M8) {
            Arc::new(SameId { host, is_used: AtomicBool::new(false), seeded })
        } else {
            Arc::new(seeded)
        }
    }

    /// Lets every host that has something to do and is not frozen do it.
    pub(crate) fn drive(&mut self) {
        loop {
            let hosts = &self.hosts;
            let may = |host: Host| hosts[host].running.is_some() && !hosts[host].frozen;
            let Some(host) = self.world.take_ready(may) else { return };
            if let Some(running) = &self.hosts[host].running {
                running.process.drive();
            }
            self.look_for_an_end(host);
        }
    }

    /// Looks whether the process has ended by itself.
    fn look_for_an_end(&mut self, host: Host) {
        let Some(running) = &mut self.hosts[host].running else { return };
        let Some(node) = running.node.as_mut().filter(|node| node.is_finished()) else { return };
        let ended = match Pin::new(node).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => ended,
            Poll::Pending => return,
        };
        running.node = None;
        match ended {
            Ok(Err(error)) if error.kind() == ErrorKind::Corrupt => {
                let text = format!("a node stopped for good, though nothing was lost: {}", error.chain());
                self.world.witness().broke(
                    Promise::Checked(punctual_checker::Guarantee::G9),
                    self.world.now(),
                    text,
                );
            }
            Err(panic) => {
                let text = format!("a node panicked: {panic}");
                self.world.witness().broke(
                    Promise::Checked(punctual_checker::Guarantee::G9),
                    self.world.now(),
                    text,
                );
            }
            Ok(_) => {}
        }
        if host == OPERATOR {
            // The task has made its scheduler; the process goes on.
            return;
        }
        let (pid, boot_us) = (running.pid, self.boot());
        self.hosts[host].running = None;
        self.world.write(|log| log.fault(&FaultEvent::Exit { pid, boot_us }));
        self.world.witness().host_died(host);
        let after = between(&self.world.dice, SECOND, 20 * SECOND);
        self.world.add_after(after, super::world::Entry::Event(Event::Start(host)));
    }

    /// Ends a process where it is.
    pub(crate) fn kill(&mut self, host: Host) {
        let Some(running) = self.hosts[host].running.take() else { return };
        let boot_us = self.boot();
        self.world.write(|log| log.fault(&FaultEvent::Kill { pid: running.pid, node: None, boot_us }));
        running.dead.store(true, Ordering::SeqCst);
        locked(&running.scheduler).take();
        drop(running);
        self.unfreeze(host);
        let machine = &mut self.hosts[host];
        (machine.frozen, machine.was_killed) = (false, true);
        // What was on its way may have reached the store's machine, or not.
        self.world.sky().cut(host);
        let dice = &self.world.dice;
        self.world.drop_steps(|of| of == host && one_in(dice, 2));
        self.world.witness().host_died(host);
    }

    /// Stops a process from doing anything; what it has sent goes on.
    pub(crate) fn freeze(&mut self, host: Host, span: Micros) {
        let Some(running) = &self.hosts[host].running else { return };
        let event = FaultEvent::Freeze { pid: running.pid, node: None, boot_us: self.boot() };
        self.world.write(|log| log.fault(&event));
        self.hosts[host].frozen = true;
        self.world.sky().frozen[host] = true;
        self.world.add_after(span, super::world::Entry::Event(Event::Thaw(host)));
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&mut self, host: Host) {
        let (Some(running), true) = (&self.hosts[host].running, self.hosts[host].frozen) else { return };
        let event = FaultEvent::Thaw { pid: running.pid, boot_us: self.boot() };
        self.world.write(|log| log.fault(&event));
        self.hosts[host].frozen = false;
        self.unfreeze(host);
        self.world.rouse(host);
    }

    fn unfreeze(&self, host: Host) {
        let now = self.world.now();
        let mut sky = self.world.sky();
        sky.frozen[host] = false;
        sky.thawed[host] = now;
    }

    /// Asks a node to stop.
    pub(crate) fn ask_to_stop(&mut self, host: Host) -> bool {
        let shutdown = self.hosts[host].running.as_mut().and_then(|running| running.shutdown.take());
        let asked = shutdown.is_some_and(|shutdown| shutdown.send(()).is_ok());
        self.world.rouse(host);
        asked
    }

    /// Sets the wall clock of a process.
    pub(crate) fn set_wall(&self, host: Host, ahead: i64) -> bool {
        let running = self.hosts[host].running.as_ref();
        running.is_some_and(|running| {
            running.clock.set_wall(ahead);
            true
        })
    }

    pub(crate) fn clock_of(&self, host: Host) -> Option<Arc<ProcessClock>> {
        self.hosts[host].running.as_ref().map(|running| Arc::clone(&running.clock))
    }

    /// Runs something with the scheduler of a host, in its process. Answers whether there is one.
    pub(crate) fn ask<F>(&self, host: Host, task: impl FnOnce(Scheduler) -> F) -> bool
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let Some(running) = &self.hosts[host].running else { return false };
        let Some(scheduler) = running.scheduler() else { return false };
        drop(running.process.spawn(task(scheduler)));
        self.world.rouse(host);
        true
    }

    /// The hosts whose process runs and is not frozen.
    pub(crate) fn awake(&self) -> Vec<Host> {
        let awake = |host: &Host| self.hosts[*host].running.is_some() && !self.hosts[*host].frozen;
        self.nodes().filter(awake).collect()
    }

    /// The hosts that have a process, frozen or not.
    pub(crate) fn alive(&self) -> Vec<Host> {
        self.nodes().filter(|host| self.hosts[*host].running.is_some()).collect()
    }
}

/// What a process does.
async fn run(
    builder: Builder,
    place: Arc<Mutex<Option<Scheduler>>>,
    stop: oneshot::Receiver<()>,
    is_node: bool,
) -> Result<()> {
    let scheduler = builder.build().await?;
    *locked(&place) = Some(scheduler.clone());
    if !is_node {
        return Ok(());
    }
    scheduler
        .run_until(async {
            if stop.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await
}
