//! What a run shows while it lasts.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use punctual::core::{BootInstant, Clock};
use punctual::runtime::SystemClock;

use crate::run::Counts;

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Prints a line now and then.
#[derive(Debug)]
pub(crate) struct View {
    begun: BootInstant,
    last: BootInstant,
    bodies: PathBuf,
    read: u64,
    begins: u64,
}

impl View {
    pub(crate) fn new(bodies: PathBuf) -> Self {
        let begun = SystemClock.boot();
        println!(
            "\n{:>6} {:>8} {:>6} {:>7} {:>8} {:>8} {:>6}",
            "s", "bodies", "kills", "freezes", "restarts", "unknown", "alive"
        );
        Self { begun, last: begun, bodies, read: 0, begins: 0 }
    }

    /// Shows how it goes, if the last line is old enough.
    pub(crate) fn show(&mut self, counts: &Counts, alive: usize) {
        let now = SystemClock.boot();
        if now.since(self.last) < EVERY {
            return;
        }
        self.last = now;
        self.begins += self.begun_since();
        let Counts { kills, freezes, restarts, unknown_commits, .. } = counts;
        println!(
            "{:>6} {:>8} {kills:>6} {freezes:>7} {restarts:>8} {unknown_commits:>8} {alive:>6}",
            now.since(self.begun).as_secs(),
            self.begins
        );
    }

    /// Says something at once.
    pub(crate) fn say(&self, text: &str) {
        println!("{:>6} {text}", SystemClock.boot().since(self.begun).as_secs());
    }

    /// How many bodies have begun since the last look.
    fn begun_since(&mut self) -> u64 {
        let mut text = Vec::new();
        let read = File::open(&self.bodies).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut text)
        });
        self.read += u64::try_from(read.unwrap_or(0)).unwrap_or(0);
        let begins =
            text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"body\":\"begin\""));
        u64::try_from(begins.count()).unwrap_or(0)
    }
}
