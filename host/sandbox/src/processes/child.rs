//! The process that runs guests, from the inside: it gets one module's code, confines itself, and then runs
//! that module as often as the host says.
//!
//! One thread runs all its guests; a guest yields it at every epoch tick, as everywhere. Code without checks
//! yields nothing, so its one guest has a thread of its own (`watch`). What the process knows of the host is a
//! socket, the code and the directories that it was given.

mod door;
mod link;
mod watch;
mod work;

use std::io;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use self::link::Link;
use self::watch::GuestThread;
use super::jail;
use super::messages::{Begin, Event, Jail, NO_RUN, Order};
use super::packets::{PACKET_BYTES, decode, receive_order};
use crate::admission::Admission;
use crate::engines::Engines;
use crate::epoch::Ticker;
use crate::files::{INCARNATION, Scratch};
use crate::settings::SandboxConfig;
use crate::{EngineClass, Loaded, Shared};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::memory::{Budget, Share, Shares};
use cofferdam_domain::module::ModuleKind;
use cofferdam_domain::time::Timestamp;

/// The exit code of a process that the host started and that cannot serve it.
const BROKEN: u8 = 70;

/// Threads for work on files. All are started before the first guest, because none can be afterwards.
const FILE_THREADS: usize = 8;
/// They wait for work for as long as the process lives.
const KEPT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The program's hidden entry: `cofferdam guest-process`. The socket is its standard input.
pub fn child_main() -> ExitCode {
    #[cfg(feature = "fault-injection")]
    crate::faults::arm();
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If this fails, nobody is left to tell.
            let _unheard = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            ExitCode::from(BROKEN)
        }
    }
}

fn begin() -> io::Result<()> {
    // A process that has a second thread cannot leave the host's users any more.
    let namespaces = jail::leave_namespaces()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    // Both descriptors lead to the same socket, so this holds for both.
    rustix::io::ioctl_fionbio(&socket, true)?;
    let (begin, code, questions) = first_order(&socket)?;
    let link = Arc::new(Link::new(socket, questions));
    match ready(begin, &code) {
        Ok(Ready {
            runtime,
            guest,
            shared,
            module,
            jail: confined,
        }) => {
            let jail = Jail {
                namespaces,
                ..confined
            };
            link.tell(NO_RUN, &Event::Ready(jail), &[])?;
            let (shared, module) = (Arc::new(shared), Arc::new(module));
            runtime.block_on(work::serve(&shared, &module, &link, guest.as_ref()))
        }
        Err(error) => link.tell(NO_RUN, &Event::Unfit(error.to_string()), &[]),
    }
}

fn first_order(socket: &OwnedFd) -> io::Result<(Begin, OwnedFd, OwnedFd)> {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], None)?;
    let gone = || io::Error::other("guest-process is for the host's own use");
    let mut buffer = vec![0; PACKET_BYTES];
    let received = receive_order(socket, &mut buffer)?.ok_or_else(gone)?;
    let (Order::Begin(begin), _) = decode(received.whole)? else {
        return Err(gone());
    };
    let [code, questions] = <[OwnedFd; 2]>::try_from(received.with).map_err(|_| gone())?;
    Ok((begin, code, questions))
}

/// Everything a guest needs.
struct Ready {
    runtime: Runtime,
    /// Where a guest without checks runs.
    guest: Option<GuestThread>,
    shared: Shared,
    module: Loaded,
    jail: Jail,
}

/// Everything a guest needs, and then the jail.
fn ready(begin: Begin, code: &OwnedFd) -> io::Result<Ready> {
    let class = EngineClass::from(begin.class);
    let config = config(&begin, class);
    let engines = Engines::of_process(&config, class).map_err(io::Error::other)?;
    let path = format!("/proc/self/fd/{}", code.as_raw_fd());
    let kind = ModuleKind::from(begin.kind);
    let module = Loaded::map_ahead(engines.of(class), path.as_ref(), class, kind);
    let module = module.map_err(|error| io::Error::other(format!("{error:#}")))?;

    let (runs, given) = (&begin.runs, &begin.given);
    #[cfg(feature = "fault-injection")]
    crate::faults::live_in(runs);
    let landlock = jail::close_files(runs, given, &begin.dirs, begin.memory_bytes)?;
    let nothing = Shares {
        guests: Share::NONE,
        compiles: Share::NONE,
        bodies: Share::NONE,
    };
    let shared = Shared {
        ticker: Ticker::start(engines.handles())?,
        engines,
        // The host decides who comes in.
        admission: Admission::new([0; 3], Budget::new(0, nothing), 0),
        clock: Clock::told(Timestamp::EPOCH),
        scratch: Scratch::open(runs, INCARNATION)?,
        over_quota: begin.over_quota(),
        queue_timeout: Duration::ZERO,
        // It has no network; requests go through the host.
        egress: None,
        processes: None,
    };
    let (runtime, guest) = match class.is_checked() {
        true => (with_file_threads()?, None),
        false => (
            Builder::new_current_thread().enable_all().build()?,
            Some(GuestThread::start(with_file_threads()?)?),
        ),
    };
    ignore_stops(&runtime)?;
    let seccomp = jail::close_calls();
    let jail = Jail {
        landlock,
        seccomp,
        namespaces: false,
    };
    Ok(Ready {
        runtime,
        guest,
        shared,
        module,
        jail,
    })
}

fn config(begin: &Begin, class: EngineClass) -> SandboxConfig {
    let mut config = SandboxConfig::default();
    let (instances, keep_resident_bytes) = (begin.instances, begin.keep_resident_bytes);
    match class {
        EngineClass::Fast | EngineClass::Metered | EngineClass::Unchecked => {
            config.instances_max = instances;
            config.keep_resident_bytes = keep_resident_bytes;
            config.stack_bytes = begin.stack_bytes;
        }
        EngineClass::Interpreter => {
            config.interpreters.instances_max = instances;
            config.interpreters.sessions_max = 0;
            config.interpreters.keep_resident_bytes = keep_resident_bytes;
            config.interpreters.stack_bytes = begin.stack_bytes;
        }
    }
    config
}

/// Whoever asks a service to stop often asks all its processes. The host decides when this one does, because
/// its runs may go on until then.
fn ignore_stops(runtime: &Runtime) -> io::Result<()> {
    let _of_this_runtime = runtime.enter();
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    for kind in kinds {
        // The handler stays, and nobody listens to it.
        drop(signal(kind)?);
    }
    Ok(())
}

fn with_file_threads() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(KEPT)
        .enable_all()
        .build()?;
    let all = Arc::new(Barrier::new(FILE_THREADS + 1));
    for _ in 0..FILE_THREADS {
        let all = Arc::clone(&all);
        let _ends_with_the_barrier = runtime.spawn_blocking(move || all.wait());
    }
    all.wait();
    Ok(runtime)
}
