//! Where a stage's pruned tasks go. It keeps no inputs: all of them are inline.

use std::sync::Mutex;

use async_trait::async_trait;

use crate::queue::pruner::Attic;
use crate::runner::{InputFile, NoInput, Spool};
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_storage::Pruned;

/// Remembers what was pruned.
#[derive(Default)]
pub(in crate::queue::tests) struct Bin(pub(in crate::queue::tests) Mutex<Vec<TaskId>>);

#[async_trait]
impl Spool for Bin {
    async fn open(&self, _blob: BlobId) -> Result<InputFile, NoInput> {
        unreachable!("every input of these tests is inline")
    }
}

#[async_trait]
impl Attic for Bin {
    async fn remove(&self, pruned: Pruned) {
        self.0.lock().unwrap().extend(pruned.tasks);
    }
}
