//! One step: statements on one connection, as one transaction or one statement, in a task that nobody cancels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use punctual_core::entropy::SeededEntropy;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{BoxFuture, Clock, Entropy, Error, Timestamp};
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{AssertSqlSafe, Decode, PgConnection, Postgres, Row, Type};

use punctual_core::store::ClaimShape;

use crate::error::Failure;
use crate::open::{Options, Sessions};
use crate::pool::{Held, Pool};
use crate::rows::{Args, FromColumns, Read};
use crate::sql::{self, Statements};
use crate::wait::{now, pause, within};

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

/// Slots of keys: how many.
pub(crate) type Slots = BTreeMap<String, i64>;

/// What is left to do when a step has committed.
#[derive(Debug, Default)]
pub(crate) struct After {
    /// Who is to be told.
    pub(crate) news: News,
    /// How many slots of which keys were freed without anybody being woken for them.
    pub(crate) freed: Slots,
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

/// Tells whoever watches of a statement, where blocking is allowed.
pub(crate) async fn watch(
    hook: Option<&Arc<dyn StatementHook>>,
    step: &'static str,
    index: u32,
    text: &Arc<str>,
    side: Side,
) -> Outcome<()> {
    let Some(hook) = hook else { return Ok(()) };
    let (hook, text) = (Arc::clone(hook), Arc::clone(text));
    let ask = move || hook.at(&StatementPoint { step, statement: &text, index, side });
    match tokio::task::spawn_blocking(ask).await {
        Ok(HookAnswer::Continue) => Ok(()),
        Ok(HookAnswer::Cut) => Err(Failure::Cut),
        Err(_) => Err(Error::internal(step, "the hook panicked").into()),
    }
}

/// A step in progress.
pub(crate) struct Step<'c> {
    connection: &'c mut PgConnection,
    engine: &'c Engine,
    operation: &'static str,
    keeps_statements: bool,
    /// How many statements have been run, the one that begins the transaction included.
    index: u32,
    undone: bool,
    after: After,
}

impl<'c> Step<'c> {
    fn new(connection: &'c mut PgConnection, engine: &'c Engine, operation: &'static str) -> Self {
        let (keeps_statements, after) = (engine.is_alone, After::default());
        Self { connection, engine, operation, keeps_statements, index: 0, undone: false, after }
    }

    /// A step on a connection of the user's, in the transaction that it is in. Nothing is prepared by name there.
    pub(crate) fn within(
        connection: &'c mut PgConnection,
        engine: &'c Engine,
        operation: &'static str,
    ) -> Self {
        Self { keeps_statements: false, ..Self::new(connection, engine, operation) }
    }

    /// How rows are claimed.
    pub(crate) const fn claims(&self) -> ClaimShape {
        self.engine.claims
    }

    /// What was made available so far.
    pub(crate) fn take_after(&mut self) -> After {
        std::mem::take(&mut self.after)
    }

    async fn watch(&self, text: &Arc<str>, side: Side) -> Outcome<()> {
        watch(self.engine.hook.as_ref(), self.operation, self.index, text, side).await
    }

    /// The statement that is to be run for this one.
    fn meant(&self, text: &Arc<str>) -> Arc<str> {
        let other = self.engine.hook.as_ref().and_then(|hook| hook.instead_of(text));
        other.map_or_else(|| Arc::clone(text), Arc::from)
    }

    /// Runs statements without parameters, and drops their answers.
    pub(crate) async fn say(&mut self, text: Arc<str>) -> Outcome<()> {
        self.watch(&text, Side::Before).await?;
        sqlx::raw_sql(AssertSqlSafe(Arc::clone(&text))).execute(&mut *self.connection).await?;
        self.watch(&text, Side::After).await?;
        self.index += 1;
        Ok(())
    }

    /// Runs a statement without parameters.
    pub(crate) async fn ask(&mut self, text: Arc<str>) -> Outcome<Vec<PgRow>> {
        Ok(sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut *self.connection).await?)
    }

    /// A template with the schema.
    pub(crate) fn render(&self, sql: &str) -> Arc<str> {
        self.engine.statements.render(sql)
    }

    /// The same with the name of the statement.
    pub(crate) async fn do_now(&mut self, sql: &'static str) -> Outcome<()> {
        self.say(self.engine.statements.text(sql)).await
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
        self.has_free(slot_key, 1);
    }

    /// Says that a key has so many free slots more, for which nobody was woken yet.
    pub(crate) fn has_free(&mut self, slot_key: String, slots: i64) {
        *self.after.freed.entry(slot_key).or_default() += slots;
    }

    /// Slots that were freed, and for which nobody was woken yet.
    pub(crate) const fn idle_slots(&self) -> &Slots {
        &self.after.freed
    }

    /// Says how many of a key were woken.
    pub(crate) fn woken(&mut self, slot_key: &str, count: i64) {
        if count > 0 {
            self.tell(News::Everywhere);
            let left = self.after.freed.get(slot_key).copied().unwrap_or(0) - count;
            if left > 0 {
                self.after.freed.insert(slot_key.to_owned(), left);
            } else {
                self.after.freed.remove(slot_key);
            }
        }
    }

    /// Asks for a rollback instead of a commit, though there is an answer.
    pub(crate) const fn undo(&mut self) {
        self.undone = true;
    }

    /// Runs a statement that returns no rows, and answers how many it wrote.
    pub(crate) async fn run(&mut self, sql: &'static str, args: Args) -> Outcome<u64> {
        let text = self.engine.statements.text(sql);
        self.watch(&text, Side::Before).await?;
        let query = sqlx::query_with(AssertSqlSafe(self.meant(&text)), args.into_inner());
        let done = query.persistent(self.keeps_statements).execute(&mut *self.connection).await?;
        self.watch(&text, Side::After).await?;
        self.index += 1;
        Ok(PgQueryResult::rows_affected(&done))
    }

    /// All rows of a statement.
    pub(crate) async fn all(&mut self, sql: &'static str, args: Args) -> Outcome<Vec<PgRow>> {
        let text = self.engine.statements.text(sql);
        self.watch(&text, Side::Before).await?;
        let query = sqlx::query_with(AssertSqlSafe(self.meant(&text)), args.into_inner());
        let rows = query.persistent(self.keeps_statements).fetch_all(&mut *self.connection).await?;
        self.watch(&text, Side::After).await?;
        self.index += 1;
        Ok(rows)
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
    hook: Option<Arc<dyn StatementHook>>,
    claims: ClaimShape,
    is_alone: bool,
    begin_write: Arc<str>,
    begin_read: Arc<str>,
    patience: Duration,
    lock_timeout: Duration,
    jitter: SeededEntropy,
}

/// How often a step is tried at least, and the shortest and the longest wait before the next try.
const TRIES: u32 = 6;
const WAITS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(200)];

/// The tries of one step.
pub(crate) struct Tries {
    begun: Instant,
    count: u32,
}

impl Tries {
    pub(crate) fn begin() -> Self {
        Self { begun: now(), count: 1 }
    }
}

impl Engine {
    pub(crate) fn new(pool: Arc<Pool>, options: &Options) -> Self {
        let seed = u64::from(std::process::id()).rotate_left(32) ^ Arc::as_ptr(&pool).addr() as u64;
        Self {
            pool,
            statements: Statements::of(&options.schema_name, options.claims),
            clock: options.clock.clone().map_or(StoreClock::Server, StoreClock::Given),
            hook: options.hook.clone(),
            claims: options.claims,
            is_alone: options.sessions == Sessions::Own,
            begin_write: options.beginning(sql::BEGIN_WRITE),
            begin_read: options.beginning(sql::BEGIN_READ),
            patience: options.patience(),
            lock_timeout: options.lock_timeout,
            jitter: SeededEntropy::new(seed),
        }
    }

    /// Runs a step, again and again while others stand in its way, within bounds.
    pub(crate) async fn run<R, T, F>(
        &self,
        operation: &'static str,
        shape: Shape,
        request: &R,
        body: F,
    ) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let mut tries = Tries::begin();
        loop {
            match self.attempt((operation, shape), request, &body).await {
                Err(failure) if self.may_try_again(&tries, &failure) => self.back_off(&mut tries).await,
                outcome => return outcome,
            }
        }
    }

    /// Whether a step that failed so is to be tried again. A lock that no statement waits for is asked for as long as
    /// others are waited for.
    pub(crate) fn may_try_again(&self, tries: &Tries, failure: &Failure) -> bool {
        let still_waits = || failure.is_locked() && tries.begun.elapsed() < self.lock_timeout;
        failure.is_repeatable() && (tries.count < TRIES || still_waits())
    }

    /// Waits a moment that grows with each try, and is uneven so that those who collided do not meet again.
    pub(crate) async fn back_off(&self, tries: &mut Tries) {
        let [shortest, longest] = WAITS;
        let bound = shortest.saturating_mul(1 << tries.count.min(16)).min(longest);
        pause(bound / 4 + self.jitter.below(bound - bound / 4)).await;
        tries.count += 1;
    }

    async fn attempt<R, T, F>(
        &self,
        kind: (&'static str, Shape),
        request: &R,
        body: &F,
    ) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let mut held = self.pool.take().await?;
        let outcome = within(self.patience, self.transact(&mut held, kind, request, body)).await;
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
        (operation, shape): (&'static str, Shape),
        request: &R,
        body: &F,
    ) -> Outcome<(T, After)>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let begin = match shape {
            Shape::One if self.is_alone => None,
            Shape::One | Shape::Many => Some(Arc::clone(&self.begin_write)),
            Shape::Snapshot => Some(Arc::clone(&self.begin_read)),
        };
        let is_explicit = begin.is_some();
        let mut step = Step::new(held.connection()?, self, operation);
        if let Some(begin) = begin {
            step.say(begin).await?;
        }
        match body(&mut step, request).await {
            Ok(answer) => {
                if is_explicit {
                    step.do_now(if step.undone { sql::ROLLBACK } else { sql::COMMIT }).await?;
                }
                let after = if step.undone { After::default() } else { step.take_after() };
                held.is_clean();
                Ok((answer, after))
            }
            Err(failure) => {
                let may_go_on = !failure.ends_connection();
                if may_go_on && (!is_explicit || step.do_now(sql::ROLLBACK).await.is_ok()) {
                    held.is_clean();
                }
                Err(failure)
            }
        }
    }
}
