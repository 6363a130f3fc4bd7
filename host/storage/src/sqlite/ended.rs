//! An ended attempt and its task, as far as the statements that record it need them.
//!
//! `settle` decides what becomes of the task; `record` writes the attempt's row.

use crate::blobs::BlobHash;
use cofferdam_domain::attempt::{Artifact, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::time::Timestamp;

/// The columns of a running task that its end needs.
pub(super) struct Running {
    pub(super) seq: i64,
    pub(super) template: i64,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) lost: u32,
    pub(super) cancel_requested: bool,
    pub(super) worker: [u8; 16],
    pub(super) claimed_at: i64,
}

impl Running {
    pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Running> {
        Ok(Running {
            seq: row.get(0)?,
            template: row.get(1)?,
            attempt: row.get(2)?,
            max_attempts: row.get(3)?,
            lost: row.get(4)?,
            cancel_requested: row.get(5)?,
            worker: row.get(6)?,
            claimed_at: row.get(7)?,
        })
    }
}

/// An attempt's end, reported by its worker or by the rescue.
pub(super) struct Ending<'a> {
    pub(super) finished_at: Timestamp,
    pub(super) outcome: &'a Outcome,
    /// The place of the output, if it is not in the row.
    pub(super) output: Option<BlobHash>,
    pub(super) usage: Usage,
    pub(super) streams: &'a Streams,
    pub(super) artifacts: &'a [Artifact],
    pub(super) left_out: LeftOut,
}
