//! One node process: `node DATABASE BODIES NAME`. It prints its events as JSON lines and shuts down when its standard
//! input closes.
#![expect(clippy::print_stdout, reason = "it talks to the test through its standard output")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use punctual::core::Clock;
use punctual::core::event::{Listener, Stamped};
use punctual::runtime::SystemClock;
use punctual::{Context, Failure, Job, Profile, Scheduler, State, WhenBusy};
use punctual_checker::{BodyEvent, BodyStart};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

#[derive(Serialize, Deserialize)]
struct Work {
    takes_ms: u64,
}

impl Job for Work {
    const KIND: &'static str = "work";
}

struct Bodies(File);

impl Bodies {
    fn write(&self, event: &BodyEvent) {
        let mut line = serde_json::to_vec(event).expect("an event is JSON");
        line.push(b'\n');
        (&self.0).write_all(&line).expect("the log can be written");
    }
}

async fn work(work: Work, bodies: State<Bodies>, ctx: Context) -> Result<(), Failure> {
    let stamp = || BodyStart {
        token: None,
        execution: ctx.execution_id(),
        attempt: ctx.attempt(),
        fence: ctx.fence(),
        trigger: ctx.trigger().cloned(),
        generation: ctx.generation(),
        scheduled: ctx.scheduled_at().into(),
        slot: ctx.concurrency_key().map(Into::into),
        pid: std::process::id(),
        boot_us: SystemClock.boot(),
    };
    bodies.write(&BodyEvent::Begin(stamp()));
    tokio::select! {
        () = SystemClock.sleep(Duration::from_millis(work.takes_ms)) => {
            bodies.write(&BodyEvent::End(stamp()));
            Ok(())
        }
        reason = ctx.stopped() => {
            bodies.write(&BodyEvent::Cancelled(stamp()));
            Err(Failure::retry(format!("{reason:?}")))
        }
    }
}

#[derive(Debug)]
struct Print;

impl Listener for Print {
    fn hear(&self, event: &Stamped) {
        println!("{}", serde_json::to_string(event).expect("an event is JSON"));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, database, bodies, name] = arguments.as_slice() else {
        return Err("usage: node DATABASE BODIES NAME".into());
    };
    let bodies = Bodies(OpenOptions::new().create(true).append(true).open(bodies)?);
    let scheduler = Scheduler::builder_shared(punctual_tests::place::open(database).await?.0)
        .name(name)
        .profile(Profile::FAST)
        .state(bodies)
        .job(work)
        .listener(Print)
        .build()
        .await?;
    let half = Duration::from_millis(500);
    for n in 0..12 {
        scheduler.schedule(Work { takes_ms: n * 40 }).every(half).key(&format!("tick/{n}")).await?;
    }
    for (n, when_busy) in [(0, WhenBusy::Queue), (1, WhenBusy::Skip), (2, WhenBusy::Skip)] {
        let long = Work { takes_ms: 1_700 };
        scheduler.schedule(long).every(half * 2).exclusive(when_busy).key(&format!("exclusive/{n}")).await?;
    }
    scheduler
        .run_until(async {
            let mut rest = Vec::new();
            let _ = tokio::io::stdin().read_to_end(&mut rest).await;
        })
        .await?;
    Ok(())
}
