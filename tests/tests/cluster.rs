//! Library users' clusters, as processes on one database: killed, frozen, all killed; judged by the history checker. Each
//! of it on each database.
#![allow(clippy::future_not_send, reason = "each test drives its cluster from one thread")]

use punctual::core::event::Event;
use punctual_checker::Verdict;
use punctual_tests::place::Kind;
use punctual_tests::{Cluster, on_each_database};

const NODE: &str = env!("CARGO_BIN_EXE_node");

fn assert_clean(verdict: &Verdict) {
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!((verdict.duplicates, verdict.lost, verdict.overlaps), (0, 0, 0));
}

async fn a_killed_node_loses_nothing_and_doubles_nothing(kind: Kind) {
    let mut cluster = Cluster::new(NODE, kind);
    let pids = [cluster.start(), cluster.start(), cluster.start()];
    cluster.listen_for_firings(100);
    // Kill whichever node has just begun exclusive work.
    let (victim, _) = cluster.listen(|pid, stamped| {
        pids.contains(&pid) && matches!(&stamped.event, Event::Began { work, .. } if work.slot.is_some())
    });
    cluster.kill(victim);
    cluster.listen(|_, stamped| matches!(stamped.event, Event::TookOver { .. }));
    cluster.listen_for_firings(100);

    let verdict = cluster.finish().await;
    assert_clean(&verdict);
    assert_eq!(verdict.takeovers, 1);
    assert!(verdict.takeover_seconds_max <= 10.0, "{verdict:#?}");
}

async fn after_all_nodes_were_killed_a_fresh_start_needs_nobody(kind: Kind) {
    let mut cluster = Cluster::new(NODE, kind);
    let pids = [cluster.start(), cluster.start()];
    cluster.listen_for_firings(60);
    for pid in pids {
        cluster.kill(pid);
    }
    cluster.start();
    cluster.start();
    let mut dead = 0;
    cluster.listen(|_, stamped| {
        dead += usize::from(matches!(stamped.event, Event::TookOver { .. }));
        dead == 2
    });
    cluster.listen_for_firings(100);
    assert_clean(&cluster.finish().await);
}

/// Freezes a node that runs exclusive work. A process that was stopped inside SQLite's write transaction holds up all
/// others, who then report trouble; that is another case, so it is thawed and another moment is tried.
fn freeze_outside_a_transaction(cluster: &mut Cluster, pids: &[u32]) -> u32 {
    loop {
        let (victim, _) = cluster.listen(|pid, stamped| {
            pids.contains(&pid) && matches!(&stamped.event, Event::Began { work, .. } if work.slot.is_some())
        });
        cluster.freeze(victim);
        let mut others = 0;
        let (_, last) = cluster.listen(|pid, stamped| {
            others += usize::from(pid != victim && matches!(stamped.event, Event::Claimed { .. }));
            others >= 40 || matches!(stamped.event, Event::Trouble { .. })
        });
        if !matches!(last.event, Event::Trouble { .. }) {
            return victim;
        }
        cluster.thaw(victim);
        cluster.listen_for_firings(100);
    }
}

async fn a_frozen_node_finds_itself_fenced_when_it_wakes(kind: Kind) {
    let mut cluster = Cluster::new(NODE, kind);
    let pids = [cluster.start(), cluster.start(), cluster.start()];
    cluster.listen_for_firings(60);
    let frozen = freeze_outside_a_transaction(&mut cluster, &pids);
    cluster.listen(|pid, stamped| pid != frozen && matches!(stamped.event, Event::TookOver { .. }));
    cluster.listen_for_firings(60);
    cluster.thaw(frozen);
    cluster.listen(|pid, stamped| pid == frozen && matches!(stamped.event, Event::Rejoined { .. }));
    cluster.listen_for_firings(60);
    let verdict = cluster.finish().await;
    assert_clean(&verdict);
    assert_eq!(verdict.takeovers, 1);
}

on_each_database! {
    a_killed_node_loses_nothing_and_doubles_nothing;
    after_all_nodes_were_killed_a_fresh_start_needs_nobody;
    a_frozen_node_finds_itself_fenced_when_it_wakes;
}
