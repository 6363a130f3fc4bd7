//! Bringing the schema up to date, and refusing a database that would break a promise.
//!
//! Migrations are numbered and run one by one under a lock, whichever host comes first. Each first
//! expands: a host of the version before goes on working on the tables of this one. `schema_version`
//! says from which version on hosts can work with what is there; one that is older refuses to start.

use std::sync::Arc;

use super::call::{Call, Db};
use super::fault::{Fault, get, get_hash};
use super::params::params;
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::secret::Secret;

/// A step, and the oldest version that can work with what it leaves.
struct Migration {
    script: &'static str,
    compatible_from: i32,
}

const MIGRATIONS: [Migration; 23] = [
    Migration {
        script: include_str!("../../migrations/postgres/0001_initial.sql"),
        compatible_from: 1,
    },
    // A host that knows nothing of batches would let nobody into them.
    Migration {
        script: include_str!("../../migrations/postgres/0002_batches.sql"),
        compatible_from: 2,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0003_dead_letters.sql"),
        compatible_from: 2,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0004_workers.sql"),
        compatible_from: 2,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0005_eras.sql"),
        compatible_from: 2,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0006_hosts.sql"),
        compatible_from: 2,
    },
    // A host that knows nothing of bounds would exceed them.
    Migration {
        script: include_str!("../../migrations/postgres/0007_turns.sql"),
        compatible_from: 7,
    },
    // A host that knows nothing of classes would run what it cannot.
    Migration {
        script: include_str!("../../migrations/postgres/0008_classes.sql"),
        compatible_from: 8,
    },
    // A host that knows nothing of buckets would find no bytes.
    Migration {
        script: include_str!("../../migrations/postgres/0009_buckets.sql"),
        compatible_from: 9,
    },
    // A host that knows nothing of keys would let everybody in.
    Migration {
        script: include_str!("../../migrations/postgres/0010_access.sql"),
        compatible_from: 10,
    },
    // A host that knows nothing of tenants would see no rows.
    Migration {
        script: include_str!("../../migrations/postgres/0011_tenants.sql"),
        compatible_from: 11,
    },
    // A host that knows nothing of it leaves it empty.
    Migration {
        script: include_str!("../../migrations/postgres/0012_egress.sql"),
        compatible_from: 11,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0013_secrets.sql"),
        compatible_from: 11,
    },
    Migration {
        script: include_str!("../../migrations/postgres/0014_schedules.sql"),
        compatible_from: 11,
    },
    // A host that knows nothing of it would not count what it keeps.
    Migration {
        script: include_str!("../../migrations/postgres/0015_quotas.sql"),
        compatible_from: 15,
    },
    // A host that knows nothing of the trail would change things without an entry.
    Migration {
        script: include_str!("../../migrations/postgres/0016_audit.sql"),
        compatible_from: 16,
    },
    // A host that knows nothing of callbacks leaves them to others: the schema makes their rows.
    Migration {
        script: include_str!("../../migrations/postgres/0017_callbacks.sql"),
        compatible_from: 16,
    },
    // A host that knows nothing of it lets tenants use what they like there.
    Migration {
        script: include_str!("../../migrations/postgres/0018_cpu.sql"),
        compatible_from: 16,
    },
    // A host that knows nothing of it ends batches and tells nobody.
    Migration {
        script: include_str!("../../migrations/postgres/0019_batch_callbacks.sql"),
        compatible_from: 19,
    },
    // A host that knows nothing of workflows would end nodes and release none.
    Migration {
        script: include_str!("../../migrations/postgres/0020_workflows.sql"),
        compatible_from: 20,
    },
    // A host that knows nothing of it would take ends of workflows and not know what ended.
    Migration {
        script: include_str!("../../migrations/postgres/0021_workflow_callbacks.sql"),
        compatible_from: 21,
    },
    // The schema ends what waits, whoever stops a workflow.
    Migration {
        script: include_str!("../../migrations/postgres/0022_stopped_waits.sql"),
        compatible_from: 21,
    },
    // A host that knows nothing of it keeps no definitions, and leaves those of a tenant that it removes.
    Migration {
        script: include_str!("../../migrations/postgres/0023_definitions.sql"),
        compatible_from: 21,
    },
];

/// The advisory lock of a transaction that changes the schema.
pub(super) const MIGRATING: i64 = 0x4366_6672_0003;
/// The oldest server that has what is used here: `pg_current_xact_id`.
const SERVER_MIN: i32 = 130_000;

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(),
        current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
        current_setting('server_encoding'),
        (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)";
const BEGINNING: &str = "
    CREATE SCHEMA IF NOT EXISTS cofferdam;
    CREATE TABLE IF NOT EXISTS cofferdam.schema_version (
        version         integer     PRIMARY KEY,
        compatible_from integer     NOT NULL,
        applied_at      timestamptz NOT NULL DEFAULT now()
    )";
const VERSION: &str = "
    SELECT version, compatible_from FROM cofferdam.schema_version ORDER BY version DESC LIMIT 1";

/// Checks the server and brings the schema up to date.
pub(super) async fn migrate(db: &Arc<Db>) -> Result<(), StorageError> {
    let call = Call::new(db, super::UPLOAD_TIMEOUT);
    let up_to_date = call.repeated(|call| {
        Box::pin(async move {
            let mut tx = call.begin(Mode::Read).await?;
            check_server(&mut tx).await?;
            tx.commit().await?;
            let mut tx = call.begin(Mode::Durable).await?;
            up_to_date(&mut tx).await?;
            tx.commit().await?;
            let lease = call.db.writers.get(call.deadline).await?;
            call.db
                .eras
                .begin_first(lease.client(), lease.era())
                .await?;
            lease.give_back();
            Ok(())
        })
    });
    up_to_date.await
}

/// What only the hosts of this database know.
pub(super) async fn secret(db: &Arc<Db>) -> Result<Secret, StorageError> {
    const SQL: &str = "SELECT secret FROM cofferdam.host_secret";
    let call = Call::new(db, db.read_timeout);
    let read = call.repeated(|call| {
        Box::pin(async move {
            let mut tx = call.begin(Mode::Read).await?;
            let row = tx.query_opt(SQL, params![]).await?;
            tx.commit().await?;
            let row = row.ok_or_else(|| StorageError::corrupt("the hosts have no secret"))?;
            Ok(Secret::new(get_hash(&row, 0)?))
        })
    });
    read.await
}

async fn check_server(tx: &mut Tx) -> Result<(), Fault> {
    let unfit = |why: &str| Err(StorageError::Unavailable(why.to_owned()).into());
    let row = tx
        .query_opt(SERVER, params![])
        .await?
        .ok_or_else(|| StorageError::corrupt("the server has no settings"))?;
    if get::<i32>(&row, 0)? < SERVER_MIN {
        return unfit("the PostgreSQL server is too old; 13 is the oldest that serves");
    }
    if get::<bool>(&row, 1)? {
        return unfit("the PostgreSQL server is a replica; the primary is needed");
    }
    // What is acknowledged is durable, and that is the server's to keep.
    if !get::<bool>(&row, 2)? {
        return unfit("the PostgreSQL server has fsync switched off: a crash would lose tasks");
    }
    if !get::<bool>(&row, 3)? {
        tracing::warn!("the PostgreSQL server has full_page_writes switched off");
    }
    if get::<Option<bool>>(&row, 5)?.unwrap_or(false) {
        tracing::warn!(
            "the database's user is one to whom row-level security does not apply: tenants have one wall \
             between them instead of two; a user who merely owns the database is enough"
        );
    }
    if get::<&str>(&row, 4)? != "UTF8" {
        return unfit("the database is not encoded in UTF-8");
    }
    Ok(())
}

async fn up_to_date(tx: &mut Tx) -> Result<(), Fault> {
    tx.query("SELECT pg_advisory_xact_lock($1)", params![MIGRATING])
        .await?;
    tx.script(BEGINNING).await?;
    let newest = tx.query_opt(VERSION, params![]).await?;
    let (version, compatible_from): (i32, i32) = match newest {
        None => (0, 0),
        Some(row) => (get(&row, 0)?, get(&row, 1)?),
    };
    let known = i32::try_from(MIGRATIONS.len()).map_err(StorageError::corrupt)?;
    if compatible_from > known {
        return Err(StorageError::Unavailable(format!(
            "the database was made ready for a newer version (schema {version}, which serves hosts \
             from {compatible_from} on; this one knows {known})"
        ))
        .into());
    }
    for (number, migration) in (1..)
        .zip(MIGRATIONS)
        .filter(|(number, _)| *number > version)
    {
        tx.script(migration.script).await?;
        let sql = "INSERT INTO cofferdam.schema_version (version, compatible_from) VALUES ($1, $2)";
        tx.query(sql, params![number, migration.compatible_from])
            .await?;
        tracing::info!(schema = number, "the database was brought up to date");
    }
    Ok(())
}
