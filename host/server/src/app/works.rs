//! The parts that run guests: sandbox, modules, interpreters and the runner above them.
//!
//! They are made before anything uses them, from the configuration and storage alone. What drives them, and who
//! asks, comes in `app`.

use std::path::Path;
use std::sync::Arc;

use super::{Needs, threads_or_cores};
use crate::config::Config;
use cofferdam::callbacks::{Rules, way_out};
use cofferdam::interpreters::Interpreters;
use cofferdam::registry::Registry;
use cofferdam::registry::loader::SandboxLoader;
use cofferdam::registry::schema::{Bounds, Schemas};
use cofferdam::results::Results;
use cofferdam::runner::admission::{Admission, Tenants};
use cofferdam::runner::{Parts, Runner};
use cofferdam::secrets::Secrets;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::memory::{Budget, Share};
use cofferdam_domain::pressure::Pressure;
use cofferdam_sandbox::cache::CodeCache;
use cofferdam_sandbox::compile::Compiler;
use cofferdam_sandbox::memory;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_sandbox::{Sandbox, processes};
use cofferdam_storage::Opened;
use cofferdam_storage::files::FileStorage;

/// The parts that run guests, before anything uses them.
pub(super) struct Works {
    pub(super) files: FileStorage,
    pub(super) memory: Budget,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pressure: Pressure,
    pub(super) sandbox: Sandbox,
    pub(super) registry: Arc<Registry>,
    pub(super) interpreters: Arc<Interpreters>,
    pub(super) admission: Admission,
    pub(super) runner: Arc<Runner>,
}

impl Works {
    pub(super) async fn build(
        config: &Config,
        guests: &GuestThreads,
        needs: &Needs<'_>,
        storage: &Opened,
        clock: &Clock,
        tenants: Tenants,
        seed: u64,
    ) -> anyhow::Result<Works> {
        let data = &config.storage.data;
        let files = files(config, storage).await?;
        let metrics = Arc::new(Metrics::new());
        let memory = memory(config);
        let pressure = Pressure::default();
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
        let admission = Admission::new(config.limits, config.isolation, config.dirs.clone())
            .with_hosts(&config.sandbox.egress.allow)
            .with_tenants(tenants, storage.clock.clone())
            .with_secrets(Secrets::new(storage.secrets.clone(), storage.clock.clone()))
            .with_callbacks(Rules::of(way_out(
                &config.callbacks,
                &config.sandbox.egress,
            )));
        let runner = Arc::new(Runner::new(Parts {
            registry: Arc::clone(&registry),
            interpreters: Arc::clone(&interpreters),
            admission: admission.clone(),
            sandbox: sandbox.clone(),
            threads: guests.handle(),
            spool: Arc::new(files.clone()),
            metrics: Arc::clone(&metrics),
            breaker: config.breaker,
            pressure: pressure.clone(),
            results: Arc::new(Results::new(
                config.cache.clone(),
                storage.clock.clone(),
                Arc::clone(&metrics),
            )),
        }));
        Ok(Works {
            files,
            memory,
            metrics,
            pressure,
            sandbox,
            registry,
            interpreters,
            admission,
            runner,
        })
    }
}

/// The large bytes, without those that a crash left behind.
async fn files(config: &Config, storage: &Opened) -> anyhow::Result<FileStorage> {
    let files = storage.files(&config.storage)?;
    let swept = files.sweep(&*storage.tasks).await?;
    tracing::debug!(?swept, "swept files without a reference");
    Ok(files)
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
