//! The composition root: the parts of the host, the order in which they start, and how they end.
//!
//! This is the only file that names concrete services. At the end the API takes no more work and
//! answers everything else, the queue lets running attempts finish or gives them back, then the
//! listeners close, and then storage.

mod confined;
mod descriptors;
mod local;
mod outside;
mod place;
mod secured;
mod watched;
mod works;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use self::works::Works;
use crate::config::Config;
use crate::http::api::Api;
use crate::http::peers::Peers;
use crate::http::room::Room;
use crate::http::server::handshake::Tls;
use crate::http::server::places::{PlaceLimits, Places};
use crate::http::server::{self, exposure};
use crate::http::settings::Confined;
use crate::http::{self, AppState, Services};
use crate::intake::schedule::ScheduledWork;
use crate::mcp::{self, Mcp};
use cofferdam::access::Access;
use cofferdam::audit::{Audit, OfCallbacks};
use cofferdam::callbacks::{self, Callbacks};
use cofferdam::queue::elsewhere::Taps;
use cofferdam::queue::{Parts, Queue, SharedQueue};
use cofferdam::runner::Runner;
use cofferdam::schedules::{self, Schedules};
use cofferdam::secrets::Secrets;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam::telemetry::process::ProcessFigures;
use cofferdam::workflows::definitions::Definitions;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::module::Language;
use cofferdam_domain::worker::{Address, Profile};
use cofferdam_sandbox::Sandbox;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_storage::Opened;
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;

pub use crate::app::local::{EXIT_INTERRUPTED, Interrupted, Local};
pub use cofferdam_storage::backup::{BackupError, backup};
pub use cofferdam_storage::trail;
pub use cofferdam_storage::verify::verify;

/// How long spawned tasks may take to end once everything they wait for has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often expired files of executions are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// How long removing the last guests' files may take; the next start removes the rest.
const SCRATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub fn serve(mut config: Config) -> anyhow::Result<()> {
    config.access.admin_key = place::admin_key(&config.access)?;
    config.storage.encryption_keys = place::encryption_keys(&config.storage)?;
    let certificate = secured::certificate(&config.http)?;
    let tls = secured::offer(&config.http, certificate.as_ref())?;
    let threads = threads_or_cores(config.http.threads);
    let listeners = server::bind(config.http.listen, threads)?;
    let operations = match config.http.operations_listen {
        Some(address) => secured::bind_operations(address)?,
        None => Vec::new(),
    };
    // From here on there are threads, and nothing is listened on any more.
    let confined = confined::confine(&config)?;
    // This runtime is for the queue's services; requests and guests have their own threads.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("services")
        .enable_all()
        .build()?;
    let address = place::first_address(&listeners)?;
    let guests = GuestThreads::start(threads_or_cores(config.sandbox.guest_threads))?;
    let program = std::env::current_exe().context("the path of this program")?;
    let needs = Needs {
        program: &program,
        compiled: &config.storage.data.join("compiled"),
        languages: &WARMED_UP,
        confined,
        address: place::advertised(&config.http, address),
    };
    let host = runtime.block_on(Host::start(&config, &guests, &needs))?;
    // Nobody is answered before this: whoever connected meanwhile waits in the kernel.
    let protection = secured::protection(&config.http, host.services.access.asks_for_keys());
    exposure::check(config.http.listen, protection)?;

    let connections_max = descriptors::connections_max(config.http.connections_max);
    let places = Places::new(PlaceLimits::of(&config.http, connections_max));
    let mut threads = Vec::with_capacity(listeners.len() + operations.len());
    for listener in listeners {
        threads.push(spawn_http(
            listener,
            &host,
            places.clone(),
            tls.clone(),
            Api::new,
        )?);
    }
    for listener in operations {
        let address = listener.local_addr()?;
        let places = Places::new(PlaceLimits::of_operations(&config.http));
        let api = |state| Api::new(state).for_operations();
        threads.push(spawn_http(listener, &host, places, tls.clone(), api)?);
        tracing::info!(%address, "operations are answered here as well");
    }
    if let Some(certificate) = certificate {
        secured::renew(certificate, runtime.handle(), &host.intake)?;
    }
    outside::announce(&place::base(&config.http, address))?;
    runtime.block_on(outside::asks_to_end())?;
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
    /// How far the kernel confines this process.
    confined: Confined,
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
    /// Requested once nobody is answered any more: nothing is noted.
    trail: Shutdown,
}

impl Host {
    async fn start(
        config: &Config,
        guests: &GuestThreads,
        needs: &Needs<'_>,
    ) -> anyhow::Result<Host> {
        // Files and guests go by the machine's clock, tasks by storage's, which hosts may share.
        let (machine, mut random) = (Clock::system(), StdRng::from_os_rng());
        let storage = place::storage(config, &mut random, &machine)?;
        let (clock, started_at) = (storage.clock.clone(), storage.clock.now());
        let [intake, doors, trail] = [(); 3].map(|()| Shutdown::new());
        // As long as anybody is answered.
        let access = place::access(config, &storage, &mut random, &doors).await?;
        let (tenants, seed) = (place::tenants(&access), random.random());
        let works = Works::build(config, guests, needs, &storage, &machine, tenants, seed).await?;
        let worker = WorkerId(Uuid::from_u128(random.random()));
        let peers = place::peers(config, &storage, worker, &mut random)?;
        let profile = place::profile(config, needs.address.clone(), started_at);
        let (here, how) = ((worker, &profile, &peers), (random.random(), &intake));
        let queue = queue(config, guests, &storage, &works, here, how).await?;
        works.interpreters.warm_up(needs.languages, &intake);
        let definitions = definitions(&storage, &queue);
        let schedules = scheduled(&storage, &works, (&queue, &definitions, &access), &intake);
        let audit = place::audit(config, &storage, &works, &mut random, &trail);
        keep_executions(config, &works.files, &clock, &intake);
        let secrets = place::secrets(&storage, &works, &intake);
        let with = (&access, &audit, &secrets, random.random());
        let callbacks = telling(config, &storage, &works, with, &intake);
        let sessions = sessions(config, worker, &works.runner, guests, &clock, &intake);
        place::keep_results(config, &storage, &works.runner, &access, &doors)?;
        place::end_with_tenants(&sessions, &works.runner, &access, &intake);
        let watched = (&queue, &sessions, &callbacks);
        let how = (worker, &profile, machine, random.random());
        let vitals = watched::start(config, (&storage, &works), watched, how, &intake);
        let room = Room::new(works.memory.clone(), config.http.bodies_wait);
        let services = Services {
            access,
            audit,
            secrets,
            mcp: agents(config, &works, &storage, &room, guests, &clock),
            threads: guests.handle(),
            sessions,
            vitals,
            queue,
            schedules,
            definitions,
            callbacks,
            runner: works.runner,
            registry: works.registry,
            storage: Arc::clone(&storage.reads),
            modules: Arc::clone(&storage.modules),
            files: works.files,
            files_retention: config.interpreters.files_retention,
            metrics: works.metrics,
            process: Arc::new(ProcessFigures::new()),
            clock,
            shutdown: intake.clone(),
            room,
            memory: works.memory,
            closing: doors.clone(),
            disk: Disk::new(&config.storage.data, config.storage.disk_free_min_bytes),
            config: config.http.clone(),
            confined: needs.confined,
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
            trail,
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
        if !runtime.block_on(self.doors.drained(SETTLE_TIMEOUT)) {
            tracing::warn!("a look for keys did not end in time");
        }
        self.trail.request();
        if !runtime.block_on(self.trail.drained(SETTLE_TIMEOUT)) {
            tracing::error!("the audit trail was not written to its end in time");
        }
        drop(self.services);
        self.sandbox.close(SCRATCH_TIMEOUT);
        drop(self.sandbox);
        self.storage.close();
    }
}

/// The queue of this host.
async fn queue(
    config: &Config,
    guests: &GuestThreads,
    storage: &Opened,
    works: &Works,
    (worker, profile, peers): (WorkerId, &Profile, &Arc<Peers>),
    (seed, intake): (u64, &Shutdown),
) -> anyhow::Result<SharedQueue> {
    let parts = Parts {
        storage: Arc::clone(&storage.tasks),
        reads: Arc::clone(&storage.reads),
        workflows: Arc::clone(&storage.workflows),
        signals: Arc::clone(&storage.signals),
        registry: Arc::clone(&works.registry),
        admission: works.admission.clone(),
        config: config.queue.clone(),
        clock: storage.clock.clone(),
        worker,
        profile: profile.clone(),
        seed,
        threads: guests.handle(),
        shutdown: intake.clone(),
        metrics: Arc::clone(&works.metrics),
        pressure: works.pressure.clone(),
        taps: Some(Arc::<Peers>::clone(peers) as Arc<dyn Taps>),
        sole_owner: storage.exclusive,
    };
    let queue = Queue::start(parts, Arc::clone(&works.runner), works.files.clone());
    Ok(queue.await?)
}

/// What workflows may be submitted by.
fn definitions(storage: &Opened, queue: &SharedQueue) -> Arc<Definitions> {
    let kept = Arc::clone(&storage.definitions);
    Arc::new(Definitions::new(kept, Arc::clone(queue)))
}

/// What submits tasks at the times that tenants choose.
fn scheduled(
    storage: &Opened,
    works: &Works,
    (queue, definitions, access): (&SharedQueue, &Arc<Definitions>, &Arc<Access>),
    intake: &Shutdown,
) -> Arc<Schedules> {
    let schedules = Schedules::new(schedules::Parts {
        storage: Arc::clone(&storage.schedules),
        reads: Arc::clone(&storage.reads),
        queue: Arc::clone(queue),
        definitions: Arc::clone(definitions),
        access: Arc::clone(access),
        reader: Box::new(ScheduledWork(Arc::clone(&works.runner))),
        clock: storage.clock.clone(),
        metrics: Arc::clone(&works.metrics),
    });
    schedules.follow(intake);
    schedules
}

/// What tells others that tasks, batches and workflows have ended.
fn telling(
    config: &Config,
    storage: &Opened,
    works: &Works,
    (access, audit, secrets, seed): (&Arc<Access>, &Arc<Audit>, &Secrets, u64),
    intake: &Shutdown,
) -> Arc<Callbacks> {
    let egress = callbacks::way_out(&config.callbacks, &config.sandbox.egress);
    egress.tell(Arc::new(OfCallbacks(Arc::clone(audit))));
    let parts = callbacks::Parts {
        kept: Arc::clone(&storage.callbacks),
        reads: Arc::clone(&storage.reads),
        workflows: Arc::clone(&storage.workflows),
        signals: Arc::clone(&storage.signals),
        secrets: secrets.clone(),
        access: Arc::clone(access),
        egress,
        write: http::END,
        config: config.callbacks.clone(),
        clock: storage.clock.clone(),
        seed,
        metrics: Arc::clone(&works.metrics),
    };
    Callbacks::start(parts, intake)
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

/// Removes the files of executions once their time has passed.
fn keep_executions(config: &Config, files: &FileStorage, clock: &Clock, intake: &Shutdown) {
    let (files, clock, stop) = (files.clone(), clock.clone(), intake.clone());
    let retention = config.interpreters.files_retention;
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

/// Starts a thread that accepts and serves connections until the listeners close.
fn spawn_http(
    listener: std::net::TcpListener,
    host: &Host,
    places: Places,
    tls: Option<Tls>,
    api: fn(AppState) -> Api,
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
                        api(state),
                        &config,
                        places,
                        tls,
                        shutdown,
                    ))
                });
            if let Err(error) = served {
                tracing::error!(%error, "an HTTP thread ended");
            }
        })
}

fn threads_or_cores(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
