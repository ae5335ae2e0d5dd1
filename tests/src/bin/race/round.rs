//! One round: processes that are all there before the first is let go, and what they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use punctual::core::entropy::SeededEntropy;
use punctual::core::{BootInstant, Clock, Entropy, Result};
use punctual::runtime::SystemClock;
use punctual_tests::crowd::{Crowd, Heard, Word, applied, is_trouble};
use punctual_tests::place::{Kind, Place};
use punctual_tests::schema::Schema;
use tokio::task::JoinHandle;

use super::Plan;

/// How long the migrations take about, as long as that was not measured.
const USUAL_SPAN: Duration = Duration::from_millis(300);

/// How often the history is looked at for its first row.
const LOOK: Duration = Duration::from_millis(2);

/// What a round came to.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Different versions in the history.
    pub(super) versions: usize,
    /// How often a version was applied, or is in the history, once more than it should.
    pub(super) duplicates: usize,
    /// Processes that were not killed and did not end well.
    pub(super) failed: usize,
    /// Lines of logs that somebody should look at.
    pub(super) logged: usize,
    pub(super) killed: usize,
    pub(super) is_broken: bool,
    /// How long each process took to open the store, in milliseconds, in the order in which they were done.
    pub(super) starts: Vec<u64>,
    /// What went wrong, for people.
    pub(super) wrong: Vec<String>,
}

impl Round {
    fn blame(&mut self, who: usize, what: &str) {
        self.wrong.push(format!("process {who}: {what}"));
    }
}

/// Which process is killed when.
type Deaths = Vec<(BootInstant, usize)>;

/// Runs a round. `usual` is how long the migrations usually take, in milliseconds; 0 if that is not known.
pub(super) async fn run(
    plan: &Plan,
    opener: &Path,
    entropy: &SeededEntropy,
    usual: u64,
) -> std::result::Result<Round, Box<dyn std::error::Error>> {
    let kind = plan.store.kind();
    let folder = tempfile::tempdir()?;
    let place = Place::new(kind, folder.path());
    let mut crowd = Crowd::new(opener, place.location());
    let order = shuffled(crowd.start_many(plan.processes, &[]).await?, entropy);
    let (prompt, mut late) = order.split_at(plan.processes.saturating_sub(plan.late));
    // A second way to notice that the race is on. An SQLite file must not be opened for that, for whoever opens it first
    // is a part of the race; and its history is written when the first process ends, or a moment before.
    let watches = !late.is_empty() && kind != Kind::Sqlite;
    let mut first_row = watches.then(|| tokio::spawn(first_row(place.location().to_owned())));

    for who in prompt {
        crowd.go(*who);
    }
    let usual = if usual == 0 { USUAL_SPAN } else { Duration::from_millis(usual) };
    // The first ones to be let go are the most likely to migrate, and so the ones worth killing, while they do.
    let mut deaths = deaths(order.iter().take(plan.kill), usual, entropy);
    let mut round = Round::default();
    let mut applications: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    let mut killed = BTreeSet::new();
    let mut running: BTreeSet<usize> = order.iter().copied().collect();
    while !running.is_empty() {
        tokio::select! {
            heard = crowd.hear() => match heard? {
                (who, Heard::Ended(status)) => {
                    running.remove(&who);
                    deaths.retain(|(_, victim)| *victim != who);
                    if !status.success() && !killed.contains(&who) {
                        round.failed += 1;
                        round.blame(who, &format!("ended with {status}"));
                    }
                    std::mem::take(&mut late).iter().for_each(|who| crowd.go(*who));
                }
                (_, Heard::Said(Word::Open { milliseconds })) => round.starts.push(milliseconds),
                (who, Heard::Said(Word::Refused { message, .. })) => round.blame(who, &message),
                (who, Heard::Said(word)) => round.blame(who, &word.line()),
                (who, Heard::Logged(line)) => {
                    applications.entry(who).or_default().extend(applied(&line));
                    if is_trouble(&line) {
                        round.logged += 1;
                        round.blame(who, &line);
                    }
                }
            },
            () = ends(&mut first_row) => {
                first_row = None;
                std::mem::take(&mut late).iter().for_each(|who| crowd.go(*who));
            }
            who = dies(&deaths) => {
                deaths.retain(|(_, victim)| *victim != who);
                killed.insert(who);
                crowd.kill(who)?;
            }
        }
    }
    if let Some(watch) = first_row {
        watch.abort();
    }
    round.killed = killed.len();
    // What a killed process said that it had applied may have been taken back with it.
    let whole =
        applications.iter().filter(|(who, _)| !killed.contains(who)).flat_map(|(_, versions)| versions);
    judge(&mut round, place.location(), whole).await?;
    Ok(round)
}

fn shuffled(mut crowd: Vec<usize>, entropy: &SeededEntropy) -> Vec<usize> {
    crowd.sort_by_cached_key(|_| entropy.draw());
    crowd
}

fn deaths<'w>(victims: impl Iterator<Item = &'w usize>, usual: Duration, entropy: &SeededEntropy) -> Deaths {
    let now = SystemClock.boot();
    let mut deaths: Deaths = victims.map(|who| (now.plus(entropy.below(usual)), *who)).collect();
    deaths.sort_unstable();
    deaths
}

/// Who is to be killed next, when it is time.
async fn dies(deaths: &Deaths) -> usize {
    let Some((when, who)) = deaths.first() else { return std::future::pending().await };
    SystemClock.sleep(when.since(SystemClock.boot())).await;
    *who
}

/// Waits until somebody has written a row of the history.
async fn first_row(location: String) {
    let look = async || -> Result<()> {
        let mut schema = Schema::at(&location).await?;
        while schema.conn.history().await?.is_empty() {
            SystemClock.sleep(LOOK).await;
        }
        Ok(())
    };
    // Whoever cannot look does not know more than that nothing was seen; the first end of a process is seen as well.
    if look().await.is_err() {
        std::future::pending().await
    }
}

/// Waits for the end of a watch, if there is one.
async fn ends(watch: &mut Option<JoinHandle<()>>) {
    match watch {
        Some(watch) => drop(watch.await),
        None => std::future::pending().await,
    }
}

/// Looks at what was left.
async fn judge<'v>(
    round: &mut Round,
    location: &str,
    applied: impl Iterator<Item = &'v i64>,
) -> io::Result<()> {
    let mut schema = Schema::at(location).await.map_err(io::Error::other)?;
    let mut rows: BTreeMap<i64, usize> = BTreeMap::new();
    for version in schema.versions().await.map_err(io::Error::other)? {
        *rows.entry(version).or_default() += 1;
    }
    let mut runs: BTreeMap<i64, usize> = BTreeMap::new();
    for version in applied {
        *runs.entry(*version).or_default() += 1;
    }
    round.versions = rows.len();
    for counts in [&rows, &runs] {
        round.duplicates += counts.values().map(|count| count - 1).sum::<usize>();
    }
    if round.duplicates > 0 {
        round.wrong.push(format!("applications by version: {runs:?}; rows of the history: {rows:?}"));
    }
    let faults = schema.faults().await.map_err(io::Error::other)?;
    round.is_broken = !faults.is_empty();
    round.wrong.extend(faults);
    Ok(())
}
