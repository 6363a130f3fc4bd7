//! Keys and tenants. A change begins with the version's row, so changes of all hosts go one after the
//! other, and a reader of the version has seen what it counts.

use tokio_postgres::Row;

use super::call::Call;
use super::fault::{Fault, get, get_hash, get_u8, get_u32};
use super::params::{Raw, params};
use super::tx::{Mode, Tx};
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
             FROM cofferdam.api_key ",
            $rest
        )
    };
}

const VERSION: &str = "SELECT number FROM cofferdam.access_version";
/// Waits for whoever else changes something.
const CHANGE: &str = "UPDATE cofferdam.access_version SET number = number + 1";
const KEYS: &str = key_sql!("ORDER BY id");
const KEY: &str = key_sql!("WHERE id = $1");
const TENANTS: &str = "
    SELECT name, weight, running_max, rules, created_at FROM cofferdam.tenant ORDER BY name";
const PUT_KEY: &str = "
    INSERT INTO cofferdam.api_key (id, hash, tenant, name, scopes, rate, burst, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const FORGET_DEAD: &str = "
    DELETE FROM cofferdam.api_key WHERE least(revoked_at, expires_at) < $1";
const REPLACE_KEY: &str = "
    UPDATE cofferdam.api_key SET expires_at = $2, replaced_by = $3 WHERE id = $1";
const REVOKE_KEY: &str = "
    UPDATE cofferdam.api_key SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";
const PUT_TENANT: &str = "
    INSERT INTO cofferdam.tenant (name, weight, running_max, rules, created_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (name) DO UPDATE SET weight = excluded.weight, running_max = excluded.running_max,
        rules = excluded.rules";
const IS_TENANT: &str = "SELECT count(*) FROM cofferdam.tenant WHERE name = $1";
const LIVE_KEYS_OF: &str = "
    SELECT count(*) FROM cofferdam.api_key
    WHERE tenant = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
const TASKS_OF: &str = "
    SELECT count(*) FROM (SELECT 1 FROM cofferdam.task WHERE tenant = $1 LIMIT 1000) AS found";
const MODULES_OF: &str = "
    SELECT count(*) FROM (SELECT DISTINCT name FROM cofferdam.module_version
        WHERE tenant = $1 LIMIT 1000) AS found";
const REVOKE_KEYS_OF: &str = "
    UPDATE cofferdam.api_key SET revoked_at = $2 WHERE tenant = $1 AND revoked_at IS NULL";
const LAST_REVOKED: &str = "SELECT max(revoked_at) FROM cofferdam.api_key WHERE tenant = $1";
/// They would go on to submit tasks.
const REMOVE_SCHEDULES: &str = "DELETE FROM cofferdam.schedule WHERE tenant = $1";
/// What else there is of a tenant that has neither tasks nor modules. Whoever has the name next does not have it.
const FORGET_TENANT: [&str; 10] = [
    REMOVE_SCHEDULES,
    "DELETE FROM cofferdam.secret WHERE tenant = $1",
    "DELETE FROM cofferdam.counter WHERE tenant = $1",
    "DELETE FROM cofferdam.kept WHERE tenant = $1",
    "DELETE FROM cofferdam.cpu_used WHERE tenant = $1",
    "DELETE FROM cofferdam.dedup WHERE tenant = $1",
    "DELETE FROM cofferdam.batch WHERE tenant = $1",
    "DELETE FROM cofferdam.workflow_definition WHERE tenant = $1",
    "DELETE FROM cofferdam.workflow_spec WHERE tenant = $1",
    "DELETE FROM cofferdam.workflow WHERE tenant = $1",
];
const REMOVE_TENANT: &str = "DELETE FROM cofferdam.tenant WHERE name = $1 RETURNING 1";

/// Every key and tenant, unless `known` is still their version.
pub(super) async fn access(tx: &mut Tx, known: Option<i64>) -> Result<Option<AccessState>, Fault> {
    let row = tx.query_opt(VERSION, params![]).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("keys have no version"))?;
    let version: i64 = get(&row, 0)?;
    if known == Some(version) {
        return Ok(None);
    }
    let (keys, tenants) = tx
        .query_both((KEYS, params![]), (TENANTS, params![]))
        .await?;
    let keys: Result<_, StorageError> = keys.iter().map(key_of).collect();
    let tenants: Result<_, StorageError> = tenants.iter().map(tenant_of).collect();
    Ok(Some(AccessState {
        version,
        keys: keys?,
        tenants: tenants?,
    }))
}

/// Keeps a new key.
pub(super) async fn put_key(call: &Call, key: &Key, now: Timestamp) -> Result<PutKey, Fault> {
    let mut tx = changing(call).await?;
    let name = key.tenant.to_string();
    if count(&mut tx, IS_TENANT, params![name]).await? == 0 {
        tx.rollback().await?;
        return Ok(PutKey::NoTenant);
    }
    // The first try may have been committed without an answer.
    if one(&mut tx, key.id).await?.is_none() {
        if !has_room(&mut tx, now).await? {
            tx.rollback().await?;
            return Ok(PutKey::TooMany);
        }
        insert(&mut tx, key);
    }
    tx.commit().await?;
    Ok(PutKey::Stored)
}

async fn changing(call: &Call) -> Result<Tx, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    tx.query(CHANGE, params![]).await?;
    Ok(tx)
}

/// Forgets what has been dead for long; whether there is a place for one more key.
async fn has_room(tx: &mut Tx, now: Timestamp) -> Result<bool, Fault> {
    let long_ago = now.minus(DEAD_KEYS_KEPT).as_millis();
    tx.query(FORGET_DEAD, params![long_ago]).await?;
    let keys = count(tx, "SELECT count(*) FROM cofferdam.api_key", params![]).await?;
    Ok(keys < KEYS_MAX)
}

fn insert(tx: &mut Tx, key: &Key) {
    let burst = key.rate.map(|rate| rate.burst().get());
    let columns = params![
        Raw::copy(key.id.as_bytes()),
        Raw::copy(&key.hash.0),
        key.tenant.to_string(),
        key.name.as_str().to_owned(),
        i16::from(scopes_number(key.scopes)),
        key.rate.map(|rate| rate.to_string()),
        burst.map(|burst| i32::try_from(burst).unwrap_or(i32::MAX)),
        key.created_at.as_millis(),
        key.expires_at.map(Timestamp::as_millis),
    ];
    tx.later(PUT_KEY, columns);
}

/// Gives a live key a successor.
pub(super) async fn rotate_key(
    call: &Call,
    old: KeyId,
    (id, hash): (KeyId, SecretHash),
    until: Timestamp,
    now: Timestamp,
) -> Result<RotatedKey, Fault> {
    let mut tx = changing(call).await?;
    // The first try may have been committed without an answer.
    if let Some(new) = one(&mut tx, id).await? {
        tx.rollback().await?;
        return Ok(RotatedKey::Replaced(Box::new(new)));
    }
    let key = one(&mut tx, old).await?;
    let Some(key) = key.filter(|key| key.state(now) == KeyState::Live) else {
        tx.rollback().await?;
        return Ok(RotatedKey::NotLive);
    };
    if !has_room(&mut tx, now).await? {
        tx.rollback().await?;
        return Ok(RotatedKey::TooMany);
    }
    let end = key.expires_at.map_or(until, |at| at.min(until));
    let new = Key {
        id,
        hash,
        created_at: now,
        replaced_by: None,
        ..key
    };
    insert(&mut tx, &new);
    let ids = [old, id].map(|id| Raw::copy(id.as_bytes()));
    let [old, id] = ids;
    tx.later(REPLACE_KEY, params![old, end.as_millis(), id]);
    tx.commit().await?;
    Ok(RotatedKey::Replaced(Box::new(new)))
}

/// Revokes a key.
pub(super) async fn revoke_key(
    call: &Call,
    id: KeyId,
    now: Timestamp,
) -> Result<Option<Key>, Fault> {
    let mut tx = changing(call).await?;
    let revoked = params![Raw::copy(id.as_bytes()), now.as_millis()];
    tx.query(REVOKE_KEY, revoked).await?;
    match one(&mut tx, id).await? {
        None => {
            tx.rollback().await?;
            Ok(None)
        }
        Some(key) => {
            tx.commit().await?;
            Ok(Some(key))
        }
    }
}

async fn one(tx: &mut Tx, id: KeyId) -> Result<Option<Key>, Fault> {
    let row = tx.query_opt(KEY, params![Raw::copy(id.as_bytes())]).await?;
    Ok(row.as_ref().map(key_of).transpose()?)
}

/// Makes a tenant, or replaces what was said of it.
pub(super) async fn put_tenant(
    call: &Call,
    name: &Tenant,
    rules: &TenantRules,
    now: Timestamp,
) -> Result<PutTenant, Fault> {
    let mut tx = changing(call).await?;
    let was_there = count(&mut tx, IS_TENANT, params![name.to_string()]).await? > 0;
    let all = "SELECT count(*) FROM cofferdam.tenant";
    if !was_there && count(&mut tx, all, params![]).await? >= TENANTS_MAX {
        tx.rollback().await?;
        return Ok(PutTenant::TooMany);
    }
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let columns = params![
        name.to_string(),
        number(rules.weight),
        rules.running_max.map(number),
        rules_text(rules)?,
        now.as_millis(),
    ];
    tx.later(PUT_TENANT, columns);
    tx.commit().await?;
    Ok(match was_there {
        true => PutTenant::Replaced,
        false => PutTenant::Created,
    })
}

/// Revokes every key of a tenant and removes its schedules; gives when the last key was revoked.
pub(super) async fn close_tenant(
    call: &Call,
    name: &Tenant,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let mut tx = changing(call).await?;
    let revoke = params![name.to_string(), now.as_millis()];
    let last = params![name.to_string()];
    let (_, last) = tx
        .query_both((REVOKE_KEYS_OF, revoke), (LAST_REVOKED, last))
        .await?;
    tx.later(REMOVE_SCHEDULES, params![name.to_string()]);
    tx.commit().await?;
    let last = last.first().map(|row| get::<Option<i64>>(row, 0));
    Ok(last.transpose()?.flatten().map(Timestamp::from_millis))
}

/// Removes a tenant that has nothing.
pub(super) async fn remove_tenant(
    call: &Call,
    name: &Tenant,
    now: Timestamp,
) -> Result<RemovedTenant, Fault> {
    let mut tx = changing(call).await?;
    let text = || name.to_string();
    let keys = count(&mut tx, LIVE_KEYS_OF, params![text(), now.as_millis()]).await?;
    let tasks = count(&mut tx, TASKS_OF, params![text()]).await?;
    let modules = count(&mut tx, MODULES_OF, params![text()]).await?;
    if keys > 0 || tasks > 0 || modules > 0 {
        tx.rollback().await?;
        return Ok(RemovedTenant::NotEmpty {
            keys,
            tasks,
            modules,
        });
    }
    let removed = tx.query(REMOVE_TENANT, params![text()]).await?;
    if !removed.is_empty() {
        for sql in FORGET_TENANT {
            tx.later(sql, params![text()]);
        }
    }
    tx.commit().await?;
    Ok(match removed.is_empty() {
        true => RemovedTenant::Unknown,
        false => RemovedTenant::Removed,
    })
}

async fn count(
    tx: &mut Tx,
    sql: &'static str,
    params: super::params::Params,
) -> Result<u64, Fault> {
    let row = tx.query_opt(sql, params).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a count has no row"))?;
    Ok(u64::try_from(get::<i64>(&row, 0)?).unwrap_or(0))
}

fn id_of(bytes: &[u8]) -> Result<KeyId, StorageError> {
    let bytes = bytes.try_into().map_err(StorageError::corrupt)?;
    Ok(KeyId::from_bytes(bytes))
}

fn key_of(row: &Row) -> Result<Key, StorageError> {
    let burst: Option<i32> = get(row, 6)?;
    let burst = burst.map(u32::try_from).transpose();
    let time = |place| -> Result<Option<Timestamp>, StorageError> {
        let millis: Option<i64> = get(row, place)?;
        Ok(millis.map(Timestamp::from_millis))
    };
    Ok(Key {
        id: id_of(get(row, 0)?)?,
        hash: SecretHash(get_hash(row, 1)?),
        tenant: Tenant::parse(get(row, 2)?).map_err(StorageError::corrupt)?,
        name: KeyName::parse(get(row, 3)?).map_err(StorageError::corrupt)?,
        scopes: scopes_of(get_u8(row, 4)?),
        rate: rate_of(get(row, 5)?, burst.map_err(StorageError::corrupt)?)?,
        created_at: Timestamp::from_millis(get(row, 7)?),
        expires_at: time(8)?,
        revoked_at: time(9)?,
        replaced_by: get::<Option<&[u8]>>(row, 10)?.map(id_of).transpose()?,
    })
}

fn tenant_of(row: &Row) -> Result<KnownTenant, StorageError> {
    let running_max: Option<i32> = get(row, 2)?;
    let running_max = running_max.map(u32::try_from).transpose();
    let running_max = running_max.map_err(StorageError::corrupt)?;
    Ok(KnownTenant {
        name: Tenant::parse(get(row, 0)?).map_err(StorageError::corrupt)?,
        rules: rules_of(get_u32(row, 1)?, running_max, get(row, 3)?)?,
        created_at: Timestamp::from_millis(get(row, 4)?),
    })
}
