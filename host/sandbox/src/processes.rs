//! Processes that guests run in, one module in each: what a defect of the runtime, or of the compiler, gives
//! a guest there is a jail with nothing in it, and the kernel can end it whatever it does. Guests in
//! processes of their own do not slow each other down either, where they write to many pages.
//!
//! The host decides who is let in, how much memory a guest has, when it must have ended, and it takes the
//! files; everything else of a run happens in the process (`child`). A process runs one module, so code of
//! one never shares one with another's, and it has the granted directories of its runs and no others: Landlock
//! holds from its first guest to its last. It is made ready ahead, and replaced when it dies.
//!
//! `remote` has a run done, `process`, `hear` and `attend` are the host's side of one process, `packets` and
//! `messages` what is between, `jail` the confinement.

mod attend;
mod child;
mod choice;
mod door;
mod entry;
mod hear;
mod hearing;
mod jail;
mod looks;
mod messages;
mod packets;
mod process;
mod remote;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

pub use self::child::child_main;
pub use self::messages::Jail;
pub(crate) use self::remote::{Remote, TRIES, describe, open, run};

use self::attend::Start;
use self::choice::Choice;
use self::messages::{Begin, Dir, Kind};
use self::process::{Company, Process, Seat};
use crate::cache::VerifiedCode;
use crate::egress::Egress;
use crate::engine::WARM_SLOTS_MAX;
use crate::files::{Home, Scratch};
use crate::settings::{GuestProgram, OverQuota, SandboxConfig};
use crate::{EngineClass, LoadedModule, Shared};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::MIB;
use cofferdam_domain::module::ModuleKind;

/// Memory of its own that a process may keep between runs, beyond what the slots of its pool keep.
const OWN_BYTES: u64 = 96 * MIB;
/// Processes of a module in a row that may die before they are ready, without a run that asks for them.
const UNFIT_MAX: u32 = 3;

/// The word that makes the program such a process: `cofferdam guest-process`.
pub const COMMAND: &str = "guest-process";

/// Runs after which a process is replaced, so that what a defect lets it gather does not grow for ever.
const RUNS_MAX: u64 = 20_000;

/// `program`, this very one, as the program of such processes.
pub fn program(program: &Path) -> GuestProgram {
    GuestProgram {
        path: program.to_owned(),
        args: vec![COMMAND.into()],
    }
}

/// All processes of a host.
pub(crate) struct Processes(Arc<Inner>);

struct Inner {
    program: GuestProgram,
    config: SandboxConfig,
    scratch: Scratch,
    clock: Clock,
    egress: Egress,
    /// For each module.
    at_once: usize,
    /// The memory of all guests together.
    guests_bytes: u64,
    all: Mutex<All>,
    closed: AtomicBool,
    jail: OnceLock<Jail>,
    started: AtomicU64,
    died: AtomicU64,
    retired: AtomicU64,
}

#[derive(Default)]
struct All {
    processes: Vec<Weak<Process>>,
    threads: Vec<JoinHandle<()>>,
}

/// The processes in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Those that exist.
    pub live: u64,
    /// Those that were started.
    pub started: u64,
    /// Those of them whose guests compute without checks.
    pub unchecked: u64,
    /// Those that died under their guests or before they could have any.
    pub died: u64,
    /// Those that were ended: with their guest, because they had grown or were old, or for others.
    pub retired: u64,
    /// Their confinement on this machine, once one was ready.
    pub jail: Option<Jail>,
}

/// The processes of one module. Dropping it ends them, after the runs that they have.
pub(crate) struct Pool {
    inner: Arc<Inner>,
    code: Arc<File>,
    class: EngineClass,
    kind: Kind,
    members: Mutex<Vec<Arc<Process>>>,
    /// Those that died before they were ready, since the last that was.
    unfit: AtomicU32,
}

/// The pool that a run goes to, if it does not run in this process.
pub(crate) fn of(
    shared: &Shared,
    module: &LoadedModule,
    isolation: Isolation,
) -> Option<Arc<Pool>> {
    match (isolation, &shared.processes, &module.pool) {
        (Isolation::Process | Isolation::Dedicated, Some(_), Some(pool)) => Some(Arc::clone(pool)),
        (Isolation::Process | Isolation::Dedicated | Isolation::Shared, _, _) => None,
    }
}

impl Processes {
    pub(crate) fn new(
        program: GuestProgram,
        config: &SandboxConfig,
        scratch: Scratch,
        guests_bytes: u64,
        clock: Clock,
        egress: Egress,
    ) -> Processes {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Processes(Arc::new(Inner {
            program,
            at_once: if config.processes == 0 {
                cores
            } else {
                config.processes
            },
            config: config.clone(),
            scratch,
            clock,
            egress,
            guests_bytes,
            all: Mutex::default(),
            closed: AtomicBool::new(false),
            jail: OnceLock::new(),
            started: AtomicU64::new(0),
            died: AtomicU64::new(0),
            retired: AtomicU64::new(0),
        }))
    }

    /// Those of a module; none for what is not run by itself. An interpreter's are started at once, because
    /// somebody will need them.
    pub(crate) fn of_module(
        &self,
        code: &VerifiedCode,
        kind: ModuleKind,
    ) -> io::Result<Option<Arc<Pool>>> {
        let path: &Path = code.as_ref();
        let Some(wire) = Kind::of(kind) else {
            return Ok(None);
        };
        let pool = Arc::new(Pool {
            inner: Arc::clone(&self.0),
            code: Arc::new(File::open(path)?),
            class: code.class(),
            kind: wire,
            members: Mutex::default(),
            unfit: AtomicU32::new(0),
        });
        match kind {
            ModuleKind::Interpreter(_) => pool.fill(),
            ModuleKind::Task
            | ModuleKind::Command
            | ModuleKind::CoreCommand
            | ModuleKind::Script(_) => {}
        }
        Ok(Some(pool))
    }

    /// Ends all of them. Blocks.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        let (processes, threads) = {
            let mut all = lock(&self.0.all);
            let All { processes, threads } = &mut *all;
            (std::mem::take(processes), std::mem::take(threads))
        };
        for process in processes.iter().filter_map(Weak::upgrade) {
            process.kill();
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a process for guests panicked");
            }
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut all = lock(&self.0.all);
        all.tidy();
        let unchecked = all.processes.iter().filter_map(Weak::upgrade);
        let unchecked = unchecked.filter(|process| !process.checked).count();
        Figures {
            live: all.processes.len() as u64,
            unchecked: unchecked as u64,
            started: self.0.started.load(Ordering::Relaxed),
            died: self.0.died.load(Ordering::Relaxed),
            retired: self.0.retired.load(Ordering::Relaxed),
            jail: self.0.jail.get().copied(),
        }
    }
}

impl All {
    /// Forgets those that are gone.
    fn tidy(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
        let lives = |process: &Weak<Process>| process.upgrade().is_some_and(|it| !it.is_dead());
        self.processes.retain(lives);
    }
}

impl Pool {
    /// The company in which runs that do not ask for a process for themselves have one.
    fn company(&self) -> Company {
        match self.class.is_checked() {
            true => Company::Any,
            false => Company::None,
        }
    }

    /// The process for a run with these directories. Where all are busy and there may be more, another is
    /// started besides, for the runs that follow. A run that wants none with it gets one that is idle, or a
    /// new one.
    fn pick(self: &Arc<Self>, dirs: &[Dir], company: Company) -> io::Result<Seat> {
        let mut members = lock(&self.members);
        members.retain(|process| process.load().is_some());
        let old = members
            .iter()
            .filter(|process| process.served() >= RUNS_MAX);
        old.for_each(|process| process.retire());
        let Choice { there_are, best } = choice::among(&members, dirs);
        let process = match best {
            Some((0, process)) => process,
            Some(_) | None if company == Company::None => self.add(&mut members, dirs)?,
            Some((_, process)) if there_are >= self.inner.at_once => process,
            Some((_, process)) => {
                // Without another it is only slower.
                let _one_more = self.add(&mut members, dirs);
                process
            }
            None => self.add(&mut members, dirs)?,
        };
        let gone = || io::Error::other("the process for it has just ended");
        process.seat(company).ok_or_else(gone)
    }

    /// Starts as many as there are to be, for runs without granted directories.
    fn fill(self: &Arc<Self>) {
        let mut members = lock(&self.members);
        members.retain(|process| process.load().is_some());
        let there_are = members
            .iter()
            .filter(|process| process.dirs.is_empty())
            .count();
        for _ in there_are..self.inner.at_once {
            if let Err(error) = self.add(&mut members, &[]) {
                tracing::warn!(%error, "a process for guests cannot be started");
                return;
            }
        }
    }

    fn add(
        self: &Arc<Self>,
        members: &mut Vec<Arc<Process>>,
        dirs: &[Dir],
    ) -> io::Result<Arc<Process>> {
        let process = self.inner.start(self, dirs)?;
        members.push(Arc::clone(&process));
        Ok(process)
    }

    /// Replaces a process that is gone, where some are kept ready: not one that made room for others, and
    /// not without end where none becomes ready.
    fn replace(self: &Arc<Self>, gone: &Process, was_ready: bool) {
        let unfit = match was_ready {
            true => 0,
            false => self.unfit.load(Ordering::Relaxed) + 1,
        };
        self.unfit.store(unfit, Ordering::Relaxed);
        if unfit >= UNFIT_MAX || self.inner.closed.load(Ordering::SeqCst) || !self.inner.has_room()
        {
            return;
        }
        match (self.kind, gone.checked) {
            (Kind::Python | Kind::JavaScript, _) => self.fill(),
            (Kind::Task | Kind::Command | Kind::CoreCommand, true) => {}
            (Kind::Task | Kind::Command | Kind::CoreCommand, false) => self.spare(&gone.dirs),
        }
    }

    /// Sees to it that one is ready where guests end with theirs.
    fn spare(self: &Arc<Self>, dirs: &[Dir]) {
        let mut members = lock(&self.members);
        members.retain(|process| process.load().is_some());
        let is_idle = |process: &Arc<Process>| process.dirs == dirs && process.is_idle();
        if members.iter().any(is_idle) {
            return;
        }
        // The next run tries it again.
        let _one_more = self.add(&mut members, dirs);
    }

    /// Those that signals can be sent to.
    #[cfg(test)]
    pub(crate) fn pidfds(&self) -> Vec<rustix::fd::OwnedFd> {
        let members = lock(&self.members);
        let live = members.iter().filter(|process| process.load().is_some());
        live.filter_map(|process| process.pidfd.get()?.1.try_clone().ok())
            .collect()
    }

    /// The runs that they have.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> usize {
        let members = lock(&self.members);
        members.iter().map(|process| process.begun()).sum()
    }

    fn begin(&self, home: &Home, dirs: &[Dir]) -> Begin {
        let config = &self.inner.config;
        let (instances, keep_resident_bytes) = self.class.pool(config);
        Begin {
            class: self.class.into(),
            kind: self.kind,
            stack_bytes: self.class.stack_bytes(config),
            instances,
            keep_resident_bytes,
            over_quota_kills: match config.over_quota {
                OverQuota::Refuse => false,
                OverQuota::Kill => true,
            },
            runs: home.runs(),
            given: home.given(),
            dirs: dirs.to_vec(),
            memory_bytes: self.inner.guests_bytes,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for process in lock(&self.members).drain(..) {
            process.retire();
        }
    }
}

impl Inner {
    /// Whether there may be another process.
    fn has_room(&self) -> bool {
        let mut all = lock(&self.all);
        all.tidy();
        all.processes.len() < self.config.processes_max
    }

    /// Starts a process, and the thread that attends to it.
    fn start(self: &Arc<Self>, pool: &Arc<Pool>, dirs: &[Dir]) -> io::Result<Arc<Process>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(io::Error::other("the host is shutting down"));
        }
        let mut all = lock(&self.all);
        all.tidy();
        if all.processes.len() >= self.config.processes_max {
            let idle = all.processes.iter().filter_map(Weak::upgrade);
            let Some(idle) = idle.into_iter().find(|process| process.is_idle()) else {
                return Err(io::Error::other(
                    "as many processes run guests as there may be",
                ));
            };
            idle.retire();
        }
        let (ours, its) = packets::pair()?;
        let (questions, its_questions) = packets::pair()?;
        let home = Home::new(&self.scratch)?;
        let start = Start {
            program: self.program.clone(),
            begin: pool.begin(&home, dirs),
            code: Arc::clone(&pool.code),
            socket: its,
            questions: (questions, its_questions),
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let checked = pool.class.is_checked();
        let (_, kept_bytes) = pool.class.pool(&self.config);
        let most = OWN_BYTES + u64::from(WARM_SLOTS_MAX) * kept_bytes as u64;
        let process = Arc::new(Process::new(dirs.to_vec(), home, checked, most, ours, bell));
        let thread = std::thread::Builder::new().name("guest-process".to_owned());
        let (inner, pool, attended) =
            (Arc::clone(self), Arc::downgrade(pool), Arc::clone(&process));
        let thread = thread.spawn(move || {
            let was_ready = AtomicBool::new(false);
            let why = attend::attend(&attended, start, &|jail| {
                let may_be_used = inner.note(jail);
                was_ready.store(may_be_used, Ordering::Relaxed);
                may_be_used
            });
            let was_ready = was_ready.load(Ordering::Relaxed);
            if inner.closed.load(Ordering::SeqCst) {
                return;
            }
            if attended.is_retired() {
                inner.retired.fetch_add(1, Ordering::Relaxed);
            } else {
                tracing::warn!(why = &*why, was_ready, "a process for guests died");
                inner
                    .died
                    .fetch_add(u64::from(was_ready), Ordering::Relaxed);
            }
            if let Some(pool) = pool.upgrade() {
                pool.replace(&attended, was_ready);
            }
        })?;
        self.started.fetch_add(1, Ordering::Relaxed);
        all.processes.push(Arc::downgrade(&process));
        all.threads.push(thread);
        Ok(process)
    }

    /// Whether a process that is confined so may be used.
    fn note(&self, jail: Jail) -> bool {
        let is_new = self.jail.set(jail).is_ok();
        if is_new && !jail.is_whole() {
            let Jail {
                landlock,
                seccomp,
                namespaces,
            } = jail;
            tracing::warn!(
                landlock,
                seccomp,
                namespaces,
                "the kernel does not confine guests' processes fully"
            );
        }
        jail.is_whole() || !self.config.confinement_required
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one of these; the observers of runs are caught.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
