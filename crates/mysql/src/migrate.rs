//! What a store does about its schema when it is opened.

mod conn;
mod shape;

use std::time::Duration;

use punctual_core::migrate::{
    Fingerprint, Holder, MigrateMode, Migration, MigrationOutcome, Progress, Runner, Standing, migrate,
    validate,
};
use punctual_core::{Error, Result};

pub use self::conn::MysqlMigrations;
use crate::open::Connections;

const OPERATION: &str = "migrate";

/// How long a process waits for another one that migrates.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks whether the other one is done, where it must not migrate itself.
const LOOK: Duration = Duration::from_millis(200);

/// Does what the mode says.
pub(crate) async fn prepare(connections: &Connections, mode: MigrateMode) -> Result<()> {
    if mode == MigrateMode::Off {
        return Ok(());
    }
    let known = MysqlMigrations::known()?;
    let shapes = MysqlMigrations::shapes();
    let runner = runner(&known, &shapes);
    let mut conn = MysqlMigrations::on(connections, None).await?;
    let database = connections.server.database.clone();
    let done = match mode {
        MigrateMode::Auto => {
            let mut hear = |progress: Progress<'_>| told(&database, progress);
            migrate(&mut conn, &runner, &mut hear).await.and_then(MigrationOutcome::ready).map(drop)
        }
        MigrateMode::Wait => wait(&mut conn, &runner).await,
        MigrateMode::Validate | MigrateMode::Off => validate(&mut conn, &runner, false)
            .await
            .and_then(|(version, standing, _)| standing.usable(version)),
    };
    conn.give_back();
    done.map_err(|error| {
        if error.message().starts_with(&database) {
            return error;
        }
        let why = format!("{database}: {}", error.message());
        Error::new(error.kind(), OPERATION, why).with_source(error)
    })
}

fn runner<'k>(known: &'k [Migration], shapes: &'k [Fingerprint]) -> Runner<'k> {
    let who = Holder { who: format!("process {}", std::process::id()).into(), since: None, step: None };
    Runner { known, shapes, binary: env!("CARGO_PKG_VERSION"), who, patience: PATIENCE }
}

fn told(database: &str, progress: Progress<'_>) {
    if let Progress::Applied { migration } = progress {
        tracing::info!(database, version = migration.version, name = %migration.name, "migrated");
    }
}

/// Waits until somebody else has brought the schema up to date.
async fn wait(conn: &mut MysqlMigrations, runner: &Runner<'_>) -> Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        let (version, standing, _) = validate(conn, runner, false).await?;
        if !matches!(standing, Standing::Pending(_)) || waited >= PATIENCE {
            return standing.usable(version);
        }
        conn.pause(LOOK).await?;
        waited += LOOK;
    }
}
