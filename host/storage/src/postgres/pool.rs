//! A bounded number of connections that are used one call after the other.
//!
//! A connection comes back only if its last transaction ended cleanly; any other is cut. Where the
//! server cannot be reached, callers try again with growing waits until their deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;

use super::connection::{Conn, Connector};
use super::crashes::{Era, Eras};
use super::fault::{Fault, Kind};
use crate::StorageError;

/// The first and the longest wait before the server is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Connections for one kind of call.
pub(super) struct Pool {
    connector: Arc<Connector>,
    eras: Arc<Eras>,
    idle: Mutex<Vec<Conn>>,
    places: Arc<Semaphore>,
}

/// A connection in the hands of a call. Dropped, it is cut.
pub(super) struct Lease {
    conn: Conn,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool of up to `connections_max`, which are made when they are needed.
    pub(super) fn new(
        connector: Arc<Connector>,
        eras: Arc<Eras>,
        connections_max: usize,
    ) -> Arc<Pool> {
        Arc::new(Pool {
            connector,
            eras,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(connections_max)),
        })
    }

    /// A connection, as soon as one is free and the server answers.
    pub(super) async fn get(self: &Arc<Pool>, deadline: Instant) -> Result<Lease, Fault> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = timeout_at(deadline, place)
            .await
            .map_err(|_elapsed| busy())?
            .map_err(|_closed| StorageError::closed())?;
        let lease = |conn| Lease {
            conn,
            pool: Arc::clone(self),
            _place: place,
        };
        if let Some(idle) = self.take_idle() {
            return Ok(lease(idle));
        }
        let mut wait = RETRY_WAIT.0;
        loop {
            let refused = match timeout_at(deadline, self.connect()).await {
                Ok(Ok(conn)) => return Ok(lease(conn)),
                Ok(Err(fault)) => fault,
                Err(_elapsed) => return Err(unreachable_in_time().into()),
            };
            // A fatal error is all a server says that is starting, full or does not know the user;
            // only time tells them apart.
            if refused.kind != Kind::Broken || Instant::now() + wait >= deadline {
                return Err(refused);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    async fn connect(&self) -> Result<Conn, Fault> {
        let conn = self.connector.connect().await?;
        self.eras.begin(&conn.client, &conn.era).await?;
        Ok(conn)
    }

    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(conn) = idle.pop() {
            if !conn.client.is_closed() {
                return Some(conn);
            }
        }
        None
    }
}

impl Lease {
    pub(super) fn client(&self) -> &Client {
        &self.conn.client
    }

    pub(super) fn era(&self) -> &Era {
        &self.conn.era
    }

    /// Gives back a connection that is in no transaction.
    pub(super) fn give_back(self) {
        let Lease { conn, pool, .. } = self;
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(conn);
    }
}

fn busy() -> Fault {
    StorageError::Unavailable("every connection to the database was busy".to_owned()).into()
}

fn unreachable_in_time() -> StorageError {
    StorageError::Unavailable("the database did not answer in time".to_owned())
}
