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
    /// Anyone who knows it may use the session; only its creator gets it.
    session_id: String,
    #[serde(flatten)]
    session: SessionFacts,
}

/// The public facts about a session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionFacts {
    /// Identifies a session in the list; it is not a right to use the session.
    handle: String,
    language: &'static str,
    /// `idle`, `running`, or `ended` once its interpreter is gone and only its files are left.
    state: &'static str,
    /// Why its interpreter was ended.
    error: Option<SessionErrorJson>,
    #[schema(value_type = String)]
    created_at: Time,
    /// When it ends if nobody calls it.
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
    /// Always null: all sessions fit into one answer.
    #[schema(value_type = Option<String>)]
    pub(crate) next_cursor: (),
}

/// The result of code in a session, for the API document; `interpreters::answer` and the session's
/// state are sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TurnAnswer {
    #[serde(flatten)]
    answer: ExecAnswer,
    /// `idle`, or `ended` if this call was the session's last.
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
        // The next call may already be running.
        SessionState::Idle | SessionState::Running => "idle",
        SessionState::Ended(_) => "ended",
    };
    Turn { answer, session }
}

/// Files by their path below the working directory.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionFiles {
    pub(crate) files: BTreeMap<String, ExecFileJson>,
    /// How many other entries cannot be read, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) files_left_out: BTreeMap<&'static str, u64>,
}

/// A snapshot of a session's files.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SnapshotJson {
    /// The id to pass when a session is made.
    pub(crate) snapshot: String,
    /// When it is removed.
    #[schema(value_type = String)]
    pub(crate) expires_at: Time,
    pub(crate) files: BTreeMap<String, ExecFileJson>,
    /// How many other entries are not in it, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) files_left_out: BTreeMap<&'static str, u64>,
}

/// The URL of a session's files; ends in a slash.
pub(crate) fn files_url(id: SessionId) -> String {
    format!("/v1/sessions/{id}/files/")
}

/// A list of files.
pub(crate) fn listed(files: &[Artifact], url: &str) -> BTreeMap<String, ExecFileJson> {
    let listed = |file: &Artifact| {
        let url = format!("{url}{}", encoded(&file.path));
        let size_bytes = file.size_bytes;
        (file.path.clone(), ExecFileJson { size_bytes, url })
    };
    files.iter().map(listed).collect()
}
