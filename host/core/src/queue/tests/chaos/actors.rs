//! Guests that play the part their task names, and a log of what began when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::nodes::Given;
use crate::queue::executor::{Attempts, failed};
use crate::queue::tests::faulty::Faulty;
use crate::runner::NotYet;
use cofferdam_domain::attempt::{
    Artifact, Failure, FailureKind, Outcome, Payload, Stream, Streams, Usage,
};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{OutputFiles, Report};

/// What a guest does. Its task says it by its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It completes at once.
    Completes,
    /// It says that it failed and may do better another time.
    Fails,
    /// The host cannot begin it the first time.
    NotYet,
    /// The host panics under it.
    Panics,
    /// It writes, reports and completes.
    Talks,
    /// It runs until it is asked to end.
    Sleeps,
    /// It runs until it is killed.
    Stubborn,
}

impl Part {
    pub(super) const ALL: [Part; 7] = [
        Part::Completes,
        Part::Fails,
        Part::NotYet,
        Part::Panics,
        Part::Talks,
        Part::Sleeps,
        Part::Stubborn,
    ];

    pub(super) fn word(self) -> String {
        format!("{self:?}")
    }

    fn of(claim: &Claim) -> Part {
        let named = |part: &Part| claim.spec.args == [part.word()];
        Part::ALL.into_iter().find(named).expect("it has a part")
    }

    /// Whether it ends only when somebody wants it to.
    pub(super) fn waits(self) -> bool {
        matches!(self, Part::Sleeps | Part::Stubborn)
    }
}

/// Every attempt that began, in order, on whatever host.
#[derive(Debug, Default)]
pub(super) struct Log {
    begun: Mutex<Vec<(TaskId, u32)>>,
    running: AtomicUsize,
}

impl Log {
    /// How many have begun.
    pub(super) fn len(&self) -> usize {
        self.begun.lock().unwrap().len()
    }

    /// The numbers of the attempts at a task that began after so many others.
    pub(super) fn begun(&self, id: TaskId, since: usize) -> Vec<u32> {
        let begun = self.begun.lock().unwrap();
        let of_task = begun[since..].iter().filter(|(begun, _)| *begun == id);
        of_task.map(|(_, attempt)| *attempt).collect()
    }

    /// How many guests are on stage.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Gives the number of the task's earlier attempts.
    fn begin(&self, claim: &Claim) -> usize {
        let mut begun = self.begun.lock().unwrap();
        let earlier = begun.iter().filter(|(id, _)| *id == claim.task_id).count();
        begun.push((claim.task_id, claim.attempt));
        earlier
    }
}

/// The guests of one host.
pub(super) struct Actors {
    pub(super) log: Arc<Log>,
    pub(super) host: Arc<Faulty>,
}

impl Attempts for Actors {
    async fn run(
        &self,
        claim: &Claim,
        _given: Option<Box<Given>>,
        control: Control,
    ) -> Result<Report, NotYet> {
        if self.host.is_cut() {
            // A dead host begins nothing.
            control.kill.cancelled().await;
            return Ok(failed(Failure::new(FailureKind::Cancelled, "killed")));
        }
        let earlier = self.log.begin(claim);
        let _on_stage = OnStage::of(&self.log);
        let outcome = match Part::of(claim) {
            Part::NotYet if earlier == 0 => return Err(NotYet::because("as the test wants")),
            Part::Completes | Part::NotYet => completed(),
            Part::Fails => Outcome::Failed(Failure {
                transient: true,
                ..Failure::new(FailureKind::GuestError, "as the test wants")
            }),
            Part::Panics => panic!("as the test wants"),
            Part::Talks => {
                talk(&control).await;
                completed()
            }
            Part::Sleeps => tokio::select! {
                () = control.cancel.cancelled() => stopped(),
                () = control.kill.cancelled() => stopped(),
            },
            Part::Stubborn => {
                control.kill.cancelled().await;
                stopped()
            }
        };
        Ok(Report {
            outcome,
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
            isolation: None,
        })
    }

    async fn keep(
        &self,
        _task_id: TaskId,
        _attempt: u32,
        files: OutputFiles,
    ) -> Result<Vec<Artifact>, String> {
        drop(files);
        Ok(Vec::new())
    }
}

async fn talk(control: &Control) {
    let observer = control.observer.clone().expect("a queue listens");
    observer.wrote(Stream::Stdout, b"hello");
    observer.progress(0.5, "half");
    tokio::task::yield_now().await;
    observer.wrote(Stream::Stdout, b", world");
    observer.progress(1.0, "done");
}

fn completed() -> Outcome {
    Outcome::Completed(Payload {
        content_type: "text/plain".into(),
        body: Bytes::from_static(b"done"),
    })
}

fn stopped() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Cancelled, "stopped"))
}

struct OnStage<'a>(&'a Log);

impl OnStage<'_> {
    fn of(log: &Log) -> OnStage<'_> {
        log.running.fetch_add(1, Ordering::SeqCst);
        OnStage(log)
    }
}

impl Drop for OnStage<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
