//! Connections: those that the store opens, or those of a pool that the user gave it.
//!
//! The store keeps its own connections itself: the driver's pool sends a ping before or after each use, which would be
//! one more round trip for each step, and hides the errors of connecting. A connection comes back only if whoever had it
//! says that nothing is left open on it; in any doubt it is closed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use punctual_core::Error;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, Postgres};
use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::open::{Options, Sessions, check_session};
use crate::wait::within;

/// Where connections come from.
pub(crate) enum Source {
    /// The store opens them.
    Own(Box<PgConnectOptions>),
    /// The user's pool.
    Given(PgPool),
}

/// The connections of a store.
pub(crate) struct Pool {
    source: Source,
    sessions: Sessions,
    patience: std::time::Duration,
    place: Arc<str>,
    room: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(source: Source, options: &Options, place: Arc<str>) -> Arc<Self> {
        let room = usize::try_from(options.connections.max(1)).unwrap_or(1);
        Arc::new(Self {
            source,
            sessions: options.sessions,
            patience: options.patience(),
            place,
            room: Arc::new(Semaphore::new(room)),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// A connection that is ready for a step; waits for one if all are in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Held, Failure> {
        let (link, permit) = match &self.source {
            Source::Given(pool) => (Link::Given(pool.acquire().await?), None),
            Source::Own(address) => {
                let closed = |_| Error::unavailable("connect", "the store was closed");
                let permit = Arc::clone(&self.room).acquire_owned().await.map_err(closed)?;
                let idle = self.idle().pop();
                let connection = match idle {
                    Some(connection) => connection,
                    None => within(self.patience, self.connect(address)).await?,
                };
                (Link::Own(connection), Some(permit))
            }
        };
        Ok(Held { link: Some(link), is_clean: false, pool: Arc::clone(self), _permit: permit })
    }

    async fn connect(&self, address: &PgConnectOptions) -> Result<PgConnection, Failure> {
        let mut connection = PgConnection::connect_with(address).await?;
        check_session(&mut connection, self.sessions, &self.place).await?;
        Ok(connection)
    }

    /// Closes the connections that nobody uses: after one was lost, the others are probably lost too.
    pub(crate) fn forget_idle(&self) {
        let gone = std::mem::take(&mut *self.idle());
        drop(gone);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Link {
    Own(PgConnection),
    Given(PoolConnection<Postgres>),
}

/// A connection in use. Dropping it closes it, unless it was said to be clean.
pub(crate) struct Held {
    link: Option<Link>,
    is_clean: bool,
    pool: Arc<Pool>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// The connection.
    ///
    /// # Errors
    /// `Internal`: it is there until the end.
    pub(crate) fn connection(&mut self) -> Result<&mut PgConnection, Failure> {
        match &mut self.link {
            Some(Link::Own(connection)) => Ok(connection),
            Some(Link::Given(connection)) => Ok(connection),
            None => {
                Err(Error::internal("connect", "a connection was used after its end; please report it")
                    .into())
            }
        }
    }

    /// Says that no transaction is open and no answer is outstanding, so that the next step may have the connection.
    pub(crate) const fn is_clean(&mut self) {
        self.is_clean = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.link.take() {
            Some(Link::Own(connection)) if self.is_clean => self.pool.idle().push(connection),
            // Whoever drops a connection of the driver closes its socket, and the server rolls back.
            Some(Link::Own(connection)) => drop(connection),
            Some(Link::Given(connection)) if self.is_clean => drop(connection),
            Some(Link::Given(connection)) => drop(connection.detach()),
            None => {}
        }
    }
}
