//! The durable layer: tasks, attempts and modules, behind traits that every database implements.
//!
//! The docs of [`Tasks`], [`Modules`], [`Reads`], [`Access`], [`Schedules`], [`Workflows`], [`Definitions`],
//! [`Trail`] and [`Callbacks`] are the contract, and `conformance.rs` tests it for every backend. It has no policy (who may submit, what is retried when), no clock
//! (`now` is always an argument) and no guests. Large bytes that belong in files are in [`files`].

mod access;
pub mod backup;
mod blobs;
mod blocking;
mod callbacks;
#[cfg(test)]
pub(crate) mod conformance;
mod definitions;
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
mod schedules;
mod seal;
mod sealed;
pub mod secret;
mod secrets;
mod serving;
pub mod settings;
pub mod signals;
mod sqlite;
mod tasks;
pub mod trail;
mod turns;
pub mod verify;
mod workflows;

use std::sync::Arc;

use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::access::{
    Access, AccessState, DEAD_KEYS_KEPT, KEYS_MAX, PutKey, PutTenant, RemovedTenant, RotatedKey,
    TENANTS_MAX,
};
pub use self::callbacks::{Callbacks, Delivery, DeliveryCounts, Hold, ToldAgain, Tried};
use self::definitions::KeptDefinitions;
pub use self::definitions::{
    DEFINITIONS_MAX, Definitions, NewDefinition, PutDefinition, StoredDefinition,
};
pub use self::error::{Remedy, StorageError};
use self::files::FileStorage;
use self::files::results::ResultFiles;
use self::files::shared::SharedFiles;
pub use self::modules::{Modules, PutModule, StoredModule};
use self::postgres::PostgresStorage;
pub use self::reads::{
    Batch, ChangeNumber, Counts, Holdings, IdPage, Labelled, ListPosition, Reads, Since,
    TaskFilter, TaskPage,
};
use self::schedules::KeptSchedules;
pub use self::schedules::{PutSchedule, SCHEDULES_MAX, Schedules};
use self::seal::Sealer;
use self::sealed::Sealed;
pub use self::sealed::anew::{Progress as SealedProgress, SealedTasks, Step as SealedStep};
use self::sealed::cells::Cells;
pub use self::sealed::definitions::SealedDefinitions;
pub use self::sealed::schedules::SealedSchedules;
use self::secret::Secret;
use self::secrets::KeptSecrets;
pub use self::secrets::{PutSecret, Resealed, SECRETS_MAX, Secrets};
use self::settings::StorageConfig;
use self::signals::{InProcess, Signals};
use self::sqlite::SqliteStorage;
pub use self::tasks::{
    Asked, Bounds, Cancelled, Finished, Heir, HeldTask, Inserted, InsertedBatch, Orphans, Progress,
    Pruned, Purged, Recorded, Rescued, Retried, Tasks, WORKERS_KEPT, large_output,
};
use self::trail::Trail;
pub use self::workflows::{
    Before, CancelledWorkflow, EndBefore, HeldNode, InsertedWorkflow, NewNode, NewSignal,
    NewWorkflow, Node, NodeCounts, Park, Parking, PausedWorkflow, RetriedWorkflow, Retry,
    Signalled, WORKFLOW_NODES_MAX, WORKFLOW_SIGNALS_MAX, Waits, Workflow, WorkflowFilter,
    WorkflowNodes, WorkflowPage, Workflows,
};

/// A storage that was opened: several views of one database, and who is told of its changes.
pub struct Opened {
    /// Changes of tasks.
    pub tasks: Arc<dyn Tasks>,
    /// Modules.
    pub modules: Arc<dyn Modules>,
    /// Keys and tenants.
    pub access: Arc<dyn Access>,
    /// Secrets of tenants.
    pub secrets: Secrets,
    /// What is sealed in rows, for whoever seals it anew.
    pub sealed: SealedWords,
    /// Schedules.
    pub schedules: Arc<dyn Schedules>,
    /// Workflows.
    pub workflows: Arc<dyn Workflows>,
    /// Definitions of workflows.
    pub definitions: Arc<dyn Definitions>,
    /// Ends of tasks that somebody is told.
    pub callbacks: Arc<dyn Callbacks>,
    /// Queries about tasks.
    pub reads: Arc<dyn Reads>,
    /// The audit trail.
    pub trail: Arc<dyn Trail>,
    /// The clock by which everything in it is dated: this machine's, or the shared database's.
    pub clock: Clock,
    /// Wakes those who wait for a change.
    pub signals: Arc<dyn Signals>,
    /// Whether no other host uses this storage until it is closed: a task that is running at the
    /// start then belongs to a dead host.
    pub exclusive: bool,
    /// What only the hosts of this storage know; none if there can be only one.
    pub secret: Option<Secret>,
    sealer: Arc<Sealer>,
    database: Database,
}

/// What is sealed in rows.
#[derive(Clone)]
pub struct SealedWords {
    /// Of tasks.
    pub tasks: SealedTasks,
    /// Of schedules.
    pub schedules: SealedSchedules,
    /// Of definitions.
    pub definitions: SealedDefinitions,
}

enum Database {
    Sqlite(Arc<SqliteStorage>),
    Postgres(Arc<PostgresStorage>),
}

/// The files that storage reads beside the data directory: the authorities that a database's URL names.
pub fn files_read(config: &StorageConfig) -> Vec<std::path::PathBuf> {
    let url = config.url.as_deref();
    url.and_then(postgres::authorities).into_iter().collect()
}

/// Opens the storage: the database that the settings name, or the one in the data directory, which is
/// created if need be. `random` makes the fences; `clock` is the machine's. Blocks; meant for the start
/// of the process. Refuses a data directory that another process has open.
pub fn open(
    settings: &StorageConfig,
    mut random: StdRng,
    clock: &Clock,
) -> Result<Opened, StorageError> {
    let for_nonces = StdRng::from_rng(&mut random);
    let sealer = Arc::new(Sealer::new(&settings.encryption_keys, for_nonces));
    match &settings.url {
        None if settings.bucket.place.is_some() => Err(StorageError::Unavailable(
            "storage.blobs names a bucket, which only hosts of a shared database (storage.url) use"
                .to_owned(),
        )),
        None => {
            let database = Arc::new(SqliteStorage::open(settings, random)?);
            Ok(Opened {
                tasks: sealed_tasks(&database, &sealer),
                modules: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Modules>,
                access: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Access>,
                secrets: Secrets::new(
                    Arc::<SqliteStorage>::clone(&database) as Arc<dyn KeptSecrets>,
                    &sealer,
                ),
                sealed: words(&database, &sealer),
                schedules: sealed_schedules(&database, &sealer),
                workflows: sealed_workflows(&database, &sealer),
                definitions: sealed_definitions(&database, &sealer),
                callbacks: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Callbacks>,
                trail: Arc::<SqliteStorage>::clone(&database) as Arc<dyn Trail>,
                reads: sealed_reads(&database, &sealer),
                signals: Arc::new(InProcess::default()),
                clock: clock.clone(),
                exclusive: true,
                secret: None,
                sealer,
                database: Database::Sqlite(database),
            })
        }
        Some(url) => {
            // Told the time before it is given to anybody.
            let clock = Clock::told(Timestamp::EPOCH);
            let database = PostgresStorage::open(url, settings, random, clock.clone())?;
            let database = Arc::new(database);
            Ok(Opened {
                tasks: sealed_tasks(&database, &sealer),
                modules: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Modules>,
                access: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Access>,
                secrets: Secrets::new(
                    Arc::<PostgresStorage>::clone(&database) as Arc<dyn KeptSecrets>,
                    &sealer,
                ),
                sealed: words(&database, &sealer),
                schedules: sealed_schedules(&database, &sealer),
                workflows: sealed_workflows(&database, &sealer),
                definitions: sealed_definitions(&database, &sealer),
                callbacks: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Callbacks>,
                trail: Arc::<PostgresStorage>::clone(&database) as Arc<dyn Trail>,
                reads: sealed_reads(&database, &sealer),
                signals: database.signals(),
                clock,
                exclusive: false,
                secret: Some(database.secret()),
                sealer,
                database: Database::Postgres(database),
            })
        }
    }
}

/// The database as [`Tasks`], of which it sees sealed words alone.
fn sealed_tasks<D: Tasks>(database: &Arc<D>, sealer: &Arc<Sealer>) -> Arc<dyn Tasks> {
    let inner = Arc::<D>::clone(database) as Arc<dyn Tasks>;
    Arc::new(Sealed::new(inner, sealer))
}

/// The same as [`Workflows`].
fn sealed_workflows<D: Workflows>(database: &Arc<D>, sealer: &Arc<Sealer>) -> Arc<dyn Workflows> {
    let inner = Arc::<D>::clone(database) as Arc<dyn Workflows>;
    Arc::new(Sealed::new(inner, sealer))
}

/// The same as [`Definitions`].
fn sealed_definitions<D: Definitions>(
    database: &Arc<D>,
    sealer: &Arc<Sealer>,
) -> Arc<dyn Definitions> {
    let inner = Arc::<D>::clone(database) as Arc<dyn Definitions>;
    Arc::new(Sealed::new(inner, sealer))
}

/// What is sealed in its rows.
fn words<D: Cells + KeptSchedules + KeptDefinitions>(
    database: &Arc<D>,
    sealer: &Arc<Sealer>,
) -> SealedWords {
    let tasks = Arc::<D>::clone(database) as Arc<dyn Cells>;
    let schedules = Arc::<D>::clone(database) as Arc<dyn KeptSchedules>;
    let definitions = Arc::<D>::clone(database) as Arc<dyn KeptDefinitions>;
    SealedWords {
        tasks: SealedTasks::new(tasks, sealer),
        schedules: SealedSchedules::new(schedules, sealer),
        definitions: SealedDefinitions::new(definitions, sealer),
    }
}

/// The same as [`Schedules`].
fn sealed_schedules<D: Schedules>(database: &Arc<D>, sealer: &Arc<Sealer>) -> Arc<dyn Schedules> {
    let inner = Arc::<D>::clone(database) as Arc<dyn Schedules>;
    Arc::new(Sealed::new(inner, sealer))
}

/// The same as [`Reads`].
fn sealed_reads<D: Reads>(database: &Arc<D>, sealer: &Arc<Sealer>) -> Arc<dyn Reads> {
    let inner = Arc::<D>::clone(database) as Arc<dyn Reads>;
    Arc::new(Sealed::new(inner, sealer))
}

impl Opened {
    /// The files beside the database: in the data directory, or shared by the hosts of the database.
    /// Blocks; meant for the start of the process.
    pub fn files(&self, settings: &StorageConfig) -> Result<FileStorage, StorageError> {
        let budget_bytes = settings.files_budget_bytes;
        let files = match &self.database {
            Database::Sqlite(_) => FileStorage::open(&settings.data, budget_bytes),
            Database::Postgres(database) => FileStorage::open_shared(
                &settings.data.join("shared"),
                budget_bytes,
                settings.cache_bytes,
                Arc::<PostgresStorage>::clone(database) as Arc<dyn SharedFiles>,
            ),
        };
        Ok(files?.sealed_by(&self.sealer))
    }

    /// The results of runs that this host keeps, below its data directory. Blocks.
    pub fn results(&self, settings: &StorageConfig) -> Result<ResultFiles, StorageError> {
        let dir = settings.data.join("results");
        ResultFiles::open(dir, settings.disk_free_min_bytes, &self.sealer)
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
