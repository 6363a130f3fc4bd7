//! The quotas of tenants, as new tasks and modules are held to them: what a tenant has is counted while no
//! other host stores any of its, so that of many who come at once no more are taken than there is room for.

use std::collections::HashMap;

use super::fault::{Fault, get};
use super::params::params;
use super::tallies::SHARDS;
use super::tx::Tx;
use crate::rows::{list, submitted_bytes, tenant_of};
use crate::{Inserted, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName, TaskQuotas};
use cofferdam_domain::task::NewTask;

/// The first half of the advisory locks of tenants; the second is made of the tenant's name.
const TENANT: i32 = 0x4366_6672;
/// One after the other in one order, so that nobody waits for somebody who waits for them.
const LOCK: &str = "SELECT pg_advisory_xact_lock($1, u.name) FROM unnest($2::int4[]) AS u(name)";
/// A statement of its own: it sees what was committed before the lock was given.
const HAS: &str = "
    SELECT w.tenant,
        (SELECT coalesce(sum(c.tasks), 0)::int8
         FROM generate_series(0, $2::int4 - 1) AS s(shard) JOIN cofferdam.counter c
            ON c.shard = s.shard::int2 AND c.tenant = w.tenant AND c.state IN (0, 1)),
        (SELECT coalesce(sum(k.bytes), 0)::int8
         FROM generate_series(0, $2::int4 - 1) AS s(shard) JOIN cofferdam.kept k
            ON k.shard = s.shard::int2 AND k.tenant = w.tenant)
    FROM unnest($1::text[]) AS w(tenant)";

/// What a tenant has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Has {
    pub(super) waiting: u64,
    pub(super) kept_bytes: u64,
}

/// What the tenants have that have quotas, new tasks that are planned included.
#[derive(Default)]
pub(super) struct Quotas(HashMap<Tenant, Has>);

impl Quotas {
    /// Keeps every other host from storing tasks of these tenants, which have quotas, and counts what they have.
    pub(super) async fn locked(
        tx: &mut Tx,
        tenants: impl Iterator<Item = &Tenant>,
    ) -> Result<Quotas, Fault> {
        let mut names: Vec<String> = tenants.map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        match names.is_empty() {
            true => Ok(Quotas::default()),
            false => Ok(Quotas(locked(tx, names).await?)),
        }
    }

    /// Counts the new ones of `tasks`, or refuses them.
    pub(super) fn take(
        &mut self,
        tasks: &[NewTask],
        became: &[Inserted],
        quotas: TaskQuotas,
    ) -> Result<(), StorageError> {
        let tenant = tasks.first().map(|task| &task.tenant);
        let Some(has) = tenant.and_then(|tenant| self.0.get_mut(tenant)) else {
            return Ok(());
        };
        let mut then = *has;
        let new = tasks.iter().zip(became);
        for (task, _) in new.filter(|(_, became)| **became == Inserted::New) {
            let (args, env) = (list(&task.spec.args)?, list(&task.spec.env)?);
            let bytes = submitted_bytes(task, [args.as_ref(), env.as_ref()]);
            then.waiting += 1;
            then.kept_bytes = then.kept_bytes.saturating_add(bytes);
        }
        let bounds = [
            (
                QuotaName::Pending,
                quotas.pending_max,
                has.waiting,
                then.waiting,
            ),
            (
                QuotaName::Storage,
                quotas.storage_bytes,
                has.kept_bytes,
                then.kept_bytes,
            ),
        ];
        for (name, limit, used, then) in bounds {
            if let Some(limit) = limit
                && then > used
                && then > limit
            {
                return Err(OverQuota::of(name, limit, used).into());
            }
        }
        *has = then;
        Ok(())
    }
}

/// What the one tenant of a transaction has, and how many bytes it may, if that is bounded: then no other host
/// stores anything of it meanwhile.
pub(super) async fn kept_before(
    tx: &mut Tx,
    storage_bytes: Option<u64>,
) -> Result<Option<(u64, u64)>, Fault> {
    let (Some(limit), Some(tenant)) = (storage_bytes, tx.tenant()) else {
        return Ok(None);
    };
    let has = locked(tx, vec![tenant]).await?;
    Ok(has.values().next().map(|has| (has.kept_bytes, limit)))
}

/// Counts more bytes of the one tenant of a transaction, or refuses them.
pub(super) fn take_room(
    tx: &mut Tx,
    kept: Option<(u64, u64)>,
    bytes: u64,
) -> Result<(), StorageError> {
    if let Some((kept, limit)) = kept
        && kept.saturating_add(bytes) > limit
    {
        return Err(OverQuota::of(QuotaName::Storage, limit, kept).into());
    }
    tx.kept_of_its_tenant(i64::try_from(bytes).map_err(StorageError::corrupt)?);
    Ok(())
}

/// What tenants have, each of which no other host stores anything of until the transaction ends.
async fn locked(tx: &mut Tx, names: Vec<String>) -> Result<HashMap<Tenant, Has>, Fault> {
    let mut locks: Vec<i32> = names.iter().map(|name| number_of(name)).collect();
    locks.sort_unstable();
    locks.dedup();
    let shards = i32::try_from(SHARDS).unwrap_or(i32::MAX);
    let (lock, count) = (params![TENANT, locks], params![names, shards]);
    let (_, rows) = tx.query_both((LOCK, lock), (HAS, count)).await?;
    has_of(&rows)
}

/// What one tenant has.
pub(super) async fn has(tx: &mut Tx, tenant: &Tenant) -> Result<Has, Fault> {
    let shards = i32::try_from(SHARDS).unwrap_or(i32::MAX);
    let names = vec![tenant.to_string()];
    let rows = tx.query(HAS, params![names, shards]).await?;
    Ok(has_of(&rows)?.remove(tenant).unwrap_or_default())
}

fn has_of(rows: &[tokio_postgres::Row]) -> Result<HashMap<Tenant, Has>, Fault> {
    let mut has = HashMap::new();
    for row in rows {
        let figure = |place| -> Result<u64, StorageError> {
            Ok(u64::try_from(get::<i64>(row, place)?).unwrap_or(0))
        };
        let of = Has {
            waiting: figure(1)?,
            kept_bytes: figure(2)?,
        };
        has.insert(tenant_of(get(row, 0)?)?, of);
    }
    Ok(has)
}

/// FNV-1a. Tenants of the same number wait for one another, and no more.
fn number_of(tenant: &str) -> i32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let bytes = tenant.as_bytes();
    bytes.iter().fold(0x811c_9dc5, step).cast_signed()
}
