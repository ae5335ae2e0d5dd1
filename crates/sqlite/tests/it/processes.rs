//! Several processes on one file, killed at any point: nothing is left half done.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use punctual_core::entropy::SeededEntropy;
use punctual_core::{Entropy, JobStore, NodeId};
use rusqlite::Connection;

use crate::support::*;

const FILE: &str = "PUNCTUAL_TEST_FILE";
const SEED: &str = "PUNCTUAL_TEST_SEED";

/// What each process does: fires, claims, ends and enqueues for as long as it lives.
#[tokio::test]
#[ignore = "run by processes_that_are_killed_leave_nothing_half_done"]
async fn child() {
    let Ok(file) = env::var(FILE) else { return };
    let seed: u64 = env::var(SEED).unwrap().parse().unwrap();
    let entropy = SeededEntropy::new(seed);
    let store = open(Path::new(&file)).await;
    let me = NodeId::draw(&entropy).get();
    store.join(node(me)).await.unwrap();
    for round in 0.. {
        let now = store.now().await.unwrap();
        let _ = fire(&store, me, 20, seed.wrapping_mul(1_000_003) + round).await;
        println!("fired");
        let id = (u128::from(entropy.draw()) << 64) | u128::from(entropy.draw());
        let _ = store.enqueue(vec![work(id, None, now), work(id ^ 1, None, now)]).await.unwrap();
        println!("enqueued");
        let claimed = claim_ready(&store, me, 5).await;
        println!("claimed");
        let mut plans: Vec<_> = good(&claimed.work).into_iter().map(|work| success(work, now)).collect();
        let mine = store.inspect().executions(punctual_core::inspect::ExecutionFilter {
            owner: Some(node_id(me)),
            ..Default::default()
        });
        for row in mine.await.unwrap() {
            let punctual_core::store::Readable::Row(execution) = row else { panic!("{row:?}") };
            let work =
                punctual_core::execution::ExecutionWithJob { execution, job: None, trigger_payload: None };
            plans.push(success(&work, now));
        }
        plans.sort_by_key(|plan| plan.claim.id);
        plans.dedup_by_key(|plan| plan.claim.id);
        let _ = store.settle(plans).await.unwrap();
        println!("settled");
        store.check_in(node_id(me)).await.unwrap();
    }
}

/// A process, and what it says after each of its steps.
struct Process {
    child: Child,
    steps: BufReader<ChildStdout>,
}

impl Process {
    /// Lets it take `steps` steps, and then a moment of the next one.
    fn let_run(&mut self, steps: u64, entropy: &SeededEntropy) {
        let mut line = String::new();
        for _ in 0..steps {
            assert!(self.steps.read_line(&mut line).unwrap() > 0, "a process ended by itself");
        }
        // Steps take from a tenth of a millisecond to some: so do these draws.
        for _ in 0..entropy.draw() % 500_000 {
            entropy.draw();
        }
    }

    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "a process ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn start(file: &Path, seed: u64) -> Process {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--ignored", "--nocapture"])
        .env(FILE, file)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let steps = BufReader::new(child.stdout.take().unwrap());
    Process { child, steps }
}

#[tokio::test]
async fn processes_that_are_killed_leave_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    let now = store.now().await.unwrap();
    let (free, exclusive) = (job(1, false), job(2, true));
    put(&store, &free, &(1..=8).map(|id| trigger(id, &free, now)).collect::<Vec<_>>()).await;
    put(&store, &exclusive, &(11..=14).map(|id| trigger(id, &exclusive, now)).collect::<Vec<_>>()).await;

    let entropy = SeededEntropy::new(42);
    let mut running: Vec<Process> = (0..3).map(|seed| start(&path, seed)).collect();
    for round in 3..15 {
        let mut victim = running.remove(0);
        victim.let_run(20 + entropy.draw() % 60, &entropy);
        victim.kill();
        running.push(start(&path, round));
    }
    for process in running {
        process.kill();
    }

    let file = Connection::open(&path).unwrap();
    let ask = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    assert!(ask("SELECT count(*) FROM history") > 50, "too little happened to say anything");
    for (what, wrong) in [
        (
            "triggers that count other firings than there are",
            "SELECT count(*) FROM trigger t WHERE t.fires <>
               (SELECT count(*) FROM execution e WHERE e.trigger_id = t.id)
             + (SELECT count(*) FROM history h WHERE h.trigger_id = t.id AND h.outcome <> 5)",
        ),
        (
            "occurrences that are live and in the history",
            "SELECT count(*) FROM execution e JOIN history h USING (trigger_id, generation, scheduled_us)",
        ),
        (
            "ids that are live and in the history",
            "SELECT count(*) FROM execution e JOIN history h USING (id)",
        ),
        (
            "slots held by nobody's execution",
            "SELECT count(*) FROM slot WHERE exec_id IS NOT NULL AND exec_id NOT IN (SELECT id FROM execution)",
        ),
        (
            "exclusive executions without their slot",
            "SELECT count(*) FROM execution WHERE slot_key IS NOT NULL AND id NOT IN
               (SELECT exec_id FROM slot WHERE exec_id IS NOT NULL)",
        ),
        ("triggers that were set aside", "SELECT count(*) FROM trigger WHERE state = 3"),
    ] {
        assert_eq!(ask(wrong), 0, "{what}");
    }
    let mut statement = file
        .prepare(
            "SELECT id FROM execution WHERE trigger_id IS NULL UNION SELECT id FROM history WHERE trigger_id IS NULL",
        )
        .unwrap();
    let ids = statement.query_map([], |row| row.get::<_, [u8; 16]>(0)).unwrap();
    let ids: BTreeSet<u128> = ids.map(|id| u128::from_be_bytes(id.unwrap())).collect();
    assert!(ids.iter().all(|id| ids.contains(&(id ^ 1))), "a batch of two came in half");
    let next = open(&path).await;
    next.join(node(999)).await.unwrap();
    let gone = next.check_in(node_id(999)).await.unwrap();
    assert!(gone.nodes.len() > 10, "the killed are up until somebody takes over");
}
