//! The interpreters behind code execution: which are installed, whether they are ready, and the
//! meaning of a request.
//!
//! They are ordinary modules that the operator put beside the program; they are compiled in the
//! background, so that the host answers at once. The runner runs them.

pub mod answer;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod packages;
pub mod request;
mod scripts;
pub mod settings;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::interpreters::packages::Packages;
use crate::interpreters::scripts::Scripts;
use crate::interpreters::settings::InterpretersConfig;
use crate::registry::{Registry, RegistryError};
use crate::shutdown::Shutdown;
use cofferdam_domain::module::{Digest, Language, ModuleInfo};
use cofferdam_sandbox::LoadedModule;

pub use crate::interpreters::turns::{Turn, Turns};

/// The directory beside the program that is searched if none is configured.
const DEFAULT_DIR: &str = "interpreters";

/// The first and the longest wait before an interpreter is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The interpreters of this host.
pub struct Interpreters {
    registry: Arc<Registry>,
    dir: PathBuf,
    /// In the order of [`Language::ALL`].
    states: [RwLock<State>; 2],
    packages: Packages,
    scripts: Scripts,
    turns: Turns,
}

/// The state of an interpreter.
#[derive(Clone)]
pub enum State {
    /// There is no such file.
    NotInstalled,
    /// It is being read, compiled and loaded.
    WarmingUp,
    /// It can be used.
    Ready(Interpreter),
    /// There is no room on the disk for what it is compiled to. It is tried again.
    NoRoom,
    /// It cannot be used; the log says why.
    Failed {
        /// Whether it is tried again.
        again: bool,
    },
}

impl State {
    /// The word in metrics and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::NotInstalled => "not_installed",
            State::WarmingUp => "warming_up",
            State::Ready(_) => "ready",
            State::NoRoom => "no_room",
            State::Failed { .. } => "failed",
        }
    }
}

/// An interpreter that can be used.
#[derive(Clone)]
pub struct Interpreter {
    /// The facts about it as a module.
    pub info: Arc<ModuleInfo>,
    /// The module, mapped.
    pub module: Arc<LoadedModule>,
}

/// Why code of a language cannot run at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It is not installed.
    #[error(
        "no {} interpreter is installed on this host; its log and interpreters.dir tell the \
         operator more",
        .0.as_str()
    )]
    NotInstalled(Language),
    /// It will be ready soon.
    #[error("the {} interpreter is being compiled; try again in a moment", .0.as_str())]
    WarmingUp(Language),
    /// The disk has no room for it.
    #[error(
        "there is no room on this host's disk for the compiled {} interpreter; it is tried again by \
         itself",
        .0.as_str()
    )]
    NoRoom(Language),
    /// It is installed but cannot be used.
    #[error(
        "the {} interpreter of this host cannot be used; its log says why", language.as_str()
    )]
    Failed {
        /// The language.
        language: Language,
        /// Whether it is tried again.
        again: bool,
    },
}

impl Interpreters {
    /// The path of a language's interpreter. `program` is this program.
    pub fn file_of(config: &InterpretersConfig, program: &Path, language: Language) -> PathBuf {
        file(&folder(config, program), language)
    }

    /// The interpreters that `config` names, none of them loaded. `program` is this program.
    pub fn new(
        registry: Arc<Registry>,
        config: &InterpretersConfig,
        program: &Path,
    ) -> Interpreters {
        let dir = folder(config, program);
        let state = |language| {
            RwLock::new(match file(&dir, language).exists() {
                true => State::WarmingUp,
                false => State::NotInstalled,
            })
        };
        Interpreters {
            states: Language::ALL.map(state),
            registry,
            packages: Packages::of(&config.packages),
            scripts: Scripts::default(),
            turns: Turns::new(config.running_max),
            dir,
        }
    }

    /// Reads, compiles and loads those of `languages` in the background, one after the other.
    pub fn warm_up(self: &Arc<Self>, languages: &[Language], shutdown: &Shutdown) {
        let (this, stop) = (Arc::clone(self), shutdown.clone());
        let languages = languages.to_vec();
        shutdown.spawn("interpreters", async move {
            tokio::select! {
                () = this.load_all(&languages) => {}
                () = stop.requested() => {}
            }
        });
    }

    /// The state of a language's interpreter.
    pub fn state(&self, language: Language) -> State {
        let state = self.slot(language).read();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The interpreter of a language, if it can be used now.
    pub fn get(&self, language: Language) -> Result<Interpreter, Unavailable> {
        match self.state(language) {
            State::Ready(interpreter) => Ok(interpreter),
            State::NotInstalled => Err(Unavailable::NotInstalled(language)),
            State::WarmingUp => Err(Unavailable::WarmingUp(language)),
            State::NoRoom => Err(Unavailable::NoRoom(language)),
            State::Failed { again } => Err(Unavailable::Failed { language, again }),
        }
    }

    /// The operator's packages.
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// The turns of executions.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The source of a stored script.
    pub async fn source(&self, digest: Digest) -> Result<Bytes, RegistryError> {
        if let Some(source) = self.scripts.get(digest) {
            return Ok(source);
        }
        let source = self.registry.source(digest).await?;
        self.scripts.keep(digest, &source);
        Ok(source)
    }

    /// Tries until each is ready or refused for good. A failure for lack of room, or because
    /// storage or the compiler was busy, is tried again after growing waits.
    async fn load_all(&self, languages: &[Language]) {
        let mut wait = RETRY_WAIT.0;
        loop {
            for &language in languages {
                match self.state(language) {
                    State::Ready(_) | State::Failed { again: false } => {}
                    State::NotInstalled if wait == RETRY_WAIT.0 => {
                        let path = file(&self.dir, language);
                        tracing::info!(path = %path.display(), "this interpreter is not installed");
                    }
                    State::NotInstalled => {}
                    State::WarmingUp | State::NoRoom | State::Failed { again: true } => {
                        self.load(language).await;
                    }
                }
            }
            let is_settled = |language| match self.state(language) {
                State::NotInstalled | State::Ready(_) | State::Failed { again: false } => true,
                State::WarmingUp | State::NoRoom | State::Failed { again: true } => false,
            };
            if languages.iter().copied().all(is_settled) {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    async fn load(&self, language: Language) {
        let path = file(&self.dir, language);
        let state = match self.install(language, &path).await {
            Ok(interpreter) => {
                let (language, digest) = (language.as_str(), interpreter.info.digest);
                tracing::info!(language, %digest, "an interpreter is ready");
                State::Ready(interpreter)
            }
            Err(failed) => {
                let (language, why) = (language.as_str(), failed.to_string());
                let state = failed.state();
                let state_is = state.as_str();
                tracing::error!(
                    language,
                    why,
                    state = state_is,
                    "an interpreter cannot be used"
                );
                state
            }
        };
        *self
            .slot(language)
            .write()
            .unwrap_or_else(PoisonError::into_inner) = state;
    }

    async fn install(&self, language: Language, path: &Path) -> Result<Interpreter, NotLoaded> {
        let read = tokio::fs::read(path).await;
        let wasm = read.map_err(|error| NotLoaded::Unread(path.to_owned(), error))?;
        let (info, module) = self.registry.install(language, wasm.into()).await?;
        Ok(Interpreter { info, module })
    }

    fn slot(&self, language: Language) -> &RwLock<State> {
        let [python, javascript] = &self.states;
        match language {
            Language::Python => python,
            Language::JavaScript => javascript,
        }
    }
}

fn folder(config: &InterpretersConfig, program: &Path) -> PathBuf {
    match config.dir.as_os_str().is_empty() {
        true => program.with_file_name(DEFAULT_DIR),
        false => config.dir.clone(),
    }
}

/// Why an interpreter was not loaded.
#[derive(Debug, thiserror::Error)]
enum NotLoaded {
    #[error("{}: {}", .0.display(), .1)]
    Unread(PathBuf, std::io::Error),
    #[error(transparent)]
    Refused(#[from] RegistryError),
}

impl NotLoaded {
    /// What the interpreter is until it is tried again.
    fn state(&self) -> State {
        match self {
            NotLoaded::Unread(..) => State::Failed { again: true },
            NotLoaded::Refused(error) if error.wants_room() => State::NoRoom,
            NotLoaded::Refused(error) => State::Failed {
                again: error.may_pass(),
            },
        }
    }
}

fn file(dir: &Path, language: Language) -> PathBuf {
    dir.join(format!("{}.wasm", language.as_str()))
}
