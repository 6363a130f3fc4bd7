//! One run from its admission to its report. The guest runs in this process (`local`) or in one of its own
//! (`processes`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::admission::{Admitted, Door, Need, NeverFits, NoRoom, NotAdmitted, Patience};
use crate::local::{self, Described, Ended, perform};
use crate::meter::Meter;
use crate::{
    Attachments, LoadedModule, Report, Run, Shared, Stdin, Undescribed, processes, surroundings,
};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::Descriptor;

/// Runs the guest and reports. A guest that never began, because its process died before it knew of it, has
/// another.
pub(crate) async fn execute(
    shared: Arc<Shared>,
    module: Arc<LoadedModule>,
    run: Run,
    meter: Arc<Meter>,
) -> Result<Report, NoRoom> {
    let mut run = run;
    for _ in 1..processes::TRIES {
        let again = again(&shared, &module, &run);
        let (report, unread) = once(&shared, &module, run, &meter).await?;
        match again {
            Some(again) if unread => run = again,
            Some(_) | None => return Ok(report),
        }
    }
    Ok(once(&shared, &module, run, &meter).await?.0)
}

/// The run once more, if it is in another process and nothing of it can be used only once.
fn again(shared: &Shared, module: &LoadedModule, run: &Run) -> Option<Run> {
    processes::of(shared, module, run.spec.isolation)?;
    let stdin = match &run.attachments.stdin {
        None => None,
        Some(Stdin::Bytes(bytes)) => Some(Stdin::Bytes(bytes.clone())),
        Some(Stdin::Stream(_)) => return None,
    };
    Some(Run {
        spec: run.spec.clone(),
        attachments: Attachments {
            stdin,
            control: run.attachments.control.clone(),
            patience: run.attachments.patience,
            way: run.attachments.way.clone(),
        },
    })
}

/// Runs it once; also says whether it surely never began.
async fn once(
    shared: &Arc<Shared>,
    module: &Arc<LoadedModule>,
    run: Run,
    meter: &Arc<Meter>,
) -> Result<(Report, bool), NoRoom> {
    let (limits, isolation, kill, patience) = {
        let attachments = &run.attachments;
        (
            run.spec.limits,
            run.spec.isolation,
            attachments.control.kill.clone(),
            attachments.patience,
        )
    };
    let came = Instant::now();
    let room = (&limits, isolation);
    let admitted = match admit(shared, module, room, &kill, &patience).await {
        Ok(admitted) => admitted,
        Err(NotBegun::Failed(failure)) => return Ok((Report::not_begun(failure), false)),
        Err(NotBegun::NoRoom(no_room)) => return Err(no_room),
    };
    let waited = came.elapsed();
    let deadline = surroundings::deadline(Instant::now(), &limits);
    let deadline = patience
        .end_by
        .map_or(deadline, |end_by| end_by.min(deadline));
    let (ended, had) = match processes::of(shared, module, isolation) {
        Some(pool) => (
            processes::run(pool, run, admitted, deadline).await,
            isolation,
        ),
        None => {
            let growth = admitted.growth();
            let performed = perform(shared, module, run, meter, deadline, growth, None).await;
            let (ended, remains) = performed;
            // Nobody is let in for it before its memory is back.
            drop(remains);
            drop(admitted);
            module.learn(ended.long);
            (ended, Isolation::Shared)
        }
    };
    let Ended {
        mut report,
        left,
        starved,
        unread,
        ..
    } = ended;
    match &mut report.outcome {
        Outcome::Failed(_) if starved => return Err(NoRoom::Memory),
        Outcome::Failed(failure) => tell_wait(failure, waited),
        Outcome::Completed(_) => {}
    }
    report.isolation = Some(had);
    if let Some(left) = left {
        report.files = Some(left.list().await);
    }
    Ok((report, unread))
}

/// A run that waited has less of its time left, and its failure says so.
fn tell_wait(failure: &mut Failure, waited: Duration) {
    if failure.kind == FailureKind::Timeout && waited.as_millis() > 0 {
        let waited = format!("; it had waited {} ms for room before", waited.as_millis());
        failure.message.push_str(&waited);
    }
}

/// Asks a module to describe itself, under limits like any run.
pub(crate) async fn describe(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
    isolation: Isolation,
) -> Result<Option<Descriptor>, Undescribed> {
    let kill = CancellationToken::new();
    let patience = Patience {
        begin_by: Some(Instant::now() + shared.queue_timeout),
        ..Patience::default()
    };
    let admitted = admit(shared, module, (limits, isolation), &kill, &patience).await?;
    let deadline = surroundings::deadline(Instant::now(), limits);
    let Described { told, starved } = match processes::of(shared, module, isolation) {
        Some(pool) => processes::describe(pool, *limits, admitted, deadline).await,
        None => {
            let growth = admitted.growth();
            local::describe(shared, module, limits, &kill, deadline, growth).await
        }
    };
    told.map_err(|failure| match starved {
        true => Undescribed::NoRoom(NoRoom::Memory),
        false => Undescribed::Failed(failure),
    })
}

/// Why a run did not begin.
pub(crate) enum NotBegun {
    Failed(Failure),
    NoRoom(NoRoom),
}

impl From<NotBegun> for Undescribed {
    fn from(not_begun: NotBegun) -> Undescribed {
        match not_begun {
            NotBegun::Failed(failure) => Undescribed::Failed(failure),
            NotBegun::NoRoom(no_room) => Undescribed::NoRoom(no_room),
        }
    }
}

impl From<NotAdmitted> for NotBegun {
    fn from(refused: NotAdmitted) -> NotBegun {
        let failed =
            |kind, never: NeverFits| NotBegun::Failed(Failure::new(kind, never.to_string()));
        match refused {
            NotAdmitted::NoRoom(no_room) => NotBegun::NoRoom(no_room),
            NotAdmitted::Never(never @ NeverFits::Memory { .. }) => {
                failed(FailureKind::MemoryExceeded, never)
            }
            NotAdmitted::Never(never @ NeverFits::Slots { .. }) => {
                failed(FailureKind::HostResourcesExceeded, never)
            }
        }
    }
}

pub(crate) async fn admit(
    shared: &Shared,
    module: &LoadedModule,
    (limits, isolation): (&Limits, Isolation),
    kill: &CancellationToken,
    patience: &Patience,
) -> Result<Admitted, NotBegun> {
    let door = Door::of(module.class(), isolation);
    let need = Need {
        memory_bytes: limits.memory_bytes,
        slots: match door {
            Door::Guests | Door::Interpreters => module.slots(),
            // The process has a pool for itself.
            Door::Dedicated => 1,
        },
    };
    tokio::select! {
        biased;
        admitted = shared.admission.admit(door, need, patience) => Ok(admitted?),
        () = kill.cancelled() => {
            let why = "the run was stopped before it began";
            Err(NotBegun::Failed(Failure::new(FailureKind::Cancelled, why)))
        }
    }
}
