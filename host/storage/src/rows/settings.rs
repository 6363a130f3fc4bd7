//! The JSON of a template: limits, retries, grants and isolation of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::placement::PlacementRow;
use super::{from_json, millis, to_json};
use crate::StorageError;
use cofferdam_domain::grants::http::{HttpGrant, SecretHeader};
use cofferdam_domain::grants::{Access, DirGrant, Grants};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::task::TaskSpec;

/// The settings of a run in a template.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) limits: LimitsRow,
    pub(crate) retry: RetryRow,
    #[serde(default, skip_serializing_if = "GrantsRow::is_empty")]
    pub(crate) grants: GrantsRow,
    #[serde(default, skip_serializing_if = "IsolationRow::is_empty")]
    pub(crate) isolation: IsolationRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "PlacementRow::is_empty")]
    pub(crate) placement: PlacementRow,
}

impl Settings {
    pub(crate) fn of(spec: &TaskSpec) -> Settings {
        Settings {
            limits: LimitsRow::from(&spec.limits),
            retry: RetryRow::from(&spec.retry),
            grants: GrantsRow::from(&spec.grants),
            isolation: IsolationRow::from(spec.isolation),
            cache_ttl_ms: spec.cache_ttl.map(millis),
            placement: PlacementRow::from(&spec.placement),
        }
    }

    pub(crate) fn to_json(&self) -> Result<String, StorageError> {
        to_json(self)
    }

    pub(crate) fn from_json(text: &str) -> Result<Settings, StorageError> {
        from_json(text)
    }
}

/// What a task says of itself of the JSON of its template. Few tasks ask for either, and for the others
/// that JSON is not read.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) placement: Placement,
}

impl Asked {
    pub(crate) fn of(settings: Option<String>) -> Result<Asked, StorageError> {
        let Some(settings) = settings else {
            return Ok(Asked::default());
        };
        let Settings {
            isolation,
            placement,
            cache_ttl_ms: _,
            limits: _,
            retry: _,
            grants: _,
        } = Settings::from_json(&settings)?;
        Ok(Asked {
            isolation: isolation.try_into()?,
            placement: placement.try_into()?,
        })
    }
}

/// An isolation by its word; absent if none is asked for.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct IsolationRow(Option<String>);

impl IsolationRow {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Option<Isolation>> for IsolationRow {
    fn from(isolation: Option<Isolation>) -> IsolationRow {
        IsolationRow(isolation.map(|isolation| isolation.as_str().to_owned()))
    }
}

impl TryFrom<IsolationRow> for Option<Isolation> {
    type Error = StorageError;

    fn try_from(row: IsolationRow) -> Result<Option<Isolation>, StorageError> {
        let read = |word: String| {
            Isolation::parse(&word)
                .ok_or_else(|| StorageError::corrupt(format_args!("{word:?} is not an isolation")))
        };
        row.0.map(read).transpose()
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LimitsRow {
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
pub(crate) struct RetryRow {
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
pub(crate) struct GrantsRow {
    #[serde(default)]
    dirs: Vec<DirRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    http: Vec<HttpRow>,
}

#[derive(Serialize, Deserialize)]
struct HttpRow {
    host: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderRow>,
}

/// A header with a secret, which is named here and kept elsewhere.
#[derive(Serialize, Deserialize)]
struct HeaderRow {
    name: String,
    secret: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
}

impl HttpRow {
    fn into_grant(self) -> Result<HttpGrant, StorageError> {
        let header = |row: &HeaderRow| {
            let secret = SecretName::parse(&row.secret).map_err(StorageError::corrupt)?;
            SecretHeader::new(&row.name, secret, &row.prefix).map_err(StorageError::corrupt)
        };
        let headers: Result<_, StorageError> = self.headers.iter().map(header).collect();
        let grant = HttpGrant::new(&self.host, &self.methods);
        let grant = grant.map_err(StorageError::corrupt)?;
        grant.with_headers(headers?).map_err(StorageError::corrupt)
    }
}

#[derive(Serialize, Deserialize)]
struct DirRow {
    name: String,
    at: String,
    access: Option<String>,
}

impl GrantsRow {
    fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.http.is_empty()
    }
}

impl From<&Grants> for GrantsRow {
    fn from(grants: &Grants) -> GrantsRow {
        let dir = |grant: &DirGrant| DirRow {
            name: grant.name.clone(),
            at: grant.at.clone(),
            access: grant.access.map(|access| access.as_str().to_owned()),
        };
        let header = |header: &SecretHeader| HeaderRow {
            name: header.name().to_owned(),
            secret: header.secret().to_string(),
            prefix: header.prefix().to_owned(),
        };
        let http = |grant: &HttpGrant| HttpRow {
            host: grant.hosts().to_string(),
            methods: grant.methods().to_vec(),
            headers: grant.headers().iter().map(header).collect(),
        };
        GrantsRow {
            dirs: grants.dirs.iter().map(dir).collect(),
            http: grants.http.iter().map(http).collect(),
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
                "{other} is not an access"
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
            http: row
                .http
                .into_iter()
                .map(HttpRow::into_grant)
                .collect::<Result<_, StorageError>>()?,
        })
    }
}
