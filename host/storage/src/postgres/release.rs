//! What the end of a node brings about: the nodes behind it wait for one less, its workflow has one open node less, and
//! the last one makes the workflow final.
//!
//! All that is in one statement, by whoever has locked the rows of the workflows: nothing else happens to
//! their nodes meanwhile, so that of two last parents that end at once the second one sees the first. Whoever knows
//! beforehand that nodes may end takes those locks before any on tasks ([`lock_of_tasks`], [`lock`]).

use std::collections::HashSet;

use uuid::Uuid;

use super::fault::{Fault, get};
use super::params::{Params, params};
use super::tx::Tx;
use crate::StorageError;
use crate::rows::{is_skipped, state_number};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const LOCK: &str = "
    SELECT w.seq FROM cofferdam.workflow w WHERE w.id = ANY($1::uuid[]) ORDER BY w.seq FOR UPDATE";
const LOCK_OF_TASKS: &str = "
    SELECT w.seq FROM cofferdam.workflow w WHERE w.seq IN (
        SELECT t.workflow FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
        WHERE s.id = ANY($1::uuid[]) AND t.workflow IS NOT NULL)
    ORDER BY w.seq FOR UPDATE";
/// Rows tell: 0, how many tasks of a tenant are pending now; 1, a workflow whose running tasks are to be cancelled; 2,
/// how many instances of a node have made room for others. A failure stops its workflow once.
const RELEASE: &str = "
    WITH e AS MATERIALIZED (
        SELECT n.workflow, u.state, u.skipped, u.vain, n.kids, n.instance_of
        FROM unnest($1::uuid[], $2::int2[], $3::bool[], $4::bool[]) AS u(id, state, skipped, vain)
        JOIN cofferdam.task_spec s ON s.id = u.id JOIN cofferdam.task t ON t.seq = s.seq
        JOIN cofferdam.node n ON n.workflow = t.workflow AND n.place = t.place),
    c AS MATERIALIZED (
        SELECT workflow, count(*)::int4 AS ended,
            count(*) FILTER (WHERE state = 3)::int4 AS completed,
            count(*) FILTER (WHERE state = 4)::int4 AS failed,
            count(*) FILTER (WHERE state = 5 AND NOT skipped)::int4 AS cancelled,
            count(*) FILTER (WHERE state = 5 AND skipped)::int4 AS skipped,
            count(*) FILTER (WHERE state = 4 AND instance_of IS NULL)::int4 AS fails,
            count(*) FILTER (WHERE state = 5 AND NOT skipped AND instance_of IS NULL)::int4 AS cancels
        FROM e GROUP BY workflow),
    w AS (
        UPDATE cofferdam.workflow w SET open = w.open - c.ended,
            completed = w.completed + c.completed, failed = w.failed + c.failed,
            cancelled = w.cancelled + c.cancelled, skipped = w.skipped + c.skipped,
            fails = w.fails + c.fails, cancels = w.cancels + c.cancels,
            stopping = w.stopping OR (c.fails > 0 AND w.on_failure = 0),
            updated_at = greatest(w.updated_at, $5), change = w.change + 1,
            finished_at = CASE WHEN w.open = c.ended THEN $5 END,
            state = CASE WHEN w.open <> c.ended THEN w.state WHEN w.fails + c.fails > 0 THEN 3
                WHEN w.cancelling OR w.cancels + c.cancels > 0 THEN 4 ELSE 2 END
        FROM c WHERE w.seq = c.workflow
        RETURNING w.seq, w.tenant, w.cancel_running AND w.on_failure = 0 AND c.fails > 0 AS cancels_running),
    k AS MATERIALIZED (
        SELECT q.workflow, q.place, count(*)::int4 AS ended FROM (
            SELECT e.workflow, kid.place FROM e CROSS JOIN unnest(e.kids) AS kid(place)
            UNION ALL SELECT workflow, instance_of FROM e WHERE instance_of IS NOT NULL) AS q
        GROUP BY q.workflow, q.place),
    d AS (
        UPDATE cofferdam.node n SET remaining = greatest(0, n.remaining - k.ended)
        FROM k WHERE n.workflow = k.workflow AND n.place = k.place
        RETURNING n.workflow, n.seq, n.remaining),
    f AS MATERIALIZED (
        SELECT d.seq, row_number() OVER () AS place
        FROM d JOIN cofferdam.workflow x ON x.seq = d.workflow
        WHERE d.remaining = 0 AND x.state <> 1),
    r AS (
        UPDATE cofferdam.task t SET state = 1, run_at = greatest(t.run_at, $5), updated_at = $5,
            change = (SELECT cofferdam.change_number($6)) + f.place
        FROM f WHERE t.seq = f.seq AND t.state = 0 RETURNING t.tenant)
    SELECT 0::int2, r.tenant, NULL::int8, NULL::int4, count(*)::int8 FROM r GROUP BY r.tenant
    UNION ALL SELECT 1::int2, w.tenant, w.seq, NULL, 0 FROM w WHERE w.cancels_running
    UNION ALL SELECT 2::int2, '', e.workflow, e.instance_of, count(*)::int8 FROM e
        JOIN cofferdam.node m ON m.workflow = e.workflow AND m.place = e.instance_of
        WHERE NOT e.vain AND m.next_instance <= m.last_instance GROUP BY e.workflow, e.instance_of";
const LET_IN: &str = "
    WITH c AS MATERIALIZED (
        SELECT m.workflow, m.place AS around, i.place, i.seq
        FROM unnest($1::int8[], $2::int4[], $3::int8[]) AS u(workflow, place, turns)
        JOIN cofferdam.node m ON m.workflow = u.workflow AND m.place = u.place
        CROSS JOIN LATERAL (
            SELECT n.place, n.seq FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
            WHERE n.workflow = m.workflow AND n.place BETWEEN m.next_instance AND m.last_instance
                AND n.instance_of = m.place AND n.remaining > 0 AND t.state = 0
            ORDER BY n.place LIMIT u.turns) AS i),
    m AS (
        UPDATE cofferdam.node n SET next_instance = q.next
        FROM (SELECT workflow, around, max(place) + 1 AS next FROM c GROUP BY workflow, around) AS q
        WHERE n.workflow = q.workflow AND n.place = q.around),
    d AS (
        UPDATE cofferdam.node n SET remaining = n.remaining - 1
        FROM c WHERE n.workflow = c.workflow AND n.place = c.place
        RETURNING n.workflow, n.seq, n.remaining),
    f AS MATERIALIZED (
        SELECT d.seq, row_number() OVER () AS place
        FROM d JOIN cofferdam.workflow x ON x.seq = d.workflow
        WHERE d.remaining = 0 AND x.state <> 1),
    r AS (
        UPDATE cofferdam.task t SET state = 1, run_at = greatest(t.run_at, $4), updated_at = $4,
            change = (SELECT cofferdam.change_number($5)) + f.place
        FROM f WHERE t.seq = f.seq AND t.state = 0 RETURNING t.tenant)
    SELECT 0::int2, r.tenant, NULL::int8, NULL::int4, count(*)::int8 FROM r GROUP BY r.tenant";
const ASK: &str = "
    UPDATE cofferdam.task t SET cancel_requested = true, updated_at = $2,
        change = (SELECT cofferdam.change_number($3)) + q.place
    FROM (SELECT r.seq, row_number() OVER () AS place
          FROM cofferdam.node n JOIN cofferdam.task r ON r.seq = n.seq
          WHERE n.workflow = ANY($1::int8[]) AND r.state = 2 AND NOT r.cancel_requested) AS q
    WHERE t.seq = q.seq AND t.state = 2";

/// Changes of one transaction are numbered from here on, behind those of what it claimed and ended.
const RELEASED: i64 = (1 << 17) + (1 << 16);
const LET_IN_CHANGES: i64 = RELEASED + 45_000;
const ASKED: i64 = RELEASED + 53_000;

/// Nodes that came into a final state in a transaction.
#[derive(Default)]
pub(super) struct EndedNodes {
    ids: Vec<Uuid>,
    states: Vec<i16>,
    skipped: Vec<bool>,
    vain: Vec<bool>,
    at: Option<Timestamp>,
}

impl EndedNodes {
    /// A node whose task is in that state since then, after an attempt that failed so.
    pub(super) fn push(
        &mut self,
        id: Uuid,
        state: TaskState,
        kind: Option<FailureKind>,
        at: Timestamp,
    ) {
        self.add(id, state, is_skipped(state, kind), false);
        self.at = self.at.max(Some(at));
    }

    /// One that was cancelled without having begun. If it was blocked, no other instance has its turn.
    pub(super) fn push_cancelled(&mut self, id: Uuid, was: TaskState, at: Timestamp) {
        let vain = was == TaskState::Blocked;
        self.add(id, TaskState::Cancelled, false, vain);
        self.at = self.at.max(Some(at));
    }

    fn add(&mut self, id: Uuid, state: TaskState, skipped: bool, vain: bool) {
        self.ids.push(id);
        self.states.push(state_number(state).into());
        self.skipped.push(skipped);
        self.vain.push(vain);
    }

    /// Their tasks.
    pub(super) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Releases what waited for these nodes.
    pub(super) async fn release(self, tx: &mut Tx) -> Result<(), Fault> {
        let Some(at) = self.at.map(Timestamp::as_millis) else {
            return Ok(());
        };
        let lock = lock_of_tasks(self.ids.clone());
        let ended = params![self.ids, self.states, self.skipped, self.vain, at, RELEASED];
        let (_, rows) = tx.query_both(lock, (RELEASE, ended)).await?;
        let (mut stopped, mut turns) = (Vec::new(), (Vec::new(), Vec::new(), Vec::new()));
        for row in &rows {
            match get::<i16>(row, 0)? {
                0 => count_released(tx, row)?,
                1 => stopped.push(get::<i64>(row, 2)?),
                _ => {
                    turns.0.push(get::<i64>(row, 2)?);
                    turns.1.push(get::<i32>(row, 3)?);
                    turns.2.push(get::<i64>(row, 4)?);
                }
            }
        }
        if !turns.0.is_empty() {
            let turns = params![turns.0, turns.1, turns.2, at, LET_IN_CHANGES];
            for row in tx.query(LET_IN, turns).await? {
                count_released(tx, &row)?;
            }
        }
        if !stopped.is_empty() {
            tx.query(ASK, params![stopped, at, ASKED]).await?;
        }
        Ok(())
    }
}

fn count_released(tx: &mut Tx, row: &tokio_postgres::Row) -> Result<(), StorageError> {
    let tenant: &str = get(row, 1)?;
    let released: i64 = get(row, 4)?;
    tx.count(tenant, TaskState::Blocked, -released);
    tx.count(tenant, TaskState::Pending, released);
    Ok(())
}

/// Locks workflows.
pub(super) async fn lock(tx: &mut Tx, workflows: Vec<Uuid>) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    let each: Vec<Uuid> = workflows
        .into_iter()
        .filter(|id| seen.insert(*id))
        .collect();
    if !each.is_empty() {
        tx.query(LOCK, params![each]).await?;
    }
    Ok(())
}

/// What locks the workflows that some of these tasks are nodes of.
pub(super) fn lock_of_tasks(tasks: Vec<Uuid>) -> (&'static str, Params) {
    (LOCK_OF_TASKS, params![tasks])
}
