//! A host without a listener, for a command that needs it once: the same parts behind the same API,
//! over a temporary data directory.
//!
//! Only the compiled interpreters are kept, in a given directory. There is no socket, so nobody
//! else can use it.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::app::{Host, Needs};
use crate::config::Config;
use crate::http::api::Api;
use cofferdam_domain::module::Language;
use cofferdam_sandbox::threads::GuestThreads;

/// The host. It ends when this is dropped.
pub struct Local {
    api: Api,
    config: Config,
    // In the order in which they end.
    running: Option<(Host, GuestThreads)>,
    runtime: Runtime,
    _data: TempDir,
}

impl Local {
    /// Starts a host that runs code of `languages`. Compiled code is kept below `cache`.
    pub fn start(
        mut config: Config,
        cache: &Path,
        languages: &[Language],
    ) -> anyhow::Result<Local> {
        let data = tempfile::tempdir().context("a directory for the run's files")?;
        data.path().clone_into(&mut config.storage.data);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let guests = GuestThreads::start(super::threads_or_cores(config.sandbox.guest_threads))?;
        let compiled = cache.join("compiled");
        let needs = Needs {
            compiled: &compiled,
            languages,
        };
        let host = runtime.block_on(Host::start(&config, &guests, &needs))?;
        Ok(Local {
            api: Api::new(host.services.clone().into_state()),
            config,
            running: Some((host, guests)),
            runtime,
            _data: data,
        })
    }

    /// Sends a request to the API; returns the status and the body of its answer.
    pub fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        self.runtime.block_on(async {
            tokio::select! {
                answered = self.api.ask(method, path, headers, body) => answered,
                _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
            }
        })
    }
}

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Drop for Local {
    fn drop(&mut self) {
        if let Some((host, guests)) = self.running.take() {
            host.stop(Vec::new(), &self.runtime, &self.config);
            guests.stop();
        }
    }
}
