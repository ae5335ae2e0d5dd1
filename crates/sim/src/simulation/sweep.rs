//! Many seeds, one after the other.

use std::collections::BTreeMap;

use punctual_core::Result;

use super::fault::{Fault, Place};
use super::mutant::Mutant;
use super::run::{Order, Report, hours, run};

/// What a run of an hour or more must show, for each virtual hour.
pub const LEAST_FIRINGS: u64 = 3_600;
/// The same, of faults that befall the cluster and its steps; bodies that fail do not count.
pub const LEAST_FAULTS: u64 = 20;
/// The same, of nodes that were declared dead.
pub const LEAST_TAKEOVERS: u64 = 5;

/// How many virtual hours must between them show every kind of fault.
pub const SHOWS_ALL: f64 = 50.0;

/// What many seeds come to.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// How many seeds were run, second runs not counted.
    pub seeds: u64,
    /// How long they lasted, in virtual hours, without beginning and healing.
    pub hours: f64,
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
    /// The seeds that broke one.
    pub failed: Vec<u64>,
    /// How many seeds were run twice.
    pub determinism_checked: u64,
    /// Those of them whose second run was another one.
    pub unlike: Vec<u64>,
}

impl Sum {
    /// Adds a seed.
    pub fn add(&mut self, order: &Order, report: &Report) {
        self.seeds += 1;
        self.hours += hours(order.minutes);
        self.firings += report.firings;
        self.attempts += report.attempts;
        self.takeovers += report.takeovers;
        self.takeover_seconds = self.takeover_seconds.max(report.takeover_seconds);
        self.violations += report.violations;
        for (fault, times) in &report.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        if report.violations > 0 {
            self.failed.push(report.seed);
        }
    }

    /// How many faults befell the cluster and its steps.
    pub fn faults_of_the_cluster(&self) -> u64 {
        let of_cluster = |fault: &Fault| !matches!(fault, Fault::BodyDeaf) && fault.place() != Place::Body;
        self.faults.iter().filter(|(fault, _)| of_cluster(fault)).map(|(_, times)| times).sum()
    }

    /// What the seeds should have shown and did not, in words.
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.hours < 1.0 {
            return lacks;
        }
        let hourly = [
            ("firings", self.firings, LEAST_FIRINGS),
            ("faults", self.faults_of_the_cluster(), LEAST_FAULTS),
            ("take-overs", self.takeovers, LEAST_TAKEOVERS),
        ];
        for (what, count, least) in hourly {
            // Exact up to 2^53.
            let rate = count as f64 / self.hours;
            if rate < least as f64 {
                lacks.push(format!("only {rate:.1} {what} an hour; {least} are needed"));
            }
        }
        if self.hours >= SHOWS_ALL {
            let never = Fault::ALL.iter().filter(|fault| !self.faults.contains_key(fault));
            lacks.extend(never.map(|fault| format!("{} never came", fault.name())));
        }
        lacks
    }

    /// Whether all is well.
    pub fn is_good(&self) -> bool {
        self.violations == 0 && self.unlike.is_empty() && self.lacks().is_empty()
    }
}

/// Runs seeds from `first.seed` on, and every hundredth of them, the first included, twice.
///
/// # Errors
/// As [`run`].
pub fn sweep(first: Order, seeds: u64, mut tell: impl FnMut(&Report, &Sum)) -> Result<Sum> {
    let mut sum = Sum::default();
    for number in 0..seeds {
        let order = Order { seed: first.seed + number, ..first };
        let report = run(order)?;
        if number % 100 == 0 {
            sum.determinism_checked += 1;
            if run(order)?.hash != report.hash {
                sum.unlike.push(order.seed);
            }
        }
        sum.add(&order, &report);
        tell(&report, &sum);
    }
    Ok(sum)
}

/// A mistake, and what came of looking for it.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The mistake.
    pub mutant: Mutant,
    /// The first seed that found it by the promise that is meant.
    pub found: Option<Report>,
    /// How many seeds were looked at.
    pub seeds: u64,
}

/// Looks for a mistake in at most so many seeds.
///
/// # Errors
/// As [`run`].
pub fn hunt(first: Order, mutant: Mutant, seeds: u64) -> Result<Hunt> {
    for number in 0..seeds {
        let report = run(Order { seed: first.seed + number, mutant: Some(mutant), ..first })?;
        if report.breaches.iter().any(|breach| breach.promise == mutant.promise()) {
            return Ok(Hunt { mutant, found: Some(report), seeds: number + 1 });
        }
    }
    Ok(Hunt { mutant, found: None, seeds })
}
