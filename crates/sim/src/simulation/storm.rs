//! What befalls the cluster as a whole, so many times each hour.

use std::sync::Arc;

use punctual_checker::FaultEvent;
use punctual_core::{BootInstant, Result};

use super::cluster::{Cluster, OPERATOR};
use super::fault::{Fault, between, one_in, pick};
use super::operator;
use super::world::{Entry, Event, HOUR, Micros, SECOND};

const MILLI: Micros = 1_000;

/// How often work is enqueued: once in so long, on average.
const ENQUEUE: Micros = 12 * SECOND;

impl Cluster {
    /// Puts the faults of the seed on the agenda, each for the first time.
    pub(crate) fn begin_storm(&self) {
        self.world.sky().calm = false;
        for (fault, rate) in self.world.weather.hourly() {
            self.again(fault, rate);
        }
        self.world.add_after(ENQUEUE, Entry::Event(Event::Enqueue));
    }

    fn again(&self, fault: Fault, rate: u32) {
        let gap = HOUR / u64::from(rate);
        let after = between(&self.world.dice, 1, 2 * gap);
        self.world.add_after(after, Entry::Event(Event::Strike(fault, rate)));
    }

    /// Ends all faults, and sets right what they have left.
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.healed = true;
        self.world.sky().clear();
        self.ground.free_lock();
        for host in self.nodes() {
            self.thaw(host);
            self.start(host)?;
            // A late command may have left it in standby.
            self.world.add_after(SECOND, Entry::Event(Event::Resume(host)));
        }
        self.world.add_after(SECOND, Entry::Event(Event::LetGo));
        Ok(())
    }

    /// Sets the clock of the store, and says so to whoever would compare its times.
    fn set_store_clock(&self, by_us: i64) {
        self.clock.jump(by_us);
        let boot_us = BootInstant::from_micros(self.world.now());
        self.world.write(|log| log.fault(&FaultEvent::ClockJump { pid: None, by_us, boot_us }));
    }

    /// What is to happen happens.
    pub(crate) fn happens(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Strike(fault, rate) if !self.healed => {
                self.again(fault, rate);
                if self.strike(fault)? {
                    self.world.count(fault);
                }
            }
            Event::Start(host) => self.start(host)?,
            Event::Thaw(host) => self.thaw(host),
            Event::Enqueue if !self.healed => {
                let dice = &self.world.dice;
                self.world.add_after(between(dice, 1, 2 * ENQUEUE), Entry::Event(Event::Enqueue));
                let world = Arc::clone(&self.world);
                self.ask(OPERATOR, |scheduler| async move { operator::enqueue(&world, &scheduler).await });
            }
            Event::Resume(host) => {
                self.ask(host, |scheduler| async move { scheduler.resume().await });
            }
            Event::LetGo => {
                let world = Arc::clone(&self.world);
                self.ask(OPERATOR, |scheduler| operator::let_go(world, scheduler));
            }
            Event::FreeLock => self.ground.free_lock(),
            Event::Strike(..) | Event::Enqueue => {}
        }
        Ok(())
    }

    /// Strikes, and answers whether there was anything to strike.
    fn strike(&mut self, fault: Fault) -> Result<bool> {
        let world = Arc::clone(&self.world);
        let dice = &world.dice;
        let now = world.now();
        let awake = self.awake();
        let host = match fault {
            Fault::Crash => pick(dice, &self.alive()).copied(),
            _ => pick(dice, &awake).copied(),
        };
        let Some(host) = host else { return Ok(false) };
        let profile = self.hosts[host].profile;
        let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match fault {
            Fault::Crash => {
                self.kill(host);
                let after = between(dice, SECOND / 2, 30 * SECOND);
                world.add_after(after, Entry::Event(Event::Start(host)));
            }
            Fault::CrashOfAll => {
                for host in self.alive() {
                    self.kill(host);
                    let after = between(dice, SECOND / 2, 10 * SECOND);
                    world.add_after(after, Entry::Event(Event::Start(host)));
                }
            }
            Fault::FreezeShort => self.freeze(host, between(dice, SECOND / 5, micros(profile.hold))),
            Fault::FreezeLong => {
                // Around the moment at which others act, and far beyond it.
                let take = micros(profile.take);
                let span = if one_in(dice, 2) {
                    take + between(dice, 0, 2 * micros(profile.interval) + SECOND)
                } else {
                    take + between(dice, 2 * SECOND, 2 * take)
                };
                self.freeze(host, span);
            }
            Fault::GracefulStop => return Ok(self.ask_to_stop(host)),
            Fault::CutConnections => world.sky().cut(host),
            Fault::Outage => {
                let span = between(dice, SECOND / 2, 20 * SECOND);
                world.sky().out_until = now + span;
                self.store_is_away("out of order", span);
            }
            Fault::OutageOfOne => {
                let span = between(dice, SECOND / 2, 30 * SECOND);
                world.sky().cut_off_until[host] = now + span;
            }
            Fault::SlowStore => {
                let span = between(dice, 2 * SECOND, 20 * SECOND);
                world.sky().slow_until = now + span;
                self.store_is_away("slow", span);
            }
            Fault::HeldLock if self.ground.holds_lock() => return Ok(false),
            Fault::HeldLock => {
                let span = between(dice, 100 * MILLI, 8 * SECOND);
                if self.ground.hold_lock()? {
                    world.add_after(span, Entry::Event(Event::FreeLock));
                } else {
                    world.sky().held_until = now + span;
                }
                self.store_is_away("locked", span);
            }
            Fault::WallJump => {
                let day = 24 * HOUR;
                let ahead =
                    i64::try_from(between(dice, 0, 2 * day)).unwrap_or(0) - i64::try_from(day).unwrap_or(0);
                return Ok(self.set_wall(host, ahead));
            }
            Fault::StoreClockForth => {
                let far = if one_in(dice, 5) { 400 } else { 60 };
                self.set_store_clock(i64::try_from(between(dice, MILLI, far * SECOND)).unwrap_or(0));
            }
            Fault::StoreClockBack => {
                self.set_store_clock(-i64::try_from(between(dice, MILLI, 45 * SECOND)).unwrap_or(0));
            }
            Fault::Standby => {
                // Sometimes at once, so that a claim can be under way from before to after.
                let after = if one_in(dice, 2) {
                    between(dice, 1, 5 * MILLI)
                } else {
                    between(dice, SECOND, 40 * SECOND)
                };
                world.add_after(after, Entry::Event(Event::Resume(host)));
                return Ok(self.ask(host, |scheduler| async move { scheduler.standby().await }));
            }
            Fault::Edit => {
                let (plans, world) = (Arc::clone(&self.plans), Arc::clone(&world));
                let Some(clock) = self.clock_of(OPERATOR) else { return Ok(false) };
                return Ok(self.ask(OPERATOR, |scheduler| operator::edit(world, clock, scheduler, plans)));
            }
            Fault::Pause => {
                let (plans, world) = (Arc::clone(&self.plans), Arc::clone(&world));
                let Some(clock) = self.clock_of(OPERATOR) else { return Ok(false) };
                return Ok(self.ask(OPERATOR, |scheduler| operator::pause(world, clock, scheduler, plans)));
            }
            Fault::Cancel => {
                let world = Arc::clone(&world);
                return Ok(self.ask(OPERATOR, |scheduler| operator::cancel(world, scheduler)));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Writes down that nobody could notice a death for so long.
    fn store_is_away(&self, what: &str, span: Micros) {
        let until_us = BootInstant::from_micros(self.world.now() + span);
        let event = FaultEvent::Outage { what: what.to_owned(), boot_us: self.boot(), until_us };
        self.world.write(|log| log.fault(&event));
    }
}
