//! Schedules: rows of few tenants' plans, found by the instant that is next.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::rows::{firing_of, firing_text, plan_of, plan_text, tenant_of};
use crate::{PutSchedule, SCHEDULES_MAX, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName};
use cofferdam_domain::time::Timestamp;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, name, plan, revision, next_at, last, created_at, updated_at FROM schedule ",
            $rest
        )
    };
}

const PUT: &str = "
    INSERT INTO schedule (tenant, name, plan, revision, next_at, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?5, ?4, ?5, ?5)
    ON CONFLICT (tenant, name) DO UPDATE SET plan = excluded.plan, next_at = excluded.next_at,
        revision = max(schedule.revision + 1, excluded.revision), updated_at = excluded.updated_at";
const FIRED: &str = "
    UPDATE schedule SET next_at = ?5, last = ifnull(?6, last)
    WHERE tenant = ?1 AND name = ?2 AND revision = ?3 AND next_at IS ?4";

const CHANGE_PLAN: &str = "
    UPDATE schedule SET plan = ?4 WHERE tenant = ?1 AND name = ?2 AND revision = ?3";

/// Keeps a schedule, or replaces what was said of it.
pub(super) fn put(
    conn: &Connection,
    (tenant, name): (&Tenant, &ScheduleName),
    plan: &Plan,
    next_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<PutSchedule, StorageError> {
    let was_there = conn
        .prepare_cached("SELECT 1 FROM schedule WHERE tenant = ?1 AND name = ?2")?
        .exists([tenant.as_str(), name.as_str()])?;
    let kept: i64 = conn
        .prepare_cached("SELECT count(*) FROM schedule WHERE tenant = ?1")?
        .query_row([tenant.as_str()], |row| row.get(0))?;
    if !was_there && kept.cast_unsigned() >= SCHEDULES_MAX {
        return Ok(PutSchedule::TooMany);
    }
    conn.prepare_cached(PUT)?.execute(params![
        tenant.as_str(),
        name.as_str(),
        plan_text(plan)?,
        next_at.map(Timestamp::as_millis),
        now.as_millis(),
    ])?;
    Ok(match was_there {
        true => PutSchedule::Replaced,
        false => PutSchedule::Created,
    })
}

/// One of a tenant's schedules.
pub(super) fn find(
    conn: &Connection,
    tenant: &Tenant,
    name: &ScheduleName,
) -> Result<Option<Schedule>, StorageError> {
    conn.prepare_cached(select!("WHERE tenant = ?1 AND name = ?2"))?
        .query_row([tenant.as_str(), name.as_str()], |row| Ok(schedule_of(row)))
        .optional()?
        .transpose()
}

/// A tenant's schedules behind `after`.
pub(super) fn list(
    conn: &Connection,
    tenant: &Tenant,
    after: Option<&ScheduleName>,
    limit: u32,
) -> Result<Vec<Schedule>, StorageError> {
    let after = after.map_or("", ScheduleName::as_str);
    let page = select!("WHERE tenant = ?1 AND name > ?2 ORDER BY name LIMIT ?3");
    all(conn, page, params![tenant.as_str(), after, limit])
}

/// Removes a schedule.
pub(super) fn remove(
    conn: &Connection,
    tenant: &Tenant,
    name: &ScheduleName,
) -> Result<bool, StorageError> {
    let removed = conn
        .prepare_cached("DELETE FROM schedule WHERE tenant = ?1 AND name = ?2")?
        .execute([tenant.as_str(), name.as_str()])?;
    Ok(removed > 0)
}

/// The schedules whose next instant has come.
pub(super) fn due(
    conn: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Schedule>, StorageError> {
    let due = select!("WHERE next_at <= ?1 ORDER BY next_at LIMIT ?2");
    all(conn, due, params![now.as_millis(), limit])
}

/// Records what came of an instant, unless somebody else did.
pub(super) fn fired(
    conn: &Connection,
    schedule: &Schedule,
    last: Option<&Firing>,
    next_at: Option<Timestamp>,
) -> Result<bool, StorageError> {
    let changed = conn.prepare_cached(FIRED)?.execute(params![
        schedule.tenant.as_str(),
        schedule.name.as_str(),
        schedule.revision.cast_signed(),
        schedule.next_at.map(Timestamp::as_millis),
        next_at.map(Timestamp::as_millis),
        last.map(firing_text).transpose()?,
    ])?;
    Ok(changed > 0)
}

/// Schedules of all tenants behind one.
pub(super) fn all_behind(
    conn: &Connection,
    after: Option<&(Tenant, ScheduleName)>,
    limit: u32,
) -> Result<Vec<Schedule>, StorageError> {
    let (tenant, name) = after.map_or(("", ""), |(tenant, name)| (tenant.as_str(), name.as_str()));
    let page = select!("WHERE (tenant, name) > (?1, ?2) ORDER BY tenant, name LIMIT ?3");
    all(conn, page, params![tenant, name, limit])
}

/// Keeps another form of a plan.
pub(super) fn change_plan(
    conn: &Connection,
    schedule: &Schedule,
    plan: &Plan,
) -> Result<(), StorageError> {
    conn.prepare_cached(CHANGE_PLAN)?.execute(params![
        schedule.tenant.as_str(),
        schedule.name.as_str(),
        schedule.revision.cast_signed(),
        plan_text(plan)?,
    ])?;
    Ok(())
}

fn all(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Schedule>, StorageError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(schedule_of(row)?);
    }
    Ok(found)
}

fn schedule_of(row: &Row<'_>) -> Result<Schedule, StorageError> {
    let (tenant, name, plan): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (next_at, last): (Option<i64>, Option<String>) = (row.get(4)?, row.get(5)?);
    Ok(Schedule {
        tenant: tenant_of(&tenant)?,
        name: ScheduleName::parse(&name).map_err(StorageError::corrupt)?,
        plan: plan_of(&plan)?,
        revision: row.get::<_, i64>(3)?.cast_unsigned(),
        next_at: next_at.map(Timestamp::from_millis),
        last: last.as_deref().map(firing_of).transpose()?,
        created_at: Timestamp::from_millis(row.get(6)?),
        updated_at: Timestamp::from_millis(row.get(7)?),
    })
}
