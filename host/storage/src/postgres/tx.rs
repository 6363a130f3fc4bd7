//! One transaction.
//!
//! Its `BEGIN` goes out together with its first statement, and its last ones together with the
//! `COMMIT`: PostgreSQL works them off in order and skips what comes behind a statement that failed,
//! the commit too. A commit whose answer was lost is looked up by the transaction's number.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::join;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::call::Call;
use super::crashes::{ERA, Era};
use super::fault::{Fault, Kind, get};
use super::params::{Params, params};
use super::pool::Lease;
use super::seen::Seen;
use super::tallies::Deltas;
use crate::StorageError;
use cofferdam_domain::state::TaskState;

/// The advisory lock of a transaction that begins to refer to a module's version (shared) or removes
/// what none refers to (alone).
const REFERRING: i64 = 0x4366_6672_0001;

/// How a transaction is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It reads one snapshot.
    Read,
    /// It changes something whose loss in a crash of the database is made good: a claim, a heartbeat.
    Hasty,
    /// Its commit is on the disk before it is answered.
    Durable,
    /// The same, and it makes something refer to a module's version.
    Referring,
}

/// Statements in flight at once: more wait for the answers of those before.
const IN_FLIGHT_MAX: usize = 8;
/// How long a hasty transaction may say nothing: a host that is stopped in the middle of a claim keeps
/// others from claiming for no longer. The call of a host that goes on is repeated.
const HASTY_IDLE_MAX: Duration = Duration::from_secs(2);
/// How often the fate of a commit is looked up while it is not decided.
const UNDECIDED_WAIT: Duration = Duration::from_millis(20);

/// A transaction. Dropped before it is committed it did nothing, and its connection is cut.
pub(super) struct Tx {
    call: Call,
    lease: Lease,
    mode: Mode,
    /// What begins it, until that was sent.
    begin: Option<String>,
    /// Its number, if its commit may have to be looked up.
    xid: Option<String>,
    later: Vec<(&'static str, Params)>,
    counters: Deltas,
    /// Lanes that new tasks wait in; one may be named several times.
    lanes: Vec<(String, i64)>,
}

impl Call {
    /// Begins a transaction.
    pub(super) async fn begin(&self, mode: Mode) -> Result<Tx, Fault> {
        let pool = match mode {
            Mode::Read => &self.db.readers,
            Mode::Hasty | Mode::Durable | Mode::Referring => &self.db.writers,
        };
        let lease = pool.get(self.deadline).await?;
        Ok(Tx {
            begin: Some(begin(mode, self.left(), &self.seen)),
            call: self.clone(),
            lease,
            mode,
            xid: None,
            later: Vec::new(),
            counters: Deltas::default(),
            lanes: Vec::new(),
        })
    }
}

/// What begins a transaction that has this long. Plans go along indexes whatever the statistics say:
/// those of a queue are never true, and no statement of ours reads a whole table.
fn begin(mode: Mode, left: Duration, seen: &Seen) -> String {
    let millis = left.as_millis().max(1);
    let idle_millis = match mode {
        Mode::Hasty => left.min(HASTY_IDLE_MAX),
        Mode::Read | Mode::Durable | Mode::Referring => left,
    };
    let idle_millis = idle_millis.as_millis().max(1);
    let (isolation, rest) = match mode {
        Mode::Read => ("REPEATABLE READ READ ONLY", String::new()),
        Mode::Hasty => (
            "READ COMMITTED READ WRITE",
            "SET LOCAL synchronous_commit = off;".to_owned(),
        ),
        Mode::Durable => (
            "READ COMMITTED READ WRITE",
            "SET LOCAL synchronous_commit = on; SELECT pg_current_xact_id()".to_owned(),
        ),
        Mode::Referring => (
            "READ COMMITTED READ WRITE",
            format!(
                "SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock_shared({REFERRING});
                 SELECT pg_current_xact_id()"
            ),
        ),
    };
    let seen = seen.setting();
    format!(
        "BEGIN ISOLATION LEVEL {isolation};
         SET LOCAL cofferdam.whose = '{seen}';
         SET LOCAL statement_timeout = {millis};
         SET LOCAL idle_in_transaction_session_timeout = {idle_millis};
         SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off;
         SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; {rest}"
    )
}

impl Tx {
    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    /// Sends a statement and waits for its rows.
    pub(super) async fn query(&mut self, sql: &str, params: Params) -> Result<Vec<Row>, Fault> {
        let client = self.lease.client();
        let Some(begin) = self.begin.take() else {
            return Ok(send(client, sql, &params).await?);
        };
        let (begun, rows) = join!(client.simple_query(&begin), send(client, sql, &params));
        self.xid = number_of(&begun?);
        Ok(rows?)
    }

    /// The same for two statements, one behind the other.
    pub(super) async fn query_both(
        &mut self,
        first: (&str, Params),
        second: (&str, Params),
    ) -> Result<(Vec<Row>, Vec<Row>), Fault> {
        let client = self.lease.client();
        let both = async {
            let second = send(client, second.0, &second.1);
            join!(send(client, first.0, &first.1), second)
        };
        let (one, other) = match self.begin.take() {
            None => both.await,
            Some(begin) => {
                let (begun, both) = join!(client.simple_query(&begin), both);
                self.xid = number_of(&begun?);
                both
            }
        };
        Ok((one?, other?))
    }

    /// The same for a statement that gives one row or none.
    pub(super) async fn query_opt(
        &mut self,
        sql: &str,
        params: Params,
    ) -> Result<Option<Row>, Fault> {
        Ok(self.query(sql, params).await?.pop())
    }

    /// Sends statements that have no parameters.
    pub(super) async fn script(&mut self, sql: &str) -> Result<(), Fault> {
        self.send_begin().await?;
        Ok(self.lease.client().batch_execute(sql).await?)
    }

    /// Sends a statement together with the commit. Only for what cannot fail by what it finds.
    pub(super) fn later(&mut self, sql: &'static str, params: Params) {
        self.later.push((sql, params));
    }

    /// Takes the lock of one who removes what nothing refers to.
    pub(super) async fn lock_out_referrers(&mut self) -> Result<(), Fault> {
        self.query("SELECT pg_advisory_xact_lock($1)", params![REFERRING])
            .await?;
        Ok(())
    }

    /// The tenant that its statements ask for; `None` for all.
    pub(super) fn tenant(&self) -> Option<String> {
        self.call.seen.tenant()
    }

    /// A task came into being, in that lane.
    pub(super) fn came(&mut self, tenant: &str, lane: i64, state: TaskState) {
        self.counters.add(tenant, state, 1);
        let is_noted = |last: &(String, i64)| last.0 == tenant && last.1 == lane;
        // Those of one submission are mostly of one lane.
        if state == TaskState::Pending && !self.lanes.last().is_some_and(is_noted) {
            self.lanes.push((tenant.to_owned(), lane));
        }
    }

    /// Tasks of a tenant came into being, or went if `tasks` is negative.
    pub(super) fn count(&mut self, tenant: &str, state: TaskState, tasks: i64) {
        self.counters.add(tenant, state, tasks);
    }

    /// A task of a tenant went from one state to another.
    pub(super) fn moved(&mut self, tenant: &str, from: TaskState, to: TaskState) {
        self.counters.add(tenant, from, -1);
        self.counters.add(tenant, to, 1);
    }

    /// Bytes are kept for a tenant from now on, or are not any more if they are negative.
    pub(super) fn kept(&mut self, tenant: &str, bytes: i64) {
        self.counters.kept(tenant, bytes);
    }

    /// The same for the one tenant that the transaction is about.
    pub(super) fn kept_of_its_tenant(&mut self, bytes: i64) {
        if let Some(tenant) = self.tenant() {
            self.kept(&tenant, bytes);
        }
    }

    /// Ends a transaction that changed nothing, or undoes it.
    pub(super) async fn rollback(self) -> Result<(), Fault> {
        if self.begin.is_none() {
            self.lease.client().batch_execute("ROLLBACK").await?;
        }
        self.lease.give_back();
        Ok(())
    }

    /// Sends what is left and commits.
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        if self.mode != Mode::Read {
            // The last, because others may wait for its row from here to the commit.
            let shard = self.call.db.shards.next();
            self.later.extend(self.counters.statements(shard));
        }
        if self.begin.is_some() && self.later.is_empty() {
            self.lease.give_back();
            return Ok(());
        }
        let mut later = std::mem::take(&mut self.later);
        let last = later.split_off(later.len().saturating_sub(IN_FLIGHT_MAX));
        let mut earlier = later.into_iter().peekable();
        while earlier.peek().is_some() {
            let some: Vec<_> = earlier.by_ref().take(IN_FLIGHT_MAX).collect();
            self.send_begin().await?;
            first_error(send_all(self.lease.client(), &some).await)?;
        }
        self.call.set_committing(self.mode != Mode::Read);
        match self.send_last(&last).await {
            Err(fault) if fault.kind == Kind::Broken && self.mode != Mode::Read => {
                self.look_up(fault).await
            }
            Err(fault) => {
                self.call.set_committing(false);
                if fault.kind != Kind::Broken {
                    // The commit behind what failed was a rollback.
                    self.lease.give_back();
                }
                Err(fault)
            }
            Ok(()) => {
                self.lease.give_back();
                self.call.db.lanes.came(self.lanes);
                Ok(())
            }
        }
    }

    async fn send_begin(&mut self) -> Result<(), Fault> {
        if let Some(begin) = self.begin.take() {
            self.xid = number_of(&self.lease.client().simple_query(&begin).await?);
        }
        Ok(())
    }

    async fn send_last(&mut self, statements: &[(&'static str, Params)]) -> Result<(), Fault> {
        let client = self.lease.client();
        let all = send_all(client, statements);
        match self.begin.take() {
            Some(begin) => {
                let begin = client.simple_query(&begin);
                let (begun, sent, ended) = join!(begin, all, client.batch_execute("COMMIT"));
                self.xid = begun.as_ref().ok().and_then(|begun| number_of(begun));
                begun?;
                first_error(sent)?;
                Ok(ended?)
            }
            None => {
                let (sent, ended) = join!(all, client.batch_execute("COMMIT"));
                first_error(sent)?;
                Ok(ended?)
            }
        }
    }

    /// Finds out what became of a commit whose answer was lost with its connection.
    async fn look_up(self, fault: Fault) -> Result<(), Fault> {
        let Tx {
            call, lease, xid, ..
        } = self;
        let era = lease.era().clone();
        // Its place in the pool is wanted for another.
        drop(lease);
        let unknown = |why: &StorageError| StorageError::Unknown(why.to_string());
        let Some(xid) = xid else {
            return Err(unknown(&fault.error).into());
        };
        loop {
            match status(&call, &xid, &era).await {
                Ok(Some(status)) if status == "committed" => {
                    call.set_committing(false);
                    return Ok(());
                }
                Ok(Some(status)) if status == "aborted" => {
                    call.set_committing(false);
                    return Err(Fault {
                        error: fault.error,
                        kind: Kind::Again,
                    });
                }
                Ok(None) => return Err(unknown(&fault.error).into()),
                Err(late) if late.kind == Kind::Final => return Err(unknown(&late.error).into()),
                Ok(Some(_)) | Err(_) if call.left().is_zero() => {
                    return Err(unknown(&fault.error).into());
                }
                Ok(Some(_)) | Err(_) => tokio::time::sleep(UNDECIDED_WAIT).await,
            }
        }
    }
}

/// What the server says of a transaction of that era; `None` if it does not remember. After a crash its
/// number may have been given to another, which may have committed.
async fn status(call: &Call, xid: &str, era: &Era) -> Result<Option<String>, Fault> {
    let lease = call.db.writers.get(call.deadline).await?;
    let sql = format!("SELECT pg_xact_status($1::text::xid8), {ERA} = $2");
    let asked = params![xid.to_owned(), era.name().to_owned()];
    let rows = send(lease.client(), &sql, &asked).await?;
    let (status, is_same_era): (Option<String>, bool) = match rows.first() {
        Some(row) => (get(row, 0)?, get(row, 1)?),
        None => (None, false),
    };
    lease.give_back();
    Ok(status.filter(|status| is_same_era || status == "aborted"))
}

async fn send(
    client: &Client,
    sql: &str,
    params: &Params,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let params: Vec<_> = params.iter().map(super::params::Param::parts).collect();
    client.query_typed(sql, &params).await
}

/// Sends statements one behind the other. There are few of them, so that each is sent in its turn.
async fn send_all(
    client: &Client,
    statements: &[(&'static str, Params)],
) -> Vec<Result<Vec<Row>, tokio_postgres::Error>> {
    join_all(
        statements
            .iter()
            .map(|(sql, params)| send(client, sql, params)),
    )
    .await
}

fn first_error(sent: Vec<Result<Vec<Row>, tokio_postgres::Error>>) -> Result<(), Fault> {
    for answer in sent {
        answer?;
    }
    Ok(())
}

/// The number of a transaction, from the answer to what began it.
fn number_of(begun: &[SimpleQueryMessage]) -> Option<String> {
    begun.iter().rev().find_map(|message| {
        let SimpleQueryMessage::Row(row) = message else {
            return None;
        };
        row.get(0).map(str::to_owned)
    })
}

/// What a read gives, in a transaction of its own.
macro_rules! reading {
    ($call:ident, $tx:ident, $read:expr) => {{
        let mut $tx = $call.begin(Mode::Read).await?;
        let found = $read.await?;
        $tx.commit().await?;
        Ok::<_, $crate::postgres::fault::Fault>(found)
    }};
}
pub(super) use reading;
