//! A harness whose stores are broken.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::store::hook::StatementHook;
use punctual_core::{JobStore, LockProvider, Result};

use super::{Broken, BrokenLocks, BrokenTarget, Fault};
use crate::contradiction::Contradiction;
use crate::harness::{Harness, Plan, Space, Spoil, StoreClock};
use crate::target::MigrationTarget;

/// Breaks each store that a sound harness opens.
#[derive(Debug)]
pub struct BrokenHarness<H> {
    sound: H,
    fault: Fault,
}

impl<H: Harness> BrokenHarness<H> {
    /// Breaks the stores of `sound`.
    pub const fn new(sound: H, fault: Fault) -> Self {
        Self { sound, fault }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: Harness> Harness for BrokenHarness<H> {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn clock(&self) -> StoreClock {
        self.sound.clock()
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        let sound = self.sound.open(space).await?;
        let broken = Broken::open(sound, self.fault).await?;
        Ok(Arc::new(broken))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        let sound = self.sound.locks(space).await?;
        Ok(sound.map(|sound| Arc::new(BrokenLocks::new(sound, self.fault)) as _))
    }

    async fn open_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn JobStore>>> {
        let Some(sound) = self.sound.open_hooked(space, hook).await? else { return Ok(None) };
        Ok(Some(Arc::new(Broken::open(sound, self.fault).await?)))
    }

    async fn locks_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn LockProvider>>> {
        let sound = self.sound.locks_hooked(space, hook).await?;
        Ok(sound.map(|sound| Arc::new(BrokenLocks::new(sound, self.fault)) as _))
    }

    fn for_a_second_process(&self) -> Option<Vec<(&'static str, String)>> {
        // It would open the sound store.
        None
    }

    async fn plans(&self, space: &Space, statements: &[String]) -> Result<Option<Vec<Plan>>> {
        self.sound.plans(space, statements).await
    }

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        self.sound.spoil(space, spoil).await
    }

    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        self.sound.contradict(space, contradiction).await
    }

    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        let sound = self.sound.migrations(space).await?;
        Ok(sound.map(|sound| Arc::new(BrokenTarget::new(sound, self.fault)) as _))
    }

    fn rounds(&self) -> u32 {
        self.sound.rounds()
    }
}
