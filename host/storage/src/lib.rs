//! The durable layer: tasks, attempts and modules, behind traits that every database implements.
//!
//! The docs of [`Tasks`], [`Modules`] and [`Reads`] are the contract, and `conformance.rs` tests it
//! for every backend. It has no policy (who may submit, what is retried when), no clock (`now` is
//! always an argument) and no guests. Large bytes that belong in files are in [`files`].

pub mod backup;
mod blobs;
mod blocking;
#[cfg(test)]
pub(crate) mod conformance;
pub mod disk;
mod error;
mod fate;
pub mod files;
mod listing;
mod lock;
mod modules;
mod postgres;
mod reads;
mod rows;
pub mod secret;
mod serving;
pub mod settings;
pub mod signals;
mod sqlite;
mod tasks;
mod turns;

use std::sync::Arc;

use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use rand::rngs::StdRng;

pub use self::error::{Remedy, StorageError};
use self::files::FileStorage;
use self::files::shared::SharedFiles;
pub use self::modules::{Modules, PutModule, StoredModule};
use self::postgres::PostgresStorage;
pub use self::reads::{
    Batch, ChangeNumber, Counts, IdPage, Labelled, ListPosition, Reads, Since, TaskFilter, TaskPage,
};
use self::secret::Secret;
use self::settings::StorageConfig;
use self::signals::{InProcess, Signals};
use self::sqlite::SqliteStorage;
pub use self::tasks::{
    Asked, Cancelled, Finished, HeldTask, Inserted, InsertedBatch, Orphans, Progress, Pruned,
    Purged, Rescued, Retried, Tasks, WORKERS_KEPT,
};

/// A storage that was opened: three views of one database, and who is told of its changes.
pub struct Opened {
    /// Changes of tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Modules.
    pub modules: Arc<dyn Modules>,
    /// Queries about tasks.
    pub reads: Arc<dyn Reads>,
    /// The clock by which everything in it is dated: this machine's, or the shared database's.
    pub clock: Clock,
    /// Wakes those who wait for a change.
    pub signals: Arc<dyn Signals>,
    /// Whether no other host uses this storage until it is closed: a task that is running at the
    /// start then belongs to a dead host.
    pub exclusive: bool,
    /// What only the hosts of this storage know; none if there can be only one.
    pub secret: Option<Secret>,
    database: Database,
}

enum Database {
    Sqlite(Arc<SqliteStorage>),
    Postgres(Arc<PostgresStorage>),
}

/// Opens the storage: the database that the settings name, or the one in the data directory, which is
/// created if need be. `random` makes the fences; `clock` is the machine's. Blocks; meant for the start
/// of the process. Refuses a data directory that another process has open.
pub fn open(
    settings: &StorageConfig,
    random: StdRng,
    clock: &Clock,
) -> Result<Opened, StorageError> {
    match &settings.url {
        None if settings.bucket.place.is_some() => Err(StorageError::Unavailable(
            "storage.blobs names a bucket, which only hosts of a shared database (storage.url) use"
                .to_owned(),
        )),
        None => {
            let database = Arc::new(SqliteStorage::open(settings, random)?);
            Ok(Opened {
                tasks: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Tasks>,
                modules: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Modules>,
                reads: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Reads>,
                signals: Arc::new(InProcess::default()),
                clock: clock.clone(),
                exclusive: true,
                secret: None,
                database: Database::Sqlite(database),
            })
        }
        Some(url) => {
            // Told the time before it is given to anybody.
            let clock = Clock::told(Timestamp::EPOCH);
            let database = PostgresStorage::open(url, settings, random, clock.clone())?;
            let database = Arc::new(database);
            Ok(Opened {
                tasks: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Tasks>,
                modules: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Modules>,
                reads: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Reads>,
                signals: database.signals(),
                clock,
                exclusive: false,
                secret: Some(database.secret()),
                database: Database::Postgres(database),
            })
        }
    }
}

impl Opened {
    /// The files beside the database: in the data directory, or shared by the hosts of the database.
    /// Blocks; meant for the start of the process.
    pub fn files(&self, settings: &StorageConfig) -> Result<FileStorage, StorageError> {
        let budget_bytes = settings.files_budget_bytes;
        match &self.database {
            Database::Sqlite(_) => FileStorage::open(&settings.data, budget_bytes),
            Database::Postgres(database) => FileStorage::open_shared(
                &settings.data.join("shared"),
                budget_bytes,
                settings.cache_bytes,
                Arc::<PostgresStorage>::clone(database) as Arc<dyn SharedFiles>,
            ),
        }
    }

    /// Finishes accepted work and releases the data directory. Later calls are answered with
    /// [`StorageError::Unavailable`]. Blocks.
    pub fn close(&self) {
        match &self.database {
            Database::Sqlite(database) => database.close(),
            Database::Postgres(database) => database.close(),
        }
    }
}
