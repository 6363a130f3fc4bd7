//! A run of an interpreter: its sandbox, its turn, and the files that are kept.
//!
//! `code` and `session` make the request to the interpreter and the answer.

use std::sync::Arc;
use std::time::Duration;

use crate::interpreters::answer::Verdict;
use crate::interpreters::request::Prepared;
use crate::results::{Ask, Door, KeyParts};
use crate::runner::asked::are_read;
use crate::runner::executed::Executed;
use crate::runner::{Runner, not_begun};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleKind};
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::egress::Outward;
use cofferdam_sandbox::files::InputFile;
use cofferdam_sandbox::{
    Attachments, GuestInput, Identity, LoadedModule, Mount, NoRoom, OutputFiles, Patience, Report,
    Run, RunSpec, Stdin,
};

/// Table elements of an interpreter: CPython's table has some 10 000.
const TABLE_ELEMENTS_MIN: u64 = 100_000;

/// The files of a run that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keeps {
    /// All files that code wrote, wherever it may write: the sender of code wants them back.
    Written,
    /// Those in `/out`, as for every module.
    Out,
}

impl Keeps {
    pub(super) fn of(kind: ModuleKind) -> Keeps {
        match kind {
            ModuleKind::Interpreter(_) => Keeps::Written,
            ModuleKind::Script(_)
            | ModuleKind::Task
            | ModuleKind::Command
            | ModuleKind::CoreCommand => Keeps::Out,
        }
    }
}

/// A run of an interpreter that is about to begin.
pub(super) struct Work {
    pub(super) keeps: Keeps,
    module: Arc<LoadedModule>,
    run: Run,
    pub(super) dirs: Vec<Mount>,
    outward: Outward,
    pub(super) patience: Patience,
    pub(super) identity: Identity,
    cache: Option<Wanted>,
}

/// What it asks of the result cache.
struct Wanted {
    tenant: Tenant,
    /// The interpreter's version.
    version: Digest,
    ttl: Duration,
}

impl Work {
    pub(super) fn new(
        module: Arc<LoadedModule>,
        prepared: Prepared,
        mut limits: Limits,
        isolation: Isolation,
        control: Control,
    ) -> Work {
        limits.fuel = None;
        limits.table_elements = limits.table_elements.max(TABLE_ELEMENTS_MIN);
        let Prepared {
            payload,
            stdin,
            files,
            mounts,
        } = prepared;
        let spec = RunSpec {
            program: "main".to_owned(),
            input: GuestInput::Inline(payload),
            args: Vec::new(),
            env: Vec::new(),
            limits,
            files,
            dirs: Vec::new(),
            outward: Outward::default(),
            isolation,
            identity: Identity::default(),
        };
        let attachments = Attachments {
            stdin: stdin.map(Stdin::Bytes),
            control,
            ..Attachments::default()
        };
        Work {
            keeps: Keeps::Written,
            module,
            run: Run { spec, attachments },
            dirs: mounts,
            outward: Outward::default(),
            patience: Patience::default(),
            identity: Identity::default(),
            cache: None,
        }
    }

    /// Has it take a result of the cache that is no older than this, if any may be taken.
    pub(super) fn asks(&mut self, tenant: &Tenant, version: Digest, ttl: Option<Duration>) {
        self.cache = ttl.map(|ttl| Wanted {
            tenant: tenant.clone(),
            version,
            ttl,
        });
    }

    /// Its look-up, if nothing but its key decides what comes out of it.
    async fn ask(&self) -> Option<Ask> {
        let wanted = self.cache.as_ref()?;
        let spec = &self.run.spec;
        let (GuestInput::Inline(input), true) = (&spec.input, self.outward.grants.is_empty())
        else {
            return None;
        };
        let stdin = match &self.run.attachments.stdin {
            None => None,
            Some(Stdin::Bytes(bytes)) => Some(bytes.clone()),
            Some(Stdin::Stream(_)) => return None,
        };
        if !are_read(&self.dirs) {
            return None;
        }
        let parts = KeyParts {
            tenant: wanted.tenant.clone(),
            door: Door::Code,
            digest: wanted.version,
            program: spec.program.clone(),
            content_type: input.content_type.to_string(),
            input: input.body.clone(),
            stdin,
            args: spec.args.clone(),
            env: spec.env.clone(),
            files: spec.files.clone(),
            limits: spec.limits,
            dirs: self.dirs.clone(),
            isolation: Some(spec.isolation),
        };
        Ask::of(parts, wanted.ttl).await
    }

    /// Lets it send requests, and tells the interpreter so.
    pub(super) fn reach(&mut self, outward: Outward) {
        if !outward.grants.is_empty()
            && let GuestInput::Inline(payload) = &mut self.run.spec.input
        {
            Prepared::grant_requests(payload);
        }
        self.outward = outward;
    }

    pub(super) fn into_run(self) -> (Arc<LoadedModule>, Run) {
        let Work {
            module,
            mut run,
            dirs,
            outward,
            patience,
            identity,
            keeps: _,
            cache: _,
        } = self;
        (run.spec.dirs, run.spec.outward) = (dirs, outward);
        run.spec.identity = identity;
        run.attachments.patience = patience;
        (module, run)
    }
}

/// The files that the code wrote: new and changed ones in its working directory, and those in
/// `/out`.
pub(super) async fn written(
    files: Option<OutputFiles>,
    inputs: Vec<InputFile>,
) -> Option<OutputFiles> {
    let files = files?;
    let look = move || files.written(&inputs);
    // It panics only if the sandbox does, and then no files can be kept.
    tokio::task::spawn_blocking(look).await.ok()
}

impl Runner {
    /// Runs it in its turn, and counts what it uses for its caller; or takes the result of another that was
    /// like it.
    pub(super) async fn perform_for(
        &self,
        caller: &Caller,
        limit: Duration,
        work: Work,
    ) -> Result<Executed, NoRoom> {
        let asked = self.asked(&work).await;
        // It is moved around, and is large.
        let (book, run) = (self.admission.cpu(), Box::pin(self.begin(work)));
        let run = book.counted(caller, limit, run, |report| report.usage.cpu);
        self.found_or_run(asked, run).await
    }

    /// The same for a task, which is counted where it ends.
    pub(super) async fn perform(&self, work: Work) -> Result<Executed, NoRoom> {
        let asked = self.asked(&work).await;
        self.found_or_run(asked, Box::pin(self.begin(work))).await
    }

    /// Its look-up, if it has one, and how it is stopped meanwhile.
    async fn asked(&self, work: &Work) -> Option<(Ask, Control)> {
        let ask = match self.results.is_off() {
            true => None,
            false => work.ask().await,
        };
        Some((ask?, work.run.attachments.control.clone()))
    }

    async fn found_or_run(
        &self,
        asked: Option<(Ask, Control)>,
        run: impl Future<Output = Result<Report, NoRoom>>,
    ) -> Result<Executed, NoRoom> {
        let (report, cache) = match asked {
            None => (run.await?, None),
            Some((ask, control)) => {
                let (report, how) = self.results.serve(ask, &control, run).await?;
                (report, Some(how))
            }
        };
        Ok(Executed {
            verdict: Verdict::of(report.outcome),
            usage: report.usage,
            streams: report.streams,
            files: report.files,
            cache,
        })
    }

    /// Runs it in its turn. Of its files only those are left that are kept.
    async fn begin(&self, work: Work) -> Result<Report, NoRoom> {
        let keeps = work.keeps;
        let (module, run) = work.into_run();
        let inputs = run.spec.files.clone();
        let kill = run.attachments.control.kill.clone();
        let patience = run.attachments.patience;
        let turn = tokio::select! {
            biased;
            turn = self.interpreters.turns().wait(&patience) => Some(turn?),
            () = kill.cancelled() => None,
        };
        let report = match turn {
            Some(turn) => turn.drive(self.drive(module, run)).await?,
            None => not_begun(
                FailureKind::Cancelled,
                "the run was stopped before it began".to_owned(),
            ),
        };
        Ok(Report {
            files: match keeps {
                Keeps::Written => written(report.files, inputs).await,
                Keeps::Out => report.files,
            },
            ..report
        })
    }
}
