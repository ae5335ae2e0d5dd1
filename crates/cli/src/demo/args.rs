//! The command line of the demo, and what it amounts to: who is hurt when, and who comes back.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use humantime::parse_duration;

use super::failed::Failed;

/// How long a killed node stays away when `--kills` is given.
const QUICK_RESTART: Duration = Duration::from_secs(2);
/// When `--kills` begins, unless `--kill-after` says it.
const FIRST_KILL: Duration = Duration::from_secs(6);
/// How long before the end the last fault comes: the work of the dead has to be offered again within 10 s.
const QUIET_END: Duration = Duration::from_secs(12);

/// Run a cluster of node processes on one database, hurt it, and judge what became of every firing.
///
/// On a server the run has a schema (PostgreSQL) or a database (MySQL and MariaDB) of its own, which is made for it and
/// dropped after a good verdict, unless --dir is given.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of node processes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) nodes: u32,
    /// How long the schedule runs before the verdict.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(crate) span: Duration,
    /// Kill -9 one node after this time; it stays dead.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) kill_after: Option<Duration>,
    /// Kill -9 nodes so many times over the run; each is started again 2 s later.
    #[arg(long, value_name = "N")]
    pub(crate) kills: Option<u32>,
    /// Kill -9 all nodes at once after this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) kill_all_after: Option<Duration>,
    /// How long killed nodes stay away; 5s for --kill-all-after, 2s for --kills.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) restart_after: Option<Duration>,
    /// Freeze one node (SIGSTOP) after this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) freeze_after: Option<Duration>,
    /// How long a node is frozen.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    pub(crate) freeze_for: Duration,
    /// Freeze the node in the middle of a transaction, instead of outside of one. On PostgreSQL nodes then work as through
    /// a pooler, because otherwise a step is one statement, in the middle of which no client can be stopped.
    #[arg(long)]
    pub(crate) freeze_inside: bool,
    /// Restart the database server after this time, with --restart-db-with.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "restart_db_with")]
    pub(crate) restart_db_after: Option<Duration>,
    /// The shell command that restarts the server, such as `cargo xtask db restart postgres --hard`.
    #[arg(long, value_name = "COMMAND", requires = "restart_db_after")]
    pub(crate) restart_db_with: Option<String>,
    /// The database file, in the demo's own directory unless given; or the URL of a server, as other commands take it.
    #[arg(long, value_name = "PATH-or-URL")]
    pub(crate) db: Option<String>,
    /// Keep schedule, database, journals and logs in this directory; a temporary one unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Seed of everything that the demo chooses at random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print the verdict as one JSON object, on the last line of standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Something that is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// SIGKILL for one node; it comes back after that time, if any.
    Kill(Option<Duration>),
    /// SIGKILL for all nodes; they come back after that time.
    KillAll(Duration),
    /// SIGSTOP for one node, and SIGCONT after that time.
    Freeze(Duration),
    /// The server of the database is restarted.
    RestartDb,
}

/// What is done when, in order.
pub(crate) type Plan = Vec<(Duration, Step)>;

impl DemoArgs {
    /// What is done when, in order; times count from the moment at which all nodes are up.
    pub(crate) fn plan(&self) -> Result<Plan, Failed> {
        let mut plan = Vec::new();
        match (self.kills, self.kill_after) {
            (Some(kills), first) => {
                let first = first.unwrap_or(FIRST_KILL);
                let last = self.span.saturating_sub(QUIET_END).max(first);
                let gap = (last - first) / kills.saturating_sub(1).max(1);
                let back = Some(self.restart_after.unwrap_or(QUICK_RESTART));
                plan.extend((0..kills).map(|n| (first + gap * n, Step::Kill(back))));
            }
            (None, Some(at)) => plan.push((at, Step::Kill(self.restart_after))),
            (None, None) => {}
        }
        let back = self.restart_after.unwrap_or(Duration::from_secs(5));
        plan.extend(self.kill_all_after.map(|at| (at, Step::KillAll(back))));
        plan.extend(self.freeze_after.map(|at| (at, Step::Freeze(self.freeze_for))));
        plan.extend(self.restart_db_after.map(|at| (at, Step::RestartDb)));
        plan.sort_by_key(|(at, _)| *at);
        if self.freeze_inside && self.freeze_after.is_none() {
            return Err(Failed::new("--freeze-inside says how, but not when: add --freeze-after 8s"));
        }
        match plan.last() {
            Some((at, _)) if *at >= self.span => Err(Failed::new(format!(
                "a fault after {at:?} comes too late, for the run ends after {:?}: give a longer --for",
                self.span
            ))),
            _ => Ok(plan),
        }
    }

    /// How long a node stays away that the viewer killed.
    pub(crate) fn viewer_restart(&self) -> Option<Duration> {
        self.restart_after.or_else(|| self.kills.map(|_| QUICK_RESTART))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    fn plan(line: &str) -> Result<Plan, Failed> {
        Line::try_parse_from(line.split(' ')).unwrap().demo.plan()
    }

    #[test]
    fn kills_are_spread_and_leave_time_for_the_last_take_over() {
        let plan = plan("demo --kills 10 --for 90s").unwrap();
        assert_eq!(plan.len(), 10);
        assert!(plan.iter().all(|(_, step)| *step == Step::Kill(Some(Duration::from_secs(2)))));
        assert_eq!(plan.first().unwrap().0, Duration::from_secs(6));
        assert_eq!(plan.last().unwrap().0, Duration::from_secs(78));
    }

    #[test]
    fn one_kill_is_for_good() {
        let second = Duration::from_secs(1);
        assert_eq!(plan("demo --kill-after 8s --for 40s").unwrap(), [(second * 8, Step::Kill(None))]);
        assert_eq!(plan("demo --kill-all-after 9s").unwrap(), [(second * 9, Step::KillAll(second * 5))]);
        assert_eq!(plan("demo --freeze-after 8s").unwrap(), [(second * 8, Step::Freeze(second * 20))]);
    }

    #[test]
    fn faults_after_the_end_are_refused() {
        assert!(plan("demo --kill-after 8s --for 8s").is_err());
        assert!(plan("demo --freeze-inside").is_err());
    }
}
