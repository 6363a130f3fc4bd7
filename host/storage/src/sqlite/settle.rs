//! Decides what becomes of a task whose attempt ended, whether its worker or the rescue reports it.

use rusqlite::{CachedStatement, Connection, params};

use super::db::{Db, Tallies, state_number};
use super::ended::{Ending, Running};
use super::record::{self, ATTEMPT_MAX};
use super::templates::Templates;
use crate::StorageError;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const END: &str = "
    UPDATE task SET state = ?2, fence = NULL, cancel_requested = 0, updated_at = ?3,
        finished_at = ?3, change = ?4, error_kind = ?5 WHERE seq = ?1";
const AGAIN: &str = "
    UPDATE task SET state = 1, fence = NULL, cancel_requested = 0, updated_at = ?2,
        run_at = coalesce(?3, run_at), change = ?4, error_kind = ?5 WHERE seq = ?1";

/// What becomes of a task whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It stays in this final state.
    Final(TaskState),
    /// It is pending again, from this instant on, or with its previous `run_at`.
    Again(Option<Timestamp>),
}

impl After {
    /// The rule for a failed attempt that may be repeated.
    pub(super) fn retry(task: &Running, run_at: Timestamp) -> After {
        if task.attempt >= task.max_attempts {
            After::Final(TaskState::Failed)
        } else {
            After::Again(Some(run_at))
        }
    }

    /// The rule for an attempt whose host died.
    pub(super) fn loss(task: &Running, max_lost: u32, run_at: Option<Timestamp>) -> After {
        if task.cancel_requested {
            After::Final(TaskState::Cancelled)
        } else if task.lost >= max_lost || task.max_attempts >= ATTEMPT_MAX {
            After::Final(TaskState::Failed)
        } else {
            After::Again(run_at)
        }
    }
}

/// The statements for settling, prepared once for many attempts.
pub(super) struct Settling<'db> {
    pub(super) conn: &'db Connection,
    templates: &'db mut Templates,
    pub(super) tallies: &'db mut Tallies,
    record: CachedStatement<'db>,
    end: CachedStatement<'db>,
    again: CachedStatement<'db>,
}

impl<'db> Settling<'db> {
    pub(super) fn prepare(db: &'db mut Db) -> Result<Settling<'db>, StorageError> {
        let Db {
            conn,
            templates,
            tallies,
            random: _,
            budget: _,
        } = db;
        let conn: &'db Connection = conn;
        Ok(Settling {
            conn,
            templates,
            tallies,
            record: conn.prepare_cached(record::RECORD)?,
            end: conn.prepare_cached(END)?,
            again: conn.prepare_cached(AGAIN)?,
        })
    }
}

impl Settling<'_> {
    /// How often the task may be lost.
    pub(super) fn max_lost(&mut self, task: &Running) -> Result<u32, StorageError> {
        Ok(self.templates.get(self.conn, task.template)?.retry.max_lost)
    }

    /// Records a lost attempt: it counts as a loss, and not as an attempt if the task goes on.
    pub(super) fn settle_loss(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let allowed_more = match after {
            After::Final(_) => 0,
            After::Again(_) => 1,
        };
        self.conn
            .prepare_cached(
                "UPDATE task SET lost = lost + 1, max_attempts = max_attempts + ?2 WHERE seq = ?1",
            )?
            .execute(params![task.seq, allowed_more])?;
        self.settle(task, after, ending)
    }

    /// Records an attempt and moves its task on.
    pub(super) fn settle(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        record::record(self.conn, &mut self.record, task, ending)?;
        let at = ending.finished_at.as_millis();
        let change = self.tallies.next_change();
        let error_kind = ending.outcome.failure_kind().map(FailureKind::as_str);
        let state = match after {
            After::Final(state) => {
                let number = state_number(state);
                self.end
                    .execute(params![task.seq, number, at, change, error_kind])?;
                state
            }
            After::Again(run_at) => {
                let run_at = run_at.map(Timestamp::as_millis);
                self.again
                    .execute(params![task.seq, at, run_at, change, error_kind])?;
                TaskState::Pending
            }
        };
        self.tallies.moved(TaskState::Running, state, 1);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(7);

    fn running(attempt: u32, max_attempts: u32, lost: u32) -> Running {
        Running {
            seq: 1,
            template: 1,
            attempt,
            max_attempts,
            lost,
            cancel_requested: false,
            worker: [0; 16],
            claimed_at: 0,
        }
    }

    #[test]
    fn a_failure_uses_up_an_attempt_and_a_loss_does_not() {
        let failed = After::Final(TaskState::Failed);
        let again = After::Again(Some(AT));
        assert_eq!(After::retry(&running(1, 2, 0), AT), again);
        assert_eq!(After::retry(&running(2, 2, 0), AT), failed);
        assert_eq!(After::retry(&running(3, 2, 0), AT), failed);
        assert_eq!(After::loss(&running(2, 2, 1), 2, Some(AT)), again);
        assert_eq!(After::loss(&running(1, 2, 1), 2, None), After::Again(None));
        assert_eq!(After::loss(&running(1, 2, 2), 2, Some(AT)), failed);
        assert_eq!(After::loss(&running(1, 2, 3), 2, Some(AT)), failed);
    }

    #[test]
    fn attempts_are_counted_no_further_than_their_column_goes() {
        let loss = |max_attempts: u32| After::loss(&running(1, max_attempts, 0), 5, None);
        assert_eq!(loss(ATTEMPT_MAX - 1), After::Again(None));
        assert_eq!(loss(ATTEMPT_MAX), After::Final(TaskState::Failed));
        let cancelled = Running {
            cancel_requested: true,
            ..running(1, ATTEMPT_MAX, 9)
        };
        let loss = After::loss(&cancelled, 5, Some(AT));
        assert_eq!(loss, After::Final(TaskState::Cancelled));
    }
}
