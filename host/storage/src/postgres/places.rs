//! Places in batches that bound how many of their tasks are under way.
//!
//! A task of such a batch has a place or waits for one. Whoever ends or adds such a task gives the free
//! places away in the same transaction, so that claims need to know nothing of batches. Whoever does so
//! holds the lock on the batch's row, and takes it behind those on tasks that have a place; tasks that
//! wait for one are locked only by whoever has the batch's lock already. So nobody waits in a circle.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use uuid::Uuid;

use super::fault::{Fault, get};
use super::params::params;
use super::tx::Tx;
use crate::StorageError;
use crate::fate::Place;

const LOCK: &str = "
    SELECT 1 FROM cofferdam.batch WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE";
/// The batches of those tasks that wait for a place.
const LOCK_OF_WAITING: &str = "
    SELECT b.id FROM cofferdam.batch b WHERE b.id IN (
        SELECT t.batch FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
        WHERE s.id = ANY($1::uuid[]) AND t.due_at IS NOT NULL)
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

/// Batches in which places became free.
#[derive(Default)]
pub(super) struct Places(BTreeSet<Place>);

impl Places {
    /// Notes that the place of a task is free, if it had one.
    pub(super) fn freed(&mut self, place: Option<Place>) {
        self.0.extend(place);
    }

    /// Gives the free places to those of the same batch that are due first, with the commit.
    pub(super) fn fill(self, tx: &mut Tx) {
        if self.0.is_empty() {
            return;
        }
        let batches = self.0.iter().map(|place| Uuid::from_bytes(place.batch));
        let batches: Vec<Uuid> = batches.collect();
        let bounds = self.0.iter().map(|place| i64::from(place.bound));
        let bounds: Vec<i64> = bounds.collect();
        tx.later(LOCK, params![batches.clone()]);
        tx.later(LET_IN, params![batches, bounds]);
    }
}

/// Locks the batches of those of the tasks that wait for a place; false if none does.
pub(super) async fn lock_of_waiting(tx: &mut Tx, tasks: Vec<Uuid>) -> Result<bool, Fault> {
    Ok(!tx.query(LOCK_OF_WAITING, params![tasks]).await?.is_empty())
}

/// The place that columns `first` and the next tell of.
pub(super) fn place_of(row: &Row, first: usize) -> Result<Option<Place>, StorageError> {
    let batch: Option<Uuid> = get(row, first)?;
    let bound: Option<i32> = get(row, first + 1)?;
    let place = batch.zip(bound);
    Ok(place.map(|(batch, bound)| Place {
        batch: *batch.as_bytes(),
        bound: bound.cast_unsigned(),
    }))
}
