//! Tests of a task without a host, with plain `cargo test`: [`Context`] answers as the host would
//! and keeps what the task reported. Tests of limits, grants and kills need a host.
//!
//! The function stays an ordinary function. [`Context::run`] goes the whole way, from bytes to
//! bytes; [`Context::enter`] calls anything with the context in place.
//!
//! ```
//! use cofferdam_guest::testing::Context;
//! use cofferdam_guest::{Failure, Payload, context};
//!
//! #[cofferdam_guest::task]
//! fn double(input: u32) -> Result<u32, Failure> {
//!     context::progress(0.5, "half");
//!     input.checked_mul(2).ok_or(Failure::invalid_input("too large"))
//! }
//!
//! let context = Context::new().attempt(2);
//! assert_eq!(context.run::<double>("21"), Ok(Payload::json("42")));
//! assert_eq!(context.progress()[0].note, "half");
//!
//! let refused = context.run::<double>(r#""many""#).unwrap_err();
//! assert!(refused.message().contains("invalid type: string"));
//!
//! assert_eq!(double(1), Ok(2));
//! ```
//!
//! Files are those of the context, where the task asks [`dirs`](crate::dirs) for them:
//!
//! ```
//! use cofferdam_guest::testing::Context;
//! use cofferdam_guest::{Failure, Payload, dirs};
//!
//! #[cofferdam_guest::task]
//! fn keep(input: Payload) -> Result<(), Failure> {
//!     Ok(std::fs::write(dirs::out().join("copy"), input.body)?)
//! }
//!
//! let context = Context::new().large_input("far too large to be handed over");
//! context.run::<keep>("").unwrap();
//! assert_eq!(context.output("copy").unwrap(), b"far too large to be handed over");
//! ```

mod folder;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::log::Level;
use crate::testing::folder::Folder;
use crate::{Failure, Payload, Task};

thread_local! {
    static ENTERED: RefCell<Vec<Rc<RefCell<State>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs a task on bytes in a fresh context: `run::<resize>(r#"{"width": 4}"#)`.
///
/// The argument is JSON text, or a [`Payload`] for any other content type.
pub fn run<T: Task>(input: impl Into<TestInput>) -> Result<Payload, Failure> {
    Context::new().run::<T>(input)
}

/// What a task is tested with: JSON text, or a payload of any content type.
#[derive(Clone, Debug)]
pub struct TestInput(Payload);

impl From<Payload> for TestInput {
    fn from(payload: Payload) -> Self {
        Self(payload)
    }
}

impl From<&str> for TestInput {
    fn from(json: &str) -> Self {
        Self(Payload::json(json))
    }
}

impl From<String> for TestInput {
    fn from(json: String) -> Self {
        Self(Payload::json(json))
    }
}

impl From<&[u8]> for TestInput {
    fn from(json: &[u8]) -> Self {
        Self(Payload::json(json))
    }
}

impl<const N: usize> From<&[u8; N]> for TestInput {
    fn from(json: &[u8; N]) -> Self {
        Self(Payload::json(json.as_slice()))
    }
}

/// The surroundings of a run in a test.
#[derive(Clone, Debug, Default)]
pub struct Context {
    state: Rc<RefCell<State>>,
}

impl Context {
    /// A first attempt without an id, with thirty seconds left, not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the task's id.
    #[must_use]
    pub fn task_id(self, id: impl Into<String>) -> Self {
        self.state.borrow_mut().task_id = id.into();
        self
    }

    /// Sets which attempt it is, counted from 1.
    #[must_use]
    pub fn attempt(self, attempt: u32) -> Self {
        self.state.borrow_mut().attempt = attempt;
        self
    }

    /// Sets the time left, which does not run down.
    #[must_use]
    pub fn remaining(self, left: Duration) -> Self {
        self.state.borrow_mut().remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Cancels the run: `cancelled()` answers false `answers` times, then true.
    #[must_use]
    pub fn cancelled_after(self, answers: u32) -> Self {
        self.state.borrow_mut().answers_until_cancelled = Some(answers);
        self
    }

    /// Answers the requests that the task sends to other machines. Without it none is granted.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn answers(
        self,
        answer: impl Fn(&crate::http::Request) -> Result<crate::http::Response, crate::http::Error>
        + 'static,
    ) -> Self {
        self.state.borrow_mut().answers = Some(Answers(Rc::new(answer)));
        self
    }

    /// Puts a file below `/in`.
    #[must_use]
    pub fn input_file(self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Self {
        let (path, bytes) = (path.as_ref(), bytes.as_ref());
        self.state.borrow_mut().folder().put("in", path, bytes);
        self
    }

    /// Puts the input where a host puts one that is too large to be handed over. The task then runs
    /// with an empty body, as it does on a host.
    #[must_use]
    pub fn large_input(self, bytes: impl AsRef<[u8]>) -> Self {
        self.input_file("payload", bytes)
    }

    /// A file that the task left below `/out`; `None` if it left none of that name.
    pub fn output(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let out = self.state.borrow_mut().folder().area("out");
        std::fs::read(out.join(path)).ok()
    }

    /// Runs a task from bytes to bytes, as the host would.
    pub fn run<T: Task>(&self, input: impl Into<TestInput>) -> Result<Payload, Failure> {
        let TestInput(payload) = input.into();
        crate::log::install();
        self.enter(|| T::run(payload))
    }

    /// Calls anything with this context in place.
    pub fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        crate::log::install();
        ENTERED.with_borrow_mut(|entered| entered.push(Rc::clone(&self.state)));
        let _leave = Leave;
        call()
    }

    /// The run's reports of progress so far.
    pub fn progress(&self) -> Vec<Progress> {
        self.state.borrow().progress.clone()
    }

    /// The lines the run has logged so far.
    pub fn log(&self) -> Vec<Line> {
        self.state.borrow().log.clone()
    }
}

/// One report of progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How far, from 0 to 1.
    pub fraction: f64,
    /// The note.
    pub note: String,
}

/// One line of the task's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// The message.
    pub message: String,
    /// Keys and values, in the order they were given.
    pub fields: Vec<(String, String)>,
}

/// What a context answers and what was reported to it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) task_id: String,
    pub(crate) attempt: u32,
    pub(crate) remaining_ms: u64,
    pub(crate) progress: Vec<Progress>,
    pub(crate) log: Vec<Line>,
    #[cfg(feature = "http")]
    pub(crate) answers: Option<Answers>,
    answers_until_cancelled: Option<u32>,
    folder: Option<Folder>,
}

/// Answers requests to other machines.
#[cfg(feature = "http")]
#[derive(Clone)]
pub(crate) struct Answers(pub(crate) Rc<Answering>);

#[cfg(feature = "http")]
type Answering = dyn Fn(&crate::http::Request) -> Result<crate::http::Response, crate::http::Error>;

#[cfg(feature = "http")]
impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

impl State {
    /// The context's directories, made when they are first asked for.
    pub(crate) fn folder(&mut self) -> &Folder {
        self.folder.get_or_insert_with(Folder::new)
    }

    /// Answers `cancelled()`, counting down to the cancel that the test ordered.
    pub(crate) fn ask_cancelled(&mut self) -> bool {
        match &mut self.answers_until_cancelled {
            None => false,
            Some(0) => true,
            Some(answers) => {
                *answers -= 1;
                false
            }
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            task_id: String::new(),
            attempt: 1,
            remaining_ms: 30_000,
            progress: Vec::new(),
            log: Vec::new(),
            #[cfg(feature = "http")]
            answers: None,
            answers_until_cancelled: None,
            folder: None,
        }
    }
}

/// Asks the innermost context of this thread; `None` outside a context.
pub(crate) fn current<R>(ask: impl FnOnce(&mut State) -> R) -> Option<R> {
    let innermost = ENTERED.with_borrow(|entered| entered.last().cloned())?;
    let answer = ask(&mut innermost.borrow_mut());
    Some(answer)
}

/// Takes the context away again, also when the call panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        ENTERED.with_borrow_mut(|entered| entered.pop());
    }
}
