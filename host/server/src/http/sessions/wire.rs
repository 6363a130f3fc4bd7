//! The bodies of sessions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::error::ApiError;
use crate::http::exec::wire::{ExecAnswer, ExecFileJson, memory_bytes, parse_language};
use crate::http::json::{EXACT_MAX, Time, Whole};
use crate::http::tasks::submission::fields::GrantsJson;
use crate::http::{Services, path};
use cofferdam::interpreters::answer::{Answer, encoded};
use cofferdam::interpreters::request::{FileContent, Request, SessionSetup};
use cofferdam::runner::RunError;
use cofferdam::sessions::{NewSession, SessionId, SessionInfo, SessionState};
use cofferdam_domain::attempt::Artifact;
use cofferdam_domain::limits::{LimitRequest, MIB};
use cofferdam_domain::module::Language;

/// A session to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRequest<'a> {
    /// `python` or `javascript`.
    language: Cow<'a, str>,
    /// Files for the working directory: text, or `{"base64": …}`.
    #[serde(borrow, default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    files: BTreeMap<Cow<'a, str>, FileContent<'a>>,
    /// A snapshot whose files the working directory begins with; `files` replace those of the same
    /// name.
    snapshot: Option<String>,
    /// The operator's packages to import from; all if absent.
    packages: Option<Vec<String>>,
    /// How long it is kept while nobody calls it.
    #[schema(value_type = Option<u64>)]
    idle_timeout_ms: Option<Whole<1, EXACT_MAX>>,
    /// Wall-clock limit of each call that names none.
    #[schema(value_type = Option<u64>)]
    timeout_ms: Option<Whole<1, EXACT_MAX>>,
    /// CPU-time limit of each call that names none.
    #[schema(value_type = Option<u64>)]
    cpu_ms: Option<Whole<1, EXACT_MAX>>,
    /// Memory limit; 512 unless said otherwise.
    #[schema(value_type = Option<u64>)]
    memory_limit_mb: Option<Whole<1, 1_000_000>>,
    /// Bytes of files.
    #[schema(value_type = Option<u64>)]
    disk_bytes: Option<Whole<0, EXACT_MAX>>,
    #[serde(default)]
    grants: GrantsJson,
}

/// Code for a session.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnRequest<'a> {
    /// The source.
    #[serde(borrow)]
    #[schema(value_type = String)]
    code: &'a RawValue,
    /// Standard input.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    stdin: Option<&'a RawValue>,
    /// Arguments after the program's name.
    #[serde(default)]
    args: Vec<String>,
    /// Files that are written into the working directory first.
    #[serde(borrow, default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    files: BTreeMap<Cow<'a, str>, FileContent<'a>>,
    /// Wall-clock limit; the session's own if absent. Meeting it ends the session.
    #[schema(value_type = Option<u64>)]
    timeout_ms: Option<Whole<1, EXACT_MAX>>,
    /// CPU-time limit; the session's own if absent. Meeting it ends the session.
    #[schema(value_type = Option<u64>)]
    cpu_ms: Option<Whole<1, EXACT_MAX>>,
}

impl<'a> SessionRequest<'a> {
    pub(crate) async fn into_new(self, services: &Services) -> Result<NewSession, ApiError> {
        let language: Language = parse_language(&self.language)?;
        let interpreters = services.runner.interpreters();
        interpreters.get(language)?;
        let packages = interpreters.packages();
        let named = self.packages.as_deref();
        let mut setup = SessionSetup::prepare(language, &self.files, named, packages)
            .map_err(RunError::from)?;
        if let Some(snapshot) = &self.snapshot {
            let files = snapshot_files(services, snapshot).await?;
            setup.restore(files).map_err(RunError::from)?;
        }
        let admission = services.runner.admission();
        Ok(NewSession {
            language,
            setup,
            limits: LimitRequest {
                timeout: self.timeout_ms.map(|limit| Duration::from_millis(limit.0)),
                cpu: self.cpu_ms.map(|limit| Duration::from_millis(limit.0)),
                memory_bytes: Some(memory_bytes(self.memory_limit_mb, admission)),
                disk_bytes: self.disk_bytes.map(|limit| limit.0),
                ..LimitRequest::default()
            },
            grants: self.grants.into_grants()?,
            idle_timeout: self.idle_timeout_ms.map(|it| Duration::from_millis(it.0)),
        })
    }
}

async fn snapshot_files(
    services: &Services,
    snapshot: &str,
) -> Result<Vec<(String, std::path::PathBuf)>, ApiError> {
    let unknown = || {
        let detail = format!("there is no snapshot {snapshot:?}, or no longer");
        ApiError::not_found("snapshot_not_found", detail)
    };
    let id = path::parse_task_id(snapshot).ok_or_else(unknown)?;
    let files = services.files.execution_files(id.0).await?;
    files.ok_or_else(unknown)
}

impl<'a> TurnRequest<'a> {
    pub(crate) fn into_parts(self) -> (Request<'a>, LimitRequest) {
        let request = Request {
            code: self.code,
            stdin: self.stdin,
            args: self.args,
            files: self.files,
            packages: None,
        };
        let limits = LimitRequest {
            timeout: self.timeout_ms.map(|limit| Duration::from_millis(limit.0)),
            cpu: self.cpu_ms.map(|limit| Duration::from_millis(limit.0)),
            ..LimitRequest::default()
        };
        (request, limits)
    }
}

/// A session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionJson {
    /// Whoever knows it may use the session; told to nobody but its maker.
    session_id: String,
    #[serde(flatten)]
    session: SessionFacts,
}

/// What anybody may know of a session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionFacts {
    /// Tells sessions apart in the list, and is no right to use one.
    handle: String,
    language: &'static str,
    /// `idle`, `running`, or `ended` once its interpreter is gone and only its files are left.
    state: &'static str,
    /// Why its interpreter was ended.
    error: Option<SessionErrorJson>,
    #[schema(value_type = String)]
    created_at: Time,
    /// When it goes if nobody calls it.
    #[schema(value_type = String)]
    expires_at: Time,
    idle_timeout_ms: u64,
    timeout_ms: u64,
    cpu_ms: u64,
    memory_limit_mb: u64,
    disk_bytes: u64,
    /// Calls that have ended.
    calls: u64,
}

/// Why a session's interpreter was ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionErrorJson {
    kind: &'static str,
    message: String,
}

impl From<SessionInfo> for SessionJson {
    fn from(info: SessionInfo) -> SessionJson {
        SessionJson {
            session_id: info.id.to_string(),
            session: SessionFacts::from(info),
        }
    }
}

impl From<SessionInfo> for SessionFacts {
    fn from(info: SessionInfo) -> SessionFacts {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let error = match &info.state {
            SessionState::Idle | SessionState::Running => None,
            SessionState::Ended(failure) => Some(SessionErrorJson {
                kind: failure.kind.as_str(),
                message: failure.message.clone(),
            }),
        };
        SessionFacts {
            handle: info.id.handle(),
            language: info.language.as_str(),
            state: word(&info.state),
            error,
            created_at: Time(info.created_at),
            expires_at: Time(info.expires_at),
            idle_timeout_ms: millis(info.idle_timeout),
            timeout_ms: millis(info.limits.timeout),
            cpu_ms: millis(info.limits.cpu),
            memory_limit_mb: info.limits.memory_bytes / MIB,
            disk_bytes: info.limits.disk_bytes,
            calls: info.calls,
        }
    }
}

fn word(state: &SessionState) -> &'static str {
    match state {
        SessionState::Idle => "idle",
        SessionState::Running => "running",
        SessionState::Ended(_) => "ended",
    }
}

/// All sessions of this host.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionList {
    pub(crate) items: Vec<SessionFacts>,
    /// Always null: there are never more than fit into one answer.
    #[schema(value_type = Option<String>)]
    pub(crate) next_cursor: (),
}

/// What became of code in a session; what is sent is `interpreters::answer` and the session's state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TurnAnswer {
    #[serde(flatten)]
    answer: ExecAnswer,
    /// `idle`, or `ended` where this call was the session's last.
    session: String,
}

/// The answer of one call, as it is sent.
#[derive(Debug, Serialize)]
pub(crate) struct Turn {
    #[serde(flatten)]
    answer: Answer,
    session: &'static str,
}

/// The answer of one call.
pub(crate) fn turn_answer(answer: Answer, state: &SessionState) -> Turn {
    let session = match state {
        // The next call may be running already.
        SessionState::Idle | SessionState::Running => "idle",
        SessionState::Ended(_) => "ended",
    };
    Turn { answer, session }
}

/// Files by their path below the working directory.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionFiles {
    pub(crate) files: BTreeMap<String, ExecFileJson>,
    /// How many entries beside them cannot be had, by the reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) files_left_out: BTreeMap<&'static str, u64>,
}

/// A snapshot of a session's files.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SnapshotJson {
    /// To be named when a session is made.
    pub(crate) snapshot: String,
    /// When it is removed.
    #[schema(value_type = String)]
    pub(crate) expires_at: Time,
    pub(crate) files: BTreeMap<String, ExecFileJson>,
    /// How many entries beside them are not in it, by the reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) files_left_out: BTreeMap<&'static str, u64>,
}

/// Where a session's files can be had; ends in a slash.
pub(crate) fn files_url(id: SessionId) -> String {
    format!("/v1/sessions/{id}/files/")
}

/// Files as they are listed.
pub(crate) fn listed(files: &[Artifact], url: &str) -> BTreeMap<String, ExecFileJson> {
    let listed = |file: &Artifact| {
        let url = format!("{url}{}", encoded(&file.path));
        let size_bytes = file.size_bytes;
        (file.path.clone(), ExecFileJson { size_bytes, url })
    };
    files.iter().map(listed).collect()
}
