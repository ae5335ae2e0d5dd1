//! The hook of a worker's store, which strikes its own process at a moment, and the files that outlive it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual::core::Clock;
use punctual::core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_tests::chaos::orders::{Blow, Mark, Moment, Strike};
use rustix::process::{Signal, getpid, kill_process};
use serde::Serialize;

/// A file of JSON lines, each written at once, so that a kill tears none apart.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Writes a line. A history with a hole would be judged wrongly, so there is no going on if that fails.
    pub(crate) fn write(&self, value: &impl Serialize) {
        let written = serde_json::to_vec(value).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            (&self.0).write_all(&line)
        });
        if let Err(error) = written {
            tracing::error!(%error, "a log cannot be written");
            std::process::exit(70);
        }
    }
}

/// Waits for the moment that it was told of.
#[derive(Debug)]
pub(crate) struct Points {
    armed: Mutex<Option<Strike>>,
    /// Whether a blow is on its way, and what it is to hit has not passed.
    flying: Arc<Mutex<bool>>,
    faults: Arc<Log>,
    moments: Arc<Log>,
}

impl Points {
    pub(crate) fn new(faults: Arc<Log>, moments: Log) -> Self {
        let flying = Arc::new(Mutex::new(false));
        Self { armed: Mutex::new(None), flying, faults, moments: Arc::new(moments) }
    }

    /// Strikes at the next such moment, if any, and not at the one that was waited for before.
    pub(crate) fn arm(&self, strike: Option<Strike>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = strike;
    }

    /// Deals a blow in a while, unless the commit is answered before.
    fn throw(&self, strike: Strike) {
        let (flying, faults, moments) =
            (Arc::clone(&self.flying), Arc::clone(&self.faults), Arc::clone(&self.moments));
        *flying.lock().unwrap_or_else(PoisonError::into_inner) = true;
        std::thread::spawn(move || {
            // A timer would be too coarse for what a commit takes.
            let until = SystemClock.boot().plus(Duration::from_micros(strike.delay_us));
            while SystemClock.boot() < until {
                std::hint::spin_loop();
            }
            let flies = flying.lock().unwrap_or_else(PoisonError::into_inner);
            if *flies {
                // The lock is held, so that the statement cannot pass between the mark and the blow.
                moments.write(&Mark::Struck(strike.moment));
                deal(strike.blow, &faults);
            }
        });
    }

    /// The commit that a blow is to hit was answered.
    fn passes(&self) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *flying) {
            self.moments.write(&Mark::Passed);
        }
    }
}

impl StatementHook for Points {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::After {
            self.passes();
        }
        let fits = |strike: &mut Strike| strike.fits(point);
        let strike = self.armed.lock().unwrap_or_else(PoisonError::into_inner).take_if(fits);
        if let Some(strike) = strike {
            if strike.moment == Moment::InCommit {
                self.throw(strike);
            } else {
                self.moments.write(&Mark::Struck(strike.moment));
                deal(strike.blow, &self.faults);
            }
        }
        HookAnswer::Continue
    }
}

/// Ends or stops this process.
fn deal(blow: Blow, faults: &Log) {
    let (pid, boot_us) = (std::process::id(), SystemClock.boot());
    let signal = match blow {
        Blow::Kill => {
            faults.write(&FaultEvent::Kill { pid, node: None, boot_us });
            Signal::KILL
        }
        Blow::Stop => {
            faults.write(&FaultEvent::Freeze { pid, node: None, boot_us });
            Signal::STOP
        }
    };
    if let Err(error) = kill_process(getpid(), signal) {
        tracing::error!(%error, "a blow missed");
    }
}
