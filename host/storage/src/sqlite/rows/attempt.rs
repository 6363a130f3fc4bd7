//! What an attempt's row says of its failure and of the files it left.

use serde::{Deserialize, Serialize};

use crate::StorageError;
use cofferdam_domain::attempt::{Artifact, Failure, FailureKind};

#[derive(Serialize, Deserialize)]
pub(in crate::sqlite) struct FailureRow {
    kind: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backtrace: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    transient: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

impl From<&Failure> for FailureRow {
    fn from(failure: &Failure) -> FailureRow {
        FailureRow {
            kind: failure.kind.as_str().to_owned(),
            message: failure.message.clone(),
            backtrace: failure.backtrace.clone(),
            transient: failure.transient,
            exit_code: failure.exit_code,
        }
    }
}

impl TryFrom<FailureRow> for Failure {
    type Error = StorageError;

    fn try_from(row: FailureRow) -> Result<Failure, StorageError> {
        let kind = FailureKind::parse(&row.kind).ok_or_else(|| {
            StorageError::corrupt(format_args!("there is no failure kind {}", row.kind))
        })?;
        Ok(Failure {
            kind,
            message: row.message,
            backtrace: row.backtrace,
            transient: row.transient,
            exit_code: row.exit_code,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::sqlite) struct ArtifactRow {
    path: String,
    size_bytes: u64,
}

impl From<&Artifact> for ArtifactRow {
    fn from(artifact: &Artifact) -> ArtifactRow {
        ArtifactRow {
            path: artifact.path.clone(),
            size_bytes: artifact.size_bytes,
        }
    }
}

impl From<ArtifactRow> for Artifact {
    fn from(row: ArtifactRow) -> Artifact {
        Artifact {
            path: row.path,
            size_bytes: row.size_bytes,
        }
    }
}
