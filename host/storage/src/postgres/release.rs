//! What the end of a node brings about: the nodes behind it wait for one less, its workflow has one open node less, and
//! the last one makes the workflow final.
//!
//! All that is in one statement, by whoever has locked the rows of the workflows: nothing else happens to
//! their nodes meanwhile, so that of two last parents that end at once the second one sees the first. Whoever knows
//! beforehand that nodes may end takes those locks before any on tasks ([`lock_of_tasks`], [`lock`]).

use std::collections::HashSet;

use uuid::Uuid;

use super::alone::Alone;
use super::fault::{Fault, get};
use super::params::{Params, params};
use super::tx::Tx;
use crate::StorageError;
use crate::fate::NodeAt;
use crate::rows::{is_skipped, state_number};
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const LOCK: &str = "
    SELECT w.seq FROM cofferdam.workflow w WHERE w.id = ANY($1::uuid[]) ORDER BY w.seq FOR UPDATE";
const LOCK_BY_NUMBER: &str = "
    SELECT w.seq FROM cofferdam.workflow w WHERE w.seq = ANY($1::int8[]) ORDER BY w.seq FOR UPDATE";
const LOCK_OF_TASKS: &str = "
    SELECT w.seq FROM cofferdam.workflow w WHERE w.seq IN (
        SELECT t.workflow FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
        WHERE s.id = ANY($1::uuid[]) AND t.workflow IS NOT NULL)
    ORDER BY w.seq FOR UPDATE";
/// Whether a released task is claimed.
macro_rules! is_wanted {
    () => {
        "f.fence IS NOT NULL AND t.tenant = $10 AND t.lane = 0 AND t.run_at <= $11
                AND t.priority <= f.priority"
    };
}
/// Rows tell: 0, how many tasks of a tenant are pending now, and how many were claimed; 1, a workflow whose running
/// tasks are to be cancelled; 2, how many instances of a node have made room for others; 3, a task that was claimed,
/// and in which turn. A failure stops its workflow once. What is released is claimed as far as there are fences
/// ($9), if nothing of a higher priority waits beside it ($12, from where to look for that).
const RELEASE: &str = concat!(
    "
    WITH e AS MATERIALIZED (
        SELECT n.workflow, u.state, u.skipped, u.vain, n.kids, n.instance_of
        FROM unnest($1::int8[], $2::int4[], $3::int2[], $4::bool[], $5::bool[])
            AS u(workflow, place, state, skipped, vain)
        JOIN cofferdam.node n ON n.workflow = u.workflow AND n.place = u.place),
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
            updated_at = greatest(w.updated_at, $6), change = w.change + 1,
            finished_at = CASE WHEN w.open = c.ended THEN $6 END,
            state = CASE WHEN w.open <> c.ended THEN w.state WHEN w.fails + c.fails > 0 THEN 3
                WHEN w.cancelling OR w.cancels + c.cancels > 0 THEN 4 ELSE 2 END
        FROM c WHERE w.seq = c.workflow
        RETURNING w.seq, w.tenant, w.cancel_running AND w.on_failure = 0 AND c.fails > 0 AS cancels_running),
    k AS MATERIALIZED (
        SELECT q.workflow, q.place, count(*)::int4 AS ended, bool_and(q.state = 3) AS completed FROM (
            SELECT e.workflow, kid.place, e.state FROM e CROSS JOIN unnest(e.kids) AS kid(place)
            UNION ALL SELECT workflow, instance_of, state FROM e WHERE instance_of IS NOT NULL) AS q
        GROUP BY q.workflow, q.place),
    d AS (
        UPDATE cofferdam.node n SET remaining = greatest(0, n.remaining - k.ended),
            parents_completed = n.parents_completed AND k.completed
        FROM k WHERE n.workflow = k.workflow AND n.place = k.place
        RETURNING n.workflow, n.seq, n.remaining),
    b AS MATERIALIZED (
        SELECT coalesce(min(p.priority), 3) AS priority
        FROM (VALUES (0::int2), (1::int2), (2::int2)) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT o.seq FROM cofferdam.task o
            WHERE o.state = 1 AND o.tenant = $10 AND o.lane = 0 AND o.priority = p.priority
                AND o.run_at <= $11 AND o.run_at >= ($12::int8[])[p.priority + 1]
            ORDER BY o.run_at, o.seq LIMIT 1) AS o
        WHERE cardinality($9::int8[]) > 0),
    f AS MATERIALIZED (
        SELECT q.seq, q.place, ($9::int8[])[q.place] AS fence, b.priority
        FROM (
            SELECT d.seq, (row_number() OVER (ORDER BY x.priority, d.seq))::int4 AS place
            FROM d JOIN cofferdam.workflow x ON x.seq = d.workflow
            WHERE d.remaining = 0 AND x.state <> 1) AS q CROSS JOIN b),
    r AS (
        UPDATE cofferdam.task t SET run_at = greatest(t.run_at, $6), updated_at = $6, progress = 0,
            progress_note = '', change = (SELECT cofferdam.change_number($7)) + f.place,
            state = CASE WHEN ", is_wanted!(), " THEN 2 ELSE 1 END,
            fence = CASE WHEN ", is_wanted!(), " THEN f.fence END,
            attempt = CASE WHEN ", is_wanted!(), " THEN t.attempt + 1 ELSE t.attempt END,
            worker = CASE WHEN ", is_wanted!(), " THEN $8 ELSE t.worker END,
            claimed_at = CASE WHEN ", is_wanted!(), " THEN $11 ELSE t.claimed_at END
        FROM f WHERE t.seq = f.seq AND t.state = 0 RETURNING t.tenant, t.seq, t.fence)
    SELECT 0::int2, r.tenant, NULL::int8, NULL::int4, count(*) FILTER (WHERE r.fence IS NULL),
        count(r.fence) FROM r GROUP BY r.tenant
    UNION ALL SELECT 1::int2, w.tenant, w.seq, NULL, 0, 0 FROM w WHERE w.cancels_running
    UNION ALL SELECT 2::int2, '', e.workflow, e.instance_of, count(*), 0 FROM e
        JOIN cofferdam.node m ON m.workflow = e.workflow AND m.place = e.instance_of
        WHERE NOT e.vain AND m.next_instance <= m.last_instance GROUP BY e.workflow, e.instance_of
    UNION ALL SELECT 3::int2, '', r.seq, NULL, 0, 0 FROM r WHERE r.fence IS NOT NULL"
);
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
    SELECT 0::int2, r.tenant, NULL::int8, NULL::int4, count(*), 0::int8 FROM r GROUP BY r.tenant";
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
    workflows: Vec<i64>,
    places: Vec<i32>,
    states: Vec<i16>,
    skipped: Vec<bool>,
    vain: Vec<bool>,
    at: Option<Timestamp>,
}

/// Who claims what is released.
pub(super) struct Heir {
    pub(super) worker: WorkerId,
    /// One for each claim that it takes.
    pub(super) fences: Vec<i64>,
    /// Whose tasks, and from where what waits of them is looked at.
    pub(super) of: Alone,
    pub(super) now: Timestamp,
}

/// What a release did.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Numbers of tasks that were claimed.
    pub(super) claimed: Vec<i64>,
    /// Whether others are there to be claimed.
    pub(super) is_more: bool,
}

impl EndedNodes {
    /// A node whose task is in that state since then, after an attempt that failed so.
    pub(super) fn push(
        &mut self,
        node: NodeAt,
        state: TaskState,
        kind: Option<FailureKind>,
        at: Timestamp,
    ) {
        self.add(node, state, is_skipped(state, kind), false);
        self.at = self.at.max(Some(at));
    }

    /// One that was cancelled without having begun. If it was blocked, no other instance has its turn.
    pub(super) fn push_cancelled(&mut self, node: NodeAt, was: TaskState, at: Timestamp) {
        let vain = was == TaskState::Blocked;
        self.add(node, TaskState::Cancelled, false, vain);
        self.at = self.at.max(Some(at));
    }

    fn add(&mut self, node: NodeAt, state: TaskState, skipped: bool, vain: bool) {
        self.workflows.push(node.workflow);
        self.places.push(node.place.cast_signed());
        self.states.push(state_number(state).into());
        self.skipped.push(skipped);
        self.vain.push(vain);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workflows.is_empty()
    }

    /// Locks those of their workflows that are not `locked`.
    pub(super) async fn lock(&self, tx: &mut Tx, locked: &HashSet<i64>) -> Result<(), Fault> {
        let mut seen = HashSet::new();
        let left = self.workflows.iter().copied();
        let left: Vec<i64> = left
            .filter(|workflow| !locked.contains(workflow) && seen.insert(*workflow))
            .collect();
        if !left.is_empty() {
            tx.query(LOCK_BY_NUMBER, params![left]).await?;
        }
        Ok(())
    }

    /// Releases what waited for these nodes, whose workflows are locked.
    pub(super) async fn release(self, tx: &mut Tx, heir: Option<Heir>) -> Result<Released, Fault> {
        let Some(at) = self.at.map(Timestamp::as_millis) else {
            return Ok(Released::default());
        };
        let (worker, fences, of, now) = match heir {
            None => (None, Vec::new(), Alone::default(), 0),
            Some(heir) => {
                let now = heir.now.as_millis();
                (Some(heir.worker.0), heir.fences, heir.of, now)
            }
        };
        let mut ended = params![
            self.workflows,
            self.places,
            self.states,
            self.skipped,
            self.vain,
            at,
            RELEASED
        ];
        ended.extend(params![worker, fences, of.tenant, now, of.floors.to_vec()]);
        let rows = tx.query(RELEASE, ended).await?;
        let mut released = Released::default();
        let (mut stopped, mut turns) = (Vec::new(), (Vec::new(), Vec::new(), Vec::new()));
        for row in &rows {
            match get::<i16>(row, 0)? {
                0 => released.count(tx, row)?,
                1 => stopped.push(get::<i64>(row, 2)?),
                2 => {
                    turns.0.push(get::<i64>(row, 2)?);
                    turns.1.push(get::<i32>(row, 3)?);
                    turns.2.push(get::<i64>(row, 4)?);
                }
                _ => released.claimed.push(get(row, 2)?),
            }
        }
        if !turns.0.is_empty() {
            let turns = params![turns.0, turns.1, turns.2, at, LET_IN_CHANGES];
            for row in tx.query(LET_IN, turns).await? {
                released.count(tx, &row)?;
            }
        }
        if !stopped.is_empty() {
            tx.query(ASK, params![stopped, at, ASKED]).await?;
        }
        Ok(released)
    }
}

impl Released {
    /// Notes how many tasks of a tenant are pending now, and how many run.
    fn count(&mut self, tx: &mut Tx, row: &tokio_postgres::Row) -> Result<(), StorageError> {
        let tenant: &str = get(row, 1)?;
        let (pending, running): (i64, i64) = (get(row, 4)?, get(row, 5)?);
        tx.count(tenant, TaskState::Blocked, -pending - running);
        tx.count(tenant, TaskState::Pending, pending);
        tx.count(tenant, TaskState::Running, running);
        self.is_more |= pending > 0;
        Ok(())
    }
}

/// What locks workflows.
pub(super) fn lock(workflows: impl IntoIterator<Item = Uuid>) -> (&'static str, Params) {
    let each: HashSet<Uuid> = workflows.into_iter().collect();
    (LOCK, params![each.into_iter().collect::<Vec<Uuid>>()])
}

/// What locks the workflows that some of these tasks are nodes of.
pub(super) fn lock_of_tasks(tasks: Vec<Uuid>) -> (&'static str, Params) {
    (LOCK_OF_TASKS, params![tasks])
}
