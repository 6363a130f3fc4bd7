//! The CPU time that tenants have used at all hosts, by day.

use tokio_postgres::Row;

use super::call::Call;
use super::fault::{Fault, get};
use super::params::params;
use super::tx::{Mode, reading};
use crate::rows::tenant_of;
use cofferdam_domain::caller::Tenant;

/// In one order for all, because whoever adds holds the row.
const ADD: &str = "
    INSERT INTO cofferdam.cpu_used AS c (tenant, day, cpu_us)
    SELECT u.tenant, $2, u.cpu_us FROM unnest($1::text[], $3::int8[]) AS u(tenant, cpu_us)
    ORDER BY u.tenant
    ON CONFLICT (tenant, day) DO UPDATE SET cpu_us = c.cpu_us + excluded.cpu_us";
const TOTALS: &str = "SELECT tenant, cpu_us FROM cofferdam.cpu_used WHERE day = $1";
const FORGET: &str = "DELETE FROM cofferdam.cpu_used WHERE day < $1";

/// Adds what was used on that day; gives what each tenant has used on it.
pub(super) async fn use_cpu(
    call: &Call,
    day: i64,
    used: &[(Tenant, u64)],
) -> Result<Vec<(Tenant, u64)>, Fault> {
    let rows = match used.is_empty() {
        true => reading!(call, tx, tx.query(TOTALS, params![day]))?,
        false => add(call, day, used).await?,
    };
    let each = rows.iter().map(|row| {
        let used: i64 = get(row, 1)?;
        Ok((tenant_of(get(row, 0)?)?, u64::try_from(used).unwrap_or(0)))
    });
    each.collect()
}

async fn add(call: &Call, day: i64, used: &[(Tenant, u64)]) -> Result<Vec<Row>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let tenants: Vec<String> = used.iter().map(|(tenant, _)| tenant.to_string()).collect();
    let micros = used.iter().map(|(_, micros)| *micros);
    let micros: Vec<i64> = micros
        .map(|micros| i64::try_from(micros).unwrap_or(i64::MAX))
        .collect();
    let add = params![tenants, day, micros];
    let (_, rows) = tx.query_both((ADD, add), (TOTALS, params![day])).await?;
    tx.later(FORGET, params![day - 1]);
    tx.commit().await?;
    Ok(rows)
}
