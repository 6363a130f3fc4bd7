//! Sealed values one by one, as a backend keeps them: for whoever seals anew what another key sealed.
//!
//! A backend finds them by how everything begins that is sealed with the first key; it opens nothing.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::StorageError;
use crate::blobs::BlobHash;
use crate::rows::tenant_of;
use crate::seal::Begins;
use cofferdam_domain::caller::Tenant;

/// Tasks, or workflows, that are looked through together.
pub(crate) const WINDOW: i64 = 1000;

/// What values belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tasks,
    Workflows,
}

impl Family {
    /// The columns of their values, each with its number.
    pub(crate) fn columns(self) -> impl Iterator<Item = (usize, Column)> {
        let all = Column::ALL.into_iter().enumerate();
        all.filter(move |(_, column)| column.family() == self)
    }
}

/// A column whose values are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Of what was submitted.
    Body,
    Args,
    Env,
    /// Of a task.
    Note,
    /// Of an attempt.
    Failure,
    Output,
    Stdout,
    Stderr,
    Log,
    /// Of a node.
    Plan,
    /// Of a workflow.
    Definition,
    /// Of a signal.
    Payload,
}

/// The table of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Spec,
    Task,
    Attempt,
    Node,
    Workflow,
    Signal,
}

impl Column {
    /// All of them.
    const ALL: [Column; 12] = [
        Column::Body,
        Column::Args,
        Column::Env,
        Column::Note,
        Column::Failure,
        Column::Output,
        Column::Stdout,
        Column::Stderr,
        Column::Log,
        Column::Plan,
        Column::Definition,
        Column::Payload,
    ];

    pub(crate) const fn table(self) -> Table {
        match self {
            Column::Body | Column::Args | Column::Env => Table::Spec,
            Column::Note => Table::Task,
            Column::Failure | Column::Output | Column::Stdout | Column::Stderr | Column::Log => {
                Table::Attempt
            }
            Column::Plan => Table::Node,
            Column::Definition => Table::Workflow,
            Column::Payload => Table::Signal,
        }
    }

    fn family(self) -> Family {
        match self.table() {
            Table::Spec | Table::Task | Table::Attempt | Table::Node => Family::Tasks,
            Table::Workflow | Table::Signal => Family::Workflows,
        }
    }

    /// Its name in every database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Column::Body => "body",
            Column::Args => "args",
            Column::Env => "env",
            Column::Note => "progress_note",
            Column::Failure => "failure",
            Column::Output => "output",
            Column::Stdout => "stdout",
            Column::Stderr => "stderr",
            Column::Log => "log",
            Column::Plan => "plan",
            Column::Definition => "definition",
            Column::Payload => "payload",
        }
    }

    /// Whether its values are texts, in which what is sealed may stand anywhere.
    pub(crate) const fn is_text(self) -> bool {
        matches!(
            self,
            Column::Args
                | Column::Env
                | Column::Note
                | Column::Failure
                | Column::Plan
                | Column::Definition
        )
    }

    /// What else is true of those of its values that may be sealed, in a row `c` of its table.
    pub(crate) const fn also(self, output_is_elsewhere: &'static str) -> &'static str {
        match self {
            Column::Note => "c.progress_note <> ''",
            Column::Output => output_is_elsewhere,
            Column::Body
            | Column::Args
            | Column::Env
            | Column::Failure
            | Column::Stdout
            | Column::Stderr
            | Column::Log
            | Column::Plan
            | Column::Definition
            | Column::Payload => "TRUE",
        }
    }

    /// Its place among all.
    pub(crate) fn number(self) -> i64 {
        let place = Column::ALL.iter().position(|it| *it == self);
        place
            .and_then(|place| i64::try_from(place).ok())
            .unwrap_or(0)
    }

    /// The column of a number.
    fn of(number: i64) -> Result<Column, StorageError> {
        let place = usize::try_from(number).ok();
        let column = place.and_then(|place| Column::ALL.get(place)).copied();
        column.ok_or_else(|| StorageError::corrupt("a column has no such number"))
    }
}

/// A value's place: the number of its task, that of its attempt, and that of its column; or those of its workflow, its
/// signal and its column. Places of a family are looked through in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) seq: i64,
    pub(crate) attempt: i64,
    pub(crate) column: i64,
}

impl At {
    /// Before every value of the tasks, or workflows, from this one on.
    pub(crate) fn before(seq: i64) -> At {
        At {
            seq,
            attempt: -1,
            column: -1,
        }
    }

    /// The column.
    pub(crate) fn column(self) -> Result<Column, StorageError> {
        Column::of(self.column)
    }
}

/// A value that is not sealed with the first key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) at: At,
    /// The task, or the workflow.
    pub(crate) id: Uuid,
    pub(crate) tenant: Tenant,
    pub(crate) bytes: u64,
}

impl Stale {
    /// From the columns of a row.
    pub(crate) fn of_row(
        (seq, attempt, column): (i64, i64, i64),
        (id, tenant): (Uuid, &str),
        bytes: i64,
    ) -> Result<Stale, StorageError> {
        Ok(Stale {
            at: At {
                seq,
                attempt,
                column,
            },
            id,
            tenant: tenant_of(tenant)?,
            bytes: u64::try_from(bytes).unwrap_or(0),
        })
    }
}

/// Another form of a value.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: At,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

/// What backends tell.
#[async_trait]
pub(crate) trait Cells: Send + Sync + 'static {
    /// Up to `limit` values behind `after` that do not begin so, of [`WINDOW`] tasks or workflows at most, and behind
    /// which value it goes on; none at the end.
    async fn stale_cells(
        &self,
        family: Family,
        after: At,
        begins: &Begins,
        limit: u32,
    ) -> Result<(Vec<Stale>, Option<At>), StorageError>;

    /// A value as it is kept; none if it is gone.
    async fn cell(&self, at: At) -> Result<Option<Vec<u8>>, StorageError>;

    /// Up to `limit` outputs behind `after` that are too long for their row; those that were sealed, too, or only the
    /// others.
    async fn long_outputs(
        &self,
        after: At,
        sealed_too: bool,
        limit: u32,
    ) -> Result<Vec<Stale>, StorageError>;

    /// Such an output and its name; none if it is gone.
    async fn long_output(&self, at: At) -> Result<Option<(BlobHash, Bytes)>, StorageError>;

    /// Keeps another form of such an output, unless it was removed meanwhile.
    async fn change_long_output(
        &self,
        at: At,
        old: BlobHash,
        new: Bytes,
    ) -> Result<(), StorageError>;

    /// Keeps other forms of values, in one transaction; those that were changed or removed meanwhile stay so.
    async fn change_cells(&self, changes: Vec<Change>) -> Result<(), StorageError>;
}
