//! The writer thread's state: the connection, and copies in memory beside it.
//!
//! Everything in memory is a copy of the database's state after the commit. A rollback discards the
//! copies.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rusqlite::{Connection, OptionalExtension, params};

use super::lanes::Place;
use super::templates::Templates;
use crate::StorageError;
use crate::rows::{state_number, state_of};
use crate::serving::Serving;
use crate::settings::ClaimRules;
use crate::turns::Turns;
use cofferdam_domain::state::TaskState;

/// The writer's connection and its copies.
pub(super) struct Db {
    pub(super) conn: Connection,
    pub(super) tallies: Tallies,
    pub(super) templates: Templates,
    /// Makes fences: numbers that nobody can guess and that never repeat.
    pub(super) random: StdRng,
    pub(super) budget: Budget,
    pub(super) rules: ClaimRules,
    /// Which lanes a worker serves; shared with the readers.
    pub(super) serving: Arc<Serving>,
    pub(super) turns: Turns,
    /// Behind which lane the next claim begins to look.
    pub(super) looked: Place,
}

/// How large the database and the blobs beside it may be together.
#[derive(Clone)]
pub(super) struct Budget {
    bytes: u64,
    blobs: Arc<AtomicU64>,
}

impl Budget {
    /// So many bytes, for a database beside which these are.
    pub(super) fn new(bytes: u64, blobs: Arc<AtomicU64>) -> Budget {
        Budget { bytes, blobs }
    }

    /// What is used of it, and the whole.
    pub(super) fn usage(&self, conn: &Connection) -> Result<(u64, u64), StorageError> {
        Ok((self.used(conn)?, self.bytes))
    }

    /// Refuses if the database has no room for `more` bytes of a task.
    pub(super) fn check(&self, conn: &Connection, more: usize) -> Result<(), StorageError> {
        self.compare(conn, u64::try_from(more).unwrap_or(u64::MAX), self.bytes)
    }

    /// Refuses if it does not even have room for the results of tasks, for which a quarter is
    /// reserved.
    pub(super) fn check_for_ends(&self, conn: &Connection) -> Result<(), StorageError> {
        self.compare(conn, 0, self.bytes.saturating_add(self.bytes / 4))
    }

    fn used(&self, conn: &Connection) -> Result<u64, StorageError> {
        let pragma = |sql| -> Result<u64, StorageError> {
            let figure: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(figure).unwrap_or(0))
        };
        let pages = pragma("PRAGMA page_count")?.saturating_sub(pragma("PRAGMA freelist_count")?);
        let blobs = self.blobs.load(Ordering::Relaxed);
        Ok(pages.saturating_mul(PAGE_BYTES).saturating_add(blobs))
    }

    fn compare(&self, conn: &Connection, more: u64, limit: u64) -> Result<(), StorageError> {
        let used_bytes = self.used(conn)?;
        if used_bytes.saturating_add(more) > limit {
            return Err(StorageError::OverBudget {
                used_bytes,
                budget_bytes: limit,
            });
        }
        Ok(())
    }
}

/// SQLite's default, which every database of a host has.
const PAGE_BYTES: u64 = 4096;

const COUNT: &str = "UPDATE counter SET tasks = tasks + ?3 WHERE tenant = ?1 AND state = ?2";
const COUNT_FIRST: &str = "INSERT INTO counter (tenant, state, tasks) VALUES (?1, ?2, ?3)";

const KEEP: &str = "
    INSERT INTO kept (tenant, bytes) VALUES (?1, ?2)
    ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes";
const WAITING_OF: &str =
    "SELECT coalesce(sum(tasks), 0) FROM counter WHERE tenant = ?1 AND state IN (0, 1)";

/// Counters as they are in the database, and as they will be after this transaction.
#[derive(Clone, Default)]
pub(super) struct Tallies {
    saved: [i64; 6],
    now: [i64; 6],
    /// By how much this transaction changes the counters of each tenant.
    tenants: HashMap<String, [i64; 6]>,
    /// By how much it changes the bytes that are kept for each.
    kept: HashMap<String, i64>,
    templates: HashMap<i64, i64>,
    saved_change: i64,
    newest_change: i64,
}

impl Tallies {
    fn read(conn: &Connection) -> Result<Tallies, StorageError> {
        let mut saved = [0; 6];
        let mut statement = conn.prepare("SELECT state, sum(tasks) FROM counter GROUP BY state")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            saved[usize::from(state_number(state_of(row.get(0)?)?))] = row.get(1)?;
        }
        let newest_change =
            conn.query_row("SELECT number FROM newest_change", [], |row| row.get(0))?;
        Ok(Tallies {
            saved,
            now: saved,
            tenants: HashMap::new(),
            kept: HashMap::new(),
            templates: HashMap::new(),
            saved_change: newest_change,
            newest_change,
        })
    }

    /// The number of the next change.
    pub(super) fn next_change(&mut self) -> i64 {
        self.newest_change += 1;
        self.newest_change
    }

    fn count(&mut self, tenant: &str, state: TaskState, tasks: i64) {
        let place = usize::from(state_number(state));
        self.now[place] += tasks;
        self.tenants.entry(tenant.to_owned()).or_default()[place] += tasks;
    }

    /// Counts bytes that are kept for a tenant from now on, or are not any more if they are negative.
    pub(super) fn kept(&mut self, tenant: &str, bytes: i64) {
        match self.kept.get_mut(tenant) {
            Some(kept) => *kept += bytes,
            None => {
                self.kept.insert(tenant.to_owned(), bytes);
            }
        }
    }

    /// Bytes that are kept for a tenant.
    pub(super) fn kept_of(&self, conn: &Connection, tenant: &str) -> Result<u64, StorageError> {
        let saved = kept_of(conn, tenant)?;
        let since = self.kept.get(tenant).copied().unwrap_or(0);
        Ok(u64::try_from(saved + since).unwrap_or(0))
    }

    /// Counts a new task in `state`.
    pub(super) fn add(&mut self, tenant: &str, state: TaskState, template: i64) {
        self.count(tenant, state, 1);
        *self.templates.entry(template).or_default() += 1;
    }

    /// Counts `count` tasks that went from one state to another.
    pub(super) fn moved(&mut self, tenant: &str, from: TaskState, to: TaskState, count: i64) {
        self.count(tenant, from, -count);
        self.count(tenant, to, count);
    }

    /// Counts the removal of a task in `state`.
    pub(super) fn remove(&mut self, tenant: &str, state: TaskState, template: i64) {
        self.count(tenant, state, -1);
        *self.templates.entry(template).or_default() -= 1;
    }

    /// Tasks that wait.
    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.now[0] + self.now[1]).unwrap_or(0)
    }

    /// Tasks of a tenant that wait.
    pub(super) fn waiting_of(&self, conn: &Connection, tenant: &str) -> Result<u64, StorageError> {
        let saved = waiting_of(conn, tenant)?;
        let since = self.tenants.get(tenant);
        let since = since.map_or(0, |states| states[0] + states[1]);
        Ok(u64::try_from(saved + since).unwrap_or(0))
    }

    /// Final tasks.
    pub(super) fn finals(&self) -> u64 {
        u64::try_from(self.now[3] + self.now[4] + self.now[5]).unwrap_or(0)
    }

    fn save(&mut self, conn: &Connection) -> Result<(), StorageError> {
        let mut count = conn.prepare_cached(COUNT)?;
        for (tenant, states) in self.tenants.drain() {
            for (state, more) in (0_i64..).zip(states) {
                if more == 0 {
                    continue;
                }
                let counted = params![tenant, state, more];
                if count.execute(counted)? == 0 {
                    conn.prepare_cached(COUNT_FIRST)?.execute(counted)?;
                }
            }
        }
        for (tenant, more) in self.kept.drain().filter(|(_, more)| *more != 0) {
            conn.prepare_cached(KEEP)?.execute(params![tenant, more])?;
        }
        if self.saved_change != self.newest_change {
            conn.prepare_cached("UPDATE newest_change SET number = ?1")?
                .execute([self.newest_change])?;
        }
        let mut add =
            conn.prepare_cached("UPDATE template SET tasks = tasks + ?2 WHERE id = ?1")?;
        for (template, change) in self.templates.drain() {
            if change != 0 {
                add.execute(params![template, change])?;
            }
        }
        Ok(())
    }
}

/// Tasks of a tenant that wait, as they were when the counters were saved.
pub(super) fn waiting_of(conn: &Connection, tenant: &str) -> Result<i64, StorageError> {
    Ok(conn
        .prepare_cached(WAITING_OF)?
        .query_row([tenant], |row| row.get(0))?)
}

/// Bytes that are kept for a tenant, as they were when the counters were saved.
pub(super) fn kept_of(conn: &Connection, tenant: &str) -> Result<i64, StorageError> {
    let kept = conn
        .prepare_cached("SELECT bytes FROM kept WHERE tenant = ?1")?
        .query_row([tenant], |row| row.get(0))
        .optional()?;
    Ok(kept.unwrap_or(0))
}

impl Db {
    pub(super) fn new(
        conn: Connection,
        random: StdRng,
        budget: Budget,
        rules: ClaimRules,
    ) -> Result<Db, StorageError> {
        let tallies = Tallies::read(&conn)?;
        Ok(Db {
            conn,
            tallies,
            templates: Templates::default(),
            random,
            budget,
            rules,
            serving: Arc::default(),
            turns: Turns::default(),
            looked: Place::default(),
        })
    }

    pub(super) fn begin(&mut self) -> Result<(), StorageError> {
        Ok(self
            .conn
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])
            .map(|_rows| ())?)
    }

    /// Writes the counters before something in this transaction reads them.
    pub(super) fn save_tallies(&mut self) -> Result<(), StorageError> {
        self.tallies.save(&self.conn)
    }

    /// Commits; an error undoes everything.
    pub(super) fn commit(&mut self) -> Result<(), StorageError> {
        let done = self.tallies.save(&self.conn).and_then(|()| {
            let mut commit = self.conn.prepare_cached("COMMIT")?;
            commit
                .execute([])
                .map(|_rows| ())
                .map_err(StorageError::of_commit)
        });
        match done {
            Ok(()) => {
                self.tallies.saved = self.tallies.now;
                self.tallies.saved_change = self.tallies.newest_change;
            }
            Err(_) => self.rollback(),
        }
        done
    }

    /// Undoes the transaction, if SQLite has not done so itself.
    pub(super) fn rollback(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            // The next BEGIN fails and reports it to its caller.
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        self.tallies.now = self.tallies.saved;
        self.tallies.newest_change = self.tallies.saved_change;
        self.tallies.tenants.clear();
        self.tallies.kept.clear();
        self.tallies.templates.clear();
        self.templates.clear();
    }

    /// Copies the log into the database without waiting for readers.
    pub(super) fn checkpoint(&mut self) {
        self.copy_log("PRAGMA wal_checkpoint(PASSIVE)");
    }

    /// The thread's last action: the next start finds an empty log.
    pub(super) fn close(self) {
        let mut db = self;
        db.copy_log("PRAGMA wal_checkpoint(TRUNCATE)");
        if let Err((_conn, error)) = db.conn.close() {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    fn copy_log(&mut self, pragma: &str) {
        if let Err(error) = self.conn.query_row(pragma, [], |_row| Ok(())) {
            tracing::warn!(%error, "the write-ahead log could not be copied into the database");
        }
    }
}
