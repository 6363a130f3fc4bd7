//! A call on its way through the backend: what it works with, until when, and how often it is tried.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::alone::Known;
use super::connection::Connector;
use super::crashes::Eras;
use super::fault::{Fault, Kind};
use super::pool::Pool;
use super::seen::Seen;
use super::tallies::{Shards, Waiting};
use crate::StorageError;
use crate::rows::KeptTemplates;
use crate::serving::Serving;
use crate::settings::ClaimRules;
use cofferdam_domain::clock::Clock;

/// Connections that change something, and those that read.
const WRITERS_MAX: usize = 4;
const READERS_MAX: usize = 4;
/// The first and the longest wait before a call is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// By how much a call may miss its deadline before it is dropped: the server gives up first, and tells
/// why.
const LATE_MAX: Duration = Duration::from_millis(250);

/// What all calls share.
pub(super) struct Db {
    pub(super) connector: Arc<Connector>,
    pub(super) writers: Arc<Pool>,
    pub(super) readers: Arc<Pool>,
    pub(super) eras: Arc<Eras>,
    pub(super) read_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) shards: Shards,
    pub(super) waiting: Waiting,
    pub(super) rules: ClaimRules,
    pub(super) lanes: Known,
    pub(super) serving: Serving,
    templates: Mutex<KeptTemplates>,
    random: Mutex<StdRng>,
    /// Calls that were tried again, for the log.
    tried_again: AtomicU32,
}

impl Db {
    pub(super) fn new(
        connector: Connector,
        read_timeout: Duration,
        mut random: StdRng,
        clock: Clock,
        rules: ClaimRules,
    ) -> Db {
        let connector = Arc::new(connector);
        let eras = Arc::<Eras>::default();
        Db {
            writers: Pool::new(Arc::clone(&connector), Arc::clone(&eras), WRITERS_MAX),
            readers: Pool::new(Arc::clone(&connector), Arc::clone(&eras), READERS_MAX),
            connector,
            eras,
            read_timeout,
            clock,
            shards: Shards::new(random.next_u32()),
            waiting: Waiting::default(),
            rules,
            lanes: Known::default(),
            serving: Serving::default(),
            templates: Mutex::default(),
            random: Mutex::new(random),
            tried_again: AtomicU32::new(0),
        }
    }

    /// Copies of the templates used last.
    pub(super) fn templates(&self) -> MutexGuard<'_, KeptTemplates> {
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// So many fences: numbers nobody can guess and that never come again.
    pub(super) fn fences(&self, count: u32) -> Vec<i64> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count).map(|_| random.random()).collect()
    }

    /// A name that nothing else has.
    pub(super) fn random_id(&self) -> Uuid {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        uuid::Builder::from_random_bytes(random.random()).into_uuid()
    }

    /// A wait of about this length, so that hosts do not all come back in the same moment.
    pub(super) fn jittered(&self, wait: Duration) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        wait.mul_f64(random.random_range(0.5..1.0))
    }
}

/// One call. Cheap to clone; all its tries share the deadline.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) db: Arc<Db>,
    pub(super) deadline: Instant,
    /// Whose rows its transactions see.
    pub(super) seen: Seen,
    committing: Arc<AtomicBool>,
}

impl Call {
    /// A call of the host's own, which sees the rows of every tenant.
    pub(super) fn new(db: &Arc<Db>, patience: Duration) -> Call {
        Call {
            db: Arc::clone(db),
            deadline: Instant::now() + patience,
            seen: Seen::All,
            committing: Arc::default(),
        }
    }

    /// The same, which sees those rows alone.
    pub(super) fn seeing(self, seen: Seen) -> Call {
        Call { seen, ..self }
    }

    /// What is left of its time.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Notes whether a commit was sent whose answer is not there.
    pub(super) fn set_committing(&self, committing: bool) {
        self.committing.store(committing, Ordering::SeqCst);
    }

    /// Tries `work` until it succeeds, until it cannot, or until the deadline.
    pub(super) async fn repeated<T, W>(self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: Fn(Call) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync + 'static,
    {
        let mut wait = RETRY_WAIT.0;
        loop {
            let fault = match timeout_at(self.deadline + LATE_MAX, work(self.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => fault,
                Err(_elapsed) => return Err(self.out_of_time()),
            };
            let pause = self.db.jittered(wait);
            let is_over = Instant::now() + pause >= self.deadline;
            match fault.kind {
                Kind::Again | Kind::Broken if !is_over => {}
                Kind::Final | Kind::Taken | Kind::Again | Kind::Broken => return Err(fault.error),
            }
            let times = self.db.tried_again.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(error = %fault.error, times, "a call to the database is tried again");
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    fn out_of_time(&self) -> StorageError {
        let why = "the database did not answer in time".to_owned();
        match self.committing.load(Ordering::SeqCst) {
            true => StorageError::Unknown(why),
            false => StorageError::Unavailable(why),
        }
    }
}
