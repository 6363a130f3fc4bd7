//! The durable layer: tasks, attempts and modules, behind traits that every database implements.
//!
//! The docs of [`Tasks`], [`Modules`] and [`Reads`] are the contract, and `conformance.rs` tests it
//! for every backend. It has no policy (who may submit, what is retried when), no clock (`now` is
//! always an argument) and no guests. Large bytes that belong in files are in [`files`].

pub mod backup;
mod blobs;
#[cfg(test)]
pub(crate) mod conformance;
pub mod disk;
mod error;
pub mod files;
mod modules;
mod reads;
pub mod settings;
pub mod signals;
mod sqlite;
mod tasks;

use std::sync::Arc;

use rand::rngs::StdRng;

pub use self::error::StorageError;
pub use self::modules::{Modules, PutModule, StoredModule};
pub use self::reads::{
    ChangeNumber, Counts, Labelled, ListPosition, Reads, Since, TaskFilter, TaskPage,
};
use self::settings::StorageConfig;
use self::signals::{InProcess, Signals};
use self::sqlite::SqliteStorage;
pub use self::tasks::{
    Cancelled, Finished, HeldTask, Inserted, Orphans, Progress, Pruned, Purged, Rescued, Retried,
    Tasks,
};

/// An open storage: three views of one database, and the signals of its changes.
pub struct Opened {
    /// Changes of tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Modules.
    pub modules: Arc<dyn Modules>,
    /// Queries about tasks.
    pub reads: Arc<dyn Reads>,
    /// Wakes those who wait for a change.
    pub signals: Arc<dyn Signals>,
    /// Whether no other host uses this storage until it is closed: a task that is running at the
    /// start then belongs to a dead host.
    pub exclusive: bool,
    database: Arc<SqliteStorage>,
}

/// Opens the storage in the data directory, or creates it. `random` makes the fences.
/// Blocks; meant for the start of the process. Refuses a directory that another process has open.
pub fn open(settings: &StorageConfig, random: StdRng) -> Result<Opened, StorageError> {
    let database = Arc::new(SqliteStorage::open(settings, random)?);
    Ok(Opened {
        tasks: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Tasks>,
        modules: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Modules>,
        reads: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Reads>,
        signals: Arc::new(InProcess::default()),
        exclusive: true,
        database,
    })
}

impl Opened {
    /// Finishes accepted work and releases the data directory. Later calls are answered with
    /// [`StorageError::Unavailable`]. Blocks.
    pub fn close(&self) {
        self.database.close();
    }
}
