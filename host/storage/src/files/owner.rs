//! Whose a file is, and which of theirs.

use uuid::Uuid;

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{BlobId, TaskId};

/// Whose files they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An attempt at a task.
    Attempt(TaskId, u32),
    /// A tenant's code that ran at once, or a copy of a session's files.
    Execution(Tenant, Uuid),
}

/// Which file it is.
pub(super) enum Name<'a> {
    Input(BlobId),
    Of(&'a Owner, &'a str),
}

impl Name<'_> {
    /// What names it in an error, and is authenticated with it.
    pub(super) fn row(&self) -> String {
        match self {
            Name::Input(blob) => format!("the input {}", blob.0),
            Name::Of(Owner::Attempt(task, attempt), path) => {
                format!("{path:?} of attempt {attempt} of task {task}")
            }
            Name::Of(Owner::Execution(tenant, id), path) => {
                format!("{path:?} of the execution {id} of {tenant}")
            }
        }
    }
}
