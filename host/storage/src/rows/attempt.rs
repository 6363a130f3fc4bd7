//! The JSON of an attempt's failure and of the files it left.

use serde::{Deserialize, Serialize};

use crate::StorageError;
use cofferdam_domain::attempt::{Artifact, Failure, FailureKind, LeftOut};

#[derive(Serialize, Deserialize)]
pub(crate) struct FailureRow {
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
            StorageError::corrupt(format_args!("{} is not a failure kind", row.kind))
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
pub(crate) struct ArtifactRow {
    path: String,
    size_bytes: u64,
}

/// The files that an attempt left: its artifacts alone, or with the counts of entries that are not
/// artifacts.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ArtifactsRow {
    Alone(Vec<ArtifactRow>),
    With {
        files: Vec<ArtifactRow>,
        left_out: LeftOutRow,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LeftOutRow {
    symbolic_links: u64,
    special_files: u64,
    names_not_utf8: u64,
    long_paths: u64,
    too_many: u64,
    unreadable: u64,
}

impl Default for ArtifactsRow {
    fn default() -> ArtifactsRow {
        ArtifactsRow::Alone(Vec::new())
    }
}

impl ArtifactsRow {
    /// The row; `None` for an attempt that left nothing.
    pub(crate) fn of(artifacts: &[Artifact], left_out: LeftOut) -> Option<ArtifactsRow> {
        let files: Vec<_> = artifacts.iter().map(ArtifactRow::from).collect();
        if left_out != LeftOut::default() {
            let left_out = LeftOutRow::from(left_out);
            return Some(ArtifactsRow::With { files, left_out });
        }
        (!files.is_empty()).then_some(ArtifactsRow::Alone(files))
    }

    pub(crate) fn into_parts(self) -> (Vec<Artifact>, LeftOut) {
        let (files, left_out) = match self {
            ArtifactsRow::Alone(files) => (files, LeftOut::default()),
            ArtifactsRow::With { files, left_out } => (files, left_out.into()),
        };
        (files.into_iter().map(Artifact::from).collect(), left_out)
    }
}

impl From<LeftOut> for LeftOutRow {
    fn from(left_out: LeftOut) -> LeftOutRow {
        LeftOutRow {
            symbolic_links: left_out.symbolic_links,
            special_files: left_out.special_files,
            names_not_utf8: left_out.names_not_utf8,
            long_paths: left_out.long_paths,
            too_many: left_out.too_many,
            unreadable: left_out.unreadable,
        }
    }
}

impl From<LeftOutRow> for LeftOut {
    fn from(row: LeftOutRow) -> LeftOut {
        LeftOut {
            symbolic_links: row.symbolic_links,
            special_files: row.special_files,
            names_not_utf8: row.names_not_utf8,
            long_paths: row.long_paths,
            too_many: row.too_many,
            unreadable: row.unreadable,
        }
    }
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
