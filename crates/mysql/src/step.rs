//! One step: what runs between the beginning and the end of one transaction, on one connection.

use std::sync::Arc;

use diesel_async::{AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use punctual_core::record::document;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{Clock, Error, Timestamp};

use crate::error::Failure;
use crate::query::{Sql, Statement, Value, values};
use crate::rows::{Columns, FromColumns, Raw, Read, Told};
use crate::sql;

/// What a step made available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// Something that this process should look at: another time to wake at.
    Here,
    /// Something that any process may take now.
    Everywhere,
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// All at once.
    AtOnce,
    /// Element by element, each in a savepoint: a unique key was breached at once.
    OneByOne,
}

/// Which clock the store goes by.
#[derive(Clone, Debug)]
pub(crate) enum StoreClock {
    /// The server's.
    Server,
    /// One that was handed in.
    Given(Arc<dyn Clock>),
}

/// What all steps of a store have in common.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) clock: StoreClock,
    pub(crate) claims: ClaimShape,
    pub(crate) hook: Option<Arc<dyn StatementHook>>,
}

/// Somebody who is told of each statement of a step.
struct Watch {
    hook: Arc<dyn StatementHook>,
    step: &'static str,
    index: u32,
}

impl Watch {
    async fn at(&mut self, statement: &str, side: Side) -> Outcome<()> {
        let (hook, step, index, text) = (Arc::clone(&self.hook), self.step, self.index, statement.to_owned());
        if side == Side::After {
            self.index += 1;
        }
        let ask = move || hook.at(&StatementPoint { step, statement: &text, index, side });
        match tokio::task::spawn_blocking(ask).await {
            Ok(HookAnswer::Continue) => Ok(()),
            Ok(HookAnswer::Cut) => Err(Failure::Cut),
            Err(error) => Err(Error::internal(step, "the hook panicked").with_source(error).into()),
        }
    }
}

type Outcome<T> = Result<T, Failure>;

/// A step in progress.
pub(crate) struct Step<'c> {
    connection: &'c mut AsyncMysqlConnection,
    setting: &'c Setting,
    watch: Option<Watch>,
    manner: Manner,
    news: News,
    keeps: bool,
}

/// The bytes of a list, about. MariaDB takes 16 MiB as it comes.
const MOST_BYTES: usize = 4 << 20;

impl<'c> Step<'c> {
    pub(crate) fn on(
        connection: &'c mut AsyncMysqlConnection,
        setting: &'c Setting,
        operation: &'static str,
        manner: Manner,
    ) -> Self {
        let watch = setting.hook.clone().map(|hook| Watch { hook, step: operation, index: 0 });
        Self { connection, setting, watch, manner, news: News::Nothing, keeps: true }
    }

    /// One that no hook hears of.
    pub(crate) const fn unwatched(connection: &'c mut AsyncMysqlConnection, setting: &'c Setting) -> Self {
        Self { connection, setting, watch: None, manner: Manner::AtOnce, news: News::Nothing, keeps: true }
    }

    /// How claims are made safe.
    pub(crate) const fn claims(&self) -> ClaimShape {
        self.setting.claims
    }

    /// Says that nothing of what this step has written is to be kept, though it answers.
    pub(crate) const fn give_up(&mut self) {
        self.keeps = false;
        self.news = News::Nothing;
    }

    /// Whether what it has written is to be kept.
    pub(crate) const fn keeps(&self) -> bool {
        self.keeps
    }

    pub(crate) const fn manner(&self) -> Manner {
        self.manner
    }

    pub(crate) const fn news(&self) -> News {
        self.news
    }

    /// Says that something became available.
    pub(crate) fn tell(&mut self, news: News) {
        self.news = self.news.max(news);
    }

    /// Reads the store's clock. To be called when nothing in the step can block any more.
    pub(crate) async fn now(&mut self) -> Outcome<Timestamp> {
        match &self.setting.clock {
            StoreClock::Given(clock) => Ok(clock.wall()),
            StoreClock::Server => {
                let now = self.number(sql::NOW, values![]).await?;
                let now = now.ok_or_else(|| Error::internal("now", "the server's clock says nothing"))?;
                Ok(Timestamp::from_micros(now))
            }
        }
    }

    /// The time by the clock that was handed in, if one was, for a statement that reads the server's clock itself.
    pub(crate) fn given_now(&self) -> Option<Timestamp> {
        match &self.setting.clock {
            StoreClock::Given(clock) => Some(clock.wall()),
            StoreClock::Server => None,
        }
    }

    /// Tells whoever watches of a statement.
    async fn watched(&mut self, statement: &str, side: Side) -> Outcome<()> {
        match &mut self.watch {
            None => Ok(()),
            Some(watch) => watch.at(statement, side).await,
        }
    }

    /// The statement that is to be run for this one.
    fn meant(&self, sql: Sql) -> Sql {
        let other = self.watch.as_ref().and_then(|watch| watch.hook.instead_of(sql.text()));
        other.map_or(sql, Sql::once)
    }

    /// Runs a text that has no values and is not worth preparing.
    pub(crate) async fn control(&mut self, text: &str) -> Outcome<()> {
        self.watched(text, Side::Before).await?;
        self.connection.batch_execute(text).await?;
        self.watched(text, Side::After).await
    }

    /// Runs a statement that returns no rows, and answers how many it wrote.
    pub(crate) async fn run(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Outcome<usize> {
        let sql = sql.into();
        self.watched(sql.text(), Side::Before).await?;
        let written = Statement { sql: self.meant(sql.clone()), values }.execute(self.connection).await?;
        self.watched(sql.text(), Side::After).await?;
        Ok(written)
    }

    async fn raw(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Outcome<Vec<Raw>> {
        let sql = sql.into();
        self.watched(sql.text(), Side::Before).await?;
        let rows = Statement { sql: self.meant(sql.clone()), values }.load::<Raw>(self.connection).await?;
        self.watched(sql.text(), Side::After).await?;
        Ok(rows)
    }

    /// All rows of a statement.
    pub(crate) async fn all<T>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
        read: impl Fn(&Columns) -> T + Send,
    ) -> Outcome<Vec<T>> {
        let rows = self.raw(sql, values).await?;
        Ok(rows.into_iter().map(|row| read(&Columns::of(row))).collect())
    }

    /// What a check-in answers.
    pub(crate) async fn told(&mut self, sql: &'static str, values: Vec<Value>) -> Outcome<Vec<Told>> {
        let rows = self.raw(sql, values).await?;
        Ok(rows.into_iter().map(|row| Told::from_row(Columns::of(row))).collect())
    }

    /// The first row of a statement.
    pub(crate) async fn first<T>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
        read: impl Fn(&Columns) -> T + Send,
    ) -> Outcome<Option<T>> {
        let rows = self.raw(sql, values).await?;
        Ok(rows.into_iter().next().map(|row| read(&Columns::of(row))))
    }

    /// The first column of the first row, if there is one and it is not null.
    pub(crate) async fn number(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
    ) -> Outcome<Option<i64>> {
        Ok(self.first(sql, values, Columns::int_or_null).await?.flatten())
    }

    /// The answer of a statement that asks whether something is so.
    pub(crate) async fn holds(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Outcome<bool> {
        Ok(self.number(sql, values).await?.is_some_and(|answer| answer != 0))
    }

    /// All rows of a statement as flat rows.
    pub(crate) async fn rows<T: FromColumns>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
    ) -> Outcome<Vec<Read<T>>> {
        Ok(self.raw(sql, values).await?.into_iter().map(T::from_row).collect())
    }

    /// The first row of a statement as a flat row.
    pub(crate) async fn row<T: FromColumns>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
    ) -> Outcome<Option<Read<T>>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Inserts rows through a statement that takes a list, in pieces of bounded size.
    pub(crate) async fn insert(&mut self, sql: &'static str, rows: Vec<Vec<Value>>) -> Outcome<()> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (mut piece, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next_if(|row| bytes == 0 || bytes + size(row) <= MOST_BYTES) {
                bytes += size(&row);
                piece.push(row);
            }
            self.run(sql, values![document(&piece)?]).await?;
        }
        Ok(())
    }

    /// Begins a part of the step that can be undone by itself.
    pub(crate) async fn begin_part(&mut self) -> Outcome<()> {
        self.control(sql::SAVEPOINT).await
    }

    /// Begins a part of a transaction that is not this store's own.
    pub(crate) async fn begin_users_part(&mut self) -> Outcome<()> {
        self.control(sql::USERS_SAVEPOINT).await
    }

    /// Ends it, and keeps what it wrote.
    pub(crate) async fn keep_users_part(&mut self) -> Outcome<()> {
        self.control(sql::USERS_SAVEPOINT_KEEP).await
    }

    /// Ends it, and keeps nothing.
    pub(crate) async fn undo_users_part(&mut self) -> Outcome<()> {
        self.control(sql::USERS_SAVEPOINT_UNDO).await
    }

    /// Ends such a part: undoes it if it failed, and answers what it answered.
    pub(crate) async fn end_part<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        if outcome.is_err() {
            self.control(sql::SAVEPOINT_UNDO).await?;
        }
        self.control(sql::SAVEPOINT_KEEP).await?;
        outcome
    }
}

fn size(row: &[Value]) -> usize {
    row.iter().map(Value::size).sum()
}
