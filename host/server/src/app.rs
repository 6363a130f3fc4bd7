//! The composition root: the parts of the host, the order in which they start, and how they end.
//!
//! This is the only file that names concrete services. At the end the API takes no more work and
//! answers everything else, the queue lets running attempts finish or gives them back, then the
//! listeners close, and then storage.

mod descriptors;
mod local;
mod place;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::config::Config;
use crate::http::api::Api;
use crate::http::peers::Peers;
use crate::http::room::Room;
use crate::http::server;
use crate::http::server::places::{PlaceLimits, Places};
use crate::http::{AppState, Services};
use crate::mcp::{self, Mcp};
use cofferdam::interpreters::Interpreters;
use cofferdam::queue::elsewhere::Taps;
use cofferdam::queue::{Parts, Queue};
use cofferdam::registry::Registry;
use cofferdam::registry::loader::SandboxLoader;
use cofferdam::registry::schema::{Bounds, Schemas};
use cofferdam::runner::Runner;
use cofferdam::runner::admission::Admission;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam::telemetry::process::ProcessFigures;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::memory::{Budget, Share};
use cofferdam_domain::module::Language;
use cofferdam_domain::worker::Address;
use cofferdam_sandbox::cache::CodeCache;
use cofferdam_sandbox::compile::Compiler;
use cofferdam_sandbox::memory;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_sandbox::{Sandbox, processes};
use cofferdam_storage::Opened;
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;

pub use crate::app::local::{Interrupted, Local};
pub use cofferdam_storage::backup::{BackupError, backup};

/// How long spawned tasks may take to end once everything they wait for has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often expired files of executions are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// How long removing the last guests' files may take; the next start removes the rest.
const SCRATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub fn serve(config: Config) -> anyhow::Result<()> {
    // This runtime is for the queue's services; requests and guests have their own threads.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("services")
        .enable_all()
        .build()?;
    let listeners = server::bind(config.http.listen, threads_or_cores(config.http.threads))?;
    let operations = match config.http.operations_listen {
        Some(address) => server::bind(address, 1)?,
        None => Vec::new(),
    };
    let address = place::first_address(&listeners)?;
    let guests = GuestThreads::start(threads_or_cores(config.sandbox.guest_threads))?;
    let program = std::env::current_exe().context("the path of this program")?;
    let needs = Needs {
        program: &program,
        compiled: &config.storage.data.join("compiled"),
        languages: &WARMED_UP,
        address: place::advertised(&config.http, address),
    };
    let host = runtime.block_on(Host::start(&config, &guests, &needs))?;

    let connections_max = descriptors::connections_max(config.http.connections_max);
    let places = Places::new(PlaceLimits::of(&config.http, connections_max));
    let mut threads = Vec::with_capacity(listeners.len() + operations.len());
    for listener in listeners {
        threads.push(spawn_http(listener, &host, places.clone())?);
    }
    for listener in operations {
        let address = listener.local_addr()?;
        let places = Places::new(PlaceLimits::of_operations(&config.http));
        threads.push(spawn_http(listener, &host, places)?);
        tracing::info!(%address, "operations are answered here as well");
    }
    announce(address)?;
    runtime.block_on(wait_for_signal())?;
    tracing::info!("draining");
    host.stop(threads, &runtime, &config);
    guests.stop();
    tracing::info!("stopped");
    Ok(())
}

/// The interpreters that a server prepares, the small one first: it is ready in a second even if
/// the other takes many.
const WARMED_UP: [Language; 2] = [Language::JavaScript, Language::Python];

/// The purpose of a host.
struct Needs<'a> {
    /// This program, which compiles.
    program: &'a Path,
    /// The directory of compiled code.
    compiled: &'a Path,
    /// The interpreters to prepare, in this order.
    languages: &'a [Language],
    /// Where others reach it, if they can.
    address: Option<Address>,
}

/// The parts that live as long as the process.
struct Host {
    services: Services,
    storage: Opened,
    sandbox: Sandbox,
    /// Requested first: no new tasks, no new claims, no new runs.
    intake: Shutdown,
    /// Requested once all runs have ended: no new connections.
    doors: Shutdown,
}

/// The parts that run guests, before anything uses them.
struct Works {
    files: FileStorage,
    memory: Budget,
    metrics: Arc<Metrics>,
    sandbox: Sandbox,
    registry: Arc<Registry>,
    interpreters: Arc<Interpreters>,
    admission: Admission,
    runner: Arc<Runner>,
}

impl Works {
    async fn build(
        config: &Config,
        guests: &GuestThreads,
        needs: &Needs<'_>,
        storage: &Opened,
        clock: &Clock,
        seed: u64,
    ) -> anyhow::Result<Works> {
        let data = &config.storage.data;
        let files = files(config, storage).await?;
        let metrics = Arc::new(Metrics::new());
        let memory = memory(config);
        let sandbox = Sandbox::new(
            &config.sandbox,
            memory.clone(),
            data,
            seed,
            clock.clone(),
            Some(processes::program(needs.program)),
        )?;
        let registry = Registry::new(
            Arc::clone(&storage.modules),
            Arc::new(loader(config, needs, &memory, &sandbox, guests)?),
            config.sandbox.loaded_modules_max,
            schemas(config, guests),
            storage.clock.clone(),
            Arc::clone(&metrics),
        );
        let registry = Arc::new(registry);
        let interpreters =
            Interpreters::new(Arc::clone(&registry), &config.interpreters, needs.program);
        let interpreters = Arc::new(interpreters);
        let admission = Admission::new(config.limits, config.isolation, config.dirs.clone());
        let runner = Arc::new(Runner::new(
            Arc::clone(&registry),
            Arc::clone(&interpreters),
            admission.clone(),
            sandbox.clone(),
            guests.handle(),
            Arc::new(files.clone()),
            Arc::clone(&metrics),
        ));
        Ok(Works {
            files,
            memory,
            metrics,
            sandbox,
            registry,
            interpreters,
            admission,
            runner,
        })
    }
}

impl Host {
    async fn start(
        config: &Config,
        guests: &GuestThreads,
        needs: &Needs<'_>,
    ) -> anyhow::Result<Host> {
        // Files and guests go by the machine's clock, tasks by storage's, which hosts may share.
        let (machine, mut random) = (Clock::system(), StdRng::from_os_rng());
        let data = &config.storage.data;
        let for_fences = StdRng::from_rng(&mut random);
        let storage = cofferdam_storage::open(&config.storage, for_fences, &machine)?;
        let clock = storage.clock.clone();
        let started_at = clock.now();
        let works =
            Works::build(config, guests, needs, &storage, &machine, random.random()).await?;
        let (intake, doors) = (Shutdown::new(), Shutdown::new());
        let worker = WorkerId(Uuid::from_u128(random.random()));
        let peers = place::peers(config, &storage, worker, &mut random);
        let profile = place::profile(config, needs.address.clone(), started_at);
        let parts = Parts {
            storage: Arc::clone(&storage.tasks),
            reads: Arc::clone(&storage.reads),
            signals: Arc::clone(&storage.signals),
            registry: Arc::clone(&works.registry),
            admission: works.admission.clone(),
            config: config.queue.clone(),
            clock: clock.clone(),
            worker,
            profile: profile.clone(),
            seed: random.random(),
            threads: guests.handle(),
            shutdown: intake.clone(),
            metrics: Arc::clone(&works.metrics),
            taps: Some(Arc::<Peers>::clone(&peers) as Arc<dyn Taps>),
            sole_owner: storage.exclusive,
        };
        let queue = Queue::start(parts, Arc::clone(&works.runner), works.files.clone()).await?;
        works.interpreters.warm_up(needs.languages, &intake);
        let files_retention = config.interpreters.files_retention;
        keep_executions(&works.files, files_retention, &clock, &intake);
        let room = Room::new(works.memory.clone(), config.http.bodies_wait);
        let services = Services {
            mcp: agents(config, &works, &storage, &room, guests, &clock),
            threads: guests.handle(),
            sessions: sessions(config, worker, &works.runner, guests, &clock, &intake),
            queue,
            runner: works.runner,
            registry: works.registry,
            storage: Arc::clone(&storage.reads),
            modules: Arc::clone(&storage.modules),
            files: works.files,
            files_retention,
            metrics: works.metrics,
            process: Arc::new(ProcessFigures::new()),
            clock,
            shutdown: intake.clone(),
            room,
            memory: works.memory,
            closing: doors.clone(),
            disk: Disk::new(data, config.storage.disk_free_min_bytes),
            config: config.http.clone(),
            worker,
            peers,
            profile,
            started_at,
        };
        Ok(Host {
            services,
            storage,
            sandbox: works.sandbox,
            intake,
            doors,
        })
    }

    /// Ends everything in order; each step has its own time limit.
    fn stop(self, threads: Vec<JoinHandle<()>>, runtime: &Runtime, config: &Config) {
        let until = Instant::now() + config.http.drain_timeout;
        self.services.runner.drain();
        self.intake.request();
        let patience = config.queue.drain_timeout + config.queue.cancel_grace + SETTLE_TIMEOUT;
        if !runtime.block_on(self.intake.drained(patience)) {
            tracing::warn!("some attempts did not end in time; the next start rescues them");
        }
        runtime.block_on(async {
            let runs = self.services.runner.drained();
            if tokio::time::timeout_at(until.into(), runs).await.is_err() {
                tracing::warn!("some runs did not end in time; they end with their connections");
            }
        });
        // Until this point everything but new work was answered.
        self.doors.request();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an HTTP thread panicked");
            }
        }
        drop(self.services);
        self.sandbox.close(SCRATCH_TIMEOUT);
        drop(self.sandbox);
        self.storage.close();
    }
}

/// The endpoint for agents, whose results wait for their readers in `room`.
fn agents(
    config: &Config,
    works: &Works,
    storage: &Opened,
    room: &Room,
    guests: &GuestThreads,
    clock: &Clock,
) -> Mcp {
    let parts = mcp::Parts {
        runner: Arc::clone(&works.runner),
        modules: Arc::clone(&storage.modules),
        files: works.files.clone(),
        readers: Arc::new(room.clone()),
        metrics: Arc::clone(&works.metrics),
        clock: clock.clone(),
    };
    let address = config.http.listen.ip();
    Mcp::new(parts, &config.mcp, address, guests.handle())
}

fn sessions(
    config: &Config,
    worker: WorkerId,
    runner: &Arc<Runner>,
    guests: &GuestThreads,
    clock: &Clock,
    intake: &Shutdown,
) -> Arc<Sessions> {
    Arc::new(Sessions::new(
        worker,
        Arc::clone(runner),
        guests.handle(),
        config.sessions.clone(),
        config.sandbox.interpreters.sessions_max as usize,
        clock.clone(),
        intake.clone(),
    ))
}

/// The large bytes, without those that a crash left behind.
async fn files(config: &Config, storage: &Opened) -> anyhow::Result<FileStorage> {
    let files = storage.files(&config.storage)?;
    let swept = files.sweep(&*storage.tasks).await?;
    tracing::debug!(?swept, "swept files without a reference");
    Ok(files)
}

/// Removes the files of executions once their time has passed.
fn keep_executions(files: &FileStorage, retention: Duration, clock: &Clock, intake: &Shutdown) {
    let (files, clock, stop) = (files.clone(), clock.clone(), intake.clone());
    intake.spawn("execution files", async move {
        loop {
            let old = clock.now().minus(retention);
            if let Err(error) = files.prune_executions(old).await {
                tracing::warn!(%error, "files of executions were left behind");
            }
            tokio::select! {
                () = tokio::time::sleep(PRUNE_INTERVAL.min(retention)) => {}
                () = stop.requested() => return,
            }
        }
    });
}

/// Older versions kept compiled code in another directory, under names that this version cannot
/// use. It is removed; modules are compiled again at their next use.
fn remove_old_code(compiled: &Path) {
    match std::fs::remove_dir_all(compiled.with_file_name("artefacts")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the compiled code of an older version could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// The memory that guests, compiling children and bodies share.
fn memory(config: &Config) -> Budget {
    let bodies = Share {
        reserved_bytes: config.http.bodies_reserved_bytes,
        most_bytes: config.http.bodies_bytes,
    };
    memory::budget(&config.sandbox, bodies)
}

fn loader(
    config: &Config,
    needs: &Needs<'_>,
    memory: &Budget,
    sandbox: &Sandbox,
    guests: &GuestThreads,
) -> anyhow::Result<SandboxLoader> {
    remove_old_code(needs.compiled);
    let code_cache = CodeCache::open(needs.compiled, &config.sandbox)?;
    let program = needs.program.to_owned();
    let compiler = Compiler::new(&config.sandbox, memory.clone(), program, code_cache);
    Ok(SandboxLoader::new(
        sandbox.clone(),
        compiler,
        config.limits.defaults,
        config.isolation,
        guests.handle(),
    ))
}

fn schemas(config: &Config, guests: &GuestThreads) -> Schemas {
    Schemas::new(
        guests.handle(),
        threads_or_cores(config.sandbox.guest_threads),
        Bounds {
            timeout: config.sandbox.schema_check_timeout,
            memory_bytes: config.sandbox.schema_check_memory_bytes,
        },
    )
}

/// Starts a thread that accepts and serves connections until the listeners close.
fn spawn_http(
    listener: std::net::TcpListener,
    host: &Host,
    places: Places,
) -> std::io::Result<JoinHandle<()>> {
    let state: AppState = host.services.clone().into_state();
    let shutdown = host.doors.clone();
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            let config = state.config.clone();
            let served = Builder::new_current_thread()
                .enable_all()
                .build()
                .and_then(|runtime| {
                    runtime.block_on(server::serve(
                        listener,
                        Api::new(state),
                        &config,
                        places,
                        shutdown,
                    ))
                });
            if let Err(error) = served {
                tracing::error!(%error, "an HTTP thread ended");
            }
        })
}

/// Writes one line to standard output, for people and for programs that use any free port.
fn announce(address: SocketAddr) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()?;
    tracing::info!(%address, "listening");
    Ok(())
}

/// Waits for SIGTERM or SIGINT. The next one after that ends the process at once.
async fn wait_for_signal() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process and only ends it"
    )]
    let _never_joined = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal arrived; ending at once");
        std::process::exit(1);
    });
    Ok(())
}

fn threads_or_cores(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
