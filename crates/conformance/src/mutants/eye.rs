//! A harness around a harness that sees which statements a case runs, and puts a mistake into one of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{JobStore, LockProvider, Result};

use crate::contradiction::Contradiction;
use crate::harness::{Harness, Plan, Space, Spoil, StoreClock};
use crate::target::MigrationTarget;

/// What stands for the name of a case's space in the texts of statements.
const SPACE: &str = "{space}";

/// What a case has run, and the mistake in it.
#[derive(Debug, Default)]
pub(super) struct Eye {
    seen: Mutex<BTreeSet<String>>,
    /// A statement, and what is run in its place.
    mistake: Option<(String, String)>,
}

impl Eye {
    pub(super) fn with_a_mistake(statement: &str, instead: &str) -> Self {
        Self { mistake: Some((statement.to_owned(), instead.to_owned())), ..Self::default() }
    }

    /// The statements that were run, with a placeholder for the name of the space.
    pub(super) fn seen(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The hook of one store.
struct Look {
    eye: Arc<Eye>,
    space: String,
    other: Option<Arc<dyn StatementHook>>,
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look").finish_non_exhaustive()
    }
}

impl StatementHook for Look {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::Before && self.eye.mistake.is_none() {
            let text = point.statement.replace(&self.space, SPACE);
            self.eye.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(text);
        }
        self.other.as_ref().map_or(HookAnswer::Continue, |other| other.at(point))
    }

    fn instead_of(&self, statement: &str) -> Option<String> {
        let (wanted, instead) = self.eye.mistake.as_ref()?;
        (statement.replace(&self.space, SPACE) == *wanted).then(|| instead.replace(SPACE, &self.space))
    }
}

/// See the module.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Harness>,
    pub(super) eye: Arc<Eye>,
}

impl Watched {
    fn look(&self, space: &Space, other: Option<Arc<dyn StatementHook>>) -> Arc<dyn StatementHook> {
        Arc::new(Look { eye: Arc::clone(&self.eye), space: space.name().to_owned(), other })
    }
}

#[async_trait]
impl Harness for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn clock(&self) -> StoreClock {
        self.inner.clock()
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        match self.inner.open_hooked(space, self.look(space, None)).await? {
            Some(store) => Ok(store),
            None => self.inner.open(space).await,
        }
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        match self.inner.locks_hooked(space, self.look(space, None)).await? {
            Some(locks) => Ok(Some(locks)),
            None => self.inner.locks(space).await,
        }
    }

    async fn open_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn JobStore>>> {
        self.inner.open_hooked(space, self.look(space, Some(hook))).await
    }

    async fn locks_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn LockProvider>>> {
        self.inner.locks_hooked(space, self.look(space, Some(hook))).await
    }

    fn for_a_second_process(&self) -> Option<Vec<(&'static str, String)>> {
        self.inner.for_a_second_process()
    }

    async fn plans(&self, space: &Space, statements: &[String]) -> Result<Option<Vec<Plan>>> {
        self.inner.plans(space, statements).await
    }

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        self.inner.spoil(space, spoil).await
    }

    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        self.inner.contradict(space, contradiction).await
    }

    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        self.inner.migrations(space).await
    }

    fn rounds(&self) -> u32 {
        self.inner.rounds()
    }
}
