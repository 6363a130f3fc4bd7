//! The audit trail. Triggers hold that it is appended to and nothing else (`migrations/sqlite/0017_audit.sql`).

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::connection::{database_path, open_reader};
use crate::StorageError;
use crate::trail::{
    Ends, Entry, Link, Order, PRUNED_MAX, TrailPage, Wanted, after, is_long_before, last_to_go,
    nothing, page, pruned, window,
};
use cofferdam_domain::audit::{Note, Outcome, Text};
use cofferdam_domain::time::Timestamp;

const ENDS: &str = "SELECT head_seq, head_hash, gone_seq, gone_hash FROM audit_ends";
const IS_KNOWN: &str = "SELECT 1 FROM audit WHERE id = ?1";
const APPEND: &str = "
    INSERT INTO audit (seq, id, at, tenant, actor, origin, action, resource, outcome, status, count,
        detail, previous, hash)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const AT: &str = "SELECT at FROM audit WHERE seq = ?1";
const OLDEST: &str = "SELECT seq, hash, at FROM audit ORDER BY seq LIMIT ?1";
const GOES: &str = "UPDATE audit_ends SET gone_seq = ?1, gone_hash = ?2";
const REMOVE: &str = "DELETE FROM audit WHERE seq <= ?1";

macro_rules! entries_sql {
    ($direction:literal) => {
        concat!(
            "SELECT seq, id, at, tenant, actor, origin, action, resource, outcome, status, count,
                detail, previous, hash
             FROM audit
             WHERE seq BETWEEN ?1 AND ?2 AND ifnull(at >= ?3, 1) AND ifnull(tenant = ?4, 1)
                AND ifnull(actor = ?5, 1) AND ifnull(action = ?6, 1)
             ORDER BY seq ",
            $direction,
            " LIMIT ?7"
        )
    };
}

/// Reads the trail of a data directory, whether a host is using it or not.
pub(crate) struct TrailReader(Connection);

impl TrailReader {
    pub(crate) fn open(data: &Path) -> Result<TrailReader, StorageError> {
        Ok(TrailReader(open_reader(&database_path(data))?))
    }

    pub(crate) fn entries(&self, wanted: &Wanted, limit: u32) -> Result<TrailPage, StorageError> {
        entries(&self.0, wanted, limit)
    }
}

/// Appends what is not there yet.
pub(super) fn append(conn: &Connection, notes: &[Note]) -> Result<(), StorageError> {
    let mut head = ends(conn)?.head;
    for note in notes {
        let is_known = conn
            .prepare_cached(IS_KNOWN)?
            .exists([note.id.as_bytes()])?;
        if !is_known {
            let entry = after(head, note.clone());
            head = entry.link();
            insert(conn, &entry)?;
        }
    }
    Ok(())
}

fn insert(conn: &Connection, entry: &Entry) -> Result<(), StorageError> {
    let note = &entry.note;
    conn.prepare_cached(APPEND)?.execute(params![
        signed(entry.seq),
        note.id.as_bytes(),
        note.at.as_millis(),
        note.tenant.as_str(),
        note.actor.as_str(),
        note.origin.as_str(),
        note.action.as_str(),
        note.resource.as_str(),
        note.outcome.as_str(),
        note.status,
        signed(note.count),
        note.detail.as_str(),
        entry.previous,
        entry.hash,
    ])?;
    Ok(())
}

/// A page, in one snapshot.
pub(super) fn entries(
    conn: &Connection,
    wanted: &Wanted,
    limit: u32,
) -> Result<TrailPage, StorageError> {
    let tx = conn.unchecked_transaction()?;
    let ends = ends(&tx)?;
    let Some((from, to)) = window(ends, wanted) else {
        return Ok(nothing(ends));
    };
    let sql = match wanted.order {
        Order::Oldest => entries_sql!("ASC"),
        Order::Newest => entries_sql!("DESC"),
    };
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query(params![
        signed(from),
        signed(to),
        wanted.since.map(Timestamp::as_millis),
        wanted.tenant.as_ref().map(Text::as_str),
        wanted.actor.as_ref().map(Text::as_str),
        wanted.action.as_ref().map(Text::as_str),
        i64::from(limit) + 1,
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(entry_of(row)?);
    }
    let mut page = page(found, limit, (from, to), ends, wanted.order);
    if let (Some(since), Order::Newest, Some(next)) = (wanted.since, wanted.order, page.next) {
        let at: Option<i64> = tx
            .prepare_cached(AT)?
            .query_row([signed(next)], |row| row.get(0))
            .optional()?;
        let is_over = at.is_some_and(|at| is_long_before(Timestamp::from_millis(at), since));
        page.next = page.next.filter(|_| !is_over);
    }
    Ok(page)
}

/// Removes the oldest entries that are to go, and notes that.
pub(super) fn shorten(
    conn: &Connection,
    kept_since: Timestamp,
    rows_max: u64,
    note: &Note,
) -> Result<u64, StorageError> {
    let ends = ends(conn)?;
    let mut statement = conn.prepare_cached(OLDEST)?;
    let oldest = statement.query_map([signed(PRUNED_MAX)], |row| {
        let (seq, hash, at): (i64, _, _) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let link = Link {
            seq: seq.unsigned_abs(),
            hash,
        };
        Ok((link, Timestamp::from_millis(at)))
    })?;
    let oldest: Vec<_> = oldest.collect::<Result<_, _>>()?;
    let Some(gone) = last_to_go(oldest.into_iter(), ends, kept_since, rows_max) else {
        return Ok(0);
    };
    conn.prepare_cached(GOES)?
        .execute(params![signed(gone.seq), gone.hash])?;
    let count = conn.prepare_cached(REMOVE)?.execute([signed(gone.seq)])?;
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    insert(conn, &after(ends.head, pruned(note.clone(), gone, count)))?;
    Ok(count)
}

fn ends(conn: &Connection) -> Result<Ends, StorageError> {
    let ends = conn.prepare_cached(ENDS)?.query_row([], |row| {
        let link = |place: usize| -> Result<Link, rusqlite::Error> {
            let seq: i64 = row.get(place)?;
            Ok(Link {
                seq: seq.unsigned_abs(),
                hash: row.get(place + 1)?,
            })
        };
        Ok(Ends {
            head: link(0)?,
            gone: link(2)?,
        })
    })?;
    Ok(ends)
}

/// SQLite has no unsigned numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn entry_of(row: &Row<'_>) -> Result<Entry, StorageError> {
    let seq: i64 = row.get(0)?;
    let text = |place: usize| -> Result<Text, StorageError> {
        let text: String = row.get(place)?;
        Ok(Text::of(&text))
    };
    let outcome: String = row.get(8)?;
    let (status, count): (u16, i64) = (row.get(9)?, row.get(10)?);
    let note = Note {
        id: Uuid::from_bytes(row.get(1)?),
        at: Timestamp::from_millis(row.get(2)?),
        tenant: text(3)?,
        actor: text(4)?,
        origin: text(5)?,
        action: text(6)?,
        resource: text(7)?,
        outcome: Outcome::parse(&outcome)
            .ok_or_else(|| StorageError::corrupt(format_args!("audit entry {seq}: outcome")))?,
        status,
        count: u64::try_from(count).map_err(StorageError::corrupt)?,
        detail: text(11)?,
    };
    Ok(Entry {
        seq: seq.unsigned_abs(),
        note,
        previous: row.get(12)?,
        hash: row.get(13)?,
    })
}
