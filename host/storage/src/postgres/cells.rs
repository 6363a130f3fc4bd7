//! Sealed values as this database has them.

use super::call::Call;
use super::fault::{Fault, get, get_hash};
use super::params::{Raw, params, text};
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::seal::Begins;
use crate::sealed::cells::{At, Change, Column, Family, Stale, Table, WINDOW};

const LONG_OUTPUTS: &str = "
    SELECT o.seq, o.number::int8, s.id, s.tenant, o.size_bytes
    FROM cofferdam.output o JOIN cofferdam.attempt a ON a.seq = o.seq AND a.number = o.number
    JOIN cofferdam.task_spec s ON s.seq = o.seq
    WHERE (o.seq, o.number) > ($1, $2) AND ($3 OR a.truncated & 8 = 0)
    ORDER BY o.seq, o.number LIMIT $4";
const CHANGE_LONG_OUTPUT: &str = "
    WITH o AS (
        UPDATE cofferdam.output SET blob = $4 WHERE seq = $1 AND number = $2::int8 AND blob = $3
        RETURNING seq, number),
    b AS (UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = $3)
    UPDATE cofferdam.attempt a SET truncated = a.truncated | 8::int2
    FROM o WHERE a.seq = o.seq AND a.number = o.number";
/// The table of those that values belong to.
fn of(family: Family) -> &'static str {
    match family {
        Family::Tasks => "cofferdam.task_spec",
        Family::Workflows => "cofferdam.workflow",
    }
}

/// Values that do not begin as they should, in their order.
fn stale(family: Family) -> String {
    let whose = of(family);
    let each = family.columns().map(|(number, column)| {
        let (name, table) = (column.name(), table_of(column));
        let (attempt, joined) = match column.table() {
            Table::Spec | Table::Task | Table::Workflow => {
                ("0", format!("{table} c ON c.seq = s.seq"))
            }
            Table::Attempt => ("c.number", format!("{table} c ON c.seq = s.seq")),
            // A node's key does not have the number of its task.
            Table::Node => (
                "0",
                format!(
                    "cofferdam.task t ON t.seq = s.seq
                     JOIN {table} c ON c.workflow = t.workflow AND c.place = t.place"
                ),
            ),
            Table::Signal => ("c.number", format!("{table} c ON c.workflow = s.seq")),
        };
        let is_stale = match column.is_text() {
            true => format!("strpos(c.{name}, $6) = 0"),
            false => format!("substring(c.{name} FROM 1 FOR octet_length($5)) <> $5"),
        };
        let also = column.also(
            "NOT EXISTS (SELECT 1 FROM cofferdam.output o WHERE o.seq = c.seq AND o.number = c.number)",
        );
        format!(
            "SELECT s.seq, {attempt}::int8 AS attempt, {number}::int8 AS col, s.id, s.tenant,
                octet_length(c.{name})::int8 AS bytes
             FROM {whose} s JOIN {joined}
             WHERE s.seq >= $1 AND s.seq < $2 AND c.{name} IS NOT NULL AND {is_stale} AND {also}"
        )
    });
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT seq, attempt, col, id, tenant, bytes FROM ({all}) AS found
         WHERE (seq, attempt, col) > ($1, $3, $4) ORDER BY seq, attempt, col LIMIT $7"
    )
}

fn table_of(column: Column) -> &'static str {
    match column.table() {
        Table::Spec => "cofferdam.task_spec",
        Table::Task => "cofferdam.task",
        Table::Attempt => "cofferdam.attempt",
        Table::Node => "cofferdam.node",
        Table::Workflow => "cofferdam.workflow_spec",
        Table::Signal => "cofferdam.workflow_signal",
    }
}

/// Finds values.
pub(super) async fn stale_cells(
    tx: &mut Tx,
    family: Family,
    after: At,
    begins: &Begins,
    limit: u32,
) -> Result<(Vec<Stale>, Option<At>), Fault> {
    let next = format!("SELECT min(seq) FROM {} WHERE seq >= $1", of(family));
    let first = tx.query_opt(&next, params![after.seq]).await?;
    let first = first.map(|row| get::<Option<i64>>(&row, 0)).transpose()?;
    let Some(first) = first.flatten() else {
        return Ok((Vec::new(), None));
    };
    let after = after.max(At::before(first));
    let end = after.seq.saturating_add(WINDOW);
    let wanted = params![
        after.seq,
        end,
        after.attempt,
        after.column,
        Raw::copy(&begins.bytes),
        begins.text.clone(),
        i64::from(limit),
    ];
    let mut found = Vec::new();
    for row in tx.query(&stale(family), wanted).await? {
        let place = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
        let whose = (get(&row, 3)?, get::<&str>(&row, 4)?);
        found.push(Stale::of_row(place, whose, get(&row, 5)?)?);
    }
    let is_full = found.len() >= limit as usize;
    let next = match (is_full, found.last()) {
        (true, Some(last)) => last.at,
        (_, _) => At::before(end),
    };
    Ok((found, Some(next)))
}

/// Outputs that are among the shared bytes.
pub(super) async fn long_outputs(
    tx: &mut Tx,
    after: At,
    sealed_too: bool,
    limit: u32,
) -> Result<Vec<Stale>, Fault> {
    let wanted = params![after.seq, after.attempt, sealed_too, i64::from(limit)];
    let column = Column::Output.number();
    let mut found = Vec::new();
    for row in tx.query(LONG_OUTPUTS, wanted).await? {
        let place = (get(&row, 0)?, get(&row, 1)?, column);
        let whose = (get(&row, 2)?, get::<&str>(&row, 3)?);
        found.push(Stale::of_row(place, whose, get(&row, 4)?)?);
    }
    Ok(found)
}

/// The name of such an output.
pub(super) async fn long_output(tx: &mut Tx, at: At) -> Result<Option<BlobHash>, Fault> {
    let sql = "SELECT blob FROM cofferdam.output WHERE seq = $1 AND number = $2::int8";
    let row = tx.query_opt(sql, params![at.seq, at.attempt]).await?;
    let hash = row.map(|row| get_hash(&row, 0).map(BlobHash));
    Ok(hash.transpose()?)
}

/// Names other bytes as such an output; the old ones go a while after nothing refers to them.
pub(super) async fn change_long_output(
    call: &Call,
    at: At,
    old: BlobHash,
    new: BlobHash,
) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Referring).await?;
    let (before, after) = (Raw::copy(&old.0), Raw::copy(&new.0));
    let change = params![at.seq, at.attempt, before, after];
    tx.query(CHANGE_LONG_OUTPUT, change).await?;
    tx.commit().await
}

/// What a value's row is found by: $1 is the task and $2 the attempt, or the workflow and the signal.
fn key(column: Column) -> &'static str {
    match column.table() {
        Table::Spec | Table::Task | Table::Workflow => "seq = $1 AND $2::int8 IS NOT NULL",
        Table::Attempt => "seq = $1 AND number = $2::int8",
        Table::Node => {
            "(workflow, place) = (SELECT workflow, place FROM cofferdam.task WHERE seq = $1)
                AND $2::int8 IS NOT NULL"
        }
        Table::Signal => "workflow = $1 AND number = $2::int8",
    }
}

/// One value.
pub(super) async fn cell(tx: &mut Tx, at: At) -> Result<Option<Vec<u8>>, Fault> {
    let column = at.column()?;
    let (name, table, key) = (column.name(), table_of(column), key(column));
    let value = match column.is_text() {
        true => format!("convert_to({name}, 'UTF8')"),
        false => name.to_owned(),
    };
    let sql = format!("SELECT {value} FROM {table} WHERE {key}");
    let found = tx.query_opt(&sql, params![at.seq, at.attempt]).await?;
    let value = found
        .map(|row| get::<Option<Vec<u8>>>(&row, 0))
        .transpose()?;
    Ok(value.flatten())
}

/// Replaces values that are as they were.
pub(super) async fn change_cells(call: &Call, changes: &[Change]) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    for Change { at, old, new } in changes {
        let column = at.column()?;
        let (name, table, key) = (column.name(), table_of(column), key(column));
        // That an output is sealed is told beside it, for its length.
        let also = match column == Column::Output {
            true => ", truncated = truncated | 8::int2",
            false => "",
        };
        let sql = format!("UPDATE {table} SET {name} = $3{also} WHERE {key} AND {name} = $4");
        let key = params![at.seq, at.attempt];
        let forms = match column.is_text() {
            true => params![text_of(new)?, text_of(old)?],
            false => params![Raw::copy(new), Raw::copy(old)],
        };
        tx.query(&sql, key.into_iter().chain(forms).collect())
            .await?;
    }
    tx.commit().await
}

fn text_of(bytes: &[u8]) -> Result<String, StorageError> {
    let said = std::str::from_utf8(bytes).map_err(StorageError::corrupt)?;
    Ok(text(said))
}
