//! Signals between the hosts of one database: `LISTEN` and `NOTIFY`.
//!
//! Ears on this host hear at once. For the others, what is told is gathered: the first signal goes out
//! immediately and those of the next milliseconds together, after their commits and outside their
//! transactions, because a server lets only one transaction at a time commit with a notification. Nobody
//! waits for it, and what cannot be sent is lost: hosts also poll.
//!
//! A host hears through one connection of its own, which is made anew when it ends; what was missed
//! meanwhile is made good by a look at everything. `NOTIFY` goes through the pool. So an echo of its own
//! first word tells a host that it hears at all: through a pooler in transaction mode it does not, and
//! then it only polls.

mod told;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use self::told::{Heard, Told};
use super::call::{Call, Db};
use super::connection::Conn;
use super::engine::Engine;
use super::fault::Fault;
use super::params::params;
use super::tx::Mode;
use crate::StorageError;
use crate::signals::{Ear, InProcess, Signal, Signals};

/// How long signals are gathered after some were sent, and after a look at everything was asked for.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_AFTER_EVERYTHING: Duration = Duration::from_millis(200);
/// How long signals may take to go out; then they are lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take until a new connection listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a host that listens waits for its own first word.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest wait before the listening connection is made anew.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

const LISTEN: &str = "LISTEN cofferdam";
const NOTIFY: &str = "SELECT pg_notify('cofferdam', payload) FROM unnest($1::text[]) AS p(payload)";

/// The signals of one host among several.
pub(super) struct HostSignals {
    /// What the payloads of this host begin with.
    name: String,
    here: InProcess,
    /// What the others are still to be told.
    told: Mutex<Told>,
    /// Rung when there is something to tell after there was nothing.
    bell: Notify,
    /// Rung by this host's own payloads.
    echo: Notify,
    stopping: watch::Sender<bool>,
}

impl Signals for HostSignals {
    fn tell(&self, signal: Signal) {
        self.here.tell(signal);
        self.gather(|told| told.add(signal));
    }

    fn listen(&self, ear: Weak<dyn Ear>) {
        self.here.listen(ear);
    }
}

impl HostSignals {
    /// The signals of a host whose `name` no other has.
    pub(super) fn named(name: u64) -> Arc<HostSignals> {
        Arc::new(HostSignals {
            name: format!("{name:016x}"),
            here: InProcess::default(),
            told: Mutex::default(),
            bell: Notify::new(),
            echo: Notify::new(),
            stopping: watch::Sender::new(false),
        })
    }

    /// Begins to hear other hosts, and to tell them.
    pub(super) fn start(self: &Arc<HostSignals>, engine: &Engine, db: &Arc<Db>) {
        engine.keep(Arc::clone(self).hear(Arc::clone(db)));
        let (signals, db) = (Arc::clone(self), Arc::clone(db));
        engine.keep(async move { signals.deliver(|payloads| send(&db, payloads)).await });
    }

    /// Tells the others what was told until now, and ends.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn gather(&self, add: impl FnOnce(&mut Told)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = told.is_empty();
        add(&mut told);
        drop(told);
        if was_empty {
            self.bell.notify_one();
        }
    }

    /// Sends what is gathered, and pauses, again and again.
    async fn deliver<S>(&self, send: impl Fn(Vec<String>) -> S)
    where
        S: Future<Output = ()>,
    {
        let mut stopping = self.stopping.subscribe();
        loop {
            let is_last = tokio::select! {
                biased;
                _asked_or_gone = stopping.wait_for(|stopping| *stopping) => true,
                () = self.bell.notified() => false,
            };
            let told =
                std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            let pause = match told.is_everything() {
                true => PAUSE_AFTER_EVERYTHING,
                false => PAUSE,
            };
            let payloads = told.payloads(&self.name);
            if !payloads.is_empty() {
                send(payloads).await;
            }
            if is_last {
                return;
            }
            let stop = stopping.wait_for(|stopping| *stopping);
            let _over_or_stopped = timeout(pause, stop).await;
        }
    }

    /// Hears other hosts until it is stopped.
    async fn hear(self: Arc<HostSignals>, db: Arc<Db>) {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            () = self.hear_always(&db) => {}
            _asked_or_gone = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    async fn hear_always(self: &Arc<HostSignals>, db: &Db) {
        let mut wait = RETRY_WAIT.0;
        let (mut was_refused, mut has_doubted) = (false, false);
        loop {
            let since = Instant::now();
            match self.listening(db).await {
                Ok(conn) => {
                    was_refused = false;
                    self.here.tell(Signal::Everything);
                    self.gather(Told::greet);
                    self.stay(conn, &mut has_doubted).await;
                    self.here.tell(Signal::Cut);
                }
                Err(fault) if !was_refused => {
                    was_refused = true;
                    tracing::warn!(error = %fault.error, "other hosts are noticed by polling for now");
                }
                Err(_still_refused) => {}
            }
            if since.elapsed() >= RETRY_WAIT.1 {
                wait = RETRY_WAIT.0;
            }
            sleep(db.jittered(wait)).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    /// Stays with a connection until it ends.
    async fn stay(&self, mut conn: Conn, has_doubted: &mut bool) {
        tokio::select! {
            () = conn.ended() => return,
            echo = timeout(ECHO_TIMEOUT, self.echo.notified()) => {
                if echo.is_err() && !std::mem::replace(has_doubted, true) {
                    tracing::warn!(
                        "no signal comes back, as behind a pooler in transaction mode: other hosts are \
                         noticed by polling"
                    );
                }
            }
        }
        conn.ended().await;
    }

    /// A connection that listens.
    async fn listening(self: &Arc<HostSignals>, db: &Db) -> Result<Conn, Fault> {
        let signals = Arc::clone(self);
        let heard = move |payload: &str| signals.heard(payload);
        let listening = async {
            let conn = db.connector.connect_hearing(heard).await?;
            conn.client.batch_execute(LISTEN).await?;
            Ok(conn)
        };
        let in_time = timeout(LISTEN_TIMEOUT, listening).await;
        in_time.unwrap_or_else(|_elapsed| Err(Fault::again("the database did not answer in time")))
    }

    fn heard(&self, payload: &str) {
        match told::heard(payload, &self.name) {
            Heard::Echo => self.echo.notify_one(),
            Heard::Signals(signals) => signals.for_each(|signal| self.here.tell(signal)),
        }
    }
}

/// Sends payloads to all hosts, if it can.
async fn send(db: &Arc<Db>, payloads: Vec<String>) {
    let sent: Result<(), StorageError> = Call::new(db, SEND_TIMEOUT)
        .repeated(move |call| {
            let payloads = payloads.clone();
            async move {
                let mut tx = call.begin(Mode::Hasty).await?;
                tx.later(NOTIFY, params![payloads]);
                tx.commit().await
            }
            .boxed()
        })
        .await;
    if let Err(error) = sent {
        tracing::debug!(%error, "signals to other hosts are lost");
    }
}

#[cfg(test)]
mod tests;
