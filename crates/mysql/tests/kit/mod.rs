//! The harness of the conformance kit.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::store::ClaimShape;
use punctual_core::{JobStore, LockProvider, Result};
use punctual_mysql::MysqlStore;

use crate::support::Server;

struct Mysql {
    name: &'static str,
    claims: ClaimShape,
    server: Arc<Server>,
}

impl Mysql {
    async fn store(&self, space: &Space) -> Result<MysqlStore> {
        let url = self.server.database(space.name()).await;
        MysqlStore::builder(url).claims(self.claims).clock(space.clock()).open().await
    }
}

#[async_trait]
impl Harness for Mysql {
    fn name(&self) -> &'static str {
        self.name
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space).await?))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space).await?)))
    }
}

/// Runs all cases, and drops their databases.
pub(crate) fn run(name: &'static str, claims: ClaimShape) -> ExitCode {
    let server = Arc::new(Server::of_environment());
    let code = punctual_conformance::run(Mysql { name, claims, server: Arc::clone(&server) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an executor to clean up with").block_on(server.clean_up());
    code
}
