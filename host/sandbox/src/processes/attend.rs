//! The thread of one process: it starts the process, grants it memory, kills it when a run does not end in
//! time, and buries it. It hears the process only where nobody else does (`hear`).

use std::fs::File;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::entry::{Entry, Reply};
use super::hear::{Found, Place, ended, take};
use super::looks::Looks;
use super::messages::{Begin, Jail, NO_RUN, Order};
use super::packets::{CLOSED, UNREAD, answer, encode, send_order};
use super::process::{Phase, Process};
use crate::local::Ended;
use crate::settings::GuestProgram;
use cofferdam_domain::attempt::{Failure, FailureKind};
use cofferdam_domain::said;

/// How much of its standard error is kept.
const STDERR_BYTES: usize = 4096;
/// How long it may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the thread looks at the clock while there are runs, and how long it does so after the last.
const LOOK: Duration = Duration::from_millis(100);
const DROWSY: Duration = Duration::from_secs(2);
/// Packets that it hears before it looks at the clock again.
const AT_ONCE: usize = 256;
/// How often it looks after that, at a process that should do nothing.
const IDLE_LOOK: Duration = Duration::from_secs(10);

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

/// Runs the process to its end. Calls `ready` when it can be used, which says whether it may be, and returns
/// why it died.
pub(super) fn attend(process: &Process, start: Start, ready: &dyn Fn(Jail) -> bool) -> Arc<str> {
    let mut unread = false;
    let why = match begin(process, start) {
        Err(error) => error.to_string(),
        Ok((mut child, stderr, questions)) => {
            let ended = watch(process, &questions, ready);
            unread = ended == UNREAD;
            process.kill();
            process.hearing.end();
            match child.wait() {
                Ok(status) => why_dead(status, ended, &stderr),
                Err(error) => error.to_string(),
            }
        }
    };
    let why: Arc<str> = why.into();
    process.phase.send_replace(Phase::Dead(Arc::clone(&why)));
    if let Some(over) = process.take_last()
        && let Err(why) = ended(process, over)
    {
        tracing::warn!(
            why,
            "a process for guests said how a run ended, and may not say so"
        );
    }
    let runs = process.take_all();
    // What it did not read was the last that it was sent: of one run, that is known.
    let unread = unread && runs.len() == 1;
    for (number, run) in runs {
        let never_began = run.orders == 0 || unread && run.orders == 1;
        bury(process, number, run, &why, never_began);
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

/// Watches the process until it ends, or must, and hears it where nobody else does.
fn watch(process: &Process, questions: &OwnedFd, ready: &dyn Fn(Jail) -> bool) -> &'static str {
    let (started, mut active, mut is_ready) = (Instant::now(), Instant::now(), false);
    let mut looks = Looks::since(started);
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
        for over in process.hearing.take_later() {
            if let Err(why) = ended(process, over) {
                return why;
            }
        }
        match take(process, AT_ONCE, Place::Own) {
            Found::All => {}
            Found::Part => active = Instant::now(),
            Found::Ready(_) if is_ready => return "it was ready twice",
            Found::Ready(jail) => {
                is_ready = true;
                if !ready(jail) {
                    return "the kernel confines it less than confinement.required asks for";
                }
                process.phase.send_replace(Phase::Ready);
            }
            Found::End(why) => return process.hearing.wrong().unwrap_or(why),
        }
        let now = Instant::now();
        let (is_overdue, next) = process.overdue(now);
        if is_overdue || process.is_overused() {
            if !process.checked {
                process.spent();
            }
            return "a run of it did not end in time";
        }
        if next.is_some() {
            active = now;
        }
        if is_ready && let Some(why) = looks.look(process, now) {
            return why;
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
    let soon = match sleeps {
        true => IDLE_LOOK,
        false => next.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK)),
    };
    let soon = Timespec {
        tv_sec: soon.as_secs().cast_signed(),
        tv_nsec: i64::from(soon.subsec_nanos()),
    };
    // Its end is told even to those who do not ask for what it says.
    let told = match process.hearing.is_left_to_its_thread() {
        true => PollFlags::IN,
        false => PollFlags::empty(),
    };
    let mut watched = [
        PollFd::new(&process.socket, told),
        PollFd::new(questions, PollFlags::IN),
        PollFd::new(&process.bell, PollFlags::IN),
    ];
    // A signal only makes it look again.
    let _woken = poll(&mut watched, Some(&soon));
    process.sleeps.store(false, Ordering::SeqCst);
    // It is empty, unless it rang.
    let _rang = rustix::io::read(&process.bell, &mut [0_u8; 8]);
}

/// The end of a run whose process died under it.
fn bury(process: &Process, number: u32, mut run: Entry, why: &str, unread: bool) {
    let is_over = run.end_by.is_some_and(|at| at <= Instant::now());
    let took = run.began.elapsed().as_millis();
    let failure = match (run.panicked.take(), run.stopped) {
        (Some(what), _) => Failure::new(
            FailureKind::HostError,
            format!("a host function panicked: {what}"),
        ),
        (None, true) => Failure::new(FailureKind::Cancelled, "the run was stopped"),
        (None, false) if run.overused.is_some() => Failure::new(
            FailureKind::CpuExhausted,
            format!(
                "the run used {} ms of CPU time; {} ms are allowed",
                run.overused.unwrap_or_default().as_millis(),
                run.limits.cpu.as_millis()
            ),
        ),
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
    let used = run.egress();
    let reply = run.reply.take();
    drop(run);
    let mut ended = Box::new(Ended {
        left,
        unread: unread && failure.kind == FailureKind::Lost,
        ..Ended::not_begun(failure)
    });
    ended.report.usage.egress = used;
    match reply {
        Some(reply) => {
            // Whoever waited may have gone.
            let _unheard = reply.send(Reply::Ended(ended));
        }
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
    let how = match ended == CLOSED || ended == UNREAD {
        true => status.to_string(),
        false => ended.to_owned(),
    };
    if !text.is_empty() {
        let text = said::for_log(text);
        tracing::warn!(how, stderr = text, "a process for guests ended");
    }
    how
}
