//! The audit trail. Who appends locks the row with its ends first, so the hosts do so one after the other, and
//! triggers hold that nothing else is done to it (`migrations/postgres/0016_audit.sql`).

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::{Call, Db};
use super::connection::Connector;
use super::engine::Engine;
use super::fault::{Fault, get, get_hash};
use super::params::{Raw, params};
use super::tx::{Mode, Tx, reading};
use crate::StorageError;
use crate::settings::StorageConfig;
use crate::trail::{
    Ends, Entry, Link, Order, PRUNED_MAX, TrailPage, Wanted, after, is_long_before, last_to_go,
    nothing, page, pruned, window,
};
use cofferdam_domain::audit::{Note, Outcome, Text};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;

const ENDS: &str = "SELECT head_seq, head_hash, gone_seq, gone_hash FROM cofferdam.audit_ends";
const LOCKED_ENDS: &str = "
    SELECT head_seq, head_hash, gone_seq, gone_hash FROM cofferdam.audit_ends FOR UPDATE";
const KNOWN: &str = "SELECT id FROM cofferdam.audit WHERE id = ANY($1)";
const APPEND: &str = "
    INSERT INTO cofferdam.audit (seq, id, at, tenant, actor, origin, action, resource, outcome, status,
        count, detail, previous, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const AT: &str = "SELECT at FROM cofferdam.audit WHERE seq = $1";
const OLDEST: &str = "SELECT seq, hash, at FROM cofferdam.audit ORDER BY seq LIMIT $1";
const GOES: &str = "UPDATE cofferdam.audit_ends SET gone_seq = $1, gone_hash = $2";
const REMOVE: &str = "
    WITH removed AS (DELETE FROM cofferdam.audit WHERE seq <= $1 RETURNING 1)
    SELECT count(*) FROM removed";

macro_rules! entries_sql {
    ($direction:literal) => {
        concat!(
            "SELECT seq, id, at, tenant, actor, origin, action, resource, outcome, status, count,
                detail, previous, hash
             FROM cofferdam.audit
             WHERE seq BETWEEN $1 AND $2 AND coalesce(at >= $3, true) AND coalesce(tenant = $4, true)
                AND coalesce(actor = $5, true) AND coalesce(action = $6, true)
             ORDER BY seq ",
            $direction,
            " LIMIT $7"
        )
    };
}

/// Reads the trail of a database, of which it changes nothing.
pub(crate) struct TrailReader {
    engine: Engine,
    db: Arc<Db>,
}

impl TrailReader {
    pub(crate) fn open(url: &str, config: &StorageConfig) -> Result<TrailReader, StorageError> {
        let (connector, timeout) = (Connector::parse(url)?, config.read_timeout);
        // Nothing here draws a number or asks the time.
        let random = StdRng::seed_from_u64(0);
        let clock = Clock::told(Timestamp::EPOCH);
        Ok(TrailReader {
            engine: Engine::start("trail")?,
            db: Arc::new(Db::new(
                connector,
                timeout,
                random,
                clock,
                config.claims.clone(),
            )),
        })
    }

    pub(crate) fn entries(&self, wanted: Wanted, limit: u32) -> Result<TrailPage, StorageError> {
        let call = Call::new(&self.db, self.db.read_timeout);
        self.engine.wait_for(call.repeated(move |call| {
            let wanted = wanted.clone();
            async move { reading!(call, tx, entries(&mut tx, &wanted, limit)) }.boxed()
        }))
    }
}

impl Drop for TrailReader {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

/// Appends what is not there yet.
pub(super) async fn append(call: &Call, notes: Vec<Note>) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let mut head = ends(&mut tx, LOCKED_ENDS).await?.head;
    let known = known(&mut tx, notes.iter().map(|note| note.id).collect()).await?;
    for note in notes {
        if !known.contains(&note.id) {
            let entry = after(head, note);
            head = entry.link();
            put(&mut tx, &entry);
        }
    }
    tx.commit().await
}

/// Those of the ids that are there. The row with the ends is locked.
async fn known(tx: &mut Tx, ids: Vec<Uuid>) -> Result<HashSet<Uuid>, Fault> {
    let rows = tx.query(KNOWN, params![ids]).await?;
    let known: Result<_, StorageError> = rows.iter().map(|row| get(row, 0)).collect();
    Ok(known?)
}

fn put(tx: &mut Tx, entry: &Entry) {
    let note = &entry.note;
    let text = |text: &Text| text.as_str().to_owned();
    let columns = params![
        signed(entry.seq),
        note.id,
        note.at.as_millis(),
        text(&note.tenant),
        text(&note.actor),
        text(&note.origin),
        text(&note.action),
        text(&note.resource),
        note.outcome.as_str(),
        i32::from(note.status),
        signed(note.count),
        text(&note.detail),
        Raw::copy(&entry.previous),
        Raw::copy(&entry.hash),
    ];
    tx.later(APPEND, columns);
}

/// A page.
pub(super) async fn entries(tx: &mut Tx, wanted: &Wanted, limit: u32) -> Result<TrailPage, Fault> {
    let ends = ends(tx, ENDS).await?;
    let Some((from, to)) = window(ends, wanted) else {
        return Ok(nothing(ends));
    };
    let sql = match wanted.order {
        Order::Oldest => entries_sql!("ASC"),
        Order::Newest => entries_sql!("DESC"),
    };
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.as_str().to_owned());
    let asked = params![
        signed(from),
        signed(to),
        wanted.since.map(Timestamp::as_millis),
        text(&wanted.tenant),
        text(&wanted.actor),
        text(&wanted.action),
        i64::from(limit) + 1,
    ];
    let rows = tx.query(sql, asked).await?;
    let found: Result<Vec<Entry>, StorageError> = rows.iter().map(entry_of).collect();
    let mut page = page(found?, limit, (from, to), ends, wanted.order);
    if let (Some(since), Order::Newest, Some(next)) = (wanted.since, wanted.order, page.next)
        && let Some(row) = tx.query_opt(AT, params![signed(next)]).await?
        && is_long_before(Timestamp::from_millis(get(&row, 0)?), since)
    {
        page.next = None;
    }
    Ok(page)
}

/// Removes the oldest entries that are to go, and notes that.
pub(super) async fn shorten(
    call: &Call,
    kept_since: Timestamp,
    rows_max: u64,
    note: Note,
) -> Result<u64, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let ends = ends(&mut tx, LOCKED_ENDS).await?;
    let rows = tx.query(OLDEST, params![signed(PRUNED_MAX)]).await?;
    let oldest: Result<Vec<_>, StorageError> = rows.iter().map(dated).collect();
    let gone = last_to_go(oldest?.into_iter(), ends, kept_since, rows_max);
    // The first try may have been committed without an answer.
    let is_done = !known(&mut tx, vec![note.id]).await?.is_empty();
    let Some(gone) = gone.filter(|_| !is_done) else {
        tx.rollback().await?;
        return Ok(0);
    };
    let gone_now = params![signed(gone.seq), Raw::copy(&gone.hash)];
    tx.query(GOES, gone_now).await?;
    let row = tx.query_opt(REMOVE, params![signed(gone.seq)]).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("nothing was counted"))?;
    let count = get::<i64>(&row, 0)?.unsigned_abs();
    put(&mut tx, &after(ends.head, pruned(note, gone, count)));
    tx.commit().await?;
    Ok(count)
}

async fn ends(tx: &mut Tx, sql: &str) -> Result<Ends, Fault> {
    let row = tx.query_opt(sql, params![]).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("the audit trail has no ends"))?;
    Ok(Ends {
        head: link(&row, 0)?,
        gone: link(&row, 2)?,
    })
}

fn link(row: &Row, place: usize) -> Result<Link, StorageError> {
    Ok(Link {
        seq: get::<i64>(row, place)?.unsigned_abs(),
        hash: get_hash(row, place + 1)?,
    })
}

fn dated(row: &Row) -> Result<(Link, Timestamp), StorageError> {
    Ok((link(row, 0)?, Timestamp::from_millis(get(row, 2)?)))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn entry_of(row: &Row) -> Result<Entry, StorageError> {
    let seq: i64 = get(row, 0)?;
    let text = |place| -> Result<Text, StorageError> { Ok(Text::of(get::<&str>(row, place)?)) };
    let outcome = Outcome::parse(get(row, 8)?);
    let note = Note {
        id: get(row, 1)?,
        at: Timestamp::from_millis(get(row, 2)?),
        tenant: text(3)?,
        actor: text(4)?,
        origin: text(5)?,
        action: text(6)?,
        resource: text(7)?,
        outcome: outcome
            .ok_or_else(|| StorageError::corrupt(format_args!("audit entry {seq}: outcome")))?,
        status: u16::try_from(get::<i32>(row, 9)?).map_err(StorageError::corrupt)?,
        count: u64::try_from(get::<i64>(row, 10)?).map_err(StorageError::corrupt)?,
        detail: text(11)?,
    };
    Ok(Entry {
        seq: seq.unsigned_abs(),
        note,
        previous: get_hash(row, 12)?,
        hash: get_hash(row, 13)?,
    })
}
