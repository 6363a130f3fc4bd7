//! Sessions as callers see them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::http::exec::wire::{ExecAnswer, ExecFileJson};
use crate::intake::time::Time;
use cofferdam::interpreters::answer::{Answer, encoded};
use cofferdam::sessions::{SessionId, SessionInfo, SessionState};
use cofferdam_domain::attempt::Artifact;
use cofferdam_domain::limits::MIB;

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
