//! One step: statements on one connection, as one transaction or one statement, in a task that nobody cancels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::{BoxFuture, Clock, Entropy, Timestamp};
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{AssertSqlSafe, Decode, PgConnection, Postgres, Row, Type};

use crate::error::Failure;
use crate::open::{Options, Sessions};
use crate::pool::{Held, Pool};
use crate::rows::{Args, FromColumns, Read};
use crate::sql::{self, Statements};
use crate::wait::{pause, within};

/// What the body of a step answers.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// What a step made available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nothing.
    #[default]
    Nothing,
    /// Something that this process should look at: another time to wake at.
    Here,
    /// Something that any process may take now.
    Everywhere,
}

/// What is left to do when a step has committed.
#[derive(Debug, Default)]
pub(crate) struct After {
    /// Who is to be told.
    pub(crate) news: News,
    /// How many slots of which keys were freed, so that those who wait for them can be woken.
    pub(crate) freed: BTreeMap<String, i64>,
}

/// Which clock the store goes by.
#[derive(Clone, Debug)]
pub(crate) enum StoreClock {
    /// The server's.
    Server,
    /// One that was handed in.
    Given(Arc<dyn Clock>),
}

/// How the statements of a step belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// There is one; it is a transaction by itself.
    One,
    /// They are one transaction.
    Many,
    /// They only read, and see one snapshot.
    Snapshot,
}

/// A step in progress.
pub(crate) struct Step<'c> {
    connection: &'c mut PgConnection,
    engine: &'c Engine,
    undone: bool,
    after: After,
}

impl<'c> Step<'c> {
    /// A step on a connection of the user's, in whatever transaction that is in.
    pub(crate) fn within(connection: &'c mut PgConnection, engine: &'c Engine) -> Self {
        Self { connection, engine, undone: false, after: After::default() }
    }

    /// The time that was given for this step; `None` if the server's clock counts.
    pub(crate) fn given(&self) -> Option<i64> {
        match &self.engine.clock {
            StoreClock::Server => None,
            StoreClock::Given(clock) => Some(clock.wall().as_micros()),
        }
    }

    /// The store's clock.
    pub(crate) async fn now(&mut self) -> Outcome<Timestamp> {
        let given = self.given();
        Ok(Timestamp::from_micros(self.one(sql::NOW, crate::rows::params![given]).await?))
    }

    /// Says that something became available.
    pub(crate) fn tell(&mut self, news: News) {
        self.after.news = self.after.news.max(news);
    }

    /// Says that a slot was freed.
    pub(crate) fn freed(&mut self, slot_key: String) {
        *self.after.freed.entry(slot_key).or_default() += 1;
    }

    /// Asks for a rollback instead of a commit, though there is an answer.
    pub(crate) const fn undo(&mut self) {
        self.undone = true;
    }

    /// Runs a statement that returns no rows, and answers how many it wrote.
    pub(crate) async fn run(&mut self, sql: &'static str, args: Args) -> Outcome<u64> {
        let query = sqlx::query_with(AssertSqlSafe(self.engine.statements.text(sql)), args.into_inner());
        let done = query.persistent(self.engine.keeps_statements).execute(&mut *self.connection).await?;
        Ok(PgQueryResult::rows_affected(&done))
    }

    /// All rows of a statement.
    pub(crate) async fn all(&mut self, sql: &'static str, args: Args) -> Outcome<Vec<PgRow>> {
        let query = sqlx::query_with(AssertSqlSafe(self.engine.statements.text(sql)), args.into_inner());
        Ok(query.persistent(self.engine.keeps_statements).fetch_all(&mut *self.connection).await?)
    }

    /// All rows of a statement as flat rows.
    pub(crate) async fn rows<T: FromColumns>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> Outcome<Vec<Read<T>>> {
        Ok(self.all(sql, args).await?.iter().map(T::from_row).collect())
    }

    /// The first row of a statement.
    pub(crate) async fn first(&mut self, sql: &'static str, args: Args) -> Outcome<Option<PgRow>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// The first row of a statement as a flat row.
    pub(crate) async fn row<T: FromColumns>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> Outcome<Option<Read<T>>> {
        Ok(self.first(sql, args).await?.as_ref().map(T::from_row))
    }

    /// The first column of the first row, if there is one.
    pub(crate) async fn value<T>(&mut self, sql: &'static str, args: Args) -> Outcome<Option<T>>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(self.first(sql, args).await?.map(|row| row.try_get(0)).transpose()?)
    }

    /// The first column of the one row that the statement always has.
    pub(crate) async fn one<T>(&mut self, sql: &'static str, args: Args) -> Outcome<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.value(sql, args).await?.ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))
    }
}

/// What steps run on.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) pool: Arc<Pool>,
    pub(crate) statements: Statements,
    clock: StoreClock,
    keeps_statements: bool,
    is_alone: bool,
    begin_write: Arc<str>,
    begin_read: Arc<str>,
    patience: Duration,
    jitter: SeededEntropy,
}

/// How often a step is tried, and the shortest and the longest wait before the next try.
const TRIES: u32 = 6;
const WAITS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(200)];

impl Engine {
    pub(crate) fn new(pool: Arc<Pool>, options: &Options) -> Self {
        let seed = u64::from(std::process::id()).rotate_left(32) ^ Arc::as_ptr(&pool).addr() as u64;
        Self {
            pool,
            statements: Statements::of(&options.schema_name),
            clock: options.clock.clone().map_or(StoreClock::Server, StoreClock::Given),
            keeps_statements: options.sessions == Sessions::Own,
            is_alone: options.sessions == Sessions::Own,
            begin_write: options.beginning(sql::BEGIN_WRITE),
            begin_read: options.beginning(sql::BEGIN_READ),
            patience: options.patience(),
            jitter: SeededEntropy::new(seed),
        }
    }

    /// The statement that begins a transaction of definitions.
    pub(crate) fn begin_definitions(&self) -> Arc<str> {
        Arc::clone(&self.begin_write)
    }

    /// Runs a step, again and again while others stand in its way, within bounds.
    pub(crate) async fn run<R, T, F>(&self, shape: Shape, request: &R, body: F) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let mut tries = 1;
        loop {
            match self.attempt(shape, request, &body).await {
                Err(failure) if failure.is_repeatable() && tries < TRIES => self.back_off(tries).await,
                outcome => return outcome,
            }
            tries += 1;
        }
    }

    /// Waits a moment that grows with each try, and is uneven so that those who collided do not meet again.
    pub(crate) async fn back_off(&self, tries: u32) {
        let [shortest, longest] = WAITS;
        let bound = shortest.saturating_mul(1 << tries.min(16)).min(longest);
        pause(bound / 4 + self.jitter.below(bound - bound / 4)).await;
    }

    async fn attempt<R, T, F>(&self, shape: Shape, request: &R, body: &F) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let mut held = self.pool.take().await?;
        let outcome = within(self.patience, self.transact(&mut held, shape, request, body)).await;
        if let Err(failure) = &outcome
            && failure.ends_connection()
        {
            self.pool.forget_idle();
        }
        outcome
    }

    async fn transact<R, T, F>(
        &self,
        held: &mut Held,
        shape: Shape,
        request: &R,
        body: &F,
    ) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let begin = match shape {
            Shape::One if self.is_alone => None,
            Shape::One | Shape::Many => Some(&self.begin_write),
            Shape::Snapshot => Some(&self.begin_read),
        };
        let connection = held.connection()?;
        if let Some(begin) = begin {
            say(connection, begin).await?;
        }
        let mut step = Step::within(connection, self);
        let outcome = body(&mut step, request).await;
        let Step { connection, undone, after, .. } = step;
        match outcome {
            Ok(answer) => {
                if begin.is_some() {
                    let end = if undone { sql::ROLLBACK } else { sql::COMMIT };
                    say(connection, &self.statements.text(end)).await?;
                }
                held.is_clean();
                Ok((answer, after))
            }
            Err(failure) => {
                if !failure.ends_connection() {
                    let rolled_back = match begin {
                        Some(_) => say(connection, &self.statements.text(sql::ROLLBACK)).await.is_ok(),
                        None => true,
                    };
                    if rolled_back {
                        held.is_clean();
                    }
                }
                Err(failure)
            }
        }
    }
}

/// Runs statements without parameters, and drops their answers.
async fn say(connection: &mut PgConnection, text: &Arc<str>) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(Arc::clone(text))).execute(connection).await?;
    Ok(())
}
