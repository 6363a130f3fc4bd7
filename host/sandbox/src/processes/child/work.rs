//! The runs of a process that runs guests, one task each.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fd::OwnedFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::link::{Asked, Link, Mouth, Orders};
use super::watch::{End, GuestThread};
use crate::admission::Growth;
use crate::control::{Control, Observer};
use crate::interfaces::http::Way;
use crate::kept::{self, Kept, Turn};
use crate::local::{self, Ended};
use crate::meter::Meter;
use crate::processes::messages::{
    Call, Event, Order, Piece, Spec, Told, ToldDescription, WireStdin,
};
use crate::processes::packets::{Received, decode};
use crate::{Attachments, Loaded, Patience, Report, Run, Shared, Stdin, WayOut};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload, Streams, Usage};
use cofferdam_domain::time::Timestamp;

/// Pieces of a live standard input on their way: the host sends one for each question.
const PIECES_MAX: usize = 2;
/// Calls on their way to a guest that is kept: its caller sends one after the other.
const CALLS_MAX: usize = 2;

/// The ways to one run.
struct Handles {
    cancel: CancellationToken,
    kill: CancellationToken,
    input: Option<mpsc::Sender<(Piece, Bytes)>>,
    calls: Option<mpsc::Sender<(Call, Vec<Bytes>)>>,
}

/// A run that is about to begin.
struct Given {
    number: u32,
    run: Run,
    deadline: Instant,
    held_bytes: u64,
}

/// Does what the host says until it closes the socket.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    module: &Arc<Loaded>,
    link: &Arc<Link>,
    guest: Option<&GuestThread>,
) -> io::Result<()> {
    let mut orders = Orders::new(link.socket().try_clone()?)?;
    let mut runs: HashMap<u32, Handles> = HashMap::new();
    let mut tasks: JoinSet<io::Result<u32>> = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                runs.remove(&ended.map_err(io::Error::other)??);
            }
            received = orders.next() => match received? {
                Some(received) => {
                    let guest = guest.cloned();
                    obey((shared, module, guest), link, received, &mut runs, &mut tasks)?;
                }
                None => return Ok(()),
            },
        }
    }
}

fn obey(
    (shared, module, guest): (&Arc<Shared>, &Arc<Loaded>, Option<GuestThread>),
    link: &Arc<Link>,
    received: Received,
    runs: &mut HashMap<u32, Handles>,
    tasks: &mut JoinSet<io::Result<u32>>,
) -> io::Result<()> {
    let number = received.run;
    let (order, pieces) = decode(received.whole)?;
    let door = received.with.into_iter().next();
    let (shared, module) = (Arc::clone(shared), Arc::clone(module));
    match order {
        Order::Run(spec) => {
            let (given, handles) = given(&shared, link, number, *spec, (pieces, door))?;
            runs.insert(number, handles);
            let link = Arc::clone(link);
            tasks.spawn(async move { once(shared, module, guest, &link, given).await });
        }
        Order::Describe(spec) => {
            let (given, handles) = given(&shared, link, number, *spec, (pieces, door))?;
            runs.insert(number, handles);
            let link = Arc::clone(link);
            tasks.spawn(async move { describe(&shared, &module, &link, given).await });
        }
        Order::Open(spec) => {
            let (given, mut handles) = given(&shared, link, number, *spec, (pieces, door))?;
            let (calls, inbox) = mpsc::channel(CALLS_MAX);
            handles.calls = Some(calls);
            runs.insert(number, handles);
            let link = Arc::clone(link);
            tasks.spawn(async move { keep(&shared, &module, &link, given, inbox).await });
        }
        Order::Begin(_) => return Err(io::Error::other("the host began twice")),
        Order::Call(_) | Order::Input(_) | Order::Cancel | Order::Kill => {
            if let Some(run) = runs.get(&number) {
                run.pass_on(&shared, order, pieces);
            }
        }
    }
    Ok(())
}

impl Handles {
    /// Passes on what is for a run that goes on. What comes after its end, or before it has taken the last
    /// piece, goes nowhere.
    fn pass_on(&self, shared: &Shared, order: Order, mut pieces: Vec<Bytes>) {
        match order {
            Order::Call(call) => {
                shared.clock.set(Timestamp::from_millis(call.now_ms));
                if let Some(calls) = &self.calls {
                    let _late = calls.try_send((call, pieces));
                }
            }
            Order::Input(piece) => {
                let bytes = pieces.pop().unwrap_or_default();
                if let Some(input) = &self.input {
                    let _late = input.try_send((piece, bytes));
                }
            }
            Order::Cancel => self.cancel.cancel(),
            Order::Kill => self.kill.cancel(),
            Order::Begin(_) | Order::Run(_) | Order::Describe(_) | Order::Open(_) => {}
        }
    }
}

fn given(
    shared: &Shared,
    link: &Arc<Link>,
    number: u32,
    spec: Spec,
    (pieces, door): (Vec<Bytes>, Option<OwnedFd>),
) -> io::Result<(Given, Handles)> {
    let door = door.map(Door::new).transpose()?;
    let way = WayOut(door.map(|door| Arc::new(door) as Arc<dyn Way>));
    shared.clock.set(Timestamp::from_millis(spec.now_ms));
    let (time, held_bytes, heard, stdin) = (spec.time, spec.held_bytes, spec.heard, spec.stdin);
    let odd = || io::Error::other("the host sent half a run");
    let (spec, bytes) = spec.into_spec(pieces).ok_or_else(odd)?;
    let mouth = || Mouth {
        link: Arc::clone(link),
        run: number,
    };
    let (stdin, input) = match stdin {
        WireStdin::Absent => (None, None),
        WireStdin::Bytes => (Some(Stdin::Bytes(bytes)), None),
        WireStdin::Live => {
            let (input, pieces) = mpsc::channel(PIECES_MAX);
            let asked = Asked {
                mouth: mouth(),
                pieces,
                rest: Bytes::new(),
                waits: false,
            };
            (Some(Stdin::Stream(Box::new(asked))), Some(input))
        }
    };
    let control = Control {
        observer: heard.then(|| Arc::new(mouth()) as Arc<dyn Observer>),
        ..Control::default()
    };
    let handles = Handles {
        cancel: control.cancel.clone(),
        kill: control.kill.clone(),
        input,
        calls: None,
    };
    let attachments = Attachments {
        stdin,
        control,
        patience: Patience::default(),
        way,
    };
    let given = Given {
        number,
        run: Run { spec, attachments },
        deadline: Instant::now() + time.min(LONGEST),
        held_bytes,
    };
    Ok((given, handles))
}

/// A time that can be added to any instant.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

fn growth(link: &Arc<Link>, given: &Given) -> Growth {
    let (link, number) = (Arc::clone(link), given.number);
    Growth::asked(given.held_bytes, move |bytes| link.may_have(number, bytes))
}

async fn once(
    shared: Arc<Shared>,
    module: Arc<Loaded>,
    guest: Option<GuestThread>,
    link: &Arc<Link>,
    given: Given,
) -> io::Result<u32> {
    let growth = growth(link, &given);
    let Given {
        number,
        run,
        deadline,
        ..
    } = given;
    let end_of = match guest {
        Some(guest) => guest.run(shared, module, run, deadline, growth).await?,
        None => {
            let meter = Arc::new(Meter::new(run.spec.limits.cpu));
            let performed = local::perform(&shared, &module, run, &meter, deadline, growth, None);
            End::of(performed.await)
        }
    };
    match end_of {
        End::Out(ended, remains) => {
            let told = end(link, number, *ended);
            // The host has its answer. No other run begins before the memory is back, because nothing waits
            // here.
            drop(remains);
            told
        }
        End::Spent(spent) => {
            let (told, pieces) = Told::of_spent(*spent);
            link.tell(number, &Event::Ended(Box::new(told)), &pieces)?;
            Ok(number)
        }
    }
}

/// Asks the module to describe itself.
async fn describe(
    shared: &Arc<Shared>,
    module: &Loaded,
    link: &Arc<Link>,
    given: Given,
) -> io::Result<u32> {
    let growth = growth(link, &given);
    let Run { spec, attachments } = given.run;
    let kill = &attachments.control.kill;
    let described =
        local::describe(shared, module, &spec.limits, kill, given.deadline, growth).await;
    let outcome = match described.told {
        Ok(descriptor) => Outcome::Completed(Payload {
            content_type: "application/json".into(),
            body: serde_json::to_vec(&ToldDescription::from(descriptor))?.into(),
        }),
        Err(failure) => Outcome::Failed(failure),
    };
    let ended = Ended {
        report: Report {
            outcome,
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
            isolation: None,
        },
        left: None,
        starved: described.starved,
        long: false,
        unread: false,
    };
    end(link, given.number, ended)
}

fn end(link: &Link, number: u32, ended: Ended) -> io::Result<u32> {
    let (told, pieces) = Told::of(ended);
    link.tell(number, &Event::Ended(Box::new(told)), &pieces)?;
    Ok(number)
}

/// Keeps a guest until it is killed or a call ends it.
async fn keep(
    shared: &Arc<Shared>,
    module: &Arc<Loaded>,
    link: &Arc<Link>,
    given: Given,
    mut calls: mpsc::Receiver<(Call, Vec<Bytes>)>,
) -> io::Result<u32> {
    let growth = growth(link, &given);
    let Given { number, run, .. } = given;
    let kill = run.attachments.control.kill.clone();
    let mut guest = match Kept::open(shared, module, run, growth).await {
        Ok(guest) => guest,
        Err(failure) => return end(link, number, Ended::not_begun(failure)),
    };
    let dir = guest.so_far().and_then(|left| left.number());
    link.tell(number, &Event::Opened(dir), &[])?;
    loop {
        let next = tokio::select! {
            biased;
            () = kill.cancelled() => None,
            next = calls.recv() => next,
        };
        let Some((call, pieces)) = next else {
            let left = guest.end().await;
            let why = Failure::new(FailureKind::Cancelled, "the session was ended");
            let ended = Ended {
                left,
                ..Ended::not_begun(why)
            };
            return end(link, number, ended);
        };
        let (report, after) = guest.call(turn(call, pieces, &kill)).await;
        let ended = Ended {
            report,
            left: None,
            starved: false,
            long: false,
            unread: false,
        };
        match after {
            kept::After::Live(kept) => {
                guest = kept;
                let (told, pieces) = Told::of(ended);
                link.tell(number, &Event::Answered(Box::new(told)), &pieces)?;
            }
            kept::After::Ended(left) => return end(link, number, Ended { left, ..ended }),
        }
    }
}

fn turn(call: Call, pieces: Vec<Bytes>, kill: &CancellationToken) -> Turn {
    let mut pieces = pieces.into_iter();
    let mut piece = || pieces.next().unwrap_or_default();
    Turn {
        input: Payload {
            content_type: call.content_type.into(),
            body: piece(),
        },
        stdin: piece(),
        timeout: call.timeout,
        end_by: Instant::now().checked_add(call.time),
        cpu: call.cpu,
        kill: kill.clone(),
    }
}
