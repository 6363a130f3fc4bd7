//! A run of an interpreter: its sandbox, its turn, and the files that are kept.
//!
//! `code` and `session` make the request to the interpreter and the answer.

use std::sync::Arc;

use crate::interpreters::answer::Verdict;
use crate::interpreters::request::Prepared;
use crate::runner::executed::Executed;
use crate::runner::{Runner, not_begun};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::ModuleKind;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::files::InputFile;
use cofferdam_sandbox::{
    Attachments, GuestInput, Identity, LoadedModule, Mount, NoRoom, OutputFiles, Patience, Run,
    RunSpec, Stdin,
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
    pub(super) patience: Patience,
    pub(super) identity: Identity,
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
            isolation,
            identity: Identity::default(),
        };
        let attachments = Attachments {
            stdin: stdin.map(Stdin::Bytes),
            control,
            patience: Patience::default(),
        };
        Work {
            keeps: Keeps::Written,
            module,
            run: Run { spec, attachments },
            dirs: mounts,
            patience: Patience::default(),
            identity: Identity::default(),
        }
    }

    pub(super) fn into_run(self) -> (Arc<LoadedModule>, Run) {
        let Work {
            module,
            mut run,
            dirs,
            patience,
            identity,
            keeps: _,
        } = self;
        (run.spec.dirs, run.spec.identity) = (dirs, identity);
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
    /// Runs it in its turn.
    pub(super) async fn perform(&self, work: Work) -> Result<Executed, NoRoom> {
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
        Ok(Executed {
            verdict: Verdict::of(report.outcome),
            usage: report.usage,
            streams: report.streams,
            files: match keeps {
                Keeps::Written => written(report.files, inputs).await,
                Keeps::Out => report.files,
            },
        })
    }
}
