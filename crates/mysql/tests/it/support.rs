//! Short ways to reach a database; those to fill a store and to use it are the kit's.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
pub(crate) use punctual_conformance::sample::*;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_mysql::MysqlStore;

use crate::server::Server;

/// A database of one test, dropped at its end.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Database {
    /// Makes a database for the test of that name.
    pub(crate) async fn new(test: &str) -> Self {
        let server = Server::of_environment();
        let name = format!("it{:x}_{test}", std::process::id());
        let url = server.database(&name).await;
        Self { server, name, url }
    }

    pub(crate) async fn open(&self) -> MysqlStore {
        MysqlStore::connect(self.url.clone()).await.unwrap()
    }

    pub(crate) async fn watched(&self, hook: impl StatementHook + 'static) -> MysqlStore {
        MysqlStore::builder(self.url.clone()).statement_hook(Arc::new(hook)).open().await.unwrap()
    }

    /// A connection of the user's own.
    pub(crate) async fn connection(&self) -> AsyncMysqlConnection {
        AsyncMysqlConnection::establish(&self.url).await.unwrap()
    }

    /// The first column of the first row, as the user of the environment sees it.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        number(&mut self.connection().await, sql).await
    }

    /// Waits until a query answers what is awaited.
    pub(crate) async fn until(&self, sql: &str, awaited: impl Fn(i64) -> bool + Send + Sync) {
        let mut connection = self.connection().await;
        for _ in 0..1_000_000 {
            if awaited(number(&mut connection, sql).await) {
                return;
            }
        }
        panic!("it never came true: {sql}");
    }

    pub(crate) async fn drop(self) {
        self.server.clean_up().await;
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The column `n` of the first row.
pub(crate) async fn number(connection: &mut AsyncMysqlConnection, sql: &str) -> i64 {
    let rows: Vec<Number> = diesel::sql_query(sql).load(connection).await.unwrap();
    rows.into_iter().next().map_or(0, |row| row.n)
}

/// A hook that stops a step at a statement until it is let go, each time it comes there.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) step: &'static str,
    pub(crate) part: &'static str,
    pub(crate) side: Side,
    reached: Mutex<Sender<()>>,
    go: Mutex<Receiver<HookAnswer>>,
}

/// The other end of a [`Stop`].
#[derive(Debug)]
pub(crate) struct Stopped {
    reached: Option<Receiver<()>>,
    go: Sender<HookAnswer>,
}

impl Stop {
    pub(crate) fn at(step: &'static str, part: &'static str, side: Side) -> (Self, Stopped) {
        let (reached, is_reached) = channel();
        let (go, may_go) = channel();
        let stop = Self { step, part, side, reached: Mutex::new(reached), go: Mutex::new(may_go) };
        (stop, Stopped { reached: Some(is_reached), go })
    }
}

impl StatementHook for Stop {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.step != self.step || point.side != self.side || !point.statement.contains(self.part) {
            return HookAnswer::Continue;
        }
        // Whoever has dropped the other end lets everything go.
        let _ = self.reached.lock().unwrap().send(());
        self.go.lock().unwrap().recv().unwrap_or(HookAnswer::Continue)
    }
}

impl Stopped {
    /// Waits until the step is there.
    pub(crate) async fn reached(&mut self) {
        let reached = self.reached.take().unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            let outcome = reached.recv();
            (outcome, reached)
        });
        let (outcome, reached) = waited.await.unwrap();
        outcome.unwrap();
        self.reached = Some(reached);
    }

    /// Lets the step go on.
    pub(crate) fn go(&self) {
        self.go.send(HookAnswer::Continue).unwrap();
    }
}
