//! Seals with the first key what other keys have sealed of tasks and workflows, or none, a few values at a time. Whoever stops in
//! the middle begins again at the front and finds what is left: a database passes over what is done. Several hosts
//! may do so at the same time, because a value is replaced only as long as it is as it was read.

use std::sync::Arc;

use bytes::Bytes;

use super::cells::{At, Cells, Change, Column, Family, Stale, Table};
use super::values::Row;
use crate::StorageError;
use crate::seal::Sealer;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::workflow::WorkflowId;

/// Values of one transaction, and their bytes; one alone may be longer.
const VALUES_MAX: u32 = 50;
const BYTES_MAX: u64 = 4 << 20;
/// Values that are counted together.
const COUNTED: u32 = 1000;

/// What is sealed of tasks and workflows, whoever's they are.
#[derive(Clone)]
pub struct SealedTasks {
    cells: Arc<dyn Cells>,
    sealer: Arc<Sealer>,
}

/// Where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress(Place);

/// Values in rows come first, those of tasks before those of workflows, and then outputs that are too long for theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Values(Family, At),
    Outputs(At),
}

/// Before everything.
const FRONT: At = At {
    seq: i64::MIN,
    attempt: -1,
    column: -1,
};

impl Default for Progress {
    /// At the front.
    fn default() -> Progress {
        Progress(Place::Values(Family::Tasks, FRONT))
    }
}

/// What comes behind all values of one.
fn behind(family: Family) -> Place {
    match family {
        Family::Tasks => Place::Values(Family::Workflows, FRONT),
        Family::Workflows => Place::Outputs(FRONT),
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Values that were looked at, of those that are counted.
    pub seen: u64,
    /// Values that are sealed with the first key now and were not before.
    pub resealed: u64,
    /// Those that no key of this host opens.
    pub unreadable: u64,
    /// Where it goes on; none at the end.
    pub next: Option<Progress>,
}

impl SealedTasks {
    pub(crate) fn new(cells: Arc<dyn Cells>, sealer: &Arc<Sealer>) -> SealedTasks {
        let sealer = Arc::clone(sealer);
        SealedTasks { cells, sealer }
    }

    /// Whether this host has a key to seal with.
    pub fn seals(&self) -> bool {
        self.sealer.seals()
    }

    /// How many of some values may not be sealed with the first key, and where it goes on.
    pub async fn count(&self, from: Progress) -> Result<(u64, Option<Progress>), StorageError> {
        let (found, next) = self.found(from, COUNTED).await?;
        Ok((found.len() as u64, next))
    }

    async fn found(
        &self,
        Progress(from): Progress,
        limit: u32,
    ) -> Result<(Vec<Stale>, Option<Progress>), StorageError> {
        let Some(begins) = self.sealer.begins() else {
            return Ok((Vec::new(), None));
        };
        Ok(match from {
            Place::Values(family, after) => {
                let found = self.cells.stale_cells(family, after, &begins, limit);
                let (found, next) = found.await?;
                let next = next.map_or(behind(family), |at| Place::Values(family, at));
                (found, Some(Progress(next)))
            }
            Place::Outputs(after) => {
                let sealed_too = self.sealer.has_others();
                let found = self.cells.long_outputs(after, sealed_too, limit).await?;
                let next = found.last().map(|last| Progress(Place::Outputs(last.at)));
                (found, next)
            }
        })
    }

    /// Seals some of them anew.
    pub async fn step(&self, from: Progress) -> Result<Step, StorageError> {
        match from.0 {
            Place::Values(family, _) => self.some_values(family, from).await,
            Place::Outputs(_) => self.one_output(from).await,
        }
    }

    async fn some_values(&self, family: Family, from: Progress) -> Result<Step, StorageError> {
        let (mut found, mut next) = self.found(from, VALUES_MAX).await?;
        let mut bytes = 0;
        let fits = found.iter().take_while(|stale| {
            let is_first = bytes == 0;
            bytes += stale.bytes;
            is_first || bytes <= BYTES_MAX
        });
        let fits = fits.count();
        if fits < found.len() {
            found.truncate(fits);
            let last = found.last();
            next = last.map(|last| Progress(Place::Values(family, last.at)));
        }
        let mut step = Step {
            seen: found.len() as u64,
            next,
            ..Step::default()
        };
        let mut changes = Vec::with_capacity(found.len());
        for stale in found {
            let Some(old) = self.cells.cell(stale.at).await? else {
                continue;
            };
            match self.anew(&stale, &old) {
                Ok(new) => {
                    let at = stale.at;
                    changes.push(Change { at, old, new });
                }
                Err(error) => {
                    tracing::warn!(of = %stale.id, %error, "a value cannot be sealed anew");
                    step.unreadable += 1;
                }
            }
        }
        step.resealed = changes.len() as u64;
        if !changes.is_empty() {
            self.cells.change_cells(changes).await?;
        }
        Ok(step)
    }

    /// An output is read before it is known what sealed it.
    async fn one_output(&self, from: Progress) -> Result<Step, StorageError> {
        let (found, next) = self.found(from, 1).await?;
        let mut step = Step {
            seen: found.len() as u64,
            next,
            ..Step::default()
        };
        let Some(stale) = found.into_iter().next() else {
            return Ok(step);
        };
        let Some((hash, old)) = self.cells.long_output(stale.at).await? else {
            return Ok(step);
        };
        if self.sealer.is_newest(&old) {
            return Ok(step);
        }
        match self.anew(&stale, &old) {
            Ok(new) => {
                let change = self.cells.change_long_output(stale.at, hash, new.into());
                change.await?;
                step.resealed = 1;
            }
            Err(error) => {
                tracing::warn!(of = %stale.id, %error, "an output cannot be sealed anew");
                step.unreadable = 1;
            }
        }
        Ok(step)
    }

    fn anew(&self, stale: &Stale, old: &[u8]) -> Result<Vec<u8>, StorageError> {
        let column = stale.at.column()?;
        let row = self.row(stale, column)?;
        let text = || std::str::from_utf8(old).map_err(StorageError::corrupt);
        let new = match column {
            Column::Args => row.args_anew(text()?)?,
            Column::Env => row.env_anew(text()?)?,
            Column::Failure => row.failure_anew(text()?)?,
            Column::Note => row.keep_note(&row.open_note(text()?)?),
            Column::Plan | Column::Definition => row.keep_words(&row.open_words(text()?)?),
            Column::Payload => {
                let plain = row.open_signal(&Bytes::copy_from_slice(old))?;
                return Ok(row.keep_signal(&plain).into());
            }
            Column::Body | Column::Output | Column::Stdout | Column::Stderr | Column::Log => {
                return row.anew(column.name(), old);
            }
        };
        Ok(new.into_bytes())
    }

    fn row<'a>(&'a self, stale: &'a Stale, column: Column) -> Result<Row<'a>, StorageError> {
        let (sealer, tenant) = (&*self.sealer, &stale.tenant);
        let task = TaskId(stale.id);
        Ok(match column.table() {
            Table::Spec => Row::spec(sealer, tenant, task),
            Table::Task => Row::task(sealer, tenant, task),
            Table::Attempt => {
                let number = u32::try_from(stale.at.attempt).map_err(StorageError::corrupt)?;
                Row::attempt(sealer, tenant, task, number)
            }
            Table::Node => Row::node(sealer, tenant, task),
            Table::Workflow | Table::Signal => Row::workflow(sealer, tenant, WorkflowId(stale.id)),
        })
    }
}
