//! Opening the database: the settings every connection needs, and the schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::StorageError;
use crate::lock::private_file;

pub(super) use crate::lock::DataLock;

/// The oldest SQLite with all fixes this backend relies on: 3.51.3, as SQLite numbers it.
const VERSION_NUMBER_MIN: i32 = 3_051_003;
/// Marks a database as Cofferdam's: "Cffr".
const APPLICATION_ID: i32 = 0x4366_6672;
const MIGRATIONS: [&str; 23] = [
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_changes.sql"),
    include_str!("../../migrations/sqlite/0003_blobs.sql"),
    include_str!("../../migrations/sqlite/0004_outputs.sql"),
    include_str!("../../migrations/sqlite/0005_error_kinds.sql"),
    include_str!("../../migrations/sqlite/0006_batches.sql"),
    include_str!("../../migrations/sqlite/0007_dead_letters.sql"),
    include_str!("../../migrations/sqlite/0008_workers.sql"),
    include_str!("../../migrations/sqlite/0009_turns.sql"),
    include_str!("../../migrations/sqlite/0010_classes.sql"),
    include_str!("../../migrations/sqlite/0011_access.sql"),
    include_str!("../../migrations/sqlite/0012_tenants.sql"),
    include_str!("../../migrations/sqlite/0013_egress.sql"),
    include_str!("../../migrations/sqlite/0014_secrets.sql"),
    include_str!("../../migrations/sqlite/0015_schedules.sql"),
    include_str!("../../migrations/sqlite/0016_quotas.sql"),
    include_str!("../../migrations/sqlite/0017_audit.sql"),
    include_str!("../../migrations/sqlite/0018_callbacks.sql"),
    include_str!("../../migrations/sqlite/0019_cpu.sql"),
    include_str!("../../migrations/sqlite/0020_batch_callbacks.sql"),
    include_str!("../../migrations/sqlite/0021_workflows.sql"),
    include_str!("../../migrations/sqlite/0022_workflow_callbacks.sql"),
    include_str!("../../migrations/sqlite/0023_definitions.sql"),
];

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Kibibytes, negative as SQLite wants it.
const WRITER_CACHE_KIB: i32 = -65_536;
const READER_CACHE_KIB: i32 = -8192;
/// While there is work, the log is copied into the database whenever it has this many pages.
const WAL_PAGES_MAX: i32 = 8192;
/// The log file is truncated to this size when it starts again.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
const STATEMENTS_KEPT: usize = 128;

/// The path of large bytes inside the data directory.
pub(super) fn blobs_path(data: &Path) -> PathBuf {
    data.join("blobs")
}

/// The path of the database inside the data directory.
pub(crate) fn database_path(data: &Path) -> PathBuf {
    data.join("cofferdam.db")
}

/// The one connection that writes; brings the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StorageError> {
    let version = rusqlite::version_number();
    if version < VERSION_NUMBER_MIN {
        return Err(StorageError::Unavailable(format!(
            "SQLite {} is too old; 3.51.3 is the oldest that is safe here",
            rusqlite::version()
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite gives the log the mode of the database.
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        if file == path || file.exists() {
            private_file(&file).map_err(|error| {
                StorageError::Unavailable(format!("{}: {error}", file.display()))
            })?;
        }
    }
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StorageError::Unavailable(format!(
            "{} cannot keep a write-ahead log (journal mode is {mode})",
            path.display()
        )));
    }
    conn.pragma_update(None, "synchronous", "full")?;
    keep_plans(&conn)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "wal_autocheckpoint", WAL_PAGES_MAX)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    migrate(&mut conn, path)?;
    Ok(conn)
}

/// The file that SQLite keeps beside the database under this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "query_only", true)?;
    keep_plans(&conn)?;
    conn.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(conn)
}

/// Without this SQLite plans a statement again whenever a bound value might change the plan, which
/// with partial indexes is every time.
fn keep_plans(conn: &Connection) -> Result<(), StorageError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let pragma = |conn: &Connection, name| -> Result<i32, rusqlite::Error> {
        conn.pragma_query_value(None, name, |row| row.get(0))
    };
    let id = pragma(conn, "application_id")?;
    if id != APPLICATION_ID && id != 0 {
        return Err(StorageError::corrupt(format_args!(
            "{} belongs to another program",
            path.display()
        )));
    }
    let done = usize::try_from(pragma(conn, "user_version")?).map_err(StorageError::corrupt)?;
    if done > MIGRATIONS.len() {
        return Err(StorageError::Unavailable(format!(
            "{} was written by a newer version (schema {done}, this one knows {})",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    for (number, script) in (1_i32..).zip(MIGRATIONS).skip(done) {
        let tx = conn.transaction()?;
        tx.execute_batch(script)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", number)?;
        tx.commit()?;
    }
    Ok(())
}
