//! The end of a run: all is healed, everybody notices, what was due is done, and the workers stop.

use std::collections::BTreeSet;
use std::time::Duration;

use punctual::JobStore;
use punctual::core::inspect::{ExecutionFilter, MAX_PAGE, Page};
use punctual::core::node::NodeState;
use punctual::core::store::Readable;
use punctual::core::trigger::TriggerState;
use punctual::core::{BootInstant, Clock, Timestamp};
use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_tests::chaos::orders::Order;
use punctual_tests::place::Trouble as Refusal;

use crate::run::{Run, TURN};
use crate::seats::{Process, Seat, State};

/// How long the nodes have for what was due, once all is healed.
const DRAINS_WITHIN: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// Waits until the living processes, and no others, are members, but no longer than `bound`.
    pub(crate) async fn settle(&mut self, bound: Duration) -> Result<(), Refusal> {
        let begun = SystemClock.boot();
        while SystemClock.boot().since(begun) < bound {
            let nodes = self.store.inspect().nodes().await?;
            let up = nodes.iter().filter(|node| node.state == NodeState::Up).map(|node| node.info.pid);
            let up: BTreeSet<u32> = up.collect();
            let alive: BTreeSet<u32> =
                self.seats.iter().filter_map(|seat| seat.process.as_ref()).map(Process::pid).collect();
            if up == alive && alive.len() == self.seats.len() {
                return Ok(());
            }
            for _ in 0..5 {
                self.turn().await?;
            }
        }
        Ok(())
    }

    /// Ends all trouble, and waits until everybody has noticed; at most until the published bound has passed for whoever
    /// was hurt last.
    pub(crate) async fn heal(&mut self, bound: Duration) -> Result<(), Refusal> {
        let now = SystemClock.boot();
        self.wires.iter_mut().for_each(|wire| wire.4 = now);
        self.losing.iter_mut().for_each(|one| one.3 = BootInstant::default());
        self.standbys.iter_mut().for_each(|one| one.1 = now);
        self.pauses.iter_mut().for_each(|pause| pause.until = now);
        if let Some(disk) = &mut self.disk {
            disk.2 = now;
        }
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            if seat.process.as_ref().is_some_and(|process| matches!(process.state, State::Frozen(_))) {
                seat.thaw(&mut self.faults);
            }
            self.tell(number, &Order::Calm);
        }
        while !self.outages.is_empty() || !self.pauses.is_empty() {
            self.turn().await?;
        }
        self.settle(bound).await
    }

    /// Waits until everything that was due up to `end` is decided and done.
    pub(crate) async fn drain(&mut self, end: Timestamp) -> Result<(), Refusal> {
        let begun = SystemClock.boot();
        loop {
            let (triggers, executions) = left(&*self.store, end).await?;
            if triggers + executions == 0 {
                return Ok(());
            }
            if SystemClock.boot().since(begun) > DRAINS_WITHIN {
                self.counts.wrong.push(format!(
                    "{triggers} triggers and {executions} executions from before the end are left after {} s",
                    DRAINS_WITHIN.as_secs()
                ));
                return Ok(());
            }
            for _ in 0..10 {
                self.turn().await?;
            }
        }
    }

    /// Stops all workers in good order.
    pub(crate) async fn stop(&mut self, end: Timestamp) -> Result<(), Refusal> {
        self.faults.push(FaultEvent::StopRequested { boot_us: SystemClock.boot(), at: end });
        self.seats.iter_mut().for_each(Seat::stop);
        while self.seats.iter().any(|seat| seat.process.is_some()) {
            SystemClock.sleep(TURN).await;
            for number in 0..self.seats.len() {
                let seen = self.seats[number].look(&mut self.faults)?;
                self.see(number, seen);
            }
        }
        Ok(())
    }
}

/// How many triggers and executions from up to `end` are neither decided nor done.
async fn left(store: &dyn JobStore, end: Timestamp) -> Result<(usize, usize), Refusal> {
    let triggers = store.inspect().triggers(Page::first(MAX_PAGE)).await?;
    let undecided = triggers.iter().filter(|trigger| trigger.state == TriggerState::Active);
    let undecided = undecided.filter(|trigger| trigger.next_fire.is_some_and(|next| next <= end)).count();
    let live = store.inspect().executions(ExecutionFilter::default()).await?;
    let before = |row: &&Readable<punctual::core::execution::Execution>| match row {
        Readable::Row(row) => row.scheduled <= end,
        Readable::Poison(_) => true,
    };
    Ok((undecided, live.iter().filter(before).count()))
}
