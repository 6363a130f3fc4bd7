//! The bodies of code execution.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::error::ApiError;
use crate::http::json::{EXACT_MAX, Whole};
use crate::http::tasks::submission::fields::GrantsJson;
use crate::http::tasks::wire::UsageJson;
use cofferdam::interpreters::request::{FileContent, MEMORY_BYTES, Request};
use cofferdam::runner::admission::Admission;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::{LimitRequest, MIB};
use cofferdam_domain::module::Language;

/// Files by their name.
type Files<'a> = BTreeMap<Cow<'a, str>, FileContent<'a>>;

/// Code to run.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecRequest<'a> {
    /// `python` (or `py`, `python3`) or `javascript` (or `js`, `node`, `nodejs`, `typescript`,
    /// `ts`), in any case. Types are taken off.
    #[schema(value_type = String, example = "python")]
    language: Cow<'a, str>,
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
    /// Files for the working directory: text, or `{"base64": …}`.
    #[serde(borrow, default, deserialize_with = "files_once")]
    #[schema(value_type = BTreeMap<String, Object>)]
    files: Files<'a>,
    /// The operator's packages to import from; all if absent.
    packages: Option<Vec<String>>,
    /// Wall-clock limit.
    #[schema(value_type = Option<u64>, minimum = 1)]
    timeout_ms: Option<Whole<1, EXACT_MAX>>,
    /// CPU-time limit.
    #[schema(value_type = Option<u64>, minimum = 1)]
    cpu_ms: Option<Whole<1, EXACT_MAX>>,
    /// Memory limit; 512 unless said otherwise.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000)]
    memory_limit_mb: Option<Whole<1, 1_000_000>>,
    #[serde(default)]
    grants: GrantsJson,
}

/// The payload of the worker API's `sandboxed_execution`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolCode<'a> {
    #[serde(borrow)]
    code: &'a RawValue,
    #[serde(default)]
    language: Option<Cow<'a, str>>,
    /// Seconds.
    timeout: Option<f64>,
    memory_limit_mb: Option<Whole<1, 1_000_000>>,
}

/// The longest time-out a pool may ask for, in seconds: beyond it lies no ceiling.
const TIMEOUT_S_MAX: f64 = 1e9;

/// A request taken apart.
pub(crate) struct ExecParts<'a> {
    pub(crate) language: Language,
    pub(crate) request: Request<'a>,
    pub(crate) limits: LimitRequest,
    pub(crate) grants: Grants,
}

impl<'a> ExecRequest<'a> {
    pub(crate) fn into_parts(self, admission: &Admission) -> Result<ExecParts<'a>, ApiError> {
        let language = parse_language(&self.language)?;
        let memory_bytes = memory_bytes(self.memory_limit_mb, admission);
        Ok(ExecParts {
            language,
            request: Request {
                code: self.code,
                stdin: self.stdin,
                args: self.args,
                files: self.files,
                packages: self.packages,
            },
            limits: LimitRequest {
                timeout: self.timeout_ms.map(|limit| Duration::from_millis(limit.0)),
                cpu: self.cpu_ms.map(|limit| Duration::from_millis(limit.0)),
                memory_bytes: Some(memory_bytes),
                ..LimitRequest::default()
            },
            grants: self.grants.into_grants()?,
        })
    }
}

/// A language by its name.
pub(crate) fn parse_language(name: &str) -> Result<Language, ApiError> {
    Language::parse(name)
        .ok_or_else(|| ApiError::field("language", format!("{name:?} is not python or javascript")))
}

/// The memory that was asked for, or what code has that does not say.
pub(crate) fn memory_bytes(asked_mb: Option<Whole<1, 1_000_000>>, admission: &Admission) -> u64 {
    match asked_mb {
        Some(asked) => asked.0 * MIB,
        None => MEMORY_BYTES.min(admission.ceilings().memory_bytes),
    }
}

impl<'a> PoolCode<'a> {
    /// The same request in this API's words. Python, where no language is said.
    pub(crate) fn into_request(self) -> Result<ExecRequest<'a>, ApiError> {
        let timeout_ms = match self.timeout {
            None => None,
            Some(seconds) if seconds > 0.0 && seconds <= TIMEOUT_S_MAX => {
                let millis = Duration::from_secs_f64(seconds).as_millis();
                Some(Whole(u64::try_from(millis).unwrap_or(u64::MAX).max(1)))
            }
            Some(seconds) => {
                let detail = format!("{seconds} is not a number of seconds above 0");
                return Err(ApiError::field("payload.timeout", detail));
            }
        };
        Ok(ExecRequest {
            language: self.language.unwrap_or(Cow::Borrowed("python")),
            code: self.code,
            stdin: None,
            args: Vec::new(),
            files: BTreeMap::new(),
            packages: None,
            timeout_ms,
            cpu_ms: None,
            memory_limit_mb: self.memory_limit_mb,
            grants: GrantsJson::default(),
        })
    }
}

/// Files whose names all differ. serde's maps would keep the last of two.
fn files_once<'de, D: Deserializer<'de>>(input: D) -> Result<Files<'de>, D::Error> {
    struct Once<'a>(PhantomData<&'a ()>);
    impl<'de> Visitor<'de> for Once<'de> {
        type Value = Files<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of files")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files<'de>, A::Error> {
            let mut files = Files::new();
            while let Some((name, content)) = map.next_entry()? {
                if files.insert(name, content).is_some() {
                    return Err(de::Error::custom("a file's name occurs twice"));
                }
            }
            Ok(files)
        }
    }
    input.deserialize_map(Once(PhantomData))
}

/// What became of code, as the API document says it; what is sent is `interpreters::answer`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecAnswer {
    /// `completed` or `failed`.
    status: String,
    /// The value of the last expression, or of the variable `result`.
    result: Value,
    /// How the value reads, where JSON cannot say all of it.
    result_repr: Option<String>,
    stdout: String,
    stderr: String,
    /// Null for code that was stopped.
    exit_code: Option<i32>,
    error: Option<ExecErrorJson>,
    /// The files it wrote, by name.
    files: BTreeMap<String, ExecFileJson>,
    /// How many entries beside them are not kept, by the reason; absent if none.
    files_left_out: Option<BTreeMap<String, u64>>,
    usage: UsageJson,
    truncated: ExecTruncatedJson,
}

/// Which streams hold less than was written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecTruncatedJson {
    stdout: bool,
    stderr: bool,
}

/// Why code failed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecErrorJson {
    /// The failure kind; `guest_error` for an uncaught exception.
    kind: String,
    /// The exception's type.
    r#type: Option<String>,
    message: String,
    /// The script's own frames.
    traceback: Option<String>,
}

/// A file that code wrote.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecFileJson {
    pub(crate) size_bytes: u64,
    /// Where it can be had until the host's time for files has passed.
    pub(crate) url: String,
}
