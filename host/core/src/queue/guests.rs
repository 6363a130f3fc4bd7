//! Connects the queue's services to the layers below: the runner runs guests, the file storage
//! keeps what they leave, and pruning removes data from both.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::nodes::Given;
use crate::queue::executor::Attempts;
use crate::queue::pruner::Attic;
use crate::registry::RegistryError;
use crate::runner::{InputFile, NoInput, NotYet, Runner, Spool};
use cofferdam_domain::attempt::Artifact;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{OutputFiles, Report};
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::{Pruned, StorageError};

/// The runner and the files.
pub(crate) struct Guests {
    runner: Arc<Runner>,
    files: FileStorage,
}

impl Guests {
    pub(crate) fn new(runner: Arc<Runner>, files: FileStorage) -> Guests {
        Guests { runner, files }
    }
}

#[async_trait]
impl Spool for FileStorage {
    async fn open(&self, blob: BlobId) -> Result<InputFile, NoInput> {
        match self.open_input(blob).await {
            Ok(Some(file)) => Ok(InputFile::new(file.path().to_owned(), file)),
            Ok(None) => Err(NoInput::Gone("it is no longer kept".to_owned())),
            Err(error) => Err(match RegistryError::from(error.clone()).may_pass() {
                true => NoInput::NotYet(error.to_string()),
                false => NoInput::Gone(error.to_string()),
            }),
        }
    }
}

impl Attempts for Guests {
    async fn run(
        &self,
        claim: &Claim,
        given: Option<Box<Given>>,
        control: Control,
    ) -> Result<Report, NotYet> {
        self.runner.run_claim(claim, given, control).await
    }

    async fn keep(
        &self,
        task_id: TaskId,
        attempt: u32,
        files: OutputFiles,
    ) -> Result<Vec<Artifact>, String> {
        if files.artifacts().is_empty() {
            return Ok(Vec::new());
        }
        let artifacts = files.artifacts().to_vec();
        let occupied_bytes = files.occupied_bytes();
        let put = move |target: &Path| files.persist(target);
        let keeping = async {
            let kept = self
                .files
                .keep_artifacts(task_id, attempt, occupied_bytes, put)
                .await?;
            kept.stay().await
        };
        let kept: Result<(), StorageError> = keeping.await;
        kept.map_err(|error| error.to_string())?;
        Ok(artifacts)
    }
}

#[async_trait]
impl Attic for Guests {
    async fn remove(&self, pruned: Pruned) {
        let Pruned {
            tasks,
            blobs,
            modules,
        } = pruned;
        for task in tasks {
            if let Err(error) = self.files.remove_task(task).await {
                tracing::warn!(task.id = %task, %error, "artifacts were left behind");
            }
        }
        for blob in blobs {
            if let Err(error) = self.files.remove_blob(blob).await {
                tracing::warn!(blob = %blob.0, %error, "a spooled input was left behind");
            }
        }
        self.runner.registry().discard(&modules);
    }
}
