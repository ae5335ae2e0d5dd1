//! What people see while mistakes are tried: one line that is written over on a terminal, else a line now and then.
#![expect(clippy::print_stderr, reason = "a test runner talks to people")]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where none can be written over.
const EVERY: usize = 20;

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "it times the tests of a run, and no store sees it")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

pub(super) struct Progress {
    all: usize,
    done: usize,
    begun_with: usize,
    survived: usize,
    began: Stopwatch,
    on_terminal: bool,
}

impl Progress {
    pub(super) fn begin(statements: usize, mutants: usize, known: usize) -> Self {
        let before = if known > 0 { format!(", {known} tried before") } else { String::new() };
        eprintln!("{statements} statements, {mutants} mistakes{before}");
        let on_terminal = std::io::stderr().is_terminal();
        Self {
            all: mutants,
            done: known,
            begun_with: known,
            survived: 0,
            began: Stopwatch::start(),
            on_terminal,
        }
    }

    pub(super) fn tell(&mut self, change: &str, statement: &str, noticed_by: Option<&str>) {
        self.done += 1;
        let over = if self.on_terminal { "\r\x1b[K" } else { "" };
        if noticed_by.is_none() {
            self.survived += 1;
            let begins: Vec<&str> = statement.split_whitespace().take(8).collect();
            eprintln!("{over}not noticed: {change}\n  in {} …", begins.join(" "));
        }
        let line = format!(
            "{:>5} of {}, {} not noticed, {} min left",
            self.done,
            self.all,
            self.survived,
            self.minutes_left()
        );
        if self.on_terminal {
            eprint!("{over}{line}");
            if self.done == self.all {
                eprintln!();
            }
        } else if self.done.is_multiple_of(EVERY) || self.done == self.all {
            eprintln!("{line}");
        }
    }

    fn minutes_left(&self) -> u64 {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let tried = count(self.done.saturating_sub(self.begun_with)).max(1);
        (self.began.elapsed().as_secs() * count(self.all.saturating_sub(self.done)) / tried).div_ceil(60)
    }
}
