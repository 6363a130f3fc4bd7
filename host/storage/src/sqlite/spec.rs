//! A task's spec, built from its own row and its template.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::templates;
use crate::StorageError;
use crate::rows::SpecParts;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::task::{BlobId, Input, Priority, TaskId, TaskSpec};
use cofferdam_domain::whose::Whose;

/// Reads content_type, blob, blob_bytes, args, env, metadata and body from column `first` on.
pub(super) fn spec_parts(row: &Row<'_>, first: usize) -> rusqlite::Result<SpecParts> {
    let blob: Option<[u8; 16]> = row.get(first + 1)?;
    let input = match blob {
        None => Input::Inline(Payload {
            content_type: row.get_ref(first)?.as_str()?.into(),
            body: Bytes::copy_from_slice(row.get_ref(first + 6)?.as_blob()?),
        }),
        Some(blob) => Input::Spooled {
            content_type: row.get(first)?,
            blob: BlobId(uuid::Uuid::from_bytes(blob)),
            size_bytes: row.get::<_, i64>(first + 2)?.cast_unsigned(),
        },
    };
    Ok(SpecParts {
        input,
        args: row.get(first + 3)?,
        env: row.get(first + 4)?,
        metadata: row.get(first + 5)?,
    })
}

/// What was submitted as task `id`.
pub(super) fn task_spec(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
) -> Result<Option<TaskSpec>, StorageError> {
    let found = conn
        .prepare_cached(
            "SELECT t.template, t.priority, s.content_type, s.blob, s.blob_bytes, s.args, s.env,
                s.metadata, s.body
             FROM task t JOIN task_spec s ON s.seq = t.seq
             WHERE t.id = ?1 AND (?2 IS NULL OR t.tenant = ?2)",
        )?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, u8>(1)?,
                spec_parts(row, 2)?,
            ))
        })
        .optional()?;
    let Some((template, priority, parts)) = found else {
        return Ok(None);
    };
    let template = templates::read(conn, template)?;
    let priority = Priority::from_rank(priority)
        .ok_or_else(|| StorageError::corrupt("a task has no priority"))?;
    parts.into_spec(&template, priority).map(Some)
}
