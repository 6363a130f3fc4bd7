//! Places in batches that bound how many of their tasks are under way, and the ends of batches.
//!
//! A task of such a batch has a place or waits for one. Whoever ends or adds such a task gives the free
//! places away in the same transaction, so that claims need to know nothing of batches. Whoever does so
//! holds the lock on the batch's row, and takes it behind those on tasks that have a place; tasks that
//! wait for one are locked only by whoever has the batch's lock already. So nobody waits in a circle.
//!
//! If somebody is to be told of a batch's end, whoever ends a task of it takes the same lock, so that the last one
//! sees that no task is left. Other batches are not locked.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use uuid::Uuid;

use super::fault::{Fault, get};
use super::params::params;
use super::tx::Tx;
use crate::StorageError;
use crate::fate::Place;

const LOCK: &str = "
    SELECT 1 FROM cofferdam.batch b WHERE b.id = ANY($1::uuid[]) AND (b.id = ANY($2::uuid[])
        OR EXISTS (SELECT 1 FROM cofferdam.callback c WHERE c.batch = b.id))
    ORDER BY b.id FOR UPDATE OF b";
const TELL: &str = "SELECT cofferdam.batches_are_told($1::uuid[])";
/// The batches of those tasks that wait for a place.
const LOCK_OF_WAITING: &str = "
    SELECT b.id FROM cofferdam.batch b WHERE b.id IN (
        SELECT t.batch FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
        WHERE s.id = ANY($1::uuid[]) AND ($2::text IS NULL OR s.tenant = $2)
            AND t.due_at IS NOT NULL)
    ORDER BY b.id FOR UPDATE";
const LET_IN: &str = "
    UPDATE cofferdam.task t SET run_at = t.due_at, due_at = NULL
    FROM unnest($1::uuid[], $2::int8[]) AS p(batch, bound)
    CROSS JOIN LATERAL (
        SELECT n.seq FROM cofferdam.task n
        WHERE n.batch = p.batch AND n.state = 1 AND n.due_at IS NOT NULL
        ORDER BY n.due_at, n.priority, n.seq
        LIMIT greatest(0, p.bound
            - (SELECT count(*) FROM cofferdam.task r WHERE r.batch = p.batch AND r.state = 2)
            - (SELECT count(*) FROM cofferdam.task w
               WHERE w.batch = p.batch AND w.state = 1 AND w.due_at IS NULL))) f
    WHERE t.seq = f.seq";

/// Batches of which tasks ended, or are to be tried again.
#[derive(Default)]
pub(super) struct Places(BTreeSet<Place>);

impl Places {
    /// Notes that the place of a task is free, if it is of a batch.
    pub(super) fn freed(&mut self, place: Option<Place>) {
        self.0.extend(place);
    }

    /// Gives the free places to those of the same batch that are due first, and has the ends of batches told, with
    /// the commit.
    pub(super) fn fill(self, tx: &mut Tx) {
        if self.0.is_empty() {
            return;
        }
        let batches = self.0.iter().map(|place| Uuid::from_bytes(place.batch));
        let batches: Vec<Uuid> = batches.collect();
        let bounded = self.0.iter().filter_map(|place| {
            let bound = i64::from(place.bound?);
            Some((Uuid::from_bytes(place.batch), bound))
        });
        let (bounded, bounds): (Vec<Uuid>, Vec<i64>) = bounded.unzip();
        tx.later(LOCK, params![batches.clone(), bounded.clone()]);
        if !bounded.is_empty() {
            tx.later(LET_IN, params![bounded, bounds]);
        }
        tx.later(TELL, params![batches]);
    }
}

/// Locks the batches of those of the tasks that wait for a place; false if none does.
pub(super) async fn lock_of_waiting(tx: &mut Tx, tasks: Vec<Uuid>) -> Result<bool, Fault> {
    let wanted = params![tasks, tx.tenant()];
    Ok(!tx.query(LOCK_OF_WAITING, wanted).await?.is_empty())
}

/// The place that columns `first` and the next tell of.
pub(super) fn place_of(row: &Row, first: usize) -> Result<Option<Place>, StorageError> {
    let batch: Option<Uuid> = get(row, first)?;
    let bound: Option<i32> = get(row, first + 1)?;
    Ok(batch.map(|batch| Place {
        batch: *batch.as_bytes(),
        bound: bound.map(i32::cast_unsigned),
    }))
}
