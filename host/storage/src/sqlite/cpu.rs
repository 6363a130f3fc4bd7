//! The CPU time that tenants have used, by day.

use rusqlite::{Connection, params};

use crate::StorageError;
use crate::rows::tenant_of;
use cofferdam_domain::caller::Tenant;

const ADD: &str = "
    INSERT INTO cpu_used (tenant, day, cpu_us) VALUES (?1, ?2, ?3)
    ON CONFLICT (tenant, day) DO UPDATE SET cpu_us = cpu_us + excluded.cpu_us";
const FORGET: &str = "DELETE FROM cpu_used WHERE day < ?1";
const TOTALS: &str = "SELECT tenant, cpu_us FROM cpu_used WHERE day = ?1";

/// Adds what was used on that day; gives what each tenant has used on it.
pub(super) fn use_cpu(
    conn: &Connection,
    day: i64,
    used: &[(Tenant, u64)],
) -> Result<Vec<(Tenant, u64)>, StorageError> {
    if !used.is_empty() {
        conn.prepare_cached(FORGET)?.execute([day - 1])?;
    }
    let mut add = conn.prepare_cached(ADD)?;
    for (tenant, micros) in used {
        let micros = i64::try_from(*micros).unwrap_or(i64::MAX);
        add.execute(params![tenant.as_str(), day, micros])?;
    }
    let mut totals = conn.prepare_cached(TOTALS)?;
    let totals = totals.query_and_then([day], |row| {
        let (tenant, used): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok((tenant_of(&tenant)?, u64::try_from(used).unwrap_or(0)))
    })?;
    totals.collect()
}
