//! The three engines, each with what it needs to answer at once: expressions read, instants in its own type.

use std::hint::black_box;
use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use punctual_core::schedule::Cron;
use punctual_core::{Schedule, Timestamp, Zone};

/// The zone of every question.
const ZONE: &str = "Europe/Berlin";
const TZ: Tz = chrono_tz::Europe::Berlin;

/// One of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Ours,
    Cron,
    Croner,
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Cron, Self::Croner];
}

/// What they are asked about: instants, in the types of both worlds.
#[derive(Debug)]
pub(crate) struct Questions {
    ours: Vec<Timestamp>,
    theirs: Vec<DateTime<Tz>>,
    zone: Zone,
    croner: CronParser,
}

/// An expression that an engine has read.
pub(crate) enum Read {
    Ours(Schedule),
    Cron(Box<cron::Schedule>),
    Croner(Box<croner::Cron>),
}

impl Questions {
    /// Instants all over three years, with both nights in which the clocks change among them.
    pub(crate) fn new() -> Result<Self, punctual_core::Error> {
        let begin = 1_767_225_600; // 2026-01-01T00:00:00Z
        // A step that meets every second of the day, every day of the week and every day of the year sooner or later.
        let mut seconds: Vec<i64> = (0..62).map(|k| begin + k * 1_527_077).collect();
        seconds.extend([1_774_738_800, 1_792_882_800]); // 2026-03-28T23:00Z, 2026-10-24T23:00Z
        let theirs = seconds.iter().filter_map(|&second| TZ.timestamp_opt(second, 0).single()).collect();
        let croner = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Optional)
            .alternative_weekdays(true)
            .sloppy_ranges(true)
            .build();
        let ours = seconds.into_iter().map(Timestamp::from_secs).collect();
        Ok(Self { ours, theirs, zone: Zone::get(ZONE)?, croner })
    }

    pub(crate) fn len(&self) -> usize {
        self.ours.len()
    }

    /// Reads an expression, if the engine can.
    pub(crate) fn read(&self, engine: Engine, expression: &str) -> Option<Read> {
        match engine {
            Engine::Ours => {
                let cron = Cron::quartz(expression, self.zone.clone()).ok()?;
                Some(Read::Ours(Schedule::Cron(cron)))
            }
            Engine::Cron => cron::Schedule::from_str(expression).ok().map(|read| Read::Cron(Box::new(read))),
            Engine::Croner => self.croner.parse(expression).ok().map(|read| Read::Croner(Box::new(read))),
        }
    }

    /// Reads and throws away.
    pub(crate) fn parse(&self, engine: Engine, expression: &str) {
        match engine {
            Engine::Ours => drop(black_box(Cron::quartz(black_box(expression), self.zone.clone()))),
            Engine::Cron => drop(black_box(cron::Schedule::from_str(black_box(expression)))),
            Engine::Croner => drop(black_box(self.croner.parse(black_box(expression)))),
        }
    }

    /// Asks for the next instant after each of the questions.
    pub(crate) fn ask(&self, read: &Read) {
        match read {
            Read::Ours(schedule) => {
                for &at in &self.ours {
                    black_box(schedule.next_after(black_box(at)));
                }
            }
            Read::Cron(schedule) => {
                for at in &self.theirs {
                    black_box(schedule.after(black_box(at)).next());
                }
            }
            Read::Croner(schedule) => {
                for at in &self.theirs {
                    let _ = black_box(schedule.find_next_occurrence(black_box(at), false));
                }
            }
        }
    }

    /// Asks once, for one that may take long.
    pub(crate) fn ask_once(&self, read: &Read) -> Option<DateTime<Utc>> {
        self.answer(read, 0)
    }

    /// All answers, to see whether the engines agree.
    pub(crate) fn answers(&self, read: &Read) -> Vec<Option<DateTime<Utc>>> {
        (0..self.len()).map(|number| self.answer(read, number)).collect()
    }

    fn answer(&self, read: &Read, number: usize) -> Option<DateTime<Utc>> {
        let (ours, theirs) = (self.ours.get(number)?, self.theirs.get(number)?);
        match read {
            Read::Ours(schedule) => schedule.next_after(*ours).map(Timestamp::to_chrono),
            Read::Cron(schedule) => schedule.after(theirs).next().map(|at| at.to_utc()),
            Read::Croner(schedule) => schedule.find_next_occurrence(theirs, false).ok().map(|at| at.to_utc()),
        }
    }

    /// From instants to wall times, through our zone.
    pub(crate) fn to_local(&self) {
        for &at in &self.ours {
            black_box(self.zone.to_local(black_box(at)));
        }
    }

    /// From wall times to instants, through our zone.
    pub(crate) fn to_instant(&self) {
        for at in &self.theirs {
            black_box(self.zone.resolve(black_box(at.naive_local())));
        }
    }

    /// From instants to wall times, through chrono-tz.
    pub(crate) fn tz_to_local(&self) {
        for at in &self.theirs {
            black_box(TZ.from_utc_datetime(&black_box(at.naive_utc())).naive_local());
        }
    }

    /// From wall times to instants, through chrono-tz.
    pub(crate) fn tz_to_instant(&self) {
        for at in &self.theirs {
            black_box(TZ.from_local_datetime(&black_box(at.naive_local())).latest());
        }
    }
}
