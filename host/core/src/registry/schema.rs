//! JSON Schemas of modules' inputs and outputs, and checks of values against them.
//!
//! A schema comes from an untrusted module, a value from anybody, and the host applies the one to
//! the other. So nothing here is assumed to be cheap. A schema is read without recursion, each
//! keyword by its position; its automata are bounded; a check pays for every step. A cheap check
//! runs at once, on the caller's thread. Every other check goes to a guest thread, few at a time,
//! and ends at a deadline. A schema that cannot be checked is refused, never ignored. Whether one schema's values can
//! be another's is told from the rules alone (`fit`).

mod apply;
mod budget;
mod dialect;
mod ecma;
mod equal;
pub(crate) mod fit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod number;
mod pattern;
mod prepare;
mod reading;
mod ready;
mod references;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::registry::schema::apply::Fault;
use crate::registry::schema::budget::{Budget, Stopped};
use crate::registry::schema::fit::{Passed, Takes};
use crate::registry::schema::prepare::prepare;
use crate::registry::schema::reading::Unread;
use crate::registry::schema::ready::{Ready, Schema};
use cofferdam_domain::module::{Descriptor, Digest};
use cofferdam_domain::step::Step;
use cofferdam_sandbox::threads::GuestThreadsHandle;

pub use crate::registry::schema::reading::Text;

/// The longest value that is checked on the thread that asks.
const AT_ONCE_BYTES: usize = 8 * 1024;
/// Steps that a check takes there; it then starts again on a guest thread.
const AT_ONCE_STEPS: u64 = 4_000;
/// How much longer than its deadline a check is waited for; the check itself watches the deadline.
const GRACE: Duration = Duration::from_secs(1);

/// One of a module's two schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    Input,
    Output,
}

impl Which {
    /// How long a value waits for a place. An output waits without limit, because its run is done
    /// and holds one of the places for runs, which bound the number of waiters.
    const fn patience(self, timeout: Duration) -> Duration {
        match self {
            Which::Input => timeout,
            Which::Output => Duration::MAX,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Which::Input => "input",
            Which::Output => "output",
        }
    }
}

/// Why a value is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The value breaks a rule; the text names place and rule.
    #[error("{0}")]
    Unfit(String),
    /// The text is not JSON; the message says where and why.
    #[error("it is not valid JSON: {0}")]
    NotJson(String),
    /// The check did not end in its time.
    #[error("checking it against the schema takes longer than {} ms", .0.as_millis())]
    Costly(Duration),
    /// The value takes more memory than a check may take.
    #[error(
        "to be held against the schema it takes more than {0} bytes of memory, the most that a check \
         may take (sandbox.schema_check_memory_bytes)"
    )]
    TooLarge(u64),
    /// The text could not be read any more.
    #[error("it could not be read: {0}")]
    Lost(String),
    /// The module was stored before this host refused such a schema.
    #[error("the module's own schema {0}")]
    Schema(String),
    /// Too many long checks already wait.
    #[error("too many long checks already wait; try again later")]
    Busy,
}

/// What one check may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take.
    pub timeout: Duration,
    /// The memory that its value may take.
    pub memory_bytes: u64,
}

/// Holds values against schemas, and keeps schemas ready.
pub struct Schemas {
    ready: Arc<Ready>,
    threads: GuestThreadsHandle,
    places: Arc<Semaphore>,
    bounds: Bounds,
}

impl Schemas {
    /// Long checks run on `threads`, at most `at_once` of them, each within `bounds`.
    pub fn new(threads: GuestThreadsHandle, at_once: usize, bounds: Bounds) -> Schemas {
        Schemas {
            ready: Arc::new(Ready::default()),
            threads,
            places: Arc::new(Semaphore::new(at_once.max(1))),
            bounds,
        }
    }

    /// Checks JSON text against a module's schema. An empty text is `null`, as modules read it.
    pub(crate) async fn check(
        &self,
        digest: Digest,
        which: Which,
        schema: &str,
        text: Text,
    ) -> Result<(), Misfit> {
        let (ready, bounds) = (self.ready.get(digest, which), self.bounds);
        if let Some(schema) = &ready
            && let Text::Memory(bytes) = &text
            && bytes.len() <= AT_ONCE_BYTES
        {
            match held(schema, &text, AT_ONCE_STEPS, bounds, &mut || false) {
                Err(Held::Stopped(Stopped::Spent)) => {}
                Ok(()) => return Ok(()),
                Err(held) => return Err(held.into_misfit(bounds)),
            }
        }
        let schema_text = match ready {
            Some(_) => String::new(),
            None => schema.to_owned(),
        };
        let known = Arc::clone(&self.ready);
        let check = move || {
            let mut more = deadline(bounds.timeout);
            let schema = match ready {
                Some(schema) => schema,
                None => {
                    let made = made_ready(&known, (digest, which), &schema_text, &mut more);
                    made.map_err(Misfit::Schema)?
                }
            };
            held(&schema, &text, 0, bounds, &mut more).map_err(|held| held.into_misfit(bounds))
        };
        self.apart(which.patience(bounds.timeout), check).await?
    }

    /// Refuses a description whose schemas this host cannot check. `said_by` names each of them in
    /// the answer.
    pub(crate) async fn check_descriptor(
        &self,
        descriptor: &Descriptor,
        said_by: fn(Which) -> String,
    ) -> Result<(), String> {
        let schemas = [
            (Which::Input, descriptor.input_schema.clone()),
            (Which::Output, descriptor.output_schema.clone()),
        ];
        if schemas.iter().all(|(_, schema)| schema.is_none()) {
            return Ok(());
        }
        let timeout = self.bounds.timeout;
        let check = move || {
            let mut more = deadline(timeout);
            for (which, schema) in schemas {
                if let Some(schema) = schema {
                    prepare(&schema, &mut more)
                        .map_err(|why| format!("{} {why}", said_by(which)))?;
                }
            }
            Ok(())
        };
        let checked = self.apart(timeout, check).await;
        checked.unwrap_or_else(|misfit| Err(format!("the schemas cannot be read: {misfit}")))
    }

    /// Why what one schema allows can never be taken by a place of an input, or as a list; none if it could be, or if
    /// that cannot be told now.
    pub(crate) async fn never_fits(
        &self,
        (gives, output): (Digest, &str),
        passed: Passed<'_>,
        takes: Option<(Digest, &str, &[Step])>,
    ) -> Option<String> {
        let gives = self.prepared(gives, Which::Output, output).await?;
        let Some((takes, input, place)) = takes else {
            return fit::refusal(gives.book(), passed, Takes::List);
        };
        let takes = self.prepared(takes, Which::Input, input).await?;
        fit::refusal(gives.book(), passed, Takes::Input(takes.book(), place))
    }

    async fn prepared(&self, digest: Digest, which: Which, text: &str) -> Option<Arc<Schema>> {
        if let Some(ready) = self.ready.get(digest, which) {
            return Some(ready);
        }
        let (text, known) = (text.to_owned(), Arc::clone(&self.ready));
        let timeout = self.bounds.timeout;
        let made = self.apart(timeout, move || {
            made_ready(&known, (digest, which), &text, &mut deadline(timeout))
        });
        made.await.ok()?.ok()
    }

    /// Forgets a module's schemas.
    pub(crate) fn remove(&self, digest: Digest) {
        self.ready.remove(digest);
    }

    /// Does `work` on a guest thread, once there is a place for it within `patience`. If the caller
    /// goes away, the work keeps its place until its deadline.
    async fn apart<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Misfit> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(patience, place).await;
        let Ok(Ok(place)) = place else {
            return Err(Misfit::Busy);
        };
        let done = self.threads.compute(move || {
            let done = work();
            drop(place);
            done
        });
        // However it may come to be stuck, nobody waits for it, and neither does a shutdown.
        let timeout = self.bounds.timeout;
        let done = tokio::time::timeout(timeout + GRACE, done).await;
        done.map_err(|_| Misfit::Costly(timeout))
    }
}

/// Holds a text against a schema where nobody else waits: without a memory of schemas, and on this
/// thread.
pub fn hold(schema: &str, text: Bytes, bounds: Bounds) -> Result<(), Misfit> {
    let mut more = deadline(bounds.timeout);
    let book = prepare(schema, &mut more).map_err(Misfit::Schema)?;
    let schema = Schema::new(schema, book);
    let text = Text::Memory(text);
    held(&schema, &text, 0, bounds, &mut more).map_err(|held| held.into_misfit(bounds))
}

/// Rewrites the references to places in `schema` for a document in which it is found at `prefix`.
pub fn rebase(schema: &mut Value, prefix: &str) {
    prepare::rebase(schema, prefix);
}

/// The names, in answers, of the schemas of a component's description.
pub(crate) fn said_by_component(which: Which) -> String {
    format!("describe(): the {} schema", which.as_str())
}

/// The names of a script's schemas.
pub(crate) fn said_by_script(which: Which) -> String {
    format!("{}_SCHEMA:", which.as_str().to_uppercase())
}

/// Prepares a schema and keeps it.
fn made_ready(
    ready: &Ready,
    (digest, which): (Digest, Which),
    text: &str,
    more: &mut dyn FnMut() -> bool,
) -> Result<Arc<Schema>, String> {
    let book = prepare(text, more)?;
    Ok(ready.keep(digest, which, Schema::new(text, book)))
}

fn deadline(timeout: Duration) -> impl FnMut() -> bool {
    let until = Instant::now() + timeout;
    move || Instant::now() < until
}

/// Why a text does not fit, or not yet.
enum Held {
    Unfit(String),
    NotJson(String),
    TooLarge,
    Lost(std::io::Error),
    Stopped(Stopped),
}

impl Held {
    fn into_misfit(self, bounds: Bounds) -> Misfit {
        match self {
            Held::Unfit(why) => Misfit::Unfit(why),
            Held::NotJson(why) => Misfit::NotJson(why),
            Held::TooLarge => Misfit::TooLarge(bounds.memory_bytes),
            Held::Lost(error) => Misfit::Lost(error.to_string()),
            Held::Stopped(Stopped::Spent) => Misfit::Costly(bounds.timeout),
            Held::Stopped(Stopped::TooDeep) => {
                Misfit::Unfit("it nests too deep to be checked against the schema".to_owned())
            }
        }
    }
}

impl From<Unread> for Held {
    fn from(unread: Unread) -> Held {
        match unread {
            Unread::NotJson(why) => Held::NotJson(why),
            Unread::TooLarge => Held::TooLarge,
            Unread::Lost(error) => Held::Lost(error),
            Unread::Stopped(stopped) => Held::Stopped(stopped),
        }
    }
}

fn held(
    schema: &Schema,
    text: &Text,
    steps: u64,
    bounds: Bounds,
    more: &mut dyn FnMut() -> bool,
) -> Result<(), Held> {
    let value = {
        // What is done at once is short enough to be read at once.
        let mut reading = match steps {
            0 => Budget::new(0, &mut *more),
            _ => Budget::new(u64::MAX, &mut *more),
        };
        reading::read(text, bounds.memory_bytes, &mut reading)?
    };
    let mut budget = Budget::new(steps, more);
    apply::apply(schema.book(), &value, &mut budget).map_err(|fault| match fault {
        Fault::Stopped(stopped) => Held::Stopped(stopped),
        Fault::Unfit(unfit) => {
            let place = match unfit.place.as_str() {
                "" => "the whole",
                place => place,
            };
            let empty = if text.is_empty() {
                " (it is empty, which is null)"
            } else {
                ""
            };
            Held::Unfit(format!("at {place}: {}{empty}", unfit.why))
        }
    })
}
