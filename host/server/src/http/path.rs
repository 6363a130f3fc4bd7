//! The parts of a path: module names, task ids, artifact paths.
//!
//! The router has decoded percent signs once; nothing is decoded a second time. Each part is
//! parsed into the domain's type or refused, and no part of a path is ever a path on disk without
//! having been checked here.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::http::error::ApiError;
use crate::intake::words;
use cofferdam::sessions::{SessionError, SessionId};
use cofferdam_domain::attempt::{ARTIFACT_PATH_BYTES_MAX, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::workflow::WorkflowId;

/// The decoded parts of a route's pattern, in order.
pub(crate) struct PathParts(Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for PathParts {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathParts, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_invalid| {
                ApiError::bad_request("invalid_path", "the path is not UTF-8 once it is decoded")
            })?;
        Ok(PathParts(
            params.iter().map(|(_, value)| value.to_owned()).collect(),
        ))
    }
}

impl PathParts {
    /// Parts that are decoded already.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(parts: Vec<String>) -> PathParts {
        PathParts(parts)
    }

    /// The part at `place`, from 0.
    pub(crate) fn text(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }

    /// The first part as a module's name, pinned or not.
    pub(crate) fn module(&self) -> Result<ModuleRef, ApiError> {
        Ok(ModuleRef::parse(self.text(0))?)
    }

    /// The first part as a task's id. For other text there is no task.
    pub(crate) fn task(&self) -> Result<TaskId, ApiError> {
        words::task_id(self.text(0)).ok_or_else(|| unknown_task(self.text(0)))
    }

    /// The first part as a batch's id. Text that is not an id names no batch.
    pub(crate) fn batch(&self) -> Result<BatchId, ApiError> {
        let id = words::task_id(self.text(0)).map(|id| BatchId(id.0));
        id.ok_or_else(|| unknown_batch(self.text(0)))
    }

    /// The first part as a workflow's id. Text that is not an id names no workflow.
    pub(crate) fn workflow(&self) -> Result<WorkflowId, ApiError> {
        let id = words::task_id(self.text(0)).map(|id| WorkflowId(id.0));
        id.ok_or_else(|| unknown_workflow(self.text(0)))
    }

    /// The first part as a session's id. For other text there is no session.
    pub(crate) fn session(&self) -> Result<SessionId, ApiError> {
        SessionId::parse(self.text(0))
            .ok_or_else(|| SessionError::Unknown(self.text(0).to_owned()).into())
    }

    /// The first part as a worker's id. Text that is not an id names no worker.
    pub(crate) fn worker(&self) -> Result<WorkerId, ApiError> {
        let id = words::task_id(self.text(0)).map(|id| WorkerId(id.0));
        id.ok_or_else(|| unknown_worker(self.text(0)))
    }

    /// The second part as the path of an artifact, relative and without `.` and `..`.
    pub(crate) fn artifact(&self) -> Result<&str, ApiError> {
        let path = self.text(1);
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let well_formed = path.len() <= ARTIFACT_PATH_BYTES_MAX
            && path.split('/').all(is_plain)
            && !path.contains('\0');
        match well_formed {
            true => Ok(path),
            false => Err(ApiError::bad_request(
                "invalid_path",
                "an artifact's path has parts between single slashes, none of which is . or ..",
            )),
        }
    }
}

/// There is no such task.
pub(crate) fn unknown_task(id: impl std::fmt::Display) -> ApiError {
    ApiError::not_found("task_not_found", format!("there is no task {id}"))
}

/// There is no such batch.
pub(crate) fn unknown_batch(id: impl std::fmt::Display) -> ApiError {
    ApiError::not_found("batch_not_found", format!("there is no batch {id}"))
}

/// There is no such workflow.
pub(crate) fn unknown_workflow(id: impl std::fmt::Display) -> ApiError {
    ApiError::not_found("workflow_not_found", format!("there is no workflow {id}"))
}

/// There is no such worker.
pub(crate) fn unknown_worker(id: impl std::fmt::Display) -> ApiError {
    ApiError::not_found("worker_not_found", format!("there is no worker {id}"))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_path_of_an_artifact_leads_out(path in "([a-z./ \\\\]|\\PC){0,40}") {
            let parts = PathParts(vec![String::new(), path.clone()]);
            if let Ok(path) = parts.artifact() {
                let plain = |part| matches!(part, Component::Normal(_));
                prop_assert!(Path::new(path).components().all(plain), "{path:?}");
                prop_assert_eq!(Path::new(path).components().count(), path.split('/').count());
            }
        }

        #[test]
        fn what_names_a_task_or_a_module_is_written_as_it_was_read(
            text in "[0-9a-f-]{36}|\\PC{0,40}", id: u128, name in "[a-z0-9._/@:-]{0,140}",
        ) {
            let id = TaskId(uuid::Uuid::from_u128(id));
            prop_assert_eq!(words::task_id(&id.to_string()), Some(id));
            if let Some(id) = words::task_id(&text) {
                prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
            }
            if let Ok(module) = ModuleRef::parse(&name) {
                prop_assert_eq!(module.to_string(), name);
            }
        }
    }

    #[test]
    fn artifact_paths_stay_below_their_directory() {
        let artifact = |path: &str| {
            PathParts::of(vec![String::new(), path.to_owned()])
                .artifact()
                .is_ok()
        };
        assert!(artifact("a"));
        assert!(artifact("a/b.c/..d"));
        let long = "a".repeat(1025);
        for bad in [
            "",
            "/",
            "..",
            "a/../b",
            "a//b",
            "./a",
            "a/",
            "/etc/passwd",
            "a\0",
            &long,
        ] {
            assert!(!artifact(bad), "{bad}");
        }
    }
}
