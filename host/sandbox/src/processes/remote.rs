//! A run, or a guest that is kept, in another process: as its caller sees it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fd::{AsFd as _, OwnedFd};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Pool;
use super::door::{self, Serving};
use super::entry::{Entry, Reply};
use super::hear::wait_here;
use super::messages::{Call, Order, Piece, Spec, ToldDescription, WireStdin, dirs_of};
use super::process::{Company, Process, Seat};
use crate::admission::Admitted;
use crate::egress::{Outward, Pass};
use crate::files::{Given, Home, InputContent, Left};
use crate::kept::Turn;
use crate::local::{Described, Ended};
use crate::{Attachments, GuestInput, Identity, Report, Run, RunSpec, Stdin};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::said;

/// Bytes of a live standard input in one piece.
const PIECE_BYTES: usize = 32 * 1024;
/// How often an order is tried again to a process that takes none at the moment.
const FULL_WAIT: Duration = Duration::from_millis(1);
/// Processes that may die under a run that has not begun.
pub(crate) const TRIES: usize = 3;

/// A live standard input, and where the process asks for more of it.
struct Live {
    stream: Box<dyn AsyncRead + Send + Sync + Unpin>,
    wants: mpsc::Receiver<()>,
}

/// A run that a process has. Dropping it ends the run.
struct Entered {
    seat: Seat,
    number: u32,
    reply: oneshot::Receiver<Reply>,
    /// Its way out, if it has one, which its own future drives.
    door: Option<Serving>,
    is_over: bool,
}

/// A guest that is kept in another process. Dropping it ends it.
pub(crate) struct Remote {
    entered: Entered,
    pass: Option<Arc<Pass>>,
    limits: Limits,
    clock: cofferdam_domain::clock::Clock,
}

/// Runs a guest there, as it was let in.
pub(crate) async fn run(pool: Arc<Pool>, run: Run, admitted: Admitted, deadline: Instant) -> Ended {
    once(pool, run, admitted, deadline, Order::Run).await
}

async fn once(
    pool: Arc<Pool>,
    run: Run,
    admitted: Admitted,
    deadline: Instant,
    order: impl Fn(Box<Spec>) -> Order,
) -> Ended {
    let control = run.attachments.control.clone();
    match enter(&pool, run, admitted, deadline, order).await {
        Err(NotEntered::Failed(failure)) => Ended::not_begun(failure),
        Err(NotEntered::Gone) => Ended {
            unread: true,
            ..Ended::not_begun(lost())
        },
        Ok((mut entered, live)) => match entered.wait(&control.kill, &control.cancel, live).await {
            Reply::Ended(ended) => *ended,
            Reply::Opened | Reply::Answered(_) => Ended::not_begun(odd()),
        },
    }
}

/// Has a module describe itself there, as it was let in.
pub(crate) async fn describe(
    pool: Arc<Pool>,
    limits: Limits,
    admitted: Admitted,
    deadline: Instant,
) -> Described {
    let spec = RunSpec {
        program: String::new(),
        input: GuestInput::Inline(Payload {
            content_type: said::OCTET_STREAM.into(),
            body: Bytes::new(),
        }),
        args: Vec::new(),
        env: Vec::new(),
        limits,
        files: Vec::new(),
        dirs: Vec::new(),
        outward: Outward::default(),
        isolation: Isolation::Process,
        identity: Identity::default(),
    };
    let attachments = Attachments::default();
    let run = Run { spec, attachments };
    let ended = once(pool, run, admitted, deadline, Order::Describe).await;
    let told = match ended.report.outcome {
        Outcome::Failed(failure) => Err(failure),
        Outcome::Completed(told) => serde_json::from_slice::<ToldDescription>(&told.body)
            .map(Option::from)
            .map_err(|_| odd()),
    };
    Described {
        told,
        starved: ended.starved,
    }
}

/// Makes a guest that is kept there.
pub(crate) async fn open(
    pool: Arc<Pool>,
    run: Run,
    admitted: Admitted,
    deadline: Instant,
) -> Result<Remote, Failure> {
    let (control, limits) = (run.attachments.control.clone(), run.spec.limits);
    let opening = enter(&pool, run, admitted, deadline, Order::Open).await;
    let (mut entered, live) = opening.map_err(|not| match not {
        NotEntered::Failed(failure) => failure,
        NotEntered::Gone => lost(),
    })?;
    match entered.wait(&control.kill, &control.cancel, live).await {
        Reply::Opened => Ok(Remote {
            pass: entered
                .seat
                .0
                .with(entered.number, |run| run.pass.clone())
                .flatten(),
            entered,
            limits,
            clock: pool.inner.clock.clone(),
        }),
        Reply::Ended(ended) => Err(match ended.report.outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Completed(_) => odd(),
        }),
        Reply::Answered(_) => Err(odd()),
    }
}

fn odd() -> Failure {
    Failure::new(
        FailureKind::HostError,
        "the process that ran the guest gave another answer than it was asked for",
    )
}

/// Why a run is in no process.
enum NotEntered {
    Failed(Failure),
    /// The process for it died.
    Gone,
}

impl From<Failure> for NotEntered {
    fn from(failure: Failure) -> NotEntered {
        NotEntered::Failed(failure)
    }
}

/// Finds a process and has it begin.
async fn enter(
    pool: &Arc<Pool>,
    run: Run,
    admitted: Admitted,
    deadline: Instant,
    order: impl Fn(Box<Spec>) -> Order,
) -> Result<(Entered, Option<Live>), NotEntered> {
    let Run {
        mut spec,
        attachments,
    } = run;
    let kill = attachments.control.kill.clone();
    let host = |error: io::Error| Failure::new(FailureKind::HostError, error.to_string());
    let inner = &pool.inner;
    let dirs = dirs_of(&spec);
    let room = Home::room(&inner.scratch).await.map_err(host)?;
    let company = company(pool, spec.isolation);
    let seat = ready(pool, &dirs, company, &kill, deadline).await?;
    let process = &seat.0;
    let given = give(process, &mut spec).await.map_err(|error| {
        let why = format!("the input could not be opened: {error}");
        Failure::new(FailureKind::HostError, why)
    })?;
    let (stdin, bytes, stream) = parts_of(attachments.stdin);
    let way = door::way_out(&inner.egress, &mut spec).map_err(host)?;
    let limits = spec.limits;
    let observer = attachments.control.observer;
    let (mut told, pieces) = Spec::of(spec, stdin, bytes);
    let in_files: u64 = given.iter().map(|given| given.bytes).sum();
    let in_pieces: usize = pieces.iter().map(Bytes::len).sum();
    let growth = admitted.growth();
    let (reply, answer) = oneshot::channel();
    let (asks, wants) = mpsc::channel(1);
    let (now, cpu) = (Instant::now(), process.cpu());
    told.time = deadline.saturating_duration_since(now);
    told.now_ms = inner.clock.now().as_millis();
    told.held_bytes = growth.held_bytes();
    told.heard = observer.is_some();
    let entry = Entry {
        observer,
        growth,
        limits,
        reply: Some(reply),
        wants: stream.is_some().then_some(asks),
        end_by: Some(deadline + process.grace()),
        cpu_by: (!process.checked).then(|| cpu + limits.cpu + process.grace()),
        overused: None,
        last: None,
        cpu_after: None,
        orders: 0,
        stopped: false,
        panicked: None,
        began: now,
        cpu_before: cpu,
        room: Some(room),
        dir: None,
        input_bytes: in_files.saturating_add(in_pieces as u64),
        pass: way.pass,
        given,
        _admitted: admitted,
    };
    let number = process.enter(entry).ok_or(NotEntered::Gone)?;
    let mut entered = Entered {
        seat,
        number,
        reply: answer,
        door: way.door,
        is_over: false,
    };
    entered
        .order(&order(Box::new(told)), &pieces, way.its_end.as_ref())
        .await
        .map_err(host)?;
    Ok((entered, stream.map(|stream| Live { stream, wants })))
}

/// Who else may be in the process of a run.
fn company(pool: &Pool, isolation: Isolation) -> Company {
    match isolation {
        Isolation::Shared | Isolation::Process => pool.company(),
        Isolation::Dedicated => Company::None,
    }
}

/// How a standard input is told, its bytes, and what is read from while the guest runs.
fn parts_of(
    stdin: Option<Stdin>,
) -> (
    WireStdin,
    Bytes,
    Option<Box<dyn AsyncRead + Send + Sync + Unpin>>,
) {
    match stdin {
        None => (WireStdin::Absent, Bytes::new(), None),
        Some(Stdin::Bytes(bytes)) => (WireStdin::Bytes, bytes, None),
        Some(Stdin::Stream(stream)) => (WireStdin::Live, Bytes::new(), Some(stream)),
    }
}

/// A process that takes runs.
async fn ready(
    pool: &Arc<Pool>,
    dirs: &[super::messages::Dir],
    company: Company,
    kill: &CancellationToken,
    deadline: Instant,
) -> Result<Seat, Failure> {
    let mut tried = 0;
    loop {
        let seat = pool.pick(dirs, company).map_err(|error| {
            let why = format!("no process for the guest could be made: {error}");
            Failure::new(FailureKind::HostError, why)
        })?;
        let is_ready = tokio::select! {
            biased;
            ready = seat.0.ready() => ready,
            () = kill.cancelled() => {
                let why = "the run was stopped before it began";
                return Err(Failure::new(FailureKind::Cancelled, why));
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                let why = "no process for the guest was ready in time";
                return Err(Failure::new(FailureKind::Timeout, why));
            }
        };
        tried += 1;
        match is_ready {
            Ok(()) => return Ok(seat),
            Err(failure) if tried >= TRIES => return Err(failure),
            Err(_) => {}
        }
    }
}

fn lost() -> Failure {
    Failure::new(
        FailureKind::Lost,
        "the process of the guest died before it could run",
    )
}

/// Puts the files of the host that the run needs where the process may read them.
async fn give(process: &Process, spec: &mut RunSpec) -> io::Result<Vec<Given>> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let mut paths: Vec<&mut PathBuf> = Vec::new();
    if let GuestInput::File { path, .. } = &mut spec.input {
        paths.push(path);
    }
    for file in &mut spec.files {
        if let InputContent::File(path) = &mut file.content {
            paths.push(path);
        }
    }
    let mut given = Vec::new();
    for path in paths {
        let name = LAST.fetch_add(1, Ordering::Relaxed).to_string();
        let (home, from) = (Arc::clone(&process.home), path.clone());
        let put = tokio::task::spawn_blocking(move || home.give(&from, &name));
        let put = put.await.map_err(io::Error::other)??;
        path.clone_from(&put.at);
        given.push(put);
    }
    Ok(given)
}

impl Entered {
    /// Sends an order, however long the process takes none: what must not take too long is ended by the
    /// thread of the process.
    async fn order(
        &mut self,
        order: &Order,
        pieces: &[Bytes],
        with: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let with = with.map(|descriptor| descriptor.as_fd());
        loop {
            match self
                .seat
                .0
                .order_with(self.number, order, pieces, with.as_slice())
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(FULL_WAIT).await;
                }
                // One that is dead has ended its runs.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                sent => return sent,
            }
        }
    }

    /// Waits for what becomes of it, and passes on what is asked of it meanwhile.
    async fn wait(
        &mut self,
        kill: &CancellationToken,
        cancel: &CancellationToken,
        live: Option<Live>,
    ) -> Reply {
        let (process, number) = (Arc::clone(&self.seat.0), self.number);
        let _hears = wait_here(&process);
        let feeding = feed(&process, number, live);
        tokio::pin!(feeding);
        let mut door = self.door.as_mut();
        let (mut killed, mut cancelled) = (false, false);
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut self.reply => break reply,
                () = kill.cancelled(), if !killed => {
                    killed = true;
                    process.stop(number);
                }
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    // A process that takes no orders has worse to come.
                    let _heard = process.order(number, &Order::Cancel, &[]);
                }
                () = &mut feeding => {}
                () = door::drive(&mut door) => {}
            }
        };
        let reply = reply.unwrap_or_else(|_gone| {
            let late = process.late(number);
            Reply::Ended(late.unwrap_or_else(|| Box::new(Ended::not_begun(lost()))))
        });
        self.is_over = matches!(reply, Reply::Ended(_));
        reply
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.is_over {
            self.seat.0.stop(self.number);
        }
    }
}

/// Sends the live standard input, a piece for each question; it does not end before the run.
async fn feed(process: &Process, number: u32, live: Option<Live>) {
    let Some(Live {
        mut stream,
        mut wants,
    }) = live
    else {
        return std::future::pending().await;
    };
    let mut buffer = vec![0; PIECE_BYTES];
    while wants.recv().await.is_some() {
        let (piece, bytes) = match stream.read(&mut buffer).await {
            Ok(0) => (Piece::End, Bytes::new()),
            Ok(read) => (Piece::Bytes, Bytes::copy_from_slice(&buffer[..read])),
            Err(error) => (Piece::Failed(error.to_string()), Bytes::new()),
        };
        let (order, pieces) = (Order::Input(piece), [bytes]);
        while let Err(error) = process.order(number, &order, &pieces) {
            if error.kind() != io::ErrorKind::WouldBlock {
                break;
            }
            tokio::time::sleep(FULL_WAIT).await;
        }
    }
    std::future::pending().await
}

impl Remote {
    /// Calls the guest. Dropping the future ends it.
    pub(crate) async fn call(mut self, turn: Turn) -> (Report, Result<Remote, Option<Left>>) {
        let now = Instant::now();
        let limits = turn.limits(&self.limits);
        let deadline = turn.deadline(now, &limits);
        if let Some(pass) = &self.pass {
            pass.account().begin_call();
        }
        let entered = &mut self.entered;
        let (reply, answer) = oneshot::channel();
        entered.reply = answer;
        let end_by = deadline + entered.seat.0.grace();
        entered.seat.0.call(entered.number, end_by, reply);
        let call = Order::Call(Call {
            content_type: turn.input.content_type.as_ref().to_owned(),
            timeout: limits.timeout,
            cpu: limits.cpu,
            time: deadline.saturating_duration_since(now),
            now_ms: self.clock.now().as_millis(),
        });
        // What goes wrong here, the reply tells.
        let _told = entered
            .order(&call, &[turn.input.body, turn.stdin], None)
            .await;
        let never = CancellationToken::new();
        match entered.wait(&turn.kill, &never, None).await {
            Reply::Answered(report) => (*report, Ok(self)),
            Reply::Ended(ended) => (ended.report, Err(ended.left)),
            Reply::Opened => (Report::not_begun(odd()), Err(None)),
        }
    }

    /// The directory that the guest writes to.
    pub(crate) fn so_far(&self) -> Option<Left> {
        self.entered.seat.0.dir_of(self.entered.number)
    }

    /// Ends the guest.
    pub(crate) async fn end(mut self) -> Option<Left> {
        let entered = &mut self.entered;
        let (reply, answer) = oneshot::channel();
        entered.reply = answer;
        let by = Instant::now() + entered.seat.0.grace();
        entered.seat.0.call(entered.number, by, reply);
        entered.seat.0.stop(entered.number);
        let never = CancellationToken::new();
        match entered.wait(&never, &never, None).await {
            Reply::Ended(ended) => ended.left,
            Reply::Opened | Reply::Answered(_) => None,
        }
    }
}
