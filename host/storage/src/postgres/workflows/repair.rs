//! Workflows that nothing would ever change again. There are none, and if there is one it is made right.

use uuid::Uuid;

use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::params;
use crate::postgres::release;
use crate::postgres::tx::{Mode, Tx};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// A workflow is alive as long as a task of it may be claimed, or runs.
macro_rules! stuck_sql {
    ($which:literal) => {
        concat!(
            "SELECT w.id FROM cofferdam.workflow w
             WHERE w.finished_at IS NULL AND w.state = 0 AND w.updated_at < $1 AND NOT EXISTS (
                    SELECT 1 FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
                    WHERE n.workflow = w.seq AND t.state IN (1, 2))",
            $which
        )
    };
}

const STUCK: &str = stuck_sql!(" ORDER BY w.seq LIMIT $2");
const STILL: &str = stuck_sql!(" AND w.id = $2");
/// An instance waits for its turn alone, and nobody gives it any more.
const REMAINING: &str = "
    UPDATE cofferdam.node n SET parents_completed = false, remaining = CASE
        WHEN n.waits <> 1 AND n.instance_of IS NOT NULL THEN 0
        WHEN n.waits = 1 THEN (
            SELECT count(*)::int4 FROM cofferdam.node i JOIN cofferdam.task x ON x.seq = i.seq
            WHERE i.workflow = n.workflow AND i.instance_of = n.place AND x.state < 3)
        ELSE (
            SELECT count(*)::int4 FROM unnest(n.parents) AS q(place)
            JOIN cofferdam.node i ON i.workflow = n.workflow AND i.place = q.place
            JOIN cofferdam.task x ON x.seq = i.seq WHERE x.state < 3) END
    FROM cofferdam.workflow w, cofferdam.task t
    WHERE w.id = $1 AND n.workflow = w.seq AND t.seq = n.seq AND t.state < 3";
const RELEASE: &str = "
    UPDATE cofferdam.task t SET state = 1, run_at = greatest(t.run_at, $2), updated_at = $2,
        change = (SELECT cofferdam.change_number(0)) + f.place
    FROM (SELECT n.seq, row_number() OVER () AS place FROM cofferdam.workflow w
          JOIN cofferdam.node n ON n.workflow = w.seq WHERE w.id = $1 AND n.remaining = 0) AS f
    WHERE t.seq = f.seq AND t.state = 0 RETURNING t.tenant";
const COUNT: &str = "
    UPDATE cofferdam.workflow w SET open = q.open, completed = w.completed + w.open - q.open,
        updated_at = $2, change = w.change + 1,
        finished_at = CASE WHEN q.open = 0 THEN $2 END,
        state = CASE WHEN q.open > 0 THEN w.state WHEN w.fails > 0 THEN 3
            WHEN w.cancelling OR w.cancels > 0 THEN 4 ELSE 2 END
    FROM (SELECT count(t.seq) FILTER (WHERE t.state < 3)::int4 AS open FROM cofferdam.workflow v
          JOIN cofferdam.node n ON n.workflow = v.seq JOIN cofferdam.task t ON t.seq = n.seq
          WHERE v.id = $1) AS q
    WHERE w.id = $1";

/// Makes right what is wrong; tells how many it was.
pub(in crate::postgres) async fn repair(
    call: &Call,
    unchanged_since: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<u64, Fault> {
    let mut tx = call.begin(Mode::Read).await?;
    let wanted = params![unchanged_since.as_millis(), i64::from(limit)];
    let rows = tx.query(STUCK, wanted).await?;
    tx.commit().await?;
    let mut repaired = 0;
    for row in &rows {
        let id: Uuid = get(row, 0)?;
        let mut tx = call.begin(Mode::Durable).await?;
        let still = params![unchanged_since.as_millis(), id];
        let (_, found) = tx.query_both(release::lock([id]), (STILL, still)).await?;
        if found.is_empty() {
            tx.rollback().await?;
            continue;
        }
        tracing::error!(workflow = %id, "nothing would ever change this workflow again");
        repair_one(&mut tx, id, now).await?;
        tx.commit().await?;
        repaired += 1;
    }
    Ok(repaired)
}

async fn repair_one(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<(), Fault> {
    tx.query(REMAINING, params![id]).await?;
    for row in tx.query(RELEASE, params![id, now.as_millis()]).await? {
        tx.moved(get(&row, 0)?, TaskState::Blocked, TaskState::Pending);
    }
    tx.query(COUNT, params![id, now.as_millis()]).await?;
    Ok(())
}
