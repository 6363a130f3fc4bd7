//! What remains after code ran at once: its files are kept for a while, and its answer is written.
//!
//! Every entry point that runs code answers through this, so a file has the same address whichever
//! was used. The runner runs code, and `http` serves the files.

use std::path::Path;

use uuid::Uuid;

use crate::interpreters::answer::Answer;
use crate::runner::Executed;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::OutputFiles;
use cofferdam_storage::StorageError;
use cofferdam_storage::files::FileStorage;

/// An answer whose files, if it has any, are kept.
#[derive(Debug)]
pub struct Kept {
    /// The answer.
    pub answer: Answer,
    /// The name that its files are kept under; `None` if it left none.
    pub id: Option<Uuid>,
}

/// Keeps the files for the caller's tenant and writes the answer.
pub async fn keep(
    storage: &FileStorage,
    caller: &Caller,
    now: Timestamp,
    executed: Executed,
) -> Result<Kept, StorageError> {
    let id = keep_files(storage, caller, now, executed.files.as_ref()).await?;
    let url = id.map(files_url).unwrap_or_default();
    Ok(Kept {
        answer: executed.into_answer(&url),
        id,
    })
}

/// Keeps the files that a run left for the caller's tenant, and returns their name; `None` if it left none.
pub async fn keep_files(
    storage: &FileStorage,
    caller: &Caller,
    now: Timestamp,
    files: Option<&OutputFiles>,
) -> Result<Option<Uuid>, StorageError> {
    let Some(files) = files.filter(|files| !files.artifacts().is_empty()) else {
        return Ok(None);
    };
    let files = files.clone();
    let id = storage.new_execution(now);
    let occupied_bytes = files.occupied_bytes();
    let put = move |target: &Path| files.persist(target);
    let kept = storage
        .keep_execution(caller.tenant(), id, occupied_bytes, put)
        .await?;
    kept.stay().await?;
    Ok(Some(id))
}

/// The URL that the files of an execution are below.
pub fn files_url(id: Uuid) -> String {
    format!("/v1/exec/{id}/files/")
}
