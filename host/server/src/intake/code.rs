//! Code as a caller sends it, to run at once or as a task.
//!
//! The fields mean the same at every entry point. `interpreters` converts them for a language's
//! interpreter and reports its mistakes; the runner and the queue enforce the operator's ceilings.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::intake::cache::CacheJson;
use crate::intake::callback::CallbackJson;
use crate::intake::grants::GrantsJson;
use crate::intake::json::Whole;
use crate::intake::limits::{Positive, millis};
use crate::intake::refused::Refused;
use crate::intake::words;
use cofferdam::interpreters::request::{Files, MEMORY_BYTES, Prepared, Request, files_once};
use cofferdam::queue::Submission;
use cofferdam::runner::admission::Admission;
use cofferdam::runner::{CodeRequest, Runner};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::Callback;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{LimitRequest, MIB};
use cofferdam_domain::module::{Language, ModuleRef};
use cofferdam_domain::task::Input;

/// A memory limit in MiB.
pub(crate) type Megabytes = Whole<1, 1_000_000>;

/// Code to run.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecRequest<'a> {
    /// `python` (or `py`, `python3`) or `javascript` (or `js`, `node`, `nodejs`, `typescript`,
    /// `ts`), in any case. Types are removed.
    #[schema(value_type = String, example = "python")]
    pub(super) language: Cow<'a, str>,
    /// The source.
    #[serde(borrow)]
    #[schema(value_type = String)]
    pub(super) code: &'a RawValue,
    /// Standard input.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub(super) stdin: Option<&'a RawValue>,
    /// Arguments after the program's name.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Files for the working directory: text, or `{"base64": …}`.
    #[serde(borrow, default, deserialize_with = "files_once")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub(super) files: Files<'a>,
    /// The operator's packages to import from; all if absent.
    pub(super) packages: Option<Vec<String>>,
    /// Wall-clock limit.
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(super) timeout_ms: Option<Positive>,
    /// CPU-time limit.
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(super) cpu_ms: Option<Positive>,
    /// Memory limit; 512 if absent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000)]
    pub(super) memory_limit_mb: Option<Megabytes>,
    #[serde(default)]
    pub(super) grants: GrantsJson,
    /// `shared`, `process` or `dedicated`; code always runs in a jailed process, and with `dedicated` in one
    /// for itself.
    #[schema(pattern = "^(shared|process|dedicated)$")]
    pub(super) isolation: Option<String>,
    /// With `?async=true`: whom the task's end is told.
    pub(super) callback: Option<CallbackJson>,
    pub(super) cache: Option<CacheJson>,
}

/// The same as the arguments of an agent's tool, whose name has the language. It has no grants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolArguments<'a> {
    #[serde(borrow)]
    code: &'a RawValue,
    #[serde(borrow, default)]
    stdin: Option<&'a RawValue>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(borrow, default, deserialize_with = "files_once")]
    files: Files<'a>,
    packages: Option<Vec<String>>,
    timeout_ms: Option<Positive>,
    cpu_ms: Option<Positive>,
    memory_limit_mb: Option<Megabytes>,
    isolation: Option<String>,
}

/// Code from any entry point.
pub(crate) struct Code<'a> {
    language: Language,
    request: Request<'a>,
    limits: LimitRequest,
    grants: Grants,
    isolation: Option<Isolation>,
    callback: Option<Callback>,
    cache_ttl: Option<Duration>,
}

impl<'a> ExecRequest<'a> {
    /// The code, with limits from `admission` if it names none.
    pub(crate) fn into_code(self, admission: &Admission) -> Result<Code<'a>, Refused> {
        Ok(Code {
            language: language(&self.language)?,
            request: Request {
                code: self.code,
                stdin: self.stdin,
                args: self.args,
                files: self.files,
                packages: self.packages,
            },
            limits: limits(
                self.timeout_ms,
                self.cpu_ms,
                self.memory_limit_mb,
                admission,
            ),
            grants: self.grants.into_grants()?,
            isolation: words::isolation(self.isolation.as_deref())?,
            callback: self.callback.map(CallbackJson::into_callback).transpose()?,
            cache_ttl: self.cache.map(CacheJson::ttl),
        })
    }
}

impl<'a> ToolArguments<'a> {
    /// The same request in the API's form.
    pub(crate) fn into_request(self, language: Language) -> ExecRequest<'a> {
        ExecRequest {
            language: Cow::Borrowed(language.as_str()),
            code: self.code,
            stdin: self.stdin,
            args: self.args,
            files: self.files,
            packages: self.packages,
            timeout_ms: self.timeout_ms,
            cpu_ms: self.cpu_ms,
            memory_limit_mb: self.memory_limit_mb,
            grants: GrantsJson::default(),
            isolation: self.isolation,
            callback: None,
            cache: None,
        }
    }
}

impl Code<'_> {
    /// The code in the runner's form, to be run at once: its end is told nobody else.
    pub(crate) fn into_request(self, runner: &Runner) -> Result<CodeRequest, Refused> {
        if self.callback.is_some() {
            let why = "the end of a task is told, and with async=true this would be one";
            return Err(Refused::field("callback", why));
        }
        let prepared = self.prepare(runner)?;
        Ok(CodeRequest {
            language: self.language,
            prepared,
            limits: self.limits,
            grants: self.grants,
            isolation: self.isolation,
            cache_ttl: self.cache_ttl,
            watch: None,
        })
    }

    /// The code as a task: its module is the interpreter, and its input is the request. It is
    /// checked as if it ran at once.
    pub(crate) fn into_submission(self, runner: &Runner) -> Result<Submission, Refused> {
        self.prepare(runner)?;
        let module = ModuleRef {
            name: self.language.module(),
            digest: None,
        };
        let request = serde_json::to_vec(&self.request).expect("a request is plain JSON");
        let input = Input::Inline(Payload {
            content_type: "application/json".into(),
            body: request.into(),
        });
        Ok(Submission {
            limits: self.limits,
            grants: self.grants,
            isolation: self.isolation,
            callback: self.callback,
            cache_ttl: self.cache_ttl,
            ..Submission::new(module, input)
        })
    }

    fn prepare(&self, runner: &Runner) -> Result<Prepared, Refused> {
        let interpreters = runner.interpreters();
        // This comes before mistakes in the request, which do not matter while no code can run.
        interpreters.get(self.language)?;
        let packages = interpreters.packages();
        Ok(self.request.prepare(self.language, packages)?)
    }
}

/// Reads a language's name.
pub(crate) fn language(name: &str) -> Result<Language, Refused> {
    let refused = || {
        Refused::field(
            "language",
            format_args!("{name:?} is not python or javascript"),
        )
    };
    Language::parse(name).ok_or_else(refused)
}

/// The limits of code.
pub(crate) fn limits(
    timeout_ms: Option<Positive>,
    cpu_ms: Option<Positive>,
    memory_limit_mb: Option<Megabytes>,
    admission: &Admission,
) -> LimitRequest {
    let memory_bytes = match memory_limit_mb {
        Some(asked) => asked.0 * MIB,
        None => MEMORY_BYTES.min(admission.ceilings().memory_bytes),
    };
    LimitRequest {
        timeout: millis(timeout_ms),
        cpu: millis(cpu_ms),
        memory_bytes: Some(memory_bytes),
        ..LimitRequest::default()
    }
}
