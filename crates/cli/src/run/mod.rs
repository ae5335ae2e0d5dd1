//! `punctual run`: one node, one schedule file, until a signal ends it.

mod apply;
mod journal;
mod live;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

use punctual::Scheduler;
use punctual_core::protocol::define::Unlisted;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::journal::Journal;
use self::live::{Style, Width};
use crate::args::{Colour, Keep, RunArgs};
use crate::db::{self, Access};
use crate::file::{self, NodeTable, Schedules};
use crate::job::{self, Host};
use crate::trouble::{Exit, Trouble};

/// The exit status after a second Ctrl-C, as shells have it for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs the node.
pub(crate) async fn run(args: RunArgs) -> ExitCode {
    let schedules = match file::load(&args.file) {
        Ok(schedules) => schedules,
        Err(troubles) => return report(&troubles),
    };
    match node(args, schedules).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.report(),
    }
}

fn report(troubles: &[Trouble]) -> ExitCode {
    let codes: Vec<ExitCode> = troubles.iter().map(Trouble::report).collect();
    codes.first().copied().unwrap_or(ExitCode::FAILURE)
}

async fn node(args: RunArgs, schedules: Schedules) -> Result<(), Trouble> {
    let Signals { mut hangup, mut interrupt, mut terminate } = Signals::listen()?;
    let settings = &schedules.node;
    let given = args.name.clone().or_else(|| settings.name.clone()).filter(|name| !name.is_empty());
    let name = given.unwrap_or_else(own_name);
    let width: Width = Arc::new(RwLock::new(0));
    widen(&width, &schedules);

    let store = db::open(&args.db, Access::Make).await?;
    let (live, writing) = live::start(style(&args), name.clone(), Arc::clone(&width));
    let mut builder = tune(Scheduler::builder_shared(store), &args, settings).name(&name).listener(live);
    if let Some(path) = &args.journal {
        builder = builder.listener(Journal::open(path)?);
    }
    let profile =
        args.profile.or_else(|| settings.profile.as_ref().map(|profile| profile.0)).unwrap_or_default();
    let scheduler = job::register(builder, Host::new(name, profile)).build().await?;

    let unlisted = if args.prune { Unlisted::Prune } else { Unlisted::Keep };
    apply::apply(&scheduler, &args.file, schedules, unlisted).await?;

    let reloading = async {
        while hangup.recv().await.is_some() {
            match file::load(&args.file) {
                Ok(schedules) => {
                    widen(&width, &schedules);
                    if let Err(trouble) = apply::apply(&scheduler, &args.file, schedules, unlisted).await {
                        trouble.report();
                        eprintln!("{}: not applied; the definitions in force stay", args.file.display());
                    }
                }
                Err(troubles) => {
                    report(&troubles);
                    eprintln!("{}: not applied; the definitions in force stay", args.file.display());
                }
            }
        }
    };
    let shutdown = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = reloading => {}
        }
        eprintln!("shutting down: waiting for running jobs; Ctrl-C ends them at once");
        tokio::spawn(async move {
            interrupt.recv().await;
            // The guards of running commands see that we are gone, and end them.
            std::process::exit(INTERRUPTED);
        });
    };
    let ended = scheduler.run_until(shutdown).await;
    writing.finish();
    ended.map_err(Trouble::from)
}

/// The values that the command line gives, or else the file.
fn tune(builder: punctual::Builder, args: &RunArgs, file: &NodeTable) -> punctual::Builder {
    builder.settings(|settings| {
        if let Some(profile) = args.profile.or_else(|| file.profile.as_ref().map(|profile| profile.0)) {
            settings.profile = profile;
        }
        if let Some(capacity) = args.capacity.or_else(|| file.capacity.as_ref().map(|capacity| capacity.0)) {
            settings.capacity = capacity;
        }
        if let Some(grace) = args.grace.or_else(|| file.grace.map(|grace| grace.0)) {
            settings.grace = grace;
        }
        if let Some(poll) = file.poll {
            settings.poll = poll.0;
        }
        if let Some(prefetch) = file.prefetch {
            settings.prefetch = prefetch.0;
        }
        if let Some(record) = file.record_successes {
            settings.record_successes = record;
        }
        match (args.keep_history, file.keep_history) {
            (Some(Keep(span)), _) => settings.keep_history = span,
            (None, Some(span)) => settings.keep_history = Some(span.0),
            (None, None) => {}
        }
    })
}

/// Makes the column of names fit what will be shown in it, within reason.
fn widen(width: &Width, schedules: &Schedules) {
    let longest = schedules.set.triggers.iter().map(|trigger| trigger.key.to_string().chars().count()).max();
    let mut width = width.write().unwrap_or_else(PoisonError::into_inner);
    *width = longest.unwrap_or_default().clamp(12, 40).max(*width);
}

fn style(args: &RunArgs) -> Style {
    let wanted = match args.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            std::io::stdout().is_terminal() && !plain && !dumb
        }
    };
    match (args.json, wanted) {
        (true, _) => Style::Json,
        (false, true) => Style::Coloured,
        (false, false) => Style::Plain,
    }
}

/// The name of this process among the nodes.
fn own_name() -> String {
    format!("{}-{}", host(), std::process::id())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The signals that a node listens to, from before anything takes time.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Trouble> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Trouble::new(Exit::Error, format!("signals cannot be listened to: {error}")))
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }
}
