//! What is written of tasks that moved on and of attempts that ended, column by column, as one statement
//! takes it.

use uuid::Uuid;

use crate::StorageError;
use crate::fate::Running;
use crate::postgres::params::{Params, Raw, params, text};
use crate::rows::{EndedRow, state_number};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

pub(super) const MOVE: &str = "
    UPDATE cofferdam.task t SET state = u.state, attempt = u.attempt,
        max_attempts = u.max_attempts, lost = u.lost, run_at = u.run_at, updated_at = u.updated_at,
        finished_at = u.finished_at, worker = u.worker, claimed_at = u.claimed_at, fence = NULL,
        error_kind = CASE WHEN u.has_ended THEN u.error_kind ELSE t.error_kind END,
        cancel_requested = false, change = (SELECT cofferdam.change_number($13)) + u.place,
        kept_bytes = t.kept_bytes + u.kept_bytes
    FROM unnest($1::int8[], $2::int2[], $3::int4[], $4::int4[], $5::int4[], $6::int8[], $7::int8[],
        $8::int8[], $9::uuid[], $10::int8[], $11::bool[], $12::text[], $14::int8[])
        WITH ORDINALITY AS u(seq, state, attempt, max_attempts, lost, run_at, updated_at,
            finished_at, worker, claimed_at, has_ended, error_kind, kept_bytes, place)
    WHERE t.seq = u.seq";
pub(super) const RECORD: &str = "
    INSERT INTO cofferdam.attempt (seq, number, worker, started_at, finished_at, failure,
        duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts,
        content_type, output, stdout, stderr, log, egress, tenant)
    SELECT * FROM unnest($1::int8[], $2::int4[], $3::uuid[], $4::int8[], $5::int8[], $6::text[],
        $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int2[], $13::text[],
        $14::text[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[], $19::text[],
        $20::text[])";
/// Changes of one transaction are numbered from here on, behind those of what it claimed or ended at once.
const FIRST_CHANGE: i64 = 1 << 17;

/// A figure as a column has it.
pub(in crate::postgres) fn number(figure: u32) -> Result<i32, StorageError> {
    i32::try_from(figure).map_err(StorageError::corrupt)
}

#[derive(Default)]
pub(super) struct Moves {
    pub(super) seqs: Vec<i64>,
    states: Vec<i16>,
    attempts: Vec<i32>,
    max_attempts: Vec<i32>,
    lost: Vec<i32>,
    run_at: Vec<i64>,
    updated_at: Vec<i64>,
    finished_at: Vec<Option<i64>>,
    workers: Vec<Option<Uuid>>,
    claimed_at: Vec<Option<i64>>,
    has_ended: Vec<bool>,
    error_kinds: Vec<Option<&'static str>>,
    kept_bytes: Vec<i64>,
}

#[derive(Default)]
pub(super) struct Records {
    pub(super) seqs: Vec<i64>,
    tenants: Vec<String>,
    numbers: Vec<i32>,
    workers: Vec<Uuid>,
    started_at: Vec<i64>,
    pub(super) left: Left,
}

/// What attempts left: the columns of their rows that their ends alone tell.
#[derive(Default)]
pub(in crate::postgres) struct Left {
    pub(in crate::postgres) bytes: usize,
    finished_at: Vec<i64>,
    failures: Vec<Option<String>>,
    durations: Vec<i64>,
    cpu: Vec<i64>,
    fuel: Vec<Option<i64>>,
    peak_memory: Vec<i64>,
    disk: Vec<i64>,
    truncated: Vec<i16>,
    artifacts: Vec<Option<String>>,
    content_types: Vec<Option<String>>,
    outputs: Vec<Option<Raw>>,
    streams: [Vec<Option<Raw>>; 3],
    egress: Vec<Option<String>>,
}

/// What a task's row says afterwards.
pub(super) struct Moved {
    pub(super) state: TaskState,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) lost: u32,
    pub(super) run_at: i64,
    pub(super) at: Timestamp,
    pub(super) has_run: bool,
    /// How the attempt ended, if one did.
    pub(super) ended: Option<Option<FailureKind>>,
    /// The bytes that are kept of it.
    pub(super) kept_bytes: i64,
}

impl Moves {
    pub(super) fn push(&mut self, task: &Running, moved: &Moved) -> Result<(), StorageError> {
        let finished_at = moved.state.is_final().then_some(moved.at.as_millis());
        self.seqs.push(task.seq);
        self.states.push(state_number(moved.state).into());
        self.attempts.push(number(moved.attempt)?);
        self.max_attempts.push(number(moved.max_attempts)?);
        self.lost.push(number(moved.lost)?);
        self.run_at.push(moved.run_at);
        self.updated_at.push(moved.at.as_millis());
        self.finished_at.push(finished_at);
        let worker = Uuid::from_bytes(task.worker);
        self.workers.push(moved.has_run.then_some(worker));
        self.claimed_at
            .push(moved.has_run.then_some(task.claimed_at));
        self.has_ended.push(moved.ended.is_some());
        let failure = moved.ended.flatten();
        self.error_kinds.push(failure.map(FailureKind::as_str));
        self.kept_bytes.push(moved.kept_bytes);
        Ok(())
    }

    pub(super) fn into_params(self) -> Params {
        params![
            self.seqs,
            self.states,
            self.attempts,
            self.max_attempts,
            self.lost,
            self.run_at,
            self.updated_at,
            self.finished_at,
            self.workers,
            self.claimed_at,
            self.has_ended,
            self.error_kinds,
            FIRST_CHANGE,
            self.kept_bytes,
        ]
    }
}

impl Records {
    pub(super) fn push(
        &mut self,
        task: &Running,
        number: i32,
        finished_at: Timestamp,
        row: EndedRow<'_>,
    ) {
        self.seqs.push(task.seq);
        self.tenants.push(task.tenant.clone());
        self.numbers.push(number);
        self.workers.push(Uuid::from_bytes(task.worker));
        self.started_at.push(task.claimed_at);
        self.left.push(finished_at, row);
    }

    pub(super) fn into_params(self) -> Params {
        let mut params = params![self.seqs, self.numbers, self.workers, self.started_at];
        params.extend(self.left.into_params());
        params.extend(params![self.tenants]);
        params
    }
}

impl Left {
    pub(in crate::postgres) fn push(&mut self, finished_at: Timestamp, row: EndedRow<'_>) {
        self.bytes += row.bytes();
        self.finished_at.push(finished_at.as_millis());
        self.failures.push(row.failure);
        self.durations.push(row.duration_us);
        self.cpu.push(row.cpu_us);
        self.fuel.push(row.fuel);
        self.peak_memory.push(row.peak_memory_bytes);
        self.disk.push(row.disk_bytes);
        self.truncated.push(row.truncated.into());
        self.artifacts.push(row.artifacts);
        self.content_types.push(row.content_type.map(text));
        self.outputs.push(row.output.map(Raw::copy));
        self.egress.push(row.egress);
        for (column, stream) in self.streams.iter_mut().zip(row.streams) {
            column.push(stream.map(Raw::copy));
        }
    }

    /// finished_at, failure, duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated,
    /// artifacts, content_type, output, stdout, stderr, log and egress.
    pub(in crate::postgres) fn into_params(self) -> Params {
        let [stdout, stderr, log] = self.streams;
        params![
            self.finished_at,
            self.failures,
            self.durations,
            self.cpu,
            self.fuel,
            self.peak_memory,
            self.disk,
            self.truncated,
            self.artifacts,
            self.content_types,
            self.outputs,
            stdout,
            stderr,
            log,
            self.egress,
        ]
    }
}
