//! Reading a task's spec.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::fault::{Fault, get, get_u8};
use super::params::params;
use super::templates;
use super::tx::Tx;
use crate::StorageError;
use crate::rows::SpecParts;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::task::{BlobId, Input, Priority, TaskId, TaskSpec};

const BY_ID: &str = "
    SELECT s.template, t.priority, s.content_type, s.blob, s.blob_bytes, s.args, s.env, s.metadata,
        s.body
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
    WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2)";

/// Reads content_type, blob, blob_bytes, args, env, metadata and body from column `first` on.
pub(super) fn spec_parts(row: &Row, first: usize) -> Result<SpecParts, StorageError> {
    let blob: Option<Uuid> = get(row, first + 1)?;
    let content_type: &str = get(row, first)?;
    let input = match blob {
        None => Input::Inline(Payload {
            content_type: Arc::from(content_type),
            body: Bytes::copy_from_slice(get(row, first + 6)?),
        }),
        Some(blob) => Input::Spooled {
            content_type: content_type.to_owned(),
            blob: BlobId(blob),
            size_bytes: get::<i64>(row, first + 2)?.cast_unsigned(),
        },
    };
    Ok(SpecParts {
        input,
        args: get(row, first + 3)?,
        env: get(row, first + 4)?,
        metadata: get(row, first + 5)?,
    })
}

/// A priority, by its rank in a column.
pub(super) fn priority_of(row: &Row, place: usize) -> Result<Priority, StorageError> {
    Priority::from_rank(get_u8(row, place)?)
        .ok_or_else(|| StorageError::corrupt("a task has no priority"))
}

/// What was submitted as task `id`.
pub(super) async fn task_spec(tx: &mut Tx, id: TaskId) -> Result<Option<TaskSpec>, Fault> {
    let Some(row) = tx.query_opt(BY_ID, params![id.0, tx.tenant()]).await? else {
        return Ok(None);
    };
    let template = templates::by_id(tx, get(&row, 0)?).await?;
    let spec = spec_parts(&row, 2)?.into_spec(&template, priority_of(&row, 1)?)?;
    Ok(Some(spec))
}
