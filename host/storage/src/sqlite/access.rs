//! Keys and tenants. A change raises the version, and only then hosts read them again.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;
use crate::rows::{rate_of, rules_of, rules_text, scopes_number, scopes_of};
use crate::{
    AccessState, DEAD_KEYS_KEPT, KEYS_MAX, PutKey, PutTenant, RemovedTenant, RotatedKey,
    StorageError, TENANTS_MAX,
};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId, KeyName, KeyState, SecretHash};
use cofferdam_domain::caller::tenant::{KnownTenant, TenantRules};
use cofferdam_domain::time::Timestamp;

macro_rules! key_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, hash, tenant, name, scopes, rate, burst, created_at, expires_at, revoked_at,
                replaced_by
             FROM api_key ",
            $rest
        )
    };
}

const PUT_KEY: &str = "
    INSERT INTO api_key (id, hash, tenant, name, scopes, rate, burst, created_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const FORGET_DEAD: &str = "
    DELETE FROM api_key WHERE min(ifnull(revoked_at, expires_at), ifnull(expires_at, revoked_at)) < ?1";
/// The columns that have a default stay as they are where a row is replaced.
const PUT_TENANT: &str = "
    INSERT INTO tenant (name, weight, running_max, rules, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (name) DO UPDATE SET weight = excluded.weight, running_max = excluded.running_max,
        rules = excluded.rules";

/// They would go on to submit tasks.
const REMOVE_SCHEDULES: &str = "DELETE FROM schedule WHERE tenant = ?1";
/// What else there is of a tenant that has neither tasks nor modules. Whoever has the name next does not have it.
const FORGET_TENANT: [&str; 10] = [
    REMOVE_SCHEDULES,
    "DELETE FROM secret WHERE tenant = ?1",
    "DELETE FROM counter WHERE tenant = ?1",
    "DELETE FROM kept WHERE tenant = ?1",
    "DELETE FROM cpu_used WHERE tenant = ?1",
    "DELETE FROM dedup WHERE tenant = ?1",
    "DELETE FROM batch WHERE tenant = ?1",
    "DELETE FROM workflow_definition WHERE tenant = ?1",
    "DELETE FROM workflow_spec WHERE tenant = ?1",
    "DELETE FROM workflow WHERE tenant = ?1",
];

/// Every key and tenant, unless `known` is still their version.
pub(super) fn access(
    conn: &Connection,
    known: Option<i64>,
) -> Result<Option<AccessState>, StorageError> {
    // One snapshot for the three of them.
    let tx = conn.unchecked_transaction()?;
    read(&tx, known)
}

fn read(conn: &Connection, known: Option<i64>) -> Result<Option<AccessState>, StorageError> {
    let version: i64 = conn
        .prepare_cached("SELECT number FROM access_version")?
        .query_row([], |row| row.get(0))?;
    if known == Some(version) {
        return Ok(None);
    }
    let mut statement = conn.prepare_cached(key_sql!("ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(key_of(row)?);
    }
    let mut statement = conn.prepare_cached(
        "SELECT name, weight, running_max, rules, created_at FROM tenant ORDER BY name",
    )?;
    let mut rows = statement.query([])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.push(tenant_of(row)?);
    }
    Ok(Some(AccessState {
        version,
        keys,
        tenants,
    }))
}

/// Keeps a new key.
pub(super) fn put_key(
    conn: &Connection,
    key: &Key,
    now: Timestamp,
) -> Result<PutKey, StorageError> {
    let is_known = conn
        .prepare_cached("SELECT 1 FROM tenant WHERE name = ?1")?
        .exists([key.tenant.as_str()])?;
    if !is_known {
        return Ok(PutKey::NoTenant);
    }
    match has_room(conn, now)? {
        true => insert(conn, key)?,
        false => return Ok(PutKey::TooMany),
    }
    changed(conn)?;
    Ok(PutKey::Stored)
}

/// Forgets what has been dead for long, if there is a place for one more key.
fn has_room(conn: &Connection, now: Timestamp) -> Result<bool, StorageError> {
    conn.prepare_cached(FORGET_DEAD)?
        .execute([now.minus(DEAD_KEYS_KEPT).as_millis()])?;
    Ok(count(conn, "SELECT count(*) FROM api_key", [])? < KEYS_MAX)
}

fn insert(conn: &Connection, key: &Key) -> Result<(), StorageError> {
    conn.prepare_cached(PUT_KEY)?.execute(params![
        key.id.as_bytes(),
        key.hash.0,
        key.tenant.as_str(),
        key.name.as_str(),
        scopes_number(key.scopes),
        key.rate.map(|rate| rate.to_string()),
        key.rate.map(|rate| rate.burst().get()),
        key.created_at.as_millis(),
        key.expires_at.map(Timestamp::as_millis),
    ])?;
    Ok(())
}

/// Gives a live key a successor.
pub(super) fn rotate_key(
    conn: &Connection,
    old: KeyId,
    (id, hash): (KeyId, SecretHash),
    until: Timestamp,
    now: Timestamp,
) -> Result<RotatedKey, StorageError> {
    let key = key(conn, old)?.filter(|key| key.state(now) == KeyState::Live);
    let Some(key) = key else {
        return Ok(RotatedKey::NotLive);
    };
    if !has_room(conn, now)? {
        return Ok(RotatedKey::TooMany);
    }
    let end = key.expires_at.map_or(until, |at| at.min(until));
    let new = Key {
        id,
        hash,
        created_at: now,
        ..key
    };
    insert(conn, &new)?;
    conn.prepare_cached("UPDATE api_key SET expires_at = ?2, replaced_by = ?3 WHERE id = ?1")?
        .execute(params![old.as_bytes(), end.as_millis(), id.as_bytes()])?;
    changed(conn)?;
    Ok(RotatedKey::Replaced(Box::new(Key {
        replaced_by: None,
        ..new
    })))
}

/// Revokes a key.
pub(super) fn revoke_key(
    conn: &Connection,
    id: KeyId,
    now: Timestamp,
) -> Result<Option<Key>, StorageError> {
    let revoked = conn
        .prepare_cached("UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![id.as_bytes(), now.as_millis()])?;
    if revoked > 0 {
        changed(conn)?;
    }
    key(conn, id)
}

fn key(conn: &Connection, id: KeyId) -> Result<Option<Key>, StorageError> {
    conn.prepare_cached(key_sql!("WHERE id = ?1"))?
        .query_row([id.as_bytes()], |row| Ok(key_of(row)))
        .optional()?
        .transpose()
}

/// Makes a tenant, or replaces what was said of it.
pub(super) fn put_tenant(
    conn: &Connection,
    name: &Tenant,
    rules: &TenantRules,
    now: Timestamp,
) -> Result<PutTenant, StorageError> {
    let was_there = conn
        .prepare_cached("SELECT 1 FROM tenant WHERE name = ?1")?
        .exists([name.as_str()])?;
    if !was_there && count(conn, "SELECT count(*) FROM tenant", [])? >= TENANTS_MAX {
        return Ok(PutTenant::TooMany);
    }
    conn.prepare_cached(PUT_TENANT)?.execute(params![
        name.as_str(),
        rules.weight,
        rules.running_max,
        rules_text(rules)?,
        now.as_millis()
    ])?;
    changed(conn)?;
    Ok(match was_there {
        true => PutTenant::Replaced,
        false => PutTenant::Created,
    })
}

/// Revokes every key of a tenant and removes its schedules; gives when the last key was revoked.
pub(super) fn close_tenant(
    conn: &Connection,
    name: &Tenant,
    now: Timestamp,
) -> Result<Option<Timestamp>, StorageError> {
    let revoked = conn
        .prepare_cached(
            "UPDATE api_key SET revoked_at = ?2 WHERE tenant = ?1 AND revoked_at IS NULL",
        )?
        .execute(params![name.as_str(), now.as_millis()])?;
    if revoked > 0 {
        changed(conn)?;
    }
    conn.prepare_cached(REMOVE_SCHEDULES)?
        .execute([name.as_str()])?;
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(revoked_at) FROM api_key WHERE tenant = ?1")?
        .query_row([name.as_str()], |row| row.get(0))?;
    Ok(last.map(Timestamp::from_millis))
}

/// Removes a tenant that has nothing.
pub(super) fn remove_tenant(
    db: &mut Db,
    name: &Tenant,
    now: Timestamp,
) -> Result<RemovedTenant, StorageError> {
    // What this transaction counted of it must not be written behind its removal.
    db.save_tallies()?;
    let conn = &db.conn;
    let live = "SELECT count(*) FROM api_key
        WHERE tenant = ?1 AND revoked_at IS NULL AND ifnull(expires_at > ?2, 1)";
    let keys = count(conn, live, params![name.as_str(), now.as_millis()])?;
    let tasks = "SELECT count(*) FROM (SELECT 1 FROM task WHERE tenant = ?1 LIMIT 1000)";
    let tasks = count(conn, tasks, [name.as_str()])?;
    let modules = "SELECT count(*) FROM
        (SELECT DISTINCT name FROM module_version WHERE tenant = ?1 LIMIT 1000)";
    let modules = count(conn, modules, [name.as_str()])?;
    if keys > 0 || tasks > 0 || modules > 0 {
        return Ok(RemovedTenant::NotEmpty {
            keys,
            tasks,
            modules,
        });
    }
    let removed = conn
        .prepare_cached("DELETE FROM tenant WHERE name = ?1")?
        .execute([name.as_str()])?;
    if removed == 0 {
        return Ok(RemovedTenant::Unknown);
    }
    for sql in FORGET_TENANT {
        conn.prepare_cached(sql)?.execute([name.as_str()])?;
    }
    changed(conn)?;
    Ok(RemovedTenant::Removed)
}

fn changed(conn: &Connection) -> Result<(), StorageError> {
    conn.prepare_cached("UPDATE access_version SET number = number + 1")?
        .execute([])?;
    Ok(())
}

fn count(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<u64, StorageError> {
    let counted: i64 = conn
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))?;
    Ok(u64::try_from(counted).unwrap_or(0))
}

fn key_of(row: &Row<'_>) -> Result<Key, StorageError> {
    let (tenant, name): (String, String) = (row.get(2)?, row.get(3)?);
    let (rate, replaced_by): (Option<String>, Option<_>) = (row.get(5)?, row.get(10)?);
    let time = |place| -> Result<Option<Timestamp>, StorageError> {
        let millis: Option<i64> = row.get(place)?;
        Ok(millis.map(Timestamp::from_millis))
    };
    Ok(Key {
        id: KeyId::from_bytes(row.get(0)?),
        hash: SecretHash(row.get(1)?),
        tenant: Tenant::parse(&tenant).map_err(StorageError::corrupt)?,
        name: KeyName::parse(&name).map_err(StorageError::corrupt)?,
        scopes: scopes_of(row.get(4)?),
        rate: rate_of(rate.as_deref(), row.get(6)?)?,
        created_at: Timestamp::from_millis(row.get(7)?),
        expires_at: time(8)?,
        revoked_at: time(9)?,
        replaced_by: replaced_by.map(KeyId::from_bytes),
    })
}

fn tenant_of(row: &Row<'_>) -> Result<KnownTenant, StorageError> {
    let (name, rules): (String, String) = (row.get(0)?, row.get(3)?);
    Ok(KnownTenant {
        name: Tenant::parse(&name).map_err(StorageError::corrupt)?,
        rules: rules_of(row.get(1)?, row.get(2)?, &rules)?,
        created_at: Timestamp::from_millis(row.get(4)?),
    })
}
