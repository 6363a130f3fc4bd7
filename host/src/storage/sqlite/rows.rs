//! The JSON texts inside rows, and their way to and from the domain. Only this backend reads them;
//! a field added later needs a default, because old rows stay as they are.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::attempt::{Artifact, Failure, FailureKind};
use crate::domain::grants::{Access, DirGrant, Grants};
use crate::domain::limits::Limits;
use crate::domain::module::{Descriptor, Digest, Language, ModuleInfo, ModuleKind};
use crate::domain::retry::RetryPolicy;
use crate::domain::task::TaskSpec;
use crate::storage::StorageError;

/// Writes a row's text.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(StorageError::corrupt)
}

/// Reads a row's text.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(StorageError::corrupt)
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a template says of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) limits: LimitsRow,
    pub(super) retry: RetryRow,
    #[serde(default, skip_serializing_if = "GrantsRow::is_empty")]
    pub(super) grants: GrantsRow,
}

impl Settings {
    pub(super) fn of(spec: &TaskSpec) -> Settings {
        Settings {
            limits: LimitsRow::from(&spec.limits),
            retry: RetryRow::from(&spec.retry),
            grants: GrantsRow::from(&spec.grants),
        }
    }

    pub(super) fn to_json(&self) -> Result<String, StorageError> {
        to_json(self)
    }

    pub(super) fn from_json(text: &str) -> Result<Settings, StorageError> {
        from_json(text)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct LimitsRow {
    timeout_ms: u64,
    cpu_ms: u64,
    fuel: Option<u64>,
    memory_bytes: u64,
    table_elements: u64,
    disk_bytes: u64,
    disk_files: u64,
    output_bytes: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    log_bytes: u64,
    hostcall_bytes: u64,
    handles: u32,
    resources: u32,
    random_bytes: u64,
}

impl From<&Limits> for LimitsRow {
    fn from(limits: &Limits) -> LimitsRow {
        LimitsRow {
            timeout_ms: millis(limits.timeout),
            cpu_ms: millis(limits.cpu),
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            disk_bytes: limits.disk_bytes,
            disk_files: limits.disk_files,
            output_bytes: limits.output_bytes,
            stdout_bytes: limits.stdout_bytes,
            stderr_bytes: limits.stderr_bytes,
            log_bytes: limits.log_bytes,
            hostcall_bytes: limits.hostcall_bytes,
            handles: limits.handles,
            resources: limits.resources,
            random_bytes: limits.random_bytes,
        }
    }
}

impl From<LimitsRow> for Limits {
    fn from(row: LimitsRow) -> Limits {
        Limits {
            timeout: Duration::from_millis(row.timeout_ms),
            cpu: Duration::from_millis(row.cpu_ms),
            fuel: row.fuel,
            memory_bytes: row.memory_bytes,
            table_elements: row.table_elements,
            disk_bytes: row.disk_bytes,
            disk_files: row.disk_files,
            output_bytes: row.output_bytes,
            stdout_bytes: row.stdout_bytes,
            stderr_bytes: row.stderr_bytes,
            log_bytes: row.log_bytes,
            hostcall_bytes: row.hostcall_bytes,
            handles: row.handles,
            resources: row.resources,
            random_bytes: row.random_bytes,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RetryRow {
    max_attempts: u32,
    max_lost: u32,
    base_ms: u64,
    factor: f64,
    max_ms: u64,
    jitter: bool,
}

impl From<&RetryPolicy> for RetryRow {
    fn from(retry: &RetryPolicy) -> RetryRow {
        RetryRow {
            max_attempts: retry.max_attempts,
            max_lost: retry.max_lost,
            base_ms: millis(retry.base),
            factor: retry.factor,
            max_ms: millis(retry.max),
            jitter: retry.jitter,
        }
    }
}

impl From<RetryRow> for RetryPolicy {
    fn from(row: RetryRow) -> RetryPolicy {
        RetryPolicy {
            max_attempts: row.max_attempts,
            max_lost: row.max_lost,
            base: Duration::from_millis(row.base_ms),
            factor: row.factor,
            max: Duration::from_millis(row.max_ms),
            jitter: row.jitter,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct GrantsRow {
    dirs: Vec<DirRow>,
}

#[derive(Serialize, Deserialize)]
struct DirRow {
    name: String,
    at: String,
    access: Option<String>,
}

impl GrantsRow {
    fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }
}

impl From<&Grants> for GrantsRow {
    fn from(grants: &Grants) -> GrantsRow {
        let dir = |grant: &DirGrant| DirRow {
            name: grant.name.clone(),
            at: grant.at.clone(),
            access: grant.access.map(|access| access.as_str().to_owned()),
        };
        GrantsRow {
            dirs: grants.dirs.iter().map(dir).collect(),
        }
    }
}

impl TryFrom<GrantsRow> for Grants {
    type Error = StorageError;

    fn try_from(row: GrantsRow) -> Result<Grants, StorageError> {
        let access = |word: String| match word.as_str() {
            "read" => Ok(Access::Read),
            "write" => Ok(Access::Write),
            other => Err(StorageError::corrupt(format_args!(
                "there is no access {other}"
            ))),
        };
        let dir = |row: DirRow| {
            let access = row.access.map(access).transpose()?;
            Ok(DirGrant {
                name: row.name,
                at: row.at,
                access,
            })
        };
        Ok(Grants {
            dirs: row
                .dirs
                .into_iter()
                .map(dir)
                .collect::<Result<_, StorageError>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct FailureRow {
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
pub(super) struct ArtifactRow {
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

/// A [`ModuleInfo`] without its digest, which is the row's key.
#[derive(Serialize, Deserialize)]
pub(super) struct InfoRow {
    kind: KindRow,
    size_bytes: u64,
    imports: Vec<String>,
    needs: Vec<String>,
    descriptor: Option<DescriptorRow>,
    compiled_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindRow {
    Task,
    Command,
    CoreCommand,
    PythonInterpreter,
    JavascriptInterpreter,
    PythonScript,
    JavascriptScript,
}

#[derive(Serialize, Deserialize)]
struct DescriptorRow {
    summary: String,
    input_schema: Option<String>,
    output_schema: Option<String>,
}

impl From<&ModuleInfo> for InfoRow {
    fn from(info: &ModuleInfo) -> InfoRow {
        InfoRow {
            kind: match info.kind {
                ModuleKind::Task => KindRow::Task,
                ModuleKind::Command => KindRow::Command,
                ModuleKind::CoreCommand => KindRow::CoreCommand,
                ModuleKind::Interpreter(Language::Python) => KindRow::PythonInterpreter,
                ModuleKind::Interpreter(Language::JavaScript) => KindRow::JavascriptInterpreter,
                ModuleKind::Script(Language::Python) => KindRow::PythonScript,
                ModuleKind::Script(Language::JavaScript) => KindRow::JavascriptScript,
            },
            size_bytes: info.size_bytes,
            imports: info.imports.clone(),
            needs: info.needs.clone(),
            descriptor: info.descriptor.as_ref().map(|said| DescriptorRow {
                summary: said.summary.clone(),
                input_schema: said.input_schema.clone(),
                output_schema: said.output_schema.clone(),
            }),
            compiled_ms: info.compiled_ms,
        }
    }
}

impl InfoRow {
    pub(super) fn with_digest(self, digest: Digest) -> ModuleInfo {
        ModuleInfo {
            digest,
            kind: match self.kind {
                KindRow::Task => ModuleKind::Task,
                KindRow::Command => ModuleKind::Command,
                KindRow::CoreCommand => ModuleKind::CoreCommand,
                KindRow::PythonInterpreter => ModuleKind::Interpreter(Language::Python),
                KindRow::JavascriptInterpreter => ModuleKind::Interpreter(Language::JavaScript),
                KindRow::PythonScript => ModuleKind::Script(Language::Python),
                KindRow::JavascriptScript => ModuleKind::Script(Language::JavaScript),
            },
            size_bytes: self.size_bytes,
            imports: self.imports,
            needs: self.needs,
            descriptor: self.descriptor.map(|said| Descriptor {
                summary: said.summary,
                input_schema: said.input_schema,
                output_schema: said.output_schema,
            }),
            compiled_ms: self.compiled_ms,
        }
    }
}
