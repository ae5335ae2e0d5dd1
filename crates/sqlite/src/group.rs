//! Steps that write and wait for the same lock share a transaction: one of them takes it, and all that have been asked for
//! meanwhile go with it. So a file that many write to is locked and flushed once for all that has come together, and not
//! once for each of them.
//!
//! Each step remains one: it sees what those before it have written, what it fails to write is undone by itself, and none
//! is answered before all of them are committed. A step that finds nobody beside it runs as it would alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use punctual_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{Failure, classify};
use crate::sql;
use crate::step::{Mode, News, Rollback, Setting, Step, Watch, begin};
use crate::wake::Signal;
use crate::worker::defect;

/// How many steps share a transaction at most: as long as it lasts, other processes wait.
const MOST: usize = 16;

type Outcome<T> = std::result::Result<T, Failure>;

/// What all writing steps of a store have in common.
pub(crate) struct Ground {
    pub(crate) path: PathBuf,
    pub(crate) setting: Arc<Setting>,
    pub(crate) signal: Arc<Signal>,
}

/// A step that writes, and whoever waits for its answer.
pub(crate) trait Member: Send {
    fn ground(&self) -> Arc<Ground>;
    fn operation(&self) -> &'static str;
    /// Whether anybody still waits for it.
    fn is_wanted(&self) -> bool;
    /// Runs its statements, and keeps what they found. Called once.
    fn work(&mut self, step: &Step<'_>) -> Outcome<()>;
    /// Answers: with what the statements found if they are committed, or with why they are not.
    fn answer(self: Box<Self>, committed: Result<()>);
}

/// A step by its closure.
pub(crate) struct Writing<T, F> {
    ground: Arc<Ground>,
    operation: &'static str,
    body: Option<F>,
    found: Option<T>,
    sender: oneshot::Sender<Result<T>>,
}

impl<T, F> Writing<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Step<'_>) -> Outcome<T> + Send + 'static,
{
    /// The step, and where its answer will be.
    pub(crate) fn asked(
        ground: Arc<Ground>,
        operation: &'static str,
        body: F,
    ) -> (Box<dyn Member>, oneshot::Receiver<Result<T>>) {
        let (sender, answer) = oneshot::channel();
        (Box::new(Self { ground, operation, body: Some(body), found: None, sender }), answer)
    }
}

impl<T, F> Member for Writing<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Step<'_>) -> Outcome<T> + Send + 'static,
{
    fn ground(&self) -> Arc<Ground> {
        Arc::clone(&self.ground)
    }

    fn operation(&self) -> &'static str {
        self.operation
    }

    fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    fn work(&mut self, step: &Step<'_>) -> Outcome<()> {
        if let Some(body) = self.body.take() {
            self.found = Some(body(step)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { operation, found, sender, .. } = *self;
        let found = committed.and_then(|()| found.ok_or_else(|| defect(operation)));
        let _nobody_waits = sender.send(found);
    }
}

/// One of those that share a transaction, and why it failed if it did.
struct Place {
    member: Box<dyn Member>,
    failed: Option<Error>,
}

/// Runs a step, and with it those that `more` hands over once the lock is held.
pub(crate) fn run(
    connection: &Connection,
    first: Box<dyn Member>,
    more: &mut dyn FnMut() -> Option<Box<dyn Member>>,
) {
    // Nobody waits any more, and nothing was done yet: leave it at that.
    if !first.is_wanted() {
        return;
    }
    let (ground, operation) = (first.ground(), first.operation());
    let mut places = vec![Place { member: first, failed: None }];
    let guard = Rollback(connection);
    let ended = together(connection, &ground, &mut places, more);
    drop(guard);
    match ended {
        Ok(news) if news > News::Nothing => ground.signal.raise(),
        Ok(_) => {}
        Err(failure) => {
            let error = classify(operation, &ground.path, failure);
            for Place { member, failed } in places.iter_mut().skip(1).filter(|place| place.failed.is_none()) {
                *failed = Some(Error::new(error.kind(), member.operation(), error.message()));
            }
            if let Some(first) = places.first_mut() {
                first.failed.get_or_insert(error);
            }
        }
    }
    for Place { member, failed } in places {
        member.answer(failed.map_or(Ok(()), Err));
    }
}

fn watch(ground: &Ground, operation: &'static str) -> Option<Watch> {
    ground.setting.hook.as_ref().map(|hook| Watch::new(Arc::clone(hook), operation))
}

/// Runs all of them in one transaction and commits it. Answers what became available.
fn together(
    connection: &Connection,
    ground: &Ground,
    places: &mut Vec<Place>,
    more: &mut dyn FnMut() -> Option<Box<dyn Member>>,
) -> Outcome<News> {
    let Some(first) = places.first().map(|place| place.member.operation()) else { return Ok(News::Nothing) };
    let step = begin(connection, &ground.setting.clock, Mode::Write, watch(ground, first))?;
    while places.len() < MOST
        && let Some(member) = more()
    {
        if member.is_wanted() {
            places.push(Place { member, failed: None });
        }
    }
    let mut news = News::Nothing;
    if let [alone] = &mut **places {
        work(&mut *alone.member, &step)?;
        news = step.news();
    } else {
        for Place { member, failed } in places.iter_mut() {
            match beside_others(connection, ground, &mut **member) {
                Ok(of_one) => news = news.max(of_one),
                // Some failures end the transaction, and with it what the others have written.
                Err(failure) if connection.is_autocommit() => return Err(failure),
                Err(failure) => *failed = Some(classify(member.operation(), &ground.path, failure)),
            }
        }
    }
    if news == News::Everywhere {
        step.number(sql::RAISE_WAKE, [])?;
    }
    step.run(sql::COMMIT, [])?;
    Ok(news)
}

/// Runs one as a part of the transaction, which is undone if it fails.
fn beside_others(connection: &Connection, ground: &Ground, member: &mut dyn Member) -> Outcome<News> {
    let mut step = Step::new(connection, watch(ground, member.operation()));
    step.run(sql::SAVEPOINT_STEP, [])?;
    let outcome = step.look_around(&ground.setting.clock).and_then(|()| work(member, &step));
    if outcome.is_err() && !connection.is_autocommit() {
        step.run(sql::SAVEPOINT_STEP_UNDO, [])?;
    }
    if !connection.is_autocommit() {
        step.run(sql::SAVEPOINT_STEP_KEEP, [])?;
    }
    outcome.map(|()| step.news())
}

fn work(member: &mut dyn Member, step: &Step<'_>) -> Outcome<()> {
    let operation = member.operation();
    catch_unwind(AssertUnwindSafe(|| member.work(step)))
        .unwrap_or_else(|_panic| Err(defect(operation).into()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use punctual_core::ErrorKind;
    use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};

    use super::*;
    use crate::step::StoreClock;

    /// Writes down which step sent which statement, and lets commits fail if told to.
    #[derive(Debug, Default)]
    struct Ear {
        heard: Mutex<Vec<String>>,
        cuts_commits: bool,
    }

    impl StatementHook for Ear {
        fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
            if point.side == Side::Before {
                let word = point.statement.split(' ').next().unwrap_or_default();
                self.heard.lock().unwrap().push(format!("{} {word}", point.step));
                if self.cuts_commits && point.statement == sql::COMMIT {
                    return HookAnswer::Cut;
                }
            }
            HookAnswer::Continue
        }
    }

    struct World {
        connection: Connection,
        ground: Arc<Ground>,
        ear: Arc<Ear>,
    }

    const PUT: &str = "INSERT INTO item (n) VALUES (?1)";

    impl World {
        fn new(ear: Ear) -> Self {
            let connection = Connection::open_in_memory().unwrap();
            let tables = "CREATE TABLE meta (name TEXT, value INTEGER); INSERT INTO meta VALUES ('epoch', 0), \
                          ('wake_seq', 0); CREATE TABLE item (n INTEGER PRIMARY KEY);";
            connection.execute_batch(tables).unwrap();
            let ear = Arc::new(ear);
            let hook: Arc<dyn StatementHook> = Arc::<Ear>::clone(&ear);
            let setting = Arc::new(Setting { clock: StoreClock::Machine, hook: Some(hook) });
            let ground = Ground { path: "here".into(), setting, signal: Arc::new(Signal::new()) };
            Self { connection, ground: Arc::new(ground), ear }
        }

        /// A step that puts these numbers, and then says that work is there for everybody.
        fn put(
            &self,
            operation: &'static str,
            numbers: &'static [i64],
        ) -> (Box<dyn Member>, oneshot::Receiver<Result<usize>>) {
            Writing::asked(Arc::clone(&self.ground), operation, move |step: &Step<'_>| {
                for n in numbers {
                    assert!(*n < 100, "a step that breaks");
                    step.run(PUT, [n])?;
                }
                step.tell(News::Everywhere);
                Ok(numbers.len())
            })
        }

        fn run(&self, first: Box<dyn Member>, others: Vec<Box<dyn Member>>) {
            let mut others = VecDeque::from(others);
            run(&self.connection, first, &mut || others.pop_front());
            assert!(self.connection.is_autocommit(), "nothing stays open");
        }

        fn items(&self) -> Vec<i64> {
            let mut items = self.connection.prepare("SELECT n FROM item ORDER BY n").unwrap();
            items.query_map([], |row| row.get(0)).unwrap().map(std::result::Result::unwrap).collect()
        }

        fn heard(&self, statement: &str) -> usize {
            self.ear.heard.lock().unwrap().iter().filter(|heard| heard.ends_with(statement)).count()
        }
    }

    fn kind(answer: &mut oneshot::Receiver<Result<usize>>) -> std::result::Result<usize, ErrorKind> {
        answer.try_recv().unwrap().map_err(|error| error.kind())
    }

    #[test]
    fn those_that_wait_share_a_transaction() {
        let world = World::new(Ear::default());
        let (a, mut of_a) = world.put("a", &[1, 2]);
        let (b, mut of_b) = world.put("b", &[3]);
        world.run(a, vec![b]);
        assert_eq!((kind(&mut of_a), kind(&mut of_b)), (Ok(2), Ok(1)));
        assert_eq!(world.items(), [1, 2, 3]);
        assert_eq!((world.heard("BEGIN"), world.heard("COMMIT"), world.heard("SAVEPOINT")), (1, 1, 2));
        assert_eq!(world.ground.signal.raised(), 1);
    }

    #[test]
    fn one_alone_sends_what_it_always_did() {
        let world = World::new(Ear::default());
        let (a, mut of_a) = world.put("a", &[1]);
        world.run(a, Vec::new());
        assert_eq!(kind(&mut of_a), Ok(1));
        let heard = world.ear.heard.lock().unwrap().clone();
        assert_eq!(heard, ["a BEGIN", "a SELECT", "a INSERT", "a UPDATE", "a COMMIT"]);
    }

    #[test]
    fn one_that_fails_is_undone_and_the_others_stay() {
        let world = World::new(Ear::default());
        let (a, mut of_a) = world.put("a", &[1]);
        let (b, mut of_b) = world.put("b", &[2, 1]);
        let (c, mut of_c) = world.put("c", &[2]);
        world.run(a, vec![b, c]);
        assert_eq!((kind(&mut of_a), kind(&mut of_c)), (Ok(1), Ok(1)));
        assert_eq!(kind(&mut of_b), Err(ErrorKind::Internal));
        assert_eq!(world.items(), [1, 2]);
    }

    #[test]
    fn one_that_panics_is_undone_and_the_others_stay() {
        let world = World::new(Ear::default());
        let (a, mut of_a) = world.put("a", &[1, 100]);
        let (b, mut of_b) = world.put("b", &[2]);
        world.run(a, vec![b]);
        assert_eq!((kind(&mut of_a), kind(&mut of_b)), (Err(ErrorKind::Internal), Ok(1)));
        assert_eq!(world.items(), [2]);
    }

    #[test]
    fn nobody_is_told_of_success_if_the_commit_fails() {
        let world = World::new(Ear { cuts_commits: true, ..Ear::default() });
        let (a, mut of_a) = world.put("a", &[1]);
        let (b, mut of_b) = world.put("b", &[1]);
        let (c, of_c) = world.put("c", &[3]);
        drop(of_c);
        world.run(a, vec![b, c]);
        assert_eq!(
            (kind(&mut of_a), kind(&mut of_b)),
            (Err(ErrorKind::Unavailable), Err(ErrorKind::Internal))
        );
        assert_eq!(world.items(), [0_i64; 0]);
        assert_eq!(world.ground.signal.raised(), 0);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_done() {
        let world = World::new(Ear::default());
        let (a, of_a) = world.put("a", &[1]);
        drop(of_a);
        world.run(a, Vec::new());
        let (b, mut of_b) = world.put("b", &[2]);
        let (c, of_c) = world.put("c", &[3]);
        drop(of_c);
        world.run(b, vec![c]);
        assert_eq!(kind(&mut of_b), Ok(1));
        assert_eq!(world.items(), [2]);
    }
}
