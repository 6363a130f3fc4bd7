//! The thread of one process: it starts the process, hears what it says, kills it when a run does not end
//! in time, and buries it.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::messages::{Begin, Event, Jail, NO_RUN, Order, Told};
use super::packets::{Brought, CLOSED, Inbox, Received, answer, decode, encode, send_order};
use super::process::{Entry, Phase, Process, Reply};
use crate::local::Ended;
use crate::settings::GuestProgram;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Stream};
use cofferdam_domain::said;

/// How much of its standard error is kept.
const STDERR_BYTES: usize = 4096;
/// How long it may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the thread looks at the clock while there are runs, and how long it does so after the last.
const LOOK: Duration = Duration::from_millis(100);
const DROWSY: Duration = Duration::from_secs(2);
/// The longest note of a progress report, in bytes, as in a guest's context.
const NOTE_BYTES_MAX: usize = 1024;

/// What the thread starts with.
pub(super) struct Start {
    pub(super) program: GuestProgram,
    pub(super) begin: Begin,
    pub(super) code: Arc<File>,
    /// The other end of the process's socket.
    pub(super) socket: OwnedFd,
    /// Both ends of the one for questions: ours and its.
    pub(super) questions: (OwnedFd, OwnedFd),
}

/// Runs the process to its end. Calls `ready` when it can be used, and returns why it died.
pub(super) fn attend(process: &Process, start: Start, ready: &dyn Fn(Jail)) -> Arc<str> {
    let why = match begin(process, start) {
        Err(error) => error.to_string(),
        Ok((mut child, stderr, questions)) => {
            let ended = hear(process, &questions, ready);
            process.kill();
            match child.wait() {
                Ok(status) => why_dead(status, ended, &stderr),
                Err(error) => error.to_string(),
            }
        }
    };
    let why: Arc<str> = why.into();
    process.phase.send_replace(Phase::Dead(Arc::clone(&why)));
    for (number, run) in process.take_all() {
        bury(process, number, run, &why);
    }
    why
}

fn begin(process: &Process, start: Start) -> io::Result<(Child, File, OwnedFd)> {
    let stderr = complaints()?;
    let (questions, its_questions) = start.questions;
    let child = Command::new(&start.program.path)
        .args(&start.program.args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(start.socket))
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr.try_clone()?))
        .spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let pid = pid.ok_or_else(|| io::Error::other("the process has no number"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    // Nothing set it before: this is the process's only thread.
    let _first = process.pidfd.set((pid, pidfd));
    if process.is_to_end.load(Ordering::SeqCst) {
        process.kill();
    }
    let whole = encode(&Order::Begin(start.begin), &[])?;
    let with = [start.code.as_fd(), its_questions.as_fd()];
    send_order(&process.socket, NO_RUN, &whole, &with)?;
    Ok((child, stderr, questions))
}

/// A file in memory that does not grow.
fn complaints() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("cofferdam-stderr", flags)?;
    ftruncate(&file, STDERR_BYTES as u64)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(File::from(file))
}

/// Hears the process until it ends, or must.
fn hear(process: &Process, questions: &OwnedFd, ready: &dyn Fn(Jail)) -> &'static str {
    let mut inbox = Inbox::new();
    let (started, mut active, mut is_ready) = (Instant::now(), Instant::now(), false);
    loop {
        wait(process, questions, active);
        let may_have = |run, bytes| {
            let grown = process.with(run, |run| {
                let most = run.limits.memory_bytes;
                bytes <= most && run.growth.reach(bytes, most)
            });
            grown.unwrap_or(false)
        };
        answer(questions, may_have);
        loop {
            match inbox.take(&process.socket, |run| process.most_bytes(run)) {
                Brought::Part => {}
                Brought::Nothing => break,
                Brought::End(why) => return why,
                Brought::Message(message) => match heard(process, message) {
                    Ok(None) => {}
                    Ok(Some(jail)) => {
                        is_ready = true;
                        ready(jail);
                        process.phase.send_replace(Phase::Ready);
                    }
                    Err(why) => return why,
                },
            }
            active = Instant::now();
        }
        let now = Instant::now();
        if process.overdue(now).0 {
            return "a run of it did not end in time";
        }
        if !is_ready && now > started + START_TIMEOUT {
            return "it was not ready in time";
        }
    }
}

/// Waits for something to hear, or for the next look at the clock.
fn wait(process: &Process, questions: &OwnedFd, active: Instant) {
    let now = Instant::now();
    let (_, next) = process.overdue(now);
    let is_ready = matches!(*process.phase.borrow(), Phase::Ready);
    let sleeps = is_ready && next.is_none() && now > active + DROWSY;
    process.sleeps.store(sleeps, Ordering::SeqCst);
    // A run that came before that was said rang no bell.
    let sleeps = sleeps && process.overdue(now).1.is_none();
    let soon = next.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
    let soon = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(soon.subsec_nanos()),
    };
    let mut watched = [
        PollFd::new(&process.socket, PollFlags::IN),
        PollFd::new(questions, PollFlags::IN),
        PollFd::new(&process.bell, PollFlags::IN),
    ];
    // A signal only makes it look again.
    let _woken = poll(&mut watched, (!sleeps).then_some(&soon));
    if sleeps {
        process.sleeps.store(false, Ordering::SeqCst);
        let _rang = rustix::io::read(&process.bell, &mut [0_u8; 8]);
    }
}

/// Does what a message says.
fn heard(process: &Process, message: Received) -> Result<Option<Jail>, &'static str> {
    let number = message.run;
    let (event, mut pieces) =
        decode::<Event>(message.whole).map_err(|_| "it sent something that is not a message")?;
    match event {
        Event::Ready(jail) if number == NO_RUN => return Ok(Some(jail)),
        Event::Unfit(_) if number == NO_RUN => return Err("it could not begin"),
        Event::Ready(_) | Event::Unfit(_) => return Err("it spoke of itself in a run"),
        Event::Wrote(stream) => {
            let stream = match stream {
                0 => Stream::Stdout,
                1 => Stream::Stderr,
                2 => Stream::Log,
                _ => return Err("it wrote to a stream that does not exist"),
            };
            let bytes = pieces.pop().unwrap_or_default();
            observe(process, number, |observer| observer.wrote(stream, &bytes));
        }
        Event::Progress(fraction, note) => {
            let fraction = if fraction.is_nan() {
                0.0
            } else {
                fraction.clamp(0.0, 1.0)
            };
            let note = &note[..note.floor_char_boundary(NOTE_BYTES_MAX)];
            observe(process, number, |observer| {
                observer.progress(fraction, note)
            });
        }
        Event::Wants => {
            process.with(number, |run| {
                // One that asks twice gets one piece.
                run.wants.as_ref().map(|wants| wants.try_send(()).is_ok())
            });
        }
        Event::Opened(dir) => {
            let reply = process.with(number, |run| {
                (run.dir, run.end_by) = (dir, None);
                run.reply.take()
            });
            send(reply.flatten(), Reply::Opened);
        }
        Event::Answered(mut told) => {
            // It goes on in its directory.
            told.dir = None;
            let answered = process.with(number, |run| {
                let report = report(process, run, *told, pieces)?;
                run.end_by = None;
                Some((run.reply.take(), report))
            });
            let (reply, report) = answered.flatten().ok_or("it gave more than its run may")?;
            send(reply, Reply::Answered(Box::new(report.report)));
        }
        Event::Ended(told) => {
            let mut run = process.take(number).ok_or("it ended a run twice")?;
            let ended = report(process, &mut run, *told, pieces);
            let ended = ended.ok_or("it gave more than its run may");
            let (reply, ended) = match ended {
                Ok(ended) => (run.reply.take(), ended),
                Err(why) => {
                    bury(process, number, run, why);
                    return Err(why);
                }
            };
            // Its room is free before whoever waits for it knows.
            drop(run);
            send(reply, Reply::Ended(Box::new(ended)));
        }
    }
    Ok(None)
}

fn send(reply: Option<tokio::sync::oneshot::Sender<Reply>>, with: Reply) {
    if let Some(reply) = reply {
        // Whoever waited may have gone.
        let _unheard = reply.send(with);
    }
}

/// Calls a run's observer, whose panic ends the run and nothing else.
fn observe(process: &Process, number: u32, tell: impl FnOnce(&dyn crate::control::Observer)) {
    let observer = process.with(number, |run| run.observer.clone()).flatten();
    let Some(observer) = observer else { return };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tell(&*observer))) {
        let what = crate::guard::text_of(&*panic);
        process.with(number, |run| {
            run.observer = None;
            run.panicked = Some(what);
        });
        process.stop(number);
    }
}

/// The end of a run, held to its limits, with its directory taken over.
fn report(
    process: &Process,
    run: &mut Entry,
    told: Told,
    pieces: Vec<bytes::Bytes>,
) -> Option<Ended> {
    let cpu = process.cpu().saturating_sub(run.cpu_before);
    let (dir, starved) = (told.dir, told.starved);
    let mut report = told.into_report(pieces, &run.limits, run.began.elapsed(), cpu)?;
    if let Some(what) = run.panicked.take() {
        let why = format!("a host function panicked: {what}");
        report.outcome = Outcome::Failed(Failure::new(FailureKind::HostError, why));
    }
    let left = match (dir, run.room.take()) {
        (Some(number), Some(room)) => {
            let adopted = process.home.adopt(number, room);
            let adopted = adopted.inspect_err(|error| {
                tracing::warn!(%error, "the files that a run left cannot be had");
            });
            adopted.ok()
        }
        (_, room) => {
            run.room = room;
            None
        }
    };
    Some(Ended {
        report,
        left,
        starved,
        // It keeps no thread of this process busy.
        long: false,
    })
}

/// The end of a run whose process died under it.
fn bury(process: &Process, number: u32, mut run: Entry, why: &str) {
    let is_over = run.end_by.is_some_and(|at| at <= Instant::now());
    let took = run.began.elapsed().as_millis();
    let failure = match (run.panicked.take(), run.stopped) {
        (Some(what), _) => Failure::new(
            FailureKind::HostError,
            format!("a host function panicked: {what}"),
        ),
        (None, true) => Failure::new(FailureKind::Cancelled, "the run was stopped"),
        (None, false) if is_over => Failure::new(
            FailureKind::Timeout,
            format!(
                "the run took {took} ms; {} ms are allowed. It did not end by itself, so its process was \
                 killed",
                run.limits.timeout.as_millis()
            ),
        ),
        (None, false) => Failure::new(
            FailureKind::Lost,
            format!("the process that ran the guest died: {why}"),
        ),
    };
    let left = match (run.dir, run.room.take()) {
        (Some(number), Some(room)) => process.home.adopt(number, room).ok(),
        (_, _) => None,
    };
    let reply = run.reply.take();
    drop(run);
    let ended = Box::new(Ended {
        left,
        ..Ended::not_begun(failure)
    });
    match reply {
        Some(_) => send(reply, Reply::Ended(ended)),
        None => process.keep_late(number, ended),
    }
}

/// Why the process is dead, in one line.
fn why_dead(status: ExitStatus, ended: &str, stderr: &File) -> String {
    let mut bytes = [0; STDERR_BYTES];
    // What cannot be read is not known.
    let read = std::os::unix::fs::FileExt::read_at(stderr, &mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..read]);
    let text = text.trim_end_matches('\0').trim();
    // What the kernel says of one that ended by itself.
    let how = match ended == CLOSED {
        true => status.to_string(),
        false => ended.to_owned(),
    };
    if !text.is_empty() {
        let text = said::for_log(text);
        tracing::warn!(how, stderr = text, "a process for guests ended");
    }
    how
}
