//! Requests for sessions, and code for one.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::intake::code::{Megabytes, language, limits};
use crate::intake::grants::GrantsJson;
use crate::intake::limits::{Any, Positive, millis};
use crate::intake::refused::Refused;
use crate::intake::words;
use cofferdam::interpreters::request::{Files, Request, SessionSetup, files_once};
use cofferdam::runner::Runner;
use cofferdam::sessions::NewSession;
use cofferdam_domain::limits::LimitRequest;

/// A request for a session.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRequest<'a> {
    /// `python` or `javascript`.
    language: Cow<'a, str>,
    /// Files for the working directory: text, or `{"base64": …}`.
    #[serde(borrow, default, deserialize_with = "files_once")]
    #[schema(value_type = BTreeMap<String, Object>)]
    files: Files<'a>,
    /// A snapshot whose files are put into the working directory; `files` replace those of the same
    /// name.
    pub(crate) snapshot: Option<String>,
    /// The operator's packages to import from; all if absent.
    packages: Option<Vec<String>>,
    /// How long it is kept while it is idle.
    #[schema(value_type = Option<u64>)]
    idle_timeout_ms: Option<Positive>,
    /// Wall-clock limit of each call that names none.
    #[schema(value_type = Option<u64>)]
    timeout_ms: Option<Positive>,
    /// CPU-time limit of each call that names none.
    #[schema(value_type = Option<u64>)]
    cpu_ms: Option<Positive>,
    /// Memory limit; 512 if absent.
    #[schema(value_type = Option<u64>)]
    memory_limit_mb: Option<Megabytes>,
    /// Bytes of files.
    #[schema(value_type = Option<u64>)]
    disk_bytes: Option<Any>,
    #[serde(default)]
    grants: GrantsJson,
    /// `shared`, `process` or `dedicated`; code always runs in a jailed process, and with `dedicated` in one
    /// for itself.
    #[schema(pattern = "^(shared|process|dedicated)$")]
    isolation: Option<String>,
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
    /// Files to write into the working directory first.
    #[serde(borrow, default, deserialize_with = "files_once")]
    #[schema(value_type = BTreeMap<String, Object>)]
    files: Files<'a>,
    /// Wall-clock limit; the session's own if absent. Meeting it ends the session.
    #[schema(value_type = Option<u64>)]
    timeout_ms: Option<Positive>,
    /// CPU-time limit; the session's own if absent. Meeting it ends the session.
    #[schema(value_type = Option<u64>)]
    cpu_ms: Option<Positive>,
}

impl SessionRequest<'_> {
    /// The session, without the files of its snapshot.
    pub(crate) fn into_new(self, runner: &Runner) -> Result<NewSession, Refused> {
        let language = language(&self.language)?;
        let interpreters = runner.interpreters();
        interpreters.get(language)?;
        let named = self.packages.as_deref();
        let packages = interpreters.packages();
        let setup = SessionSetup::prepare(language, &self.files, named, packages)?;
        let limits = limits(
            self.timeout_ms,
            self.cpu_ms,
            self.memory_limit_mb,
            runner.admission(),
        );
        Ok(NewSession {
            language,
            setup,
            limits: LimitRequest {
                disk_bytes: self.disk_bytes.map(|limit| limit.0),
                ..limits
            },
            grants: self.grants.into_grants()?,
            isolation: words::isolation(self.isolation.as_deref())?,
            idle_timeout: millis(self.idle_timeout_ms),
        })
    }
}

impl<'a> TurnRequest<'a> {
    /// The code and its limits.
    pub(crate) fn into_parts(self) -> (Request<'a>, LimitRequest) {
        let request = Request {
            code: self.code,
            stdin: self.stdin,
            args: self.args,
            files: self.files,
            packages: None,
        };
        let limits = LimitRequest {
            timeout: millis(self.timeout_ms),
            cpu: millis(self.cpu_ms),
            ..LimitRequest::default()
        };
        (request, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::code::{ExecRequest, ToolArguments};
    use crate::intake::json::parse;

    fn refused<'a, T: Deserialize<'a>>(text: &'a str) -> String {
        match parse::<T>(text.as_bytes()) {
            Ok(_) => panic!("{text} is accepted"),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn the_same_mistake_is_told_alike_whatever_it_is_in() {
        for (mistake, told) in [
            (r#""files": {"a": "1", "a": "2"}"#, "occurs twice"),
            (r#""timeout_ms": 0"#, "from 1 to"),
            (r#""timeout": 1"#, "did you mean `timeout_ms`?"),
        ] {
            let code = format!(r#"{{"code": "1", {mistake}}}"#);
            let of_language = format!(r#"{{"language": "python", {mistake}}}"#);
            let all = format!(r#"{{"language": "python", "code": "1", {mistake}}}"#);
            for why in [
                refused::<ExecRequest<'_>>(&all),
                refused::<ToolArguments<'_>>(&code),
                refused::<TurnRequest<'_>>(&code),
                refused::<SessionRequest<'_>>(&of_language),
            ] {
                assert!(why.contains(told), "{mistake}: {why}");
            }
        }
    }
}
