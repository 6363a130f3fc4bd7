//! The shared backend: one PostgreSQL database that any number of hosts use at once.
//!
//! The client is `tokio-postgres` with a small pool of our own (`pool`): every statement is unnamed and
//! goes out together with the `BEGIN` before it and the `COMMIT` behind it, so that a change takes one or
//! two round trips and works behind a pooler in transaction mode; a ready-made pool or a query builder
//! would hide just that. Nothing is kept in a session: settings are `SET LOCAL`, locks are advisory locks
//! of a transaction. Submits of a host that come together share one statement and one commit
//! (`submitter`); claims take what nobody else has locked, and do not wait for the disk. All of it runs
//! on a thread of its own (`engine`), so that a guest on an API thread does not delay the database. Hosts
//! signal each other with `NOTIFY` (`signals`).
//!
//! Hosts share a clock, the database's: see `clock`. What is known of each table is in
//! `migrations/postgres/`. Spooled inputs, artifacts and files of executions are
//! shared too (`files`); a data directory has copies of them.

mod access;
mod alone;
mod as_access;
mod as_callbacks;
mod as_cells;
mod as_definitions;
mod as_files;
mod as_modules;
mod as_reads;
mod as_schedules;
mod as_secrets;
mod as_tasks;
mod as_trail;
mod as_workflows;
mod batch;
mod blobs;
mod bucket;
mod call;
mod callbacks;
mod cells;
mod change;
mod claim;
mod classes;
mod clock;
mod connection;
mod counters;
mod cpu;
mod crashes;
mod definitions;
mod engine;
mod fault;
mod files;
mod finish;
mod floors;
mod insert;
mod lanes;
mod list;
mod look;
mod migrate;
mod modules;
mod nodes;
mod params;
mod places;
mod plan;
mod pool;
mod prune;
mod quotas;
mod release;
mod rescue;
mod schedules;
mod seen;
mod settle;
mod shared_bytes;
mod signals;
mod spec;
mod submitter;
mod tallies;
mod tasks;
mod templates;
#[cfg(test)]
mod tests;
mod trail;
mod tx;
mod workers;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngCore;
use rand::rngs::StdRng;

use self::bucket::Bucket;
use self::call::{Call, Db};
use self::connection::Connector;
use self::engine::Engine;
use self::fault::Fault;
use self::insert::Submission;
use self::signals::HostSignals;
use self::submitter::Submitter;
pub(crate) use self::trail::TrailReader;
use self::workflows::Wanted;
use crate::StorageError;
use crate::lock::{self, DataLock};
use crate::secret::Secret;
use crate::settings::StorageConfig;
use crate::signals::Signals;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::whose::Whose;

/// How long a change may take, waiting for a connection and repetitions included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// The same for bytes of a module, which may be many.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// The shared backend.
pub(crate) struct PostgresStorage {
    engine: Engine,
    db: Arc<Db>,
    /// Where large bytes are put, unless that is the database.
    bucket: Option<Bucket>,
    submitter: Submitter<Submission>,
    workflows: Submitter<Wanted>,
    signals: Arc<HostSignals>,
    secret: Secret,
    /// Bytes that hosts share, as this one last heard, and the most that may be.
    shared_bytes: (AtomicU64, u64),
    /// The copies beside the database are one host's own.
    _data: DataLock,
}

impl PostgresStorage {
    /// Opens the database at `url` and brings its schema up to date. `random` makes the fences; `clock` is
    /// made to follow the database's. Blocks; meant for the start of the process. Refuses a data
    /// directory that another process has open.
    pub(crate) fn open(
        url: &str,
        settings: &StorageConfig,
        mut random: StdRng,
        clock: Clock,
    ) -> Result<PostgresStorage, StorageError> {
        let data = lock::lock(&settings.data)?;
        let connector = Connector::parse(url)?;
        let bucket = Bucket::open(&settings.bucket)?;
        let engine = Engine::start("storage-postgres")?;
        let signals = HostSignals::named(random.next_u64());
        let rules = settings.claims.clone();
        let db = Db::new(connector, settings.read_timeout, random, clock, rules);
        let db = Arc::new(db);
        let opening = Arc::clone(&db);
        let secret = engine.wait_for(async move {
            migrate::migrate(&opening).await?;
            lanes::bring_up_to_date(&opening).await?;
            clock::follow(&opening).await?;
            migrate::secret(&opening).await
        })?;
        let submitter = Submitter::start(&engine, Arc::clone(&db));
        let workflows = Submitter::start(&engine, Arc::clone(&db));
        signals.start(&engine, &db);
        Ok(PostgresStorage {
            engine,
            db,
            bucket,
            submitter,
            workflows,
            shared_bytes: (AtomicU64::new(0), settings.files_budget_bytes),
            signals,
            secret,
            _data: data,
        })
    }

    /// The signals between the hosts of this database.
    pub(crate) fn signals(&self) -> Arc<dyn Signals> {
        Arc::<HostSignals>::clone(&self.signals) as Arc<dyn Signals>
    }

    /// What only the hosts of this database know.
    pub(crate) fn secret(&self) -> Secret {
        self.secret.clone()
    }

    /// Finishes what was accepted and closes the connections. Later calls are answered with
    /// [`StorageError::Unavailable`]. Blocks.
    pub(crate) fn close(&self) {
        self.submitter.stop();
        self.workflows.stop();
        self.signals.stop();
        if let Some(bucket) = &self.bucket {
            bucket.close();
        }
        self.engine.stop();
    }

    /// Has something of the host's own read.
    async fn read<T, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Fn(Call) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync + 'static,
    {
        self.read_of(&Whose::All, work).await
    }

    /// Has something read among what is `whose`.
    async fn read_of<T, W>(&self, whose: &Whose, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Fn(Call) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync + 'static,
    {
        let call = Call::new(&self.db, self.db.read_timeout).seeing(whose.into());
        self.engine.run(call.repeated(work)).await
    }

    /// Has something of the host's own changed. A caller that stops waiting does not undo it.
    async fn write<T, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Fn(Call) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync + 'static,
    {
        self.write_of(&Whose::All, work).await
    }

    /// The same among what is `whose`.
    async fn write_of<T, W>(&self, whose: &Whose, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Fn(Call) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync + 'static,
    {
        let call = Call::new(&self.db, WRITE_TIMEOUT).seeing(whose.into());
        self.engine.run(call.repeated(work)).await
    }
}

impl Drop for PostgresStorage {
    fn drop(&mut self) {
        self.close();
    }
}

/// The file of authorities that a database's URL names.
pub(crate) fn authorities(url: &str) -> Option<std::path::PathBuf> {
    let (_plain, authorities) = connection::without_tls_words(url);
    authorities.map(Into::into)
}
