//! Callbacks and their deliveries, as the columns of every database.

use crate::StorageError;
use crate::callbacks::{Delivery, Hold, Tried};
use crate::rows::{state_of, tenant_of};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::callback::{Callback, CallbackUrl, DeliveryStatus, Ends, Told};
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowId;

/// A delivery's columns.
pub(crate) struct DeliveryRow {
    pub(crate) seq: i64,
    pub(crate) number: u32,
    pub(crate) claim: i64,
    /// The task; or else the batch; or else the workflow.
    pub(crate) task: Option<uuid::Uuid>,
    pub(crate) batch: Option<uuid::Uuid>,
    pub(crate) workflow: Option<uuid::Uuid>,
    pub(crate) tenant: String,
    pub(crate) url: String,
    pub(crate) secret: Option<String>,
    pub(crate) state: u8,
    pub(crate) attempt: u32,
    pub(crate) finished_at: i64,
    pub(crate) since: i64,
    pub(crate) tries: u32,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StorageError;

    fn try_from(row: DeliveryRow) -> Result<Delivery, StorageError> {
        let of = match (row.task, row.batch, row.workflow) {
            (Some(task), _, _) => Subject::Task(TaskId(task)),
            (None, Some(batch), _) => Subject::Batch(BatchId(batch)),
            (None, None, Some(workflow)) => Subject::Workflow(WorkflowId(workflow)),
            (None, None, None) => return Err(StorageError::corrupt("a callback is of nothing")),
        };
        Ok(Delivery {
            hold: Hold {
                seq: row.seq,
                number: row.number,
                claim: row.claim,
            },
            event: EventId {
                of,
                number: row.number,
            },
            tenant: tenant_of(&row.tenant)?,
            url: url_of(&row.url)?,
            secret: secret_of(row.secret)?,
            state: state_of(row.state)?,
            attempt: row.attempt,
            finished_at: Timestamp::from_millis(row.finished_at),
            since: Timestamp::from_millis(row.since),
            tries: row.tries,
        })
    }
}

fn url_of(text: &str) -> Result<CallbackUrl, StorageError> {
    CallbackUrl::parse(text).map_err(StorageError::corrupt)
}

fn secret_of(name: Option<String>) -> Result<Option<SecretName>, StorageError> {
    let secret = name.map(|name| SecretName::parse(&name)).transpose();
    secret.map_err(StorageError::corrupt)
}

/// A callback from its columns.
pub(crate) fn callback_of(
    url: &str,
    secret: Option<String>,
    ends: u8,
) -> Result<Callback, StorageError> {
    Ok(Callback {
        url: url_of(url)?,
        secret: secret_of(secret)?,
        on: Ends::from_bits(ends).ok_or_else(|| StorageError::corrupt("no end is told"))?,
    })
}

/// What is shown of a delivery, in columns.
pub(crate) struct ToldRow {
    pub(crate) status: u8,
    pub(crate) tries: u32,
    pub(crate) due_at: i64,
    pub(crate) last_status: Option<u16>,
    pub(crate) last_error: Option<String>,
}

impl TryFrom<ToldRow> for Told {
    type Error = StorageError;

    fn try_from(row: ToldRow) -> Result<Told, StorageError> {
        let status = STATUSES.get(usize::from(row.status));
        let status = *status.ok_or_else(|| StorageError::corrupt("a delivery has no status"))?;
        let due_at = Timestamp::from_millis(row.due_at);
        Ok(Told {
            status,
            tries: row.tries,
            last_status: row.last_status,
            last_error: row.last_error,
            next_at: (status == DeliveryStatus::Pending).then_some(due_at),
        })
    }
}

/// Statuses by their numbers.
const STATUSES: [DeliveryStatus; 3] = [
    DeliveryStatus::Pending,
    DeliveryStatus::Delivered,
    DeliveryStatus::Failed,
];

/// A try, in columns.
pub(crate) struct TriedRow<'t> {
    /// The status afterwards.
    pub(crate) status: u8,
    /// When it is due; as before if it is not told.
    pub(crate) due_at: Option<i64>,
    /// Whether it was tried, so that what follows replaces what was known.
    pub(crate) was_tried: bool,
    pub(crate) last_status: Option<u16>,
    pub(crate) last_error: Option<&'t str>,
}

impl<'t> From<&'t Tried> for TriedRow<'t> {
    fn from(tried: &'t Tried) -> TriedRow<'t> {
        match tried {
            Tried::Held(until) => TriedRow {
                status: 0,
                due_at: Some(until.as_millis()),
                was_tried: false,
                last_status: None,
                last_error: None,
            },
            Tried::Delivered { status } => TriedRow {
                status: 1,
                due_at: None,
                was_tried: true,
                last_status: Some(*status),
                last_error: None,
            },
            Tried::Missed {
                status,
                error,
                next,
            } => TriedRow {
                status: if next.is_some() { 0 } else { 2 },
                due_at: next.map(Timestamp::as_millis),
                was_tried: true,
                last_status: *status,
                last_error: Some(error),
            },
        }
    }
}
