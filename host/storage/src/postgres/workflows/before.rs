//! How what comes before a node ended.

use bytes::Bytes;
use tokio_postgres::Row;

use super::look::failure_of;
use crate::StorageError;
use crate::postgres::fault::{Fault, get, get_u8, get_u32};
use crate::postgres::params::params;
use crate::postgres::tx::Tx;
use crate::rows::state_of;
use crate::workflows::{Before, EndBefore};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;

/// Outputs are read as far as all of them together have no more than $3 bytes.
macro_rules! ends_sql {
    ($nodes:literal) => {
        concat!(
            "WITH me AS MATERIALIZED (
                SELECT n.* FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
                JOIN cofferdam.node n ON n.workflow = t.workflow AND n.place = t.place
                WHERE s.id = $1 AND s.tenant = $2),
            l AS MATERIALIZED (
                SELECT n.place, n.name, n.seq, t.state, t.attempt, a.failure, a.content_type,
                    o.size_bytes IS NOT NULL AS is_elsewhere,
                    coalesce(o.size_bytes, octet_length(a.output))::int8 AS bytes
                FROM ",
            $nodes,
            " JOIN cofferdam.task t ON t.seq = n.seq
                LEFT JOIN cofferdam.attempt a
                    ON a.seq = t.seq AND a.number = t.attempt AND t.state >= 3
                LEFT JOIN cofferdam.output o ON o.seq = a.seq AND o.number = a.number),
            b AS MATERIALIZED (
                SELECT l.*, sum(CASE WHEN is_elsewhere THEN 0 ELSE bytes END) OVER (ORDER BY place) AS till
                FROM l)
            SELECT b.name, s.id, b.state, b.attempt, b.failure, b.content_type, b.bytes,
                CASE WHEN b.state = 3 AND NOT b.is_elsewhere AND b.till <= $3 THEN (
                    SELECT a.output FROM cofferdam.attempt a
                    WHERE a.seq = b.seq AND a.number = b.attempt) END
            FROM b JOIN cofferdam.task_spec s ON s.seq = b.seq ORDER BY b.place"
        )
    };
}

const PARENTS: &str = ends_sql!(
    "me CROSS JOIN unnest(me.parents) AS p(place)
     JOIN cofferdam.node n ON n.workflow = me.workflow AND n.place = p.place"
);
const INSTANCES: &str = ends_sql!(
    "me JOIN cofferdam.node n ON n.workflow = me.workflow AND n.place >= me.first_instance
        AND n.instance_of = me.place"
);

/// How what comes before a node ended, by place.
pub(in crate::postgres) async fn ends_before(
    tx: &mut Tx,
    tenant: &Tenant,
    node: TaskId,
    before: Before,
    inline_bytes_max: u64,
) -> Result<Vec<EndBefore>, Fault> {
    let sql = match before {
        Before::Parents => PARENTS,
        Before::Instances => INSTANCES,
    };
    let most = i64::try_from(inline_bytes_max).unwrap_or(i64::MAX);
    let rows = tx
        .query(sql, params![node.0, tenant.to_string(), most])
        .await?;
    let ends: Result<_, StorageError> = rows.iter().map(end_of).collect();
    Ok(ends?)
}

fn end_of(row: &Row) -> Result<EndBefore, StorageError> {
    let state = state_of(get_u8(row, 2)?)?;
    let completed = state == TaskState::Completed;
    let content_type: Option<&str> = get(row, 5)?;
    let bytes: Option<i64> = get(row, 6)?;
    let output: Option<&[u8]> = get(row, 7)?;
    let output = content_type.zip(output);
    Ok(EndBefore {
        name: get(row, 0)?,
        task_id: TaskId(get(row, 1)?),
        state,
        attempt: get_u32(row, 3)?,
        failure: failure_of(get(row, 4)?)?.filter(|_| !completed),
        output: output.map(|(content_type, body)| Payload {
            content_type: content_type.into(),
            body: Bytes::copy_from_slice(body),
        }),
        output_bytes: bytes.filter(|_| completed).map(i64::cast_unsigned),
    })
}
