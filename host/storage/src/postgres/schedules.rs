//! Schedules: rows of few tenants' plans, found by the instant that is next.

use tokio_postgres::Row;

use super::call::Call;
use super::fault::{Fault, get};
use super::params::params;
use super::tx::{Mode, Tx};
use crate::rows::{firing_of, firing_text, plan_of, plan_text, tenant_of};
use crate::{PutSchedule, SCHEDULES_MAX, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName};
use cofferdam_domain::time::Timestamp;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, name, plan, revision, next_at, last, created_at, updated_at
             FROM cofferdam.schedule ",
            $rest
        )
    };
}

/// Puts of one tenant go one after the other, so that their number is what it is.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('schedules of ' || $1, 0))";
const COUNT: &str = "
    SELECT count(*), count(*) FILTER (WHERE name = $2) FROM cofferdam.schedule WHERE tenant = $1";
const PUT: &str = "
    INSERT INTO cofferdam.schedule AS s (tenant, name, plan, revision, next_at, created_at, updated_at)
    VALUES ($1, $2, $3, $5, $4, $5, $5)
    ON CONFLICT (tenant, name) DO UPDATE SET plan = excluded.plan, next_at = excluded.next_at,
        revision = greatest(s.revision + 1, excluded.revision), updated_at = excluded.updated_at";
const FIND: &str = select!("WHERE tenant = $1 AND name = $2");
const LIST: &str = select!("WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3");
const DUE: &str = select!("WHERE next_at <= $1 ORDER BY next_at LIMIT $2");
const REMOVE: &str = "
    DELETE FROM cofferdam.schedule WHERE tenant = $1 AND name = $2 RETURNING 1";
const FIRED: &str = "
    UPDATE cofferdam.schedule SET next_at = $5, last = coalesce($6, last)
    WHERE tenant = $1 AND name = $2 AND revision = $3 AND next_at IS NOT DISTINCT FROM $4
    RETURNING 1";

const ALL: &str = select!("WHERE (tenant, name) > ($1, $2) ORDER BY tenant, name LIMIT $3");
const CHANGE_PLAN: &str = "
    UPDATE cofferdam.schedule SET plan = $4 WHERE tenant = $1 AND name = $2 AND revision = $3";

/// Keeps a schedule, or replaces what was said of it.
pub(super) async fn put(
    call: &Call,
    (tenant, name): (&Tenant, &ScheduleName),
    plan: &Plan,
    next_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<PutSchedule, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let (tenant, name) = (|| tenant.to_string(), || name.as_str().to_owned());
    tx.query(LOCK, params![tenant()]).await?;
    let counted = tx.query_opt(COUNT, params![tenant(), name()]).await?;
    let counted = counted.ok_or_else(|| StorageError::corrupt("a count has no row"))?;
    let (kept, same): (i64, i64) = (get(&counted, 0)?, get(&counted, 1)?);
    if same == 0 && kept.cast_unsigned() >= SCHEDULES_MAX {
        tx.rollback().await?;
        return Ok(PutSchedule::TooMany);
    }
    let next_at = next_at.map(Timestamp::as_millis);
    let columns = params![tenant(), name(), plan_text(plan)?, next_at, now.as_millis()];
    tx.later(PUT, columns);
    tx.commit().await?;
    Ok(match same {
        0 => PutSchedule::Created,
        _ => PutSchedule::Replaced,
    })
}

/// One of a tenant's schedules.
pub(super) async fn find(
    tx: &mut Tx,
    tenant: &Tenant,
    name: &ScheduleName,
) -> Result<Option<Schedule>, Fault> {
    let columns = params![tenant.to_string(), name.as_str().to_owned()];
    let row = tx.query_opt(FIND, columns).await?;
    Ok(row.as_ref().map(schedule_of).transpose()?)
}

/// A tenant's schedules behind `after`.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: &Tenant,
    after: Option<&ScheduleName>,
    limit: u32,
) -> Result<Vec<Schedule>, Fault> {
    let after = after.map_or("", ScheduleName::as_str).to_owned();
    let columns = params![tenant.to_string(), after, i64::from(limit)];
    all(&tx.query(LIST, columns).await?)
}

/// Removes a schedule.
pub(super) async fn remove(
    call: &Call,
    tenant: &Tenant,
    name: &ScheduleName,
) -> Result<bool, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let columns = params![tenant.to_string(), name.as_str().to_owned()];
    let removed = tx.query(REMOVE, columns).await?;
    tx.commit().await?;
    Ok(!removed.is_empty())
}

/// The schedules whose next instant has come.
pub(super) async fn due(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<Schedule>, Fault> {
    let columns = params![now.as_millis(), i64::from(limit)];
    all(&tx.query(DUE, columns).await?)
}

/// Records what came of an instant, unless somebody else did.
pub(super) async fn fired(
    call: &Call,
    schedule: &Schedule,
    last: Option<&Firing>,
    next_at: Option<Timestamp>,
) -> Result<bool, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let columns = params![
        schedule.tenant.to_string(),
        schedule.name.as_str().to_owned(),
        schedule.revision.cast_signed(),
        schedule.next_at.map(Timestamp::as_millis),
        next_at.map(Timestamp::as_millis),
        last.map(firing_text).transpose()?,
    ];
    let changed = tx.query(FIRED, columns).await?;
    tx.commit().await?;
    Ok(!changed.is_empty())
}

/// Schedules of all tenants behind one.
pub(super) async fn all_behind(
    tx: &mut Tx,
    after: Option<&(Tenant, ScheduleName)>,
    limit: u32,
) -> Result<Vec<Schedule>, Fault> {
    let (tenant, name) = match after {
        None => (String::new(), String::new()),
        Some((tenant, name)) => (tenant.to_string(), name.as_str().to_owned()),
    };
    all(&tx
        .query(ALL, params![tenant, name, i64::from(limit)])
        .await?)
}

/// Keeps another form of a plan.
pub(super) async fn change_plan(
    call: &Call,
    schedule: &Schedule,
    plan: &Plan,
) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let columns = params![
        schedule.tenant.to_string(),
        schedule.name.as_str().to_owned(),
        schedule.revision.cast_signed(),
        plan_text(plan)?,
    ];
    tx.later(CHANGE_PLAN, columns);
    tx.commit().await
}

fn all(rows: &[Row]) -> Result<Vec<Schedule>, Fault> {
    let found: Result<Vec<_>, StorageError> = rows.iter().map(schedule_of).collect();
    Ok(found?)
}

fn schedule_of(row: &Row) -> Result<Schedule, StorageError> {
    let next_at: Option<i64> = get(row, 4)?;
    Ok(Schedule {
        tenant: tenant_of(get(row, 0)?)?,
        name: ScheduleName::parse(get(row, 1)?).map_err(StorageError::corrupt)?,
        plan: plan_of(get(row, 2)?)?,
        revision: get::<i64>(row, 3)?.cast_unsigned(),
        next_at: next_at.map(Timestamp::from_millis),
        last: get::<Option<&str>>(row, 5)?.map(firing_of).transpose()?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        updated_at: Timestamp::from_millis(get(row, 7)?),
    })
}
