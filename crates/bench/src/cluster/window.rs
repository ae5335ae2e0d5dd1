//! A window: what nodes do and cost for some seconds, on whatever the database holds.

use std::time::Duration;

use punctual_core::Clock;
use punctual_runtime::SystemClock;
use serde_json::{Value, json};

use super::crew::Crew;
use super::ground::{Counters, Ground, Recorded};
use super::histogram::Counts;
use super::node::Seat;
use super::options::Options;
use super::show::{Report, Spread, count, figure};
use super::spent::{self, Spent};
use super::tally::Snapshot;
use super::{Result, Sound, kernel};

/// The longest window in which statements are counted.
pub(crate) const COUNTING: Duration = Duration::from_secs(5);

/// What was seen in one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    /// Firings that ended in it, by the history.
    pub(crate) fired: u64,
    pub(crate) commits: f64,
    pub(crate) bytes: f64,
    /// Of them, images of full pages; not a number where they cannot be told apart.
    pub(crate) images: f64,
    pub(crate) statements: f64,
    /// Where nodes count them, what they were and how long they took, the longest first.
    pub(crate) spent: Vec<Spent>,
    pub(crate) server_cpu: f64,
    pub(crate) node_cpu: f64,
    /// The part of the machine that somebody else had.
    pub(crate) others: f64,
    pub(crate) peak_kib: u64,
    pub(crate) late: Counts,
    /// Bodies that have begun in all, and how many of them the history does not have; or the other way round.
    pub(crate) begun: u64,
    pub(crate) unaccounted: u64,
    pub(crate) twice: u64,
    /// Whether what has run and what is recorded are the same executions.
    pub(crate) same: bool,
}

impl Window {
    pub(crate) fn rate(&self) -> f64 {
        count(self.fired) / self.seconds
    }

    /// A figure of the whole window for each firing.
    pub(crate) fn each(&self, whole: f64) -> f64 {
        whole / count(self.fired.max(1))
    }
}

/// Runs nodes for a window, and ends them. With a limit they count statements, in a window that is no longer than that.
pub(crate) async fn watch(
    ground: &mut Ground,
    options: &Options,
    (seat, nodes): (&Seat, u32),
    counting: Option<Duration>,
) -> Result<Window> {
    let store = ground.open().await?.store();
    let seat = Seat { counts_statements: counting.is_some(), ..seat.clone() };
    let mut crew = Crew::start(&seat, nodes)?;
    SystemClock.sleep(options.warming().min(counting.unwrap_or(Duration::MAX))).await;
    let length = options.window().min(counting.unwrap_or(Duration::MAX));

    let (first, before, busy) = (Edge::read(&crew, ground).await?, crew.count()?, kernel::cpu_of_all());
    let from = store.now().await?;
    SystemClock.sleep(length).await;
    let to = store.now().await?;
    let (last, after) = (Edge::read(&crew, ground).await?, crew.count()?);
    let busy = kernel::cpu_of_all().zip(busy).map_or(f64::NAN, |(now, then)| now - then);

    let all = crew.end()?;
    let images = ground.images(first.counters.bytes, last.counters.bytes).await;
    let recorded = ground.recorded(from, to).await?;
    let seconds = to.since(from).as_secs_f64();
    let server_cpu =
        last.counters.server_cpu.zip(first.counters.server_cpu).map_or(f64::NAN, |(now, then)| now - then);
    let node_cpu = last.node_cpu - first.node_cpu;
    let ours = node_cpu + if server_cpu.is_finite() { server_cpu } else { 0.0 };
    let late = before.iter().zip(&after).map(|(before, after)| after.late.since(&before.late));
    let by_server =
        last.counters.statements.zip(first.counters.statements).map(|(now, then)| now.saturating_sub(then));
    let of_each =
        before.iter().zip(&after).map(|(before, after)| spent::between(&before.spent, &after.spent));
    let spent = spent::together(of_each);
    let (begun, unaccounted, same) = compared(&all, recorded);
    Ok(Window {
        seconds,
        fired: recorded.within,
        commits: count(last.counters.commits.wrapping_sub(first.counters.commits)),
        bytes: count(last.counters.bytes.saturating_sub(first.counters.bytes)),
        images: images.map_or(f64::NAN, count),
        statements: by_server.or_else(|| counting.map(|_| spent::total(&spent))).map_or(f64::NAN, count),
        spent,
        server_cpu,
        node_cpu,
        others: ((busy - ours) / seconds / processors()).max(0.0),
        peak_kib: all.iter().filter_map(|snapshot| snapshot.peak_kib).max().unwrap_or(0),
        late: late.fold(Counts::default(), |sum, late| sum.with(&late)),
        begun,
        unaccounted,
        twice: ground.twice().await?,
        same,
    })
}

/// What is read at both ends of a window.
struct Edge {
    counters: Counters,
    node_cpu: f64,
}

impl Edge {
    async fn read(crew: &Crew, ground: &mut Ground) -> Result<Self> {
        Ok(Self { counters: ground.counters(&crew.pids()).await?, node_cpu: crew.cpu() })
    }
}

/// How many bodies have begun, how many more or fewer are recorded, and whether they are the same.
fn compared(all: &[Snapshot], recorded: Recorded) -> (u64, u64, bool) {
    let begun: u64 = all.iter().map(|snapshot| snapshot.begun).sum();
    let sum = all.iter().fold(0_u64, |sum, snapshot| sum.wrapping_add(snapshot.sum));
    (begun, begun.abs_diff(recorded.count), begun == recorded.count && sum == recorded.sum)
}

pub(crate) fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |number| count(u64::try_from(number.get()).unwrap_or(1)))
}

/// The figures of a number of nodes, by name.
pub(crate) fn figures(windows: &[Window], counted: Option<&Window>) -> Vec<(&'static str, Spread)> {
    let of = |figure: &dyn Fn(&Window) -> f64| Spread::of(windows.iter().map(figure));
    let statements = |window: &Window| window.each(window.statements);
    let statements = counted.map_or_else(|| of(&statements), |counted| Spread::of([statements(counted)]));
    vec![
        ("firings_per_second", of(&Window::rate)),
        ("late_p50_ms", of(&|window| window.late.at(500))),
        ("late_p99_ms", of(&|window| window.late.at(990))),
        ("late_max_ms", of(&|window| window.late.at(1000))),
        ("statements", statements),
        ("commits", of(&|window| window.each(window.commits))),
        ("bytes", of(&|window| window.each(window.bytes))),
        ("image_bytes", of(&|window| window.each(window.images))),
        ("server_cpu_s_per_1000", of(&|window| window.each(window.server_cpu * 1e3))),
        ("node_cpu_s_per_1000", of(&|window| window.each(window.node_cpu * 1e3))),
        ("other_cpu", of(&|window| window.others)),
        ("peak_mib", of(&|window| count(window.peak_kib) / 1024.0)),
    ]
}

/// What is checked of all windows together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    begun: u64,
    unaccounted: u64,
    twice: u64,
    same: bool,
}

impl Checks {
    pub(crate) fn of<'a>(windows: impl Iterator<Item = &'a Window> + Clone) -> Self {
        let sum = |part: fn(&Window) -> u64| windows.clone().map(part).sum();
        Self {
            begun: sum(|window| window.begun),
            unaccounted: sum(|window| window.unaccounted),
            twice: sum(|window| window.twice),
            same: windows.clone().all(|window| window.same),
        }
    }

    pub(crate) fn note(self, report: &Report) {
        let Self { begun, unaccounted, twice, same } = self;
        report.note(format_args!(
            "Of {} bodies, {unaccounted} are in no record, {twice} instants fired twice; {}.",
            figure(count(begun)),
            if same { "history and bodies are the same executions" } else { "HISTORY AND BODIES DIFFER" },
        ));
    }

    pub(crate) fn to_json(self) -> Value {
        let Self { begun, unaccounted, twice, same } = self;
        json!({"bodies": begun, "unaccounted": unaccounted, "double_firings": twice, "same": same})
    }

    pub(crate) fn sound(self) -> Sound {
        if self.same && self.twice == 0 { Sound::Yes } else { Sound::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_the_history_does_not_have_are_found() {
        let node = |begun, sum| Snapshot { begun, sum, ..Snapshot::default() };
        let recorded = |count, sum| Recorded { count, sum, within: 0 };
        let nodes = [node(2, u64::MAX), node(1, 5)];
        assert_eq!(compared(&nodes, recorded(3, 4)), (3, 0, true));
        assert_eq!(compared(&nodes, recorded(2, 4)), (3, 1, false), "one is in no record");
        assert_eq!(compared(&nodes, recorded(4, 4)), (3, 1, false), "one has not run");
        assert_eq!(compared(&nodes, recorded(3, 6)), (3, 0, false), "one ran twice and another one never");
    }

    #[test]
    fn statements_are_the_servers_where_it_counts_them() {
        let window = |statements| Window { seconds: 1.0, fired: 10, statements, ..Window::default() };
        let of = |windows: &[Window], counted: Option<&Window>| {
            figures(windows, counted)
                .into_iter()
                .find(|(name, _)| *name == "statements")
                .map(|(_, spread)| spread.median)
        };
        assert_eq!(of(&[window(5.0), window(7.0)], None), Some(0.6));
        assert_eq!(of(&[window(f64::NAN)], Some(&window(4.0))), Some(0.4));
    }
}
