//! `punctual migrate`: the schema of a database, looked at, brought up to date and mended.

mod args;
mod show;

use std::process::ExitCode;

use punctual_core::migrate::{
    Holder, Migration, MigrationConn, MigrationOutcome, Progress, Repair, Runner, Standing, baseline, export,
    migrate, rehearse, repair, repairs, validate,
};

pub(crate) use self::args::MigrateArgs;
use self::args::What;
use self::show::{Code, Told};
use crate::db::{self, Access, Target};
use crate::look::print;
use crate::trouble::Trouble;

/// Runs the command; its exit codes are its own.
pub(crate) async fn run(args: MigrateArgs) -> ExitCode {
    let json = args.json;
    match tried(args).await {
        Ok(told) => {
            if json {
                print(&told.json.to_string());
            } else {
                print(&told.text);
            }
            ExitCode::from(told.code as u8)
        }
        Err(trouble) => {
            trouble.report();
            ExitCode::FAILURE
        }
    }
}

async fn tried(args: MigrateArgs) -> Result<Told, Trouble> {
    let access = match args.what {
        What::Apply { .. } | What::Export { .. } | What::Baseline { .. } => Access::Make,
        What::Status | What::Plan | What::Validate | What::Repair { .. } => Access::AsItIs,
    };
    let mut target = db::migrations(&args.db, access).await?;
    let Target { known, shapes, .. } = &target;
    let (known, shapes) = (known.clone(), shapes.clone());
    let who = format!("punctual migrate, process {}", std::process::id());
    let runner = Runner {
        known: &known,
        shapes: &shapes,
        binary: env!("CARGO_PKG_VERSION"),
        who: Holder { who: who.into(), since: None, step: None },
        patience: args.lock_timeout,
        limit: args.limit,
    };
    let newest = i64::try_from(known.len()).unwrap_or(i64::MAX);
    let conn = &mut *target.conn;
    let quiet = args.json;
    Ok(match args.what {
        What::Status => {
            let (version, standing, _) = validate(conn, &runner, false).await?;
            let history = conn.history().await?;
            show::status(version, newest, &standing, &history)
        }
        What::Plan => {
            let (version, standing, _) = validate(conn, &runner, false).await?;
            show::plan(version, newest, &standing, |sql| conn.text(sql))
        }
        What::Apply { dry_run: true } => {
            show::applied(rehearse(conn, &runner, &mut |progress| tell(quiet, progress)).await?, true)
        }
        What::Apply { dry_run: false } => {
            show::applied(migrate(conn, &runner, &mut |progress| tell(quiet, progress)).await?, false)
        }
        What::Validate => {
            let (version, standing, drift) = validate(conn, &runner, true).await?;
            show::validated(version, newest, &standing, drift.as_ref())
        }
        What::Repair { yes } => mend(conn, &runner, yes).await?,
        What::Export { from, to } => {
            let script = export(conn, &known, from, to.unwrap_or(newest), env!("CARGO_PKG_VERSION"))?;
            Told { json: serde_json::json!({ "sql": script }), text: script, code: Code::Current }
        }
        What::Baseline { at } => {
            let version = at.unwrap_or(newest);
            match baseline(conn, &runner, version).await? {
                MigrationOutcome::Ready(_) => show::based(version),
                other => show::ended(other),
            }
        }
    })
}

/// Shows the plan of a repair, and does it if that was asked for.
async fn mend(conn: &mut dyn MigrationConn, runner: &Runner<'_>, yes: bool) -> Result<Told, Trouble> {
    let (version, standing, drift) = validate(conn, runner, true).await?;
    let Standing::Damaged(damage) = standing else {
        return Ok(show::sound(version));
    };
    let history = conn.history().await?;
    let sound = drift.as_ref().is_some_and(punctual_core::migrate::Drift::is_harmless);
    let resumes = !conn.dialect().transactional;
    let (plan, left): (Vec<Repair>, _) = repairs(runner, &history, resumes, sound);
    if yes && left.is_empty() {
        match repair(conn, runner, &plan).await? {
            MigrationOutcome::Ready(_) => {}
            other => return Ok(show::ended(other)),
        }
    }
    Ok(show::repaired(&damage, &plan, &left, drift.as_ref(), yes && left.is_empty()))
}

/// Says what goes on, on the standard error, so that the standard output stays the answer.
fn tell(quiet: bool, progress: Progress<'_>) {
    if quiet {
        return;
    }
    let line = |migration: &Migration, text: String| {
        eprintln!("{:>4} {:<12} {text}", migration.version, migration.name);
    };
    match progress {
        Progress::Locked => {}
        Progress::Waiting { holder } => {
            eprintln!("the migrations are locked by {}; waiting for it to end", Holder::or_unknown(holder));
        }
        Progress::Step { migration, step, at } => {
            line(migration, format!("step {at} of {}: {}", migration.steps.len(), step.name));
        }
        Progress::Found { migration, step } => line(migration, format!("{} was done before", step.name)),
        Progress::Applied { migration } => line(migration, "complete".to_owned()),
        Progress::HeldBack { migration } => {
            line(migration, "waits for nodes of older versions to end".to_owned())
        }
    }
}

/// The outcome of a run as code and text; shared by `apply` and its rehearsal.
fn outcome_code(outcome: &MigrationOutcome) -> Code {
    match outcome {
        MigrationOutcome::Ready(migrated) if migrated.held_back.is_some() => Code::Pending,
        MigrationOutcome::Ready(_) => Code::Current,
        MigrationOutcome::LockTimeout(_) => Code::LockTimeout,
        MigrationOutcome::NewerBreaking { .. } => Code::NewerBreaking,
        MigrationOutcome::Damaged(_) => Code::Drift,
    }
}
