//! Runs of source text: by an interpreter's name, as a stored script, or directly.
//!
//! The result has the same form as any other module's run, so tasks, retries and limits need not
//! know about code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::interpreters::Interpreter;
use crate::interpreters::answer::Written;
use crate::interpreters::request::{BadRequest, Prepared, Request};
use crate::registry::RegistryError;
use crate::runner::claim::{Extra, Unbegun};
use crate::runner::executed::Executed;
use crate::runner::work::{Keeps, Work};
use crate::runner::{QUEUE, RunError, RunRequest, Runner};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload, Stream};
use cofferdam_domain::cache::CacheUse;
use cofferdam_domain::caller::{Caller, Scope};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{LimitRequest, Limits};
use cofferdam_domain::module::{Descriptor, Digest, Language, ModuleInfo, ModuleKind};
use cofferdam_domain::said::{SUMMARY_BYTES_MAX, cut};
use cofferdam_domain::task::Input;
use cofferdam_sandbox::control::{Control, Observer};
use cofferdam_sandbox::{EngineClass, Identity, LoadedModule, Patience, Report};

/// Code to run at once.
pub struct CodeRequest {
    /// Its language.
    pub language: Language,
    /// The request.
    pub prepared: Prepared,
    /// The limits it asks for.
    pub limits: LimitRequest,
    /// The grants it asks for.
    pub grants: Grants,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// How old a result of the cache may be that it takes, if it takes any.
    pub cache_ttl: Option<Duration>,
    /// Gets its output while it runs. Called on the thread that runs it: it must not block.
    pub watch: Option<Watcher>,
}

/// Hears what code writes.
pub type Watcher = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

struct Heard(Watcher);

impl Observer for Heard {
    fn progress(&self, _fraction: f64, _note: &str) {}

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        (self.0)(stream, bytes);
    }
}

/// The path of a task's files in its answer.
fn artifacts_url(claim: &Claim) -> String {
    format!("/v1/tasks/{}/artifacts/", claim.task_id)
}

impl Runner {
    /// Runs code and returns its result. Dropping the future ends it.
    pub async fn execute(
        &self,
        caller: &Caller,
        request: CodeRequest,
    ) -> Result<Executed, RunError> {
        caller.may(Scope::Run)?;
        let language = request.language;
        let executed = self.execute_uncounted(caller, request).await?;
        executed.count(&self.metrics, language);
        Ok(executed)
    }

    async fn execute_uncounted(
        &self,
        caller: &Caller,
        request: CodeRequest,
    ) -> Result<Executed, RunError> {
        let (came, _entered) = (Instant::now(), self.enter(caller)?);
        let Interpreter { info, module } = self.interpreters.get(request.language)?;
        let limits = self
            .admission
            .check(caller, &request.limits, &request.grants)?;
        let pass = self.breakers.enter_run(&info, caller)?;
        let control = Control {
            observer: request.watch.map(|watch| Arc::new(Heard(watch)) as _),
            ..Control::default()
        };
        let isolation = self.isolation_of_code(request.isolation, info.kind, &limits);
        let mut work = Work::new(module, request.prepared, limits, isolation, control);
        work.dirs
            .extend(self.admission.mounts(caller.rules(), &request.grants)?);
        let outward = self
            .admission
            .way_out(caller.rules(), caller.tenant(), &request.grants);
        work.reach(outward.await?);
        work.patience = self.patience(caller, came, limits.timeout, info.digest);
        work.asks(caller.tenant(), info.digest, request.cache_ttl);
        let executed = self.perform_for(caller, limits.cpu, work).await?;
        pass.judged(executed.verdict.failure.as_ref());
        Ok(executed)
    }

    /// Checks a script without running it, and returns its description of itself.
    pub async fn check_script(
        &self,
        caller: &Caller,
        language: Language,
        source: &str,
    ) -> Result<Descriptor, RunError> {
        caller.may(Scope::Modules)?;
        let executed = self
            .execute_uncounted(
                caller,
                CodeRequest {
                    language,
                    prepared: Prepared::check(source),
                    limits: LimitRequest::default(),
                    grants: Grants::none(),
                    isolation: None,
                    cache_ttl: None,
                    watch: None,
                },
            )
            .await?;
        match executed.verdict.failure {
            Some(failure) => Err(RunError::Script(failure)),
            None => Ok(described(&executed.verdict.result)),
        }
    }

    /// A run at once of an interpreter or a script as a module.
    pub(super) async fn run_code_now(
        &self,
        caller: &Caller,
        (language, info): (Language, &ModuleInfo),
        request: RunRequest,
        limits: Limits,
        patience: Patience,
    ) -> Result<(Report, Option<CacheUse>), RunError> {
        if request.limits.fuel.is_some() {
            return Err(unmetered());
        }
        let prepared = self.prepared(language, info, &request.input).await??;
        let interpreter = self.interpreters.get(language)?;
        let module = interpreter.module;
        let isolation = self.isolation_of_code(request.isolation, info.kind, &limits);
        let mut work = Work::new(module, prepared, limits, isolation, request.control);
        work.keeps = Keeps::of(info.kind);
        work.dirs
            .extend(self.admission.mounts(caller.rules(), &request.grants)?);
        let outward = self
            .admission
            .way_out(caller.rules(), caller.tenant(), &request.grants);
        work.reach(outward.await?);
        work.patience = patience;
        work.asks(caller.tenant(), interpreter.info.digest, request.cache_ttl);
        let executed = self.perform_for(caller, limits.cpu, work).await?;
        let cache = executed.cache;
        Ok((told(info.kind, executed, "").await, cache))
    }

    /// An attempt at a task whose module is an interpreter or a script.
    pub(super) async fn run_code_claim(
        &self,
        language: Language,
        info: &ModuleInfo,
        claim: &Claim,
        extra: Extra,
        control: Control,
    ) -> Result<Report, Unbegun> {
        let invalid = |bad: BadRequest| Unbegun::Failed(FailureKind::InvalidInput, bad.to_string());
        let spec = &claim.spec;
        let Input::Inline(input) = &spec.input else {
            return Err(invalid(no_file()));
        };
        let (version, module) = self.interpreter_for(language, info).await?;
        let (kind, prepared) = match &extra.source {
            Some(source) => {
                let packages = self.interpreters.packages();
                let prepared = Prepared::script(language, source, input, packages);
                (ModuleKind::Script(language), prepared)
            }
            None => (info.kind, self.prepared(language, info, input).await?),
        };
        let mut prepared = prepared.map_err(invalid)?;
        prepared.files.extend(extra.files);
        let isolation = self.isolation_of_code(spec.isolation, info.kind, &spec.limits);
        let mut work = Work::new(module, prepared, spec.limits, isolation, control);
        work.keeps = Keeps::of(kind);
        work.dirs.extend(self.mounts_of(claim)?);
        work.reach(self.outward_of(claim).await?);
        work.identity = Identity {
            task_id: claim.task_id.to_string(),
            attempt: claim.attempt,
        };
        work.patience = self.patience_of_attempt(spec.digest);
        work.asks(&claim.tenant, version, spec.cache_ttl);
        let executed = self.perform(work).await?;
        Ok(told(kind, executed, &artifacts_url(claim)).await)
    }

    /// The version that a task names if it names an interpreter, else the newest.
    async fn interpreter_for(
        &self,
        language: Language,
        info: &ModuleInfo,
    ) -> Result<(Digest, Arc<LoadedModule>), Unbegun> {
        match info.kind {
            ModuleKind::Interpreter(_) => {
                let class = EngineClass::Interpreter;
                if let Some(module) = self.registry.loaded(info.digest, class) {
                    return Ok((info.digest, module));
                }
                // No slot of the queue is held while it is being compiled.
                self.interpreters.get(language)?;
                let module = self.registry.load(info, class, QUEUE).await?;
                Ok((info.digest, module))
            }
            ModuleKind::Script(_)
            | ModuleKind::Task
            | ModuleKind::Command
            | ModuleKind::CoreCommand => {
                let interpreter = self.interpreters.get(language)?;
                Ok((interpreter.info.digest, interpreter.module))
            }
        }
    }

    async fn prepared(
        &self,
        language: Language,
        info: &ModuleInfo,
        input: &Payload,
    ) -> Result<Result<Prepared, BadRequest>, RegistryError> {
        let packages = self.interpreters.packages();
        Ok(match info.kind {
            ModuleKind::Script(_) => {
                let source = self.interpreters.source(info.digest).await?;
                Prepared::script(language, &text(&source), input, packages)
            }
            ModuleKind::Interpreter(_)
            | ModuleKind::Task
            | ModuleKind::Command
            | ModuleKind::CoreCommand => {
                Request::parse(&input.body).and_then(|request| request.prepare(language, packages))
            }
        })
    }
}

/// A run of code as a run of a module.
async fn told(kind: ModuleKind, executed: Executed, url: &str) -> Report {
    let Executed {
        verdict,
        usage,
        streams,
        files,
        cache: _,
    } = executed;
    let outcome = match (&verdict.failure, kind) {
        (Some(failure), _) => Outcome::Failed(Failure::clone(failure)),
        (None, ModuleKind::Script(_)) => {
            let text: Box<str> = verdict.result.into();
            Outcome::Completed(Payload::json(String::from(text)))
        }
        (
            None,
            ModuleKind::Interpreter(_)
            | ModuleKind::Task
            | ModuleKind::Command
            | ModuleKind::CoreCommand,
        ) => {
            let written = Written::of(files.as_ref());
            let answer = verdict.into_answer(&streams, &usage, written, url);
            let text = serde_json::to_vec(&answer).expect("an answer is plain JSON");
            Outcome::Completed(Payload::json(text))
        }
    };
    Report {
        outcome,
        usage,
        streams,
        files,
        isolation: None,
    }
}

/// A script's description of itself. The guest's answer is untrusted, and anything but a schema is
/// left out.
fn described(told: &RawValue) -> Descriptor {
    let told: Value = serde_json::from_str(told.get()).unwrap_or_default();
    let schema = |name: &str| told.get(name).map(Value::to_string);
    Descriptor {
        summary: cut(
            told.get("summary").and_then(Value::as_str).unwrap_or(""),
            SUMMARY_BYTES_MAX,
        ),
        input_schema: schema("input_schema"),
        output_schema: schema("output_schema"),
    }
}

/// Stored sources are text.
fn text(source: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(source)
}

/// Fuel is for compiled modules.
pub(crate) fn unmetered() -> RunError {
    RunError::Code(BadRequest {
        field: "fuel".to_owned(),
        why: "interpreters are not metered; limit cpu_ms instead".to_owned(),
    })
}

fn no_file() -> BadRequest {
    BadRequest {
        field: "input".to_owned(),
        why: "is too large for an interpreter, which takes it in memory".to_owned(),
    }
}
