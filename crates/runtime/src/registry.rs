//! Which handler runs which kind. Built once, then only read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use punctual_core::schedule::CustomSchedules;
use punctual_core::{Error, ErrorKind, Kind, Result};

use crate::context::States;
use crate::handler::{AnyHandler, Handler, Job, Need, Typed};

/// The handlers of a node.
#[derive(Default)]
pub(crate) struct Registry {
    handlers: BTreeMap<Kind, Arc<dyn AnyHandler>>,
    needs: Vec<(Kind, Need)>,
    /// The schedules that users wrote.
    pub(crate) custom: CustomSchedules,
}

impl Registry {
    pub(crate) fn add<H, J, Args>(&mut self, handler: H) -> Result<()>
    where
        H: Handler<J, Args>,
        J: Job,
        Args: 'static,
    {
        let kind = Kind::new(J::KIND)?;
        self.needs.extend(handler.needs().into_iter().map(|need| (kind.clone(), need)));
        if self.handlers.insert(kind.clone(), Arc::new(Typed::new(handler))).is_some() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "build",
                format!("two handlers are registered for the kind `{kind}`; a kind has one"),
            ));
        }
        Ok(())
    }

    pub(crate) fn check(&self, states: &States) -> Result<()> {
        match self.needs.iter().find(|(_, need)| !states.contains_key(&need.id)) {
            None => Ok(()),
            Some((kind, need)) => Err(Error::invalid(
                "build",
                format!(
                    "the handler of `{kind}` asks for State<{}>; give it to the builder with `.state(…)`",
                    need.name
                ),
            )),
        }
    }

    pub(crate) fn kinds(&self) -> Arc<[Kind]> {
        self.handlers.keys().cloned().collect()
    }

    pub(crate) fn get(&self, kind: &Kind) -> Option<Arc<dyn AnyHandler>> {
        self.handlers.get(kind).cloned()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.handlers.keys()).finish()
    }
}
