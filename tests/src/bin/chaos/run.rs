//! A run: faults come due, and what was hurt comes back.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use punctual::core::{BootInstant, Clock};
use punctual::runtime::SystemClock;
use punctual::{JobStore, Scheduler};
use punctual_checker::FaultEvent;
use punctual_tests::chaos::orders::{Blow, Order};
use punctual_tests::place::Trouble as Refusal;
use punctual_tests::proxy::Mode;
use tokio::task::JoinHandle;

use crate::commands::Pause;
use crate::ground::Ground;
use crate::schedule::{Fault, Planned, Trouble};
use crate::seats::{Seat, Seen, State};
use crate::view::View;

/// The length of a turn.
pub(crate) const TURN: Duration = Duration::from_millis(20);
/// How long nobody may be able to write to a file without a reason.
const STALLS: Duration = Duration::from_secs(8);
/// How much later a fault comes that found nobody to hit.
const LATER: Duration = Duration::from_millis(400);
/// How long a seat stays empty.
const AWAY: Duration = Duration::from_millis(900);
/// How long a node may go without its wire being whole before an answer that was to be lost is given up.
const LOSES_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take until the store answers after a restart of its server.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// What a run came to, apart from the history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: u64,
    pub(crate) kills_in_commit: u64,
    pub(crate) freezes: u64,
    pub(crate) freezes_in_transaction: u64,
    pub(crate) restarts: u64,
    pub(crate) unknown_commits: u64,
    pub(crate) stops: u64,
    pub(crate) restores: u64,
    /// Workers that ended because they noticed that their store was put back.
    pub(crate) rolled_back: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What went wrong that no history shows.
    pub(crate) wrong: Vec<String>,
}

/// A stretch in which nobody could write.
type Outage = JoinHandle<Result<(), Refusal>>;

/// Everything that a run holds.
pub(crate) struct Run<'g> {
    pub(crate) ground: &'g Ground,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) scheduler: Scheduler,
    pub(crate) seats: Vec<Seat>,
    pub(crate) faults: Vec<FaultEvent>,
    pub(crate) counts: Counts,
    pub(crate) view: View,
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) mutant: Option<String>,
    /// The command `punctual`, if an operator is to use it.
    pub(crate) punctual: Option<PathBuf>,
    /// What ends by itself: who, what, since when, and until when.
    pub(crate) wires: Vec<(usize, &'static str, u32, BootInstant, BootInstant)>,
    pub(crate) losing: Vec<(usize, u64, u32, BootInstant)>,
    pub(crate) standbys: Vec<(usize, BootInstant)>,
    pub(crate) pauses: Vec<Pause>,
    pub(crate) outages: Vec<(String, BootInstant, Outage)>,
    pub(crate) disk: Option<(PathBuf, BootInstant, BootInstant)>,
    /// Stretches in which nobody could write to a file.
    pub(crate) stalls: Receiver<(BootInstant, BootInstant)>,
}

impl Run<'_> {
    /// Lets the faults come.
    pub(crate) async fn play(&mut self, plan: Vec<Planned>, span: Duration) -> Result<(), Refusal> {
        let begun = SystemClock.boot();
        let mut plan = plan;
        while SystemClock.boot().since(begun) < span {
            let elapsed = SystemClock.boot().since(begun);
            for mut planned in due(&mut plan, |planned| planned.at <= elapsed) {
                // What finds nobody to hit, or would hide another fault, comes a little later.
                if !self.cause(planned.clone()).await {
                    planned.at = elapsed + LATER;
                    plan.push(planned);
                }
            }
            self.turn().await?;
        }
        Ok(())
    }

    /// Waits a moment, and does what has come due meanwhile.
    pub(crate) async fn turn(&mut self) -> Result<(), Refusal> {
        SystemClock.sleep(TURN).await;
        let now = SystemClock.boot();
        for number in 0..self.seats.len() {
            let seen = self.seats[number].look(&mut self.faults)?;
            self.see(number, seen);
            if self.seats[number].process.is_none() && self.seats[number].back.is_none_or(|back| back <= now)
            {
                let seat = &mut self.seats[number];
                let pid = seat.start(&self.folder, &self.program, self.mutant.as_ref())?;
                self.faults.push(FaultEvent::Restart { pid, boot_us: SystemClock.boot() });
            }
        }
        self.wires_come_back(now);
        self.answers_were_lost(now);
        for (seat, _) in due(&mut self.standbys, |(_, until)| *until <= now) {
            self.tell(seat, &Order::Resume);
        }
        self.resume_paused(now).await;
        if let Some((ballast, from, _)) = self.disk.take_if(|(.., until)| *until <= now) {
            fs::remove_file(ballast)?;
            self.faults.push(FaultEvent::Outage {
                what: "full disk".to_owned(),
                boot_us: from,
                until_us: now,
            });
        }
        let mut index = 0;
        while index < self.outages.len() {
            if !self.outages[index].2.is_finished() {
                index += 1;
                continue;
            }
            let (what, from, ended) = self.outages.remove(index);
            match ended.await? {
                Ok(()) => self.counts.restarts += u64::from(what.starts_with("restart")),
                Err(error) => self.counts.wrong.push(format!("{what}: {error}")),
            }
            let until_us = SystemClock.boot();
            self.faults.push(FaultEvent::Outage { what, boot_us: from, until_us });
        }
        while let Ok((from, until)) = self.stalls.try_recv() {
            self.stalled(from, until);
        }
        let alive = self.seats.iter().filter(|seat| seat.process.is_some()).count();
        self.view.show(&self.counts, alive);
        Ok(())
    }

    pub(crate) fn see(&mut self, number: usize, seen: Option<Seen>) {
        let Some(seen) = seen else { return };
        let counts = &mut self.counts;
        match seen {
            Seen::Killed { in_commit } => {
                counts.kills += 1;
                counts.kills_in_commit += u64::from(in_commit);
            }
            Seen::Froze { in_transaction } => {
                counts.freezes += 1;
                counts.freezes_in_transaction += u64::from(in_transaction);
                return;
            }
            Seen::Stopped => counts.stops += 1,
            Seen::Unavailable => {}
            Seen::Ended(status) => {
                let name = &self.seats[number].name;
                counts.wrong.push(format!("{name} ended by itself: {status}"));
            }
            Seen::Hangs => {
                let said = self.seats[number].said();
                counts.wrong.push(format!("{} did not stop in good order{said}", self.seats[number].name));
                return;
            }
        }
        self.seats[number].back = Some(SystemClock.boot().plus(AWAY));
    }

    /// Takes note of a stretch in which nobody could write to a file. A process that was frozen in the wrong place is a
    /// reason, and so is a disk that was busy with something else, but not for ever.
    fn stalled(&mut self, from: BootInstant, until: BootInstant) {
        let ends = |fault: &FaultEvent| {
            let thaw = matches!(
                fault,
                FaultEvent::Thaw { .. } | FaultEvent::Kill { .. } | FaultEvent::Outage { .. }
            );
            thaw && (from..=until.plus(STALLS)).contains(&fault.boot())
        };
        let frozen =
            |seat: &Seat| seat.process.as_ref().is_some_and(|one| matches!(one.state, State::Frozen(_)));
        let explained =
            self.faults.iter().any(ends) || self.seats.iter().any(frozen) || !self.outages.is_empty();
        if !explained && until.since(from) > STALLS {
            let span = until.since(from);
            self.counts.wrong.push(format!("nobody could write for {span:?}, and nobody stood still"));
        }
        let what = "the write lock could not be had".to_owned();
        self.faults.push(FaultEvent::Outage { what, boot_us: from, until_us: until });
    }

    fn wires_come_back(&mut self, now: BootInstant) {
        for (number, what, pid, from, _) in due(&mut self.wires, |wire| wire.4 <= now) {
            let seat = &mut self.seats[number];
            if let Some(proxy) = &seat.proxy {
                proxy.be(Mode::Open);
            }
            let current = seat.process.as_ref().map(|process| process.pid()).filter(|other| *other != pid);
            for pid in [Some(pid), current].into_iter().flatten() {
                let what = what.to_owned();
                self.faults.push(FaultEvent::Link { pid, what, boot_us: from, until_us: now });
            }
        }
    }

    fn answers_were_lost(&mut self, now: BootInstant) {
        let seats = &self.seats;
        let lost = |number: usize| seats[number].proxy.as_ref().map_or(0, |proxy| proxy.lost());
        let over = |entry: &(usize, u64, u32, BootInstant)| {
            lost(entry.0) > entry.1 || now >= entry.3.plus(LOSES_WITHIN)
        };
        for (number, before, pid, from) in due(&mut self.losing, over) {
            if self.seats[number].proxy.as_ref().is_some_and(|proxy| proxy.lost() > before) {
                self.counts.unknown_commits += 1;
                let what = "the answer of a commit was lost".to_owned();
                self.faults.push(FaultEvent::Link { pid, what, boot_us: from, until_us: now });
            } else if let Some(proxy) = &self.seats[number].proxy {
                proxy.lose_no_more();
            }
        }
    }

    pub(crate) fn tell(&mut self, number: usize, order: &Order) {
        if let Some(process) = &mut self.seats[number].process {
            process.tell(order);
        }
    }

    /// A seat whose process runs and is to deal itself no blow, by a number.
    fn whom(&mut self, number: u64) -> Option<usize> {
        let free: Vec<usize> =
            (0..self.seats.len()).filter(|seat| self.seats[*seat].free().is_some()).collect();
        // Somebody must be left who can notice.
        let index = number.checked_rem(u64::try_from(free.len()).ok()?)?;
        free.get(usize::try_from(index).ok()?).copied().filter(|_| free.len() > 1)
    }

    /// A worker whose wire is whole, by a number, and its process.
    fn wired(&mut self, number: u64) -> Option<(usize, u32)> {
        let seat = self.whom(number)?;
        let busy =
            self.wires.iter().any(|wire| wire.0 == seat) || self.losing.iter().any(|one| one.0 == seat);
        let pid = self.seats[seat].process.as_ref()?.pid();
        (!busy).then_some((seat, pid))
    }

    async fn cause(&mut self, planned: Planned) -> bool {
        let Planned { fault, whom, .. } = planned;
        let kind = fault.kind();
        let caused = match fault {
            Fault::Restart(_) | Fault::HoldLock(_) | Fault::FullDisk(_) | Fault::EndSessions => {
                self.hurt_the_store(fault, whom).await
            }
            Fault::Pause { .. } | Fault::Reschedule { .. } | Fault::Replace { .. } => {
                self.command(fault).await
            }
            Fault::LoseAnswer | Fault::Cut | Fault::Wire(..) => self.hurt_a_wire(fault, whom),
            _ => self.hurt_a_worker(fault, whom),
        };
        if caused.is_some() {
            *self.counts.faults.entry(kind).or_default() += 1;
        }
        caused.is_some()
    }

    fn hurt_a_worker(&mut self, fault: Fault, whom: u64) -> Option<()> {
        let number = self.whom(whom)?;
        let seat = &mut self.seats[number];
        match fault {
            Fault::Kill => seat.kill(&mut self.faults),
            Fault::Freeze(span) => {
                seat.freeze(span, &mut self.faults);
                self.counts.freezes += 1;
            }
            Fault::Strike(strike, stands) => {
                let blow = strike.blow;
                seat.process.as_mut()?.tell(&Order::Strike(strike));
                seat.expect(blow, if blow == Blow::Stop { stands } else { Duration::ZERO });
            }
            Fault::SetClock(seconds) => seat.set_clock(seconds, &mut self.faults).ok()?,
            Fault::Standby(span) => {
                if self.standbys.iter().any(|(other, _)| *other == number) {
                    return None;
                }
                seat.process.as_mut()?.tell(&Order::Standby);
                self.standbys.push((number, SystemClock.boot().plus(span)));
            }
            _ => seat.stop(),
        }
        Some(())
    }

    fn hurt_a_wire(&mut self, fault: Fault, whom: u64) -> Option<()> {
        let (number, pid) = self.wired(whom)?;
        let proxy = self.seats[number].proxy.as_ref()?;
        let now = SystemClock.boot();
        match fault {
            Fault::LoseAnswer => {
                self.losing.push((number, proxy.lost(), pid, now));
                proxy.lose_an_answer();
            }
            Fault::Cut => {
                proxy.cut();
                self.wires.push((number, "cut", pid, now, now.plus(Duration::from_secs(1))));
            }
            Fault::Wire(trouble, span) => {
                let (mode, what) = match trouble {
                    Trouble::Slow(by) => (Mode::Slow(by), "slow"),
                    Trouble::Silent => (Mode::Silent, "silent"),
                    Trouble::Mute => (Mode::Mute, "mute"),
                    Trouble::Closed => (Mode::Closed, "closed"),
                };
                proxy.be(mode);
                if trouble == Trouble::Closed {
                    proxy.cut();
                }
                self.wires.push((number, what, pid, now, now.plus(span)));
            }
            _ => return None,
        }
        Some(())
    }

    async fn hurt_the_store(&mut self, fault: Fault, whom: u64) -> Option<()> {
        if !self.outages.is_empty() || self.disk.is_some() {
            return None;
        }
        let now = SystemClock.boot();
        match fault {
            Fault::Restart(how) => {
                let (kind, keeper) = (self.ground.kind, self.ground.keeper()?.clone());
                let store = Arc::clone(&self.store);
                let restart = async move {
                    tokio::task::spawn_blocking(move || Ground::restart(&keeper, kind, how)).await??;
                    answers(&*store).await
                };
                self.outages.push((format!("restart {}", how.word()), now, tokio::spawn(restart)));
            }
            Fault::HoldLock(span) => {
                let hold = Ground::hold_lock(self.ground.kind, self.ground.place.location().to_owned(), span);
                self.outages.push(("held lock".to_owned(), now, tokio::spawn(hold)));
            }
            Fault::FullDisk(span) => {
                let ballast = self.ground.fill_disk()?;
                self.disk = Some((ballast, now, now.plus(span)));
            }
            _ => {
                // A session that had just ended cannot be ended.
                drop(self.ground.end_sessions(whom));
                let (what, until_us) = ("ended sessions".to_owned(), now.plus(Duration::from_secs(1)));
                self.faults.push(FaultEvent::Disturbance { what, boot_us: now, until_us });
            }
        }
        Some(())
    }
}

/// Takes out what is over.
pub(crate) fn due<T>(list: &mut Vec<T>, over: impl Fn(&T) -> bool) -> Vec<T> {
    let (over, later) = std::mem::take(list).into_iter().partition(over);
    *list = later;
    over
}

/// Waits until the store answers.
pub(crate) async fn answers(store: &dyn JobStore) -> Result<(), Refusal> {
    let begun = SystemClock.boot();
    while let Err(error) = store.now().await {
        if SystemClock.boot().since(begun) > ANSWERS_WITHIN {
            return Err(error.into());
        }
        SystemClock.sleep(TURN).await;
    }
    Ok(())
}
