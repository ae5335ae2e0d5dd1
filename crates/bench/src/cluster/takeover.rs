//! `takeover`: the time from the killing of a node to the moment in which another one begins its work again.

use std::time::Duration;

use punctual_core::{Clock, Profile, Timestamp};
use punctual_runtime::{Scheduler, SystemClock};
use serde_json::{Value, json};

use super::crew::Crew;
use super::ground::Ground;
use super::node::Seat;
use super::options::Options;
use super::show::{Report, Spread, figure, progress};
use super::tally::{Hold, Snapshot};
use super::{Result, Sound};

/// Profiles, where none is given.
const PROFILES: [&str; 2] = ["fast", "default"];
/// How many nodes there are whenever one is killed.
const NODES: u32 = 3;
/// How often the driver looks who runs what.
const LOOK: Duration = Duration::from_millis(20);
/// How much longer than the bound somebody is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the kills of a profile showed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Taken {
    seconds: Vec<f64>,
    /// Nobody began the work within the driver's patience.
    missed: u32,
    /// Jobs that have not one record at the end, but none or several.
    wrong: u64,
}

impl Taken {
    fn within(&self, bound: Duration) -> bool {
        self.missed == 0
            && !self.seconds.is_empty()
            && self.seconds.iter().all(|seconds| *seconds <= bound.as_secs_f64())
    }
}

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let names = options.profile.as_deref().map_or_else(|| PROFILES.to_vec(), |name| vec![name]);
    let mut profiles = Vec::new();
    for name in names {
        let profile = Profile::named(name).ok_or("there is no such profile")?;
        profiles.push((name, profile, Taken::default()));
    }
    let nodes = options.nodes.unwrap_or(NODES);
    if nodes < 2 {
        return Err("a takeover needs two nodes or more".into());
    }
    let mut report = None;
    for run in 1..=options.runs {
        for (name, profile, taken) in &mut profiles {
            progress(format_args!("run {run}, {name}"));
            measure(options, nodes, (*name, *profile), taken, &mut report).await?;
        }
    }
    let report = report.ok_or("nothing was measured")?;
    let rows = profiles.iter().map(|(name, profile, taken)| {
        let Spread { median, min, max } = Spread::of(taken.seconds.iter().copied());
        let bound = bound(profile, options);
        let kills = taken.seconds.len().to_string();
        let verdict = if taken.within(bound) { "yes" } else { "NO" };
        let mut cells = vec![(*name).to_owned(), kills];
        cells.extend([min, median, max, bound.as_secs_f64()].map(figure));
        cells.extend([taken.missed.to_string(), verdict.to_owned()]);
        cells
    });
    report.table(&["profile", "takeovers", "min s", "p50", "max", "bound", "never", "within"], rows);
    report.note(format_args!(
        "From kill -9 of the one of {nodes} nodes that runs a job to the beginning of its next attempt on another one."
    ));
    report.note("The bound is that of the profile with this poll; it is published for a poll of 1 s.");
    let wrong: u64 = profiles.iter().map(|(.., taken)| taken.wrong).sum();
    report.note(if wrong == 0 { "Each job has one record." } else { "NOT EACH JOB HAS ONE RECORD." });
    let sound =
        wrong == 0 && profiles.iter().all(|(_, profile, taken)| taken.within(bound(profile, options)));
    let figures = profiles.iter().map(|(name, profile, taken)| {
        let bound = bound(profile, options);
        json!({
            "profile": name, "bound_s": bound.as_secs_f64(), "takeovers": taken.seconds.len(), "never": taken.missed,
            "seconds": Spread::of(taken.seconds.iter().copied()).to_json(), "within": taken.within(bound),
        })
    });
    let figures = json!({
        "nodes": nodes, "kills": options.kills, "profiles": figures.collect::<Vec<Value>>(), "wrong_records": wrong,
    });
    report.end(options.store.name(), figures);
    Ok(if sound { Sound::Yes } else { Sound::No })
}

/// The bound of a profile, which is published for the poll that nodes have by default.
fn bound(profile: &Profile, options: &Options) -> Duration {
    profile.takeover_bound(Duration::from_millis(options.poll_ms))
}

/// Kills nodes of a new cluster, one after the other, each replaced when its work has been taken over.
async fn measure(
    options: &Options,
    nodes: u32,
    (name, profile): (&str, Profile),
    taken: &mut Taken,
    report: &mut Option<Report>,
) -> Result<()> {
    let mut ground = Ground::new(options.store.kind(), options.folder.as_deref()).await?;
    if report.is_none() {
        let what =
            format!("{} times a run the one of {nodes} nodes is killed that runs a job", options.kills);
        let mut settings = options.settings();
        // There may be several; the table names them.
        settings.as_object_mut().and_then(|settings| settings.remove("profile"));
        *report = Some(Report::begin("takeover", &what, (options, settings), &mut ground).await?);
    }
    let seat = Seat { holds: true, profile: name.to_owned(), ..options.seat(ground.location()) };
    let mut crew = Crew::start(&seat, nodes)?;
    let store = ground.open().await?.store();
    let scheduler = Scheduler::builder_shared(store).build().await?;
    let patience = bound(&profile, options) + PATIENCE;
    for kill in 0..options.kills {
        scheduler.enqueue(Hold {}).await?;
        let who = |all: &[Snapshot]| all.iter().position(|snapshot| snapshot.holding > 0);
        let at = seen(&mut crew, patience, who).await?.ok_or("no node began the job")?;
        // At another point between two check-ins each time.
        SystemClock.sleep(profile.interval * kill / options.kills).await;
        let killed = SystemClock.wall().as_micros();
        crew.kill(at)?;
        let when = |all: &[Snapshot]| {
            all.iter().filter_map(|snapshot| snapshot.rerun).find(|rerun| *rerun >= killed)
        };
        let Some(rerun) = seen(&mut crew, patience, when).await? else {
            taken.missed += 1;
            progress(format_args!("  kill {}: nobody has taken over", kill + 1));
            return Ok(());
        };
        let seconds = Duration::from_micros(rerun.abs_diff(killed)).as_secs_f64();
        progress(format_args!("  kill {}: {} s", kill + 1, figure(seconds)));
        taken.seconds.push(seconds);
        crew.add(&Seat { name: format!("node-{}", nodes + kill + 1), ..seat.clone() })?;
    }
    crew.end()?;
    let recorded = ground.recorded(Timestamp::EPOCH, Timestamp::EPOCH).await?;
    taken.wrong += recorded.count.abs_diff(options.kills.into());
    Ok(())
}

/// Asks all nodes what they count until something is seen in it; none if it is not for too long.
async fn seen<T>(
    crew: &mut Crew,
    patience: Duration,
    sight: impl Fn(&[Snapshot]) -> Option<T>,
) -> Result<Option<T>> {
    let begun = SystemClock.boot();
    while SystemClock.boot().since(begun) < patience {
        let found = sight(&crew.count()?);
        if found.is_some() {
            return Ok(found);
        }
        SystemClock.sleep(LOOK).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_or_missing_is_not_within_the_bound() {
        let taken = |seconds: &[f64], missed| Taken { seconds: seconds.to_vec(), missed, wrong: 0 };
        let ten = Duration::from_secs(10);
        assert!(taken(&[5.0, 10.0], 0).within(ten));
        assert!(!taken(&[5.0, 10.001], 0).within(ten), "one is late");
        assert!(!taken(&[5.0], 1).within(ten), "nobody took over once");
        assert!(!taken(&[], 0).within(ten), "nothing was measured");
    }
}
