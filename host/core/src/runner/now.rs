//! Runs of modules at once, for a caller that waits.

use std::sync::Arc;
use std::time::Instant;

use crate::registry::schema::Text;
use crate::runner::{RunError, RunRequest, Runner};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::cache::CacheUse;
use cofferdam_domain::caller::{Caller, Scope};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Language, ModuleInfo};
use cofferdam_sandbox::{Attachments, GuestInput, Identity, Mount, Report, Run, RunSpec};

impl Runner {
    /// Runs at once and returns the report, and where it came from if the request asks the cache. Dropping the
    /// future ends the run.
    pub async fn run_now(
        &self,
        caller: &Caller,
        request: RunRequest,
    ) -> Result<(Report, Option<CacheUse>), RunError> {
        caller.may(Scope::Run)?;
        let (came, _entered) = (Instant::now(), self.enter(caller)?);
        let limits = self
            .admission
            .check(caller, &request.limits, &request.grants)?;
        let info = self
            .registry
            .resolve(caller.tenant(), &request.module)
            .await?;
        if let Some(language) = info.kind.language() {
            let language = (language, &*info);
            return Box::pin(self.run_script_now(caller, language, request, limits, came)).await;
        }
        let dirs = self.admission.mounts(caller.rules(), &request.grants)?;
        let bounds = (limits, dirs);
        if request.cache_ttl.is_some() {
            // Runs that do not ask are not to be larger because of it.
            return Box::pin(self.run_asking(caller, &info, request, bounds, came)).await;
        }
        let report = self.run_module_now(caller, &info, request, bounds, came);
        Ok((report.await?, None))
    }

    /// The same, unless the cache has what comes of it.
    async fn run_asking(
        &self,
        caller: &Caller,
        info: &ModuleInfo,
        request: RunRequest,
        (limits, dirs): (Limits, Vec<Mount>),
        came: Instant,
    ) -> Result<(Report, Option<CacheUse>), RunError> {
        let ask = self.ask_for(caller.tenant(), info, &request, (&limits, &dirs));
        let (ask, control) = (ask.await, request.control.clone());
        let run = self.run_module_now(caller, info, request, (limits, dirs), came);
        let Some(ask) = ask else {
            return Ok((run.await?, None));
        };
        let (report, cache) = self.results.serve(ask, &control, Box::pin(run)).await?;
        let report = match cache {
            CacheUse::Miss => report,
            // A task may have left it, whose output is held to the schema once it is kept.
            CacheUse::Hit | CacheUse::Joined => self.held_to_schema(info, report).await,
        };
        Ok((report, Some(cache)))
    }

    async fn run_module_now(
        &self,
        caller: &Caller,
        info: &ModuleInfo,
        request: RunRequest,
        (limits, dirs): (Limits, Vec<Mount>),
        came: Instant,
    ) -> Result<Report, RunError> {
        self.check_input(info, &request.input).await?;
        let pass = self.breakers.enter_run(info, caller)?;
        let asked = request.isolation;
        let place = self.place(info, &limits, asked, caller.number()).await?;
        let spec = RunSpec {
            program: request.module.name.as_str().to_owned(),
            input: GuestInput::Inline(request.input),
            args: request.args,
            env: request.env,
            limits,
            files: Vec::new(),
            dirs,
            outward: self
                .admission
                .way_out(caller.rules(), caller.tenant(), &request.grants)
                .await?,
            isolation: place.isolation,
            identity: Identity::default(),
        };
        let attachments = Attachments {
            stdin: request.stdin,
            control: request.control,
            patience: self.patience(caller, came, limits.timeout, info.digest),
            ..Attachments::default()
        };
        let run = Run { spec, attachments };
        let meter = self.admission.cpu().meter(caller, limits.cpu);
        let ended = self.drive(Arc::clone(&place.module), run).await;
        if let Some(meter) = meter {
            meter.ended(ended.as_ref().ok().map(|report| report.usage.cpu));
        }
        let report = ended?;
        place.learn(&report);
        pass.ended(&report.outcome);
        let report = self.held_to_schema(info, report).await;
        self.count(&request.module.name, &report);
        Ok(report)
    }

    /// A run at once of an interpreter or a script as a module.
    async fn run_script_now(
        &self,
        caller: &Caller,
        (language, info): (Language, &ModuleInfo),
        request: RunRequest,
        limits: Limits,
        came: Instant,
    ) -> Result<(Report, Option<CacheUse>), RunError> {
        self.check_input(info, &request.input).await?;
        let pass = self.breakers.enter_run(info, caller)?;
        let name = request.module.name.clone();
        let patience = self.patience(caller, came, limits.timeout, info.digest);
        let (report, cache) = self
            .run_code_now(caller, (language, info), request, limits, patience)
            .await?;
        pass.ended(&report.outcome);
        let report = self.held_to_schema(info, report).await;
        self.count(&name, &report);
        Ok((report, cache))
    }

    async fn check_input(&self, info: &ModuleInfo, input: &Payload) -> Result<(), RunError> {
        let text = Text::Memory(input.body.clone());
        let checked = self.registry.check_input(info, &input.content_type, text);
        checked.await.map_err(RunError::Schema)
    }
}
