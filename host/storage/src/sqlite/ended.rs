//! An attempt that ended and the task it was of, as far as the statements that record it need them.
//!
//! What becomes of the task is decided in `settle`; the attempt's row is written in `record`.

use crate::blobs::BlobHash;
use cofferdam_domain::attempt::{Artifact, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::time::Timestamp;

/// A running task as far as its end needs it.
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

/// An attempt's end, whoever tells it.
pub(super) struct Ending<'a> {
    pub(super) finished_at: Timestamp,
    pub(super) outcome: &'a Outcome,
    /// Where the output is, if it is not to be in the row.
    pub(super) output: Option<BlobHash>,
    pub(super) usage: Usage,
    pub(super) streams: &'a Streams,
    pub(super) artifacts: &'a [Artifact],
    pub(super) left_out: LeftOut,
}
