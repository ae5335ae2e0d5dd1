//! What a store does about its schema when it is opened.

mod conn;
mod shape;

use punctual_core::migrate::{self, Holder, MigrateMode, Progress, Runner};
use punctual_core::{Error, Result};

pub use self::conn::MysqlMigrations;
use crate::open::Connections;

const OPERATION: &str = "migrate";

/// Does what the mode says.
pub(crate) async fn prepare(connections: &Connections, mode: MigrateMode) -> Result<()> {
    if mode == MigrateMode::Off {
        return Ok(());
    }
    let known = MysqlMigrations::known()?;
    let shapes = MysqlMigrations::shapes();
    let runner = Runner::of_this_process(&known, &shapes, env!("CARGO_PKG_VERSION"));
    let mut conn = MysqlMigrations::on(connections, None).await?;
    let database = connections.server.database.clone();
    let done = migrate::prepare(&mut conn, &runner, mode, &mut |progress| told(&database, progress)).await;
    conn.give_back();
    done.map_err(|error| {
        if error.message().starts_with(&database) {
            return error;
        }
        let why = format!("{database}: {}", error.message());
        Error::new(error.kind(), OPERATION, why).with_source(error)
    })
}

fn told(database: &str, progress: Progress<'_>) {
    match progress {
        Progress::Waiting { holder } => {
            let holder = Holder::or_unknown(holder);
            tracing::info!(database, holder, "waits for another process that migrates");
        }
        Progress::Applied { migration } => {
            tracing::info!(database, version = migration.version, name = %migration.name, "migrated");
        }
        Progress::Locked | Progress::Step { .. } | Progress::Found { .. } | Progress::HeldBack { .. } => {}
    }
}
