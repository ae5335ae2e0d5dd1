//! A node finds what should not be in its store, mends what it may, and tells of it once; on each database.
#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use punctual::core::Clock;
use punctual::core::check::Rule;
use punctual::core::event::{Event, Listener, Stamped};
use punctual::runtime::SystemClock;
use punctual::{Context, Failure, Job, Scheduler};
use punctual_tests::place::{Kind, Place};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Clone, Serialize, Deserialize)]
struct Task;

impl Job for Task {
    const KIND: &'static str = "task";
}

async fn task(_: Task, _: Context) -> Result<(), Failure> {
    Ok(())
}

/// Tells of each finding: its rule, its place, and whether it was mended.
#[derive(Debug)]
struct Ear(mpsc::UnboundedSender<(String, String, bool)>);

impl Listener for Ear {
    fn hear(&self, event: &Stamped) {
        if let Event::Found { rule, place, mended, .. } = &event.event {
            let _ = self.0.send((rule.clone(), place.clone(), *mended));
        }
    }
}

async fn a_node_mends_what_it_finds_and_tells_once(kind: Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::new(kind, folder.path());
    let (store, _) = place.open().await.expect("it opens");
    let (ear, mut heard) = mpsc::unbounded_channel();
    let scheduler = Scheduler::builder_shared(store.clone())
        .job(task)
        .listener(Ear(ear))
        .check_every(Some(Duration::from_millis(100)))
        .build()
        .await
        .expect("a scheduler");
    scheduler.schedule(Task).every(Duration::from_secs(86_400)).key("t").await.expect("it is written");
    let prefix = match kind {
        Kind::Sqlite => "",
        Kind::Postgres => "punctual.",
        Kind::Mysql => "punctual_",
    };
    place.run(&format!("UPDATE {prefix}trigger SET next_fire_us = NULL")).expect("it is written");

    let beat = |node: i64| {
        place.run(&format!("INSERT INTO {prefix}beat (node_id, beat, seen_us) VALUES ({node}, 3, 0)"))
    };
    let listening = async {
        let mut found = BTreeMap::new();
        // Each is planted when the one before was found, so that there are several rounds.
        for node in 1..=3 {
            beat(node).expect("it is written");
            loop {
                let (rule, place, mended) = tokio::select! {
                    heard = heard.recv() => heard.expect("the node lives"),
                    () = SystemClock.sleep(punctual_tests::PATIENCE) => panic!("nothing was found; before: {found:?}"),
                };
                let is_beat = rule == Rule::BeatWithoutNode.as_str();
                assert_eq!(mended, is_beat, "{rule}");
                *found.entry((rule, place)).or_insert(0) += 1;
                if is_beat {
                    break;
                }
            }
        }
        assert!(found.values().all(|times| *times == 1), "{found:?}");
        assert_eq!(found.len(), 4, "three beats and a trigger: {found:?}");
    };
    scheduler.run_until(listening).await.expect("a good end");
    let check = store.checks().expect("it can be checked");
    let repairs = check.repairs(None, 10).await.expect("a read");
    assert_eq!(repairs.len(), 3);
    assert!(repairs.iter().all(|repair| repair.by.starts_with("node ")), "{repairs:?}");
}

punctual_tests::on_each_database! {
    a_node_mends_what_it_finds_and_tells_once;
}
