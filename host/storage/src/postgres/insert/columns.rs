//! The rows of new tasks, column by column, as one statement takes them.

use uuid::Uuid;

use super::key;
use super::nodes::{NodeRow, node_params};
use crate::StorageError;
use crate::fate::NO_PLACE_YET;
use crate::postgres::callbacks;
use crate::postgres::params::{Params, Raw, params, text};
use crate::postgres::tx::Tx;
use crate::rows::{InputColumns, NO_METADATA, Template, list, submitted_bytes};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Input, NewTask};
use cofferdam_domain::time::Timestamp;

/// The numbers follow the order of the arrays. A template that is gone makes a NULL, which the table
/// refuses.
macro_rules! insert_sql {
    ($found:literal, $arrays:literal, $names:literal, $more:literal, $columns:literal, $state:literal,
        $values:literal) => {
        concat!(
            "WITH e AS MATERIALIZED (
                SELECT nextval('cofferdam.task_seq') AS seq",
            $found,
            ", q.* FROM (
                    SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int2[], $5::int8[],
                        $6::int4[], $7::int8[], $8::bytea[], $9::text[], $10::uuid[], $11::int8[],
                        $12::text[], $13::text[], $14::text[], $15::bytea[], $16::bytea[], $18::int8[],
                        $21::text[], $22::int8[], $23::int8[]",
            $arrays,
            ") WITH ORDINALITY AS u(id, template, name, priority, run_at, max_attempts, created_at,
                        fingerprint, content_type, blob, blob_bytes, args, env, metadata,
                        idempotency_key, body, due_at, tenant, lane, kept_bytes",
            $names,
            ", place)
                    ORDER BY u.place) q),
            s AS (
                INSERT INTO cofferdam.task_spec (seq, id, template, name, created_at, fingerprint,
                    content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body, tenant)
                SELECT seq, id, (SELECT p.id FROM cofferdam.template p WHERE p.id = e.template), name,
                    created_at, fingerprint, content_type, blob, blob_bytes, args, env, metadata,
                    idempotency_key, body, tenant
                FROM e)",
            $more,
            " INSERT INTO cofferdam.task (seq, state, priority, run_at, max_attempts, updated_at, change,
                batch, batch_bound, due_at, tenant, lane, kept_bytes",
            $columns,
            ") SELECT seq, ",
            $state,
            ", priority, run_at, max_attempts, created_at,
                (SELECT cofferdam.change_number($17)) + place, $19::uuid, $20::int4, due_at, tenant, lane,
                kept_bytes",
            $values,
            " FROM e"
        )
    };
}

const INSERT: &str = insert_sql!("", "", "", "", "", "1", "");
/// The same for nodes of workflows that are there. Those of an earlier statement of the same transaction are.
const INSERT_NODES: &str = insert_sql!(
    ", (SELECT f.seq FROM cofferdam.workflow f WHERE f.id = q.workflow_id) AS workflow",
    ", $24::uuid[], $25::int4[], $26::int2[], $27::text[], $28::int4[], $29::text[], $30::text[],
        $31::int4[], $32::text[]",
    ", workflow_id, node_place, state, node_name, remaining, parents, kids, instance_of, plan",
    ", n AS (
        INSERT INTO cofferdam.node (workflow, place, tenant, seq, name, remaining, parents, kids,
            instance_of, plan)
        SELECT workflow, node_place, tenant, seq, node_name, remaining, parents::int4[], kids::int4[],
            instance_of, plan
        FROM e)",
    ", workflow, place",
    "state",
    ", workflow, node_place"
);

/// Rows of one statement, and their bytes.
const ROWS_MAX: usize = 5000;
const ROWS_BYTES_MAX: usize = 16 << 20;

/// Bytes of a task that go with its statement.
pub(in crate::postgres) fn bytes_of(task: &NewTask) -> usize {
    match &task.spec.input {
        Input::Inline(payload) => payload.body.len(),
        Input::Spooled { .. } => 0,
    }
}

/// The batch of tasks that are written, and how many of them may be under way.
#[derive(Clone, Copy)]
pub(in crate::postgres) struct InBatch {
    pub(in crate::postgres) id: Uuid,
    pub(in crate::postgres) bound: Option<i32>,
}

/// Rows to be written, column by column; all of one batch, or of none.
#[derive(Default)]
pub(super) struct Rows {
    statements: Vec<Columns>,
    batch: Option<InBatch>,
}

#[derive(Default)]
struct Columns {
    bytes: usize,
    ids: Vec<Uuid>,
    templates: Vec<i64>,
    names: Vec<i64>,
    priorities: Vec<i16>,
    run_at: Vec<i64>,
    max_attempts: Vec<i32>,
    created_at: Vec<i64>,
    fingerprints: Vec<Raw>,
    content_types: Vec<String>,
    blobs: Vec<Option<Uuid>>,
    blob_bytes: Vec<Option<i64>>,
    args: Vec<Option<String>>,
    env: Vec<Option<String>>,
    metadata: Vec<Option<String>>,
    keys: Vec<Option<Raw>>,
    bodies: Vec<Option<Raw>>,
    due_at: Vec<Option<i64>>,
    tenants: Vec<String>,
    lanes: Vec<i64>,
    kept_bytes: Vec<i64>,
    callbacks: callbacks::Rows,
}

impl Rows {
    /// Rows of one batch.
    pub(super) fn of_batch(batch: Option<InBatch>) -> Rows {
        Rows {
            statements: Vec::new(),
            batch,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    pub(super) fn push(
        &mut self,
        task: &NewTask,
        template: &Template,
        lane: i64,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let bytes = bytes_of(task);
        let has_room = |columns: &Columns| {
            columns.ids.len() < ROWS_MAX && columns.bytes.saturating_add(bytes) <= ROWS_BYTES_MAX
        };
        if !self.statements.last().is_some_and(has_room) {
            self.statements.push(Columns::default());
        }
        match self.statements.last_mut() {
            Some(columns) => {
                let must_wait = self.batch.is_some_and(|batch| batch.bound.is_some());
                columns.push(task, template, (lane, must_wait), now)
            }
            None => Ok(()),
        }
    }

    /// Sends them with the commit as the tasks of these nodes, one each.
    pub(super) fn write_nodes(self, tx: &mut Tx, nodes: &[&NodeRow]) -> Result<(), StorageError> {
        let mut left = nodes;
        for mut columns in self.statements {
            let (own, others) = left
                .split_at_checked(columns.ids.len())
                .ok_or_else(|| StorageError::corrupt("a task has no node"))?;
            for ((tenant, lane, bytes), node) in columns.stored().zip(own) {
                tx.came(tenant, lane, node.state());
                tx.kept(tenant, bytes);
            }
            let callbacks = std::mem::take(&mut columns.callbacks).into_params();
            let before = nodes.len() - left.len();
            let before = i64::try_from(before).map_err(StorageError::corrupt)?;
            let mut params = columns.into_params(before, self.batch);
            params.extend(node_params(own)?);
            tx.later(INSERT_NODES, params);
            if let Some(callbacks) = callbacks {
                tx.later(callbacks::INSERT, callbacks);
            }
            left = others;
        }
        Ok(())
    }

    pub(super) fn write(self, tx: &mut Tx) {
        let mut before = 0;
        for mut columns in self.statements {
            let rows = i64::try_from(columns.ids.len()).unwrap_or(i64::MAX);
            for (tenant, lane, bytes) in columns.stored() {
                tx.came(tenant, lane, TaskState::Pending);
                tx.kept(tenant, bytes);
            }
            let callbacks = std::mem::take(&mut columns.callbacks).into_params();
            tx.later(INSERT, columns.into_params(before, self.batch));
            if let Some(callbacks) = callbacks {
                tx.later(callbacks::INSERT, callbacks);
            }
            before += rows;
        }
    }
}

impl Columns {
    /// Whose each task is, its lane, and how many bytes are kept for it.
    fn stored(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        let places = self.tenants.iter().zip(&self.lanes).zip(&self.kept_bytes);
        places.map(|((tenant, lane), bytes)| (tenant.as_str(), *lane, *bytes))
    }

    fn push(
        &mut self,
        task: &NewTask,
        template: &Template,
        (lane, must_wait): (i64, bool),
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let spec = &task.spec;
        let input = InputColumns::of(&spec.input)?;
        let (args, env) = (list(&spec.args)?, list(&spec.env)?);
        self.bytes += bytes_of(task);
        self.ids.push(task.id.0);
        self.templates.push(template.id);
        self.names.push(template.name);
        self.priorities.push(spec.priority.rank().into());
        // In a batch that bounds its tasks each one waits for a place at first.
        let due_at = must_wait.then_some(task.run_at.as_millis());
        self.run_at
            .push(due_at.map_or(task.run_at.as_millis(), |_| NO_PLACE_YET));
        self.due_at.push(due_at);
        let max_attempts = spec.retry.max_attempts.max(1);
        self.max_attempts
            .push(i32::try_from(max_attempts).map_err(StorageError::corrupt)?);
        self.created_at.push(now.as_millis());
        self.fingerprints.push(Raw::copy(&task.fingerprint));
        self.content_types.push(text(input.content_type));
        self.blobs.push(input.blob);
        self.blob_bytes.push(input.blob_bytes);
        let kept_bytes = submitted_bytes(task, [args.as_ref(), env.as_ref()]);
        let kept_bytes = i64::try_from(kept_bytes).map_err(StorageError::corrupt)?;
        self.kept_bytes.push(kept_bytes);
        self.args.push(args);
        self.env.push(env);
        let metadata = (spec.metadata != NO_METADATA).then(|| spec.metadata.clone());
        self.metadata.push(metadata);
        self.keys.push(task.idempotency_key.as_deref().map(key));
        self.bodies.push(input.body.cloned().map(Raw));
        self.tenants.push(task.tenant.as_str().to_owned());
        self.lanes.push(lane);
        self.callbacks.push(task);
        Ok(())
    }

    /// The parameters of [`INSERT`], behind so many rows of the same transaction.
    fn into_params(self, before: i64, batch: Option<InBatch>) -> Params {
        params![
            self.ids,
            self.templates,
            self.names,
            self.priorities,
            self.run_at,
            self.max_attempts,
            self.created_at,
            self.fingerprints,
            self.content_types,
            self.blobs,
            self.blob_bytes,
            self.args,
            self.env,
            self.metadata,
            self.keys,
            self.bodies,
            before,
            self.due_at,
            batch.map(|batch| batch.id),
            batch.and_then(|batch| batch.bound),
            self.tenants,
            self.lanes,
            self.kept_bytes,
        ]
    }
}
