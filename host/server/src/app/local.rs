//! A host without a listener, for a command that needs it once: the same parts behind the same API,
//! over a temporary data directory.
//!
//! Only the compiled interpreters are kept, in a given directory. There is no socket, so nobody
//! else can use it.

use std::future::Future;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{Host, Needs};
use crate::config::Config;
use crate::http::api::{Api, Pieces};
use crate::http::settings::Confined;
use cofferdam_domain::module::Language;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_storage::settings::EncryptionKeys;

/// The host. It ends when this is dropped.
pub struct Local {
    api: Api,
    config: Config,
    // In the order in which they end.
    running: Option<(Host, GuestThreads)>,
    runtime: Runtime,
    data: TempDir,
    /// Cancelled once the user has pressed Ctrl-C, also between two calls.
    interrupted: CancellationToken,
}

impl Local {
    /// Starts a host that runs code of `languages`. `program` is this program, which compiles.
    /// Compiled code is kept below `cache`.
    pub fn start(
        mut config: Config,
        program: &Path,
        cache: &Path,
        languages: &[Language],
    ) -> anyhow::Result<Local> {
        let data = tempfile::tempdir().context("a directory for the run's files")?;
        data.path().clone_into(&mut config.storage.data);
        config.storage.url = None;
        // What it keeps is gone when it ends.
        config.storage.encryption_keys = EncryptionKeys::default();
        config.cache.disk_bytes = 0;
        // It runs one thing at a time.
        config.sandbox.processes = 1;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        // From now on, so that a start that is interrupted leaves no directory behind either.
        let interrupted = runtime.block_on(interruption())?;
        let guests = GuestThreads::start(super::threads_or_cores(config.sandbox.guest_threads))?;
        let compiled = cache.join("compiled");
        let needs = Needs {
            program,
            compiled: &compiled,
            languages,
            // It is the program of whoever calls it, for one call.
            confined: Confined::default(),
            address: None,
        };
        let host = runtime.block_on(Host::start(&config, &guests, &needs))?;
        Ok(Local {
            api: Api::new(host.services.clone().into_state()),
            config,
            running: Some((host, guests)),
            runtime,
            data,
            interrupted,
        })
    }

    /// The API itself, which is asked in [`Local::block_on`].
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Waits for `work` on the runtime of the host's services.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Where it keeps everything.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Sends a request to the API; returns the status and the body of its answer.
    pub fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        self.block_on(async {
            tokio::select! {
                answered = self.api.ask(method, path, headers, body) => answered,
                () = self.interrupted.cancelled() => Err(Interrupted.into()),
            }
        })
    }

    /// Asks the API: the status, and the body as it comes.
    pub fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Coming<'_>)> {
        self.block_on(async {
            let (status, pieces) = tokio::select! {
                answered = self.api.stream(method, path, headers, body) => answered?,
                () = self.interrupted.cancelled() => return Err(Interrupted.into()),
            };
            let coming = Coming {
                local: self,
                pieces,
                piece: Bytes::new(),
            };
            Ok((status, coming))
        })
    }
}

/// An answer as it comes. The wait for more of it ends when the user presses Ctrl-C.
pub struct Coming<'a> {
    local: &'a Local,
    pieces: Pieces,
    piece: Bytes,
}

impl Read for Coming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.local.block_on(async {
                tokio::select! {
                    piece = self.pieces.next() => piece,
                    () = self.local.interrupted.cancelled() => Some(Err(Interrupted.into())),
                }
            });
            match next {
                Some(Ok(piece)) => self.piece = piece,
                // As its own type, so that it can be told apart.
                Some(Err(error)) if error.is::<Interrupted>() => {
                    return Err(io::Error::other(Interrupted));
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let bytes = self.piece.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&self.piece.split_to(bytes));
        Ok(bytes)
    }
}

/// The code of a process that Ctrl-C ended, as in shells: 128 plus the signal's number.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A token that the next Ctrl-C cancels. The one after that ends the process at once.
async fn interruption() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let interrupted = CancellationToken::new();
    let cancelled = interrupted.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the runtime, which the host owns"
    )]
    let _never_joined = tokio::spawn(async move {
        interrupt.recv().await;
        cancelled.cancel();
        interrupt.recv().await;
        std::process::exit(EXIT_INTERRUPTED.into());
    });
    Ok(interrupted)
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some((host, guests)) = self.running.take() {
            host.stop(Vec::new(), &self.runtime, &self.config);
            guests.stop();
        }
    }
}
