//! Sealed values as this database has them.

use rusqlite::{Connection, OptionalExtension, params};

use super::db::Db;
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::seal::Begins;
use crate::sealed::cells::{At, Change, Column, Family, Stale, Table, WINDOW};

/// Attempts of one task have ids from its number times this on.
const ATTEMPTS: &str = "1048576";
const LONG_OUTPUTS: &str = "
    SELECT t.seq, o.attempt - t.seq * 1048576, t.id, t.tenant, o.size_bytes
    FROM output o JOIN attempt a ON a.id = o.attempt JOIN task t ON t.seq = o.attempt / 1048576
    WHERE o.attempt > ?1 AND (?2 OR a.truncated & 8 = 0) ORDER BY o.attempt LIMIT ?3";
/// The table of those that values belong to.
fn of(family: Family) -> &'static str {
    match family {
        Family::Tasks => "task",
        Family::Workflows => "workflow",
    }
}

/// Values that do not begin as they should, in their order.
fn stale(family: Family) -> String {
    let whose = of(family);
    let each = family.columns().map(|(number, column)| {
        let name = column.name();
        let (attempt, joined) = match column.table() {
            Table::Spec => ("0".to_owned(), "task_spec c ON c.seq = t.seq".to_owned()),
            Table::Task => ("0".to_owned(), "task c ON c.seq = t.seq".to_owned()),
            Table::Attempt => (
                format!("c.id - t.seq * {ATTEMPTS}"),
                format!("attempt c ON c.id >= t.seq * {ATTEMPTS} AND c.id < (t.seq + 1) * {ATTEMPTS}"),
            ),
            Table::Node => ("0".to_owned(), "node_plan c ON c.seq = t.seq".to_owned()),
            Table::Workflow => ("0".to_owned(), "workflow_spec c ON c.seq = t.seq".to_owned()),
            Table::Signal => (
                "c.number".to_owned(),
                "workflow_signal c ON c.workflow = t.seq".to_owned(),
            ),
        };
        let is_stale = match column.is_text() {
            true => format!("instr(c.{name}, ?6) = 0"),
            false => format!("substr(c.{name}, 1, length(?5)) <> ?5"),
        };
        let also = column.also("NOT EXISTS (SELECT 1 FROM output o WHERE o.attempt = c.id)");
        format!(
            "SELECT t.seq AS seq, {attempt} AS attempt, {number} AS col, t.id AS id, t.tenant AS tenant,
                length(c.{name}) AS bytes
             FROM {whose} t JOIN {joined}
             WHERE t.seq >= ?1 AND t.seq < ?2 AND c.{name} IS NOT NULL AND {is_stale} AND {also}"
        )
    });
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT seq, attempt, col, id, tenant, bytes FROM ({all})
         WHERE (seq, attempt, col) > (?1, ?3, ?4) ORDER BY seq, attempt, col LIMIT ?7"
    )
}

/// Finds values.
pub(super) fn stale_cells(
    conn: &Connection,
    family: Family,
    after: At,
    begins: &Begins,
    limit: u32,
) -> Result<(Vec<Stale>, Option<At>), StorageError> {
    let next = format!("SELECT min(seq) FROM {} WHERE seq >= ?1", of(family));
    let first: Option<i64> = conn
        .prepare_cached(&next)?
        .query_row([after.seq], |row| row.get(0))?;
    let Some(first) = first else {
        return Ok((Vec::new(), None));
    };
    let after = after.max(At::before(first));
    let end = after.seq.saturating_add(WINDOW);
    let mut statement = conn.prepare_cached(&stale(family))?;
    let wanted = params![
        after.seq,
        end,
        after.attempt,
        after.column,
        begins.bytes,
        begins.text,
        limit
    ];
    let found = statement.query_and_then(wanted, |row| {
        let tenant: String = row.get(4)?;
        let place = (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = uuid::Uuid::from_bytes(row.get(3)?);
        Stale::of_row(place, (id, &tenant), row.get(5)?)
    })?;
    let found: Vec<Stale> = found.collect::<Result<_, StorageError>>()?;
    let is_full = found.len() >= limit as usize;
    let next = match (is_full, found.last()) {
        (true, Some(last)) => last.at,
        (_, _) => At::before(end),
    };
    Ok((found, Some(next)))
}

/// Outputs that are beside the database.
pub(super) fn long_outputs(
    conn: &Connection,
    after: At,
    sealed_too: bool,
    limit: u32,
) -> Result<Vec<Stale>, StorageError> {
    let after = after.seq.max(0).saturating_mul(1 << 20) + after.attempt;
    let mut statement = conn.prepare_cached(LONG_OUTPUTS)?;
    let found = statement.query_and_then(params![after, sealed_too, limit], |row| {
        let tenant: String = row.get(3)?;
        let place = (row.get(0)?, row.get(1)?, Column::Output.number());
        let task = uuid::Uuid::from_bytes(row.get(2)?);
        Stale::of_row(place, (task, &tenant), row.get(4)?)
    })?;
    found.collect()
}

/// The name of such an output.
pub(super) fn long_output(conn: &Connection, at: At) -> Result<Option<BlobHash>, StorageError> {
    let found: Option<[u8; 32]> = conn
        .prepare_cached("SELECT blob FROM output WHERE attempt = ?1")?
        .query_row([(at.seq << 20) + at.attempt], |row| row.get(0))
        .optional()?;
    Ok(found.map(BlobHash))
}

/// Names other bytes as such an output.
pub(super) fn change_long_output(
    db: &Db,
    at: At,
    old: BlobHash,
    new: BlobHash,
) -> Result<(), StorageError> {
    let attempt = (at.seq << 20) + at.attempt;
    let changed = db
        .conn
        .prepare_cached("UPDATE output SET blob = ?3 WHERE attempt = ?1 AND blob = ?2")?
        .execute(params![attempt, old.0, new.0])?;
    if changed > 0 {
        db.conn
            .prepare_cached("UPDATE attempt SET truncated = truncated | 8 WHERE id = ?1")?
            .execute([attempt])?;
    }
    Ok(())
}

/// The table of a value, what its row is found by, and the two numbers of that.
fn key(at: At) -> Result<(&'static str, &'static str, [i64; 2]), StorageError> {
    let of_row = "seq = ?1 AND ?2 IS NOT NULL";
    let place = [at.seq, at.attempt];
    Ok(match at.column()?.table() {
        Table::Spec => ("task_spec", of_row, place),
        Table::Task => ("task", of_row, place),
        Table::Node => ("node_plan", of_row, place),
        Table::Workflow => ("workflow_spec", of_row, place),
        Table::Signal => ("workflow_signal", "workflow = ?1 AND number = ?2", place),
        Table::Attempt => {
            let id = (at.seq << 20) + at.attempt;
            ("attempt", "id = ?1 AND ?2 IS NOT NULL", [id, 0])
        }
    })
}

/// One value.
pub(super) fn cell(conn: &Connection, at: At) -> Result<Option<Vec<u8>>, StorageError> {
    let (table, key, place) = key(at)?;
    let name = at.column()?.name();
    let sql = format!("SELECT CAST({name} AS BLOB) FROM {table} WHERE {key}");
    let found: Option<Option<Vec<u8>>> = conn
        .prepare_cached(&sql)?
        .query_row(place, |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// Replaces values that are as they were.
pub(super) fn change_cells(db: &Db, changes: &[Change]) -> Result<(), StorageError> {
    for Change { at, old, new } in changes {
        let (table, key, [first, second]) = key(*at)?;
        let column = at.column()?;
        let name = column.name();
        // That an output is sealed is told beside it, for its length.
        let also = match column == Column::Output {
            true => ", truncated = truncated | 8",
            false => "",
        };
        let form = if column.is_text() { "TEXT" } else { "BLOB" };
        let sql = format!(
            "UPDATE {table} SET {name} = CAST(?3 AS {form}){also}
             WHERE {key} AND CAST({name} AS BLOB) = ?4"
        );
        db.conn
            .prepare_cached(&sql)?
            .execute(params![first, second, new, old])?;
    }
    Ok(())
}
