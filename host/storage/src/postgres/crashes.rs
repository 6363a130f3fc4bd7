//! What a crash of the server makes ambiguous: the numbers of its transactions.
//!
//! Whatever was not on the disk is forgotten, and with it which numbers were given away; the server gives
//! them a second time. So the fate of a commit may be asked for by number only within one era, the time
//! between two crashes, and the changes of tasks, which are numbered by their transactions, go on in each
//! era above all numbers of the one before. An era is named by when the server began to count what its
//! background writer does, because it begins anew after a crash, and only then or on demand.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::{Client, SimpleQueryMessage};

use super::fault::Fault;
use crate::StorageError;

/// The name of the present era.
pub(super) const ERA: &str =
    "coalesce(extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())::text, 'none')";

/// The newest change.
const NEWEST: &str = "greatest(newest, cofferdam.newest_change())";
/// A transaction above all whose changes can be seen. The present one may be older than those.
const NEXT: &str = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint";

/// An era of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Era(String);

impl Era {
    /// The era in which this connection was made.
    pub(super) async fn of(client: &Client) -> Result<Era, Fault> {
        for message in client.simple_query(&format!("SELECT {ERA}")).await? {
            if let SimpleQueryMessage::Row(row) = message
                && let Some(name) = row.get(0)
            {
                return Ok(Era::named(name));
            }
        }
        Err(StorageError::corrupt("the server has no era").into())
    }

    pub(super) fn named(name: &str) -> Era {
        Era(name.to_owned())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// The eras in which this host may change something.
#[derive(Default)]
pub(super) struct Eras {
    /// The newest whose changes are numbered above those before; unknown until the schema is up to date.
    begun: Mutex<Option<Era>>,
}

impl Eras {
    /// Has the changes of the present era numbered above those before. Called when the schema is up to
    /// date.
    pub(super) async fn begin_first(&self, client: &Client, era: &Era) -> Result<(), Fault> {
        begin(client, era).await?;
        self.set(era);
        Ok(())
    }

    /// The same for a connection that is made later, before anything else is done with it.
    pub(super) async fn begin(&self, client: &Client, era: &Era) -> Result<(), Fault> {
        match self.has_begun(era) {
            true => Ok(()),
            false => self.begin_first(client, era).await,
        }
    }

    /// Whether changes of that era are numbered above those before. Also true while nothing can be
    /// changed yet.
    pub(super) fn has_begun(&self, era: &Era) -> bool {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.as_ref().is_none_or(|begun| begun == era)
    }

    fn set(&self, era: &Era) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        *begun = Some(era.clone());
    }
}

/// Raises what all numbers of changes begin with, if nobody has done so in this era: by more
/// transactions than a server can forget, and above every number that is there, because the database may
/// come from a server that had done much more. Nobody changes a task meanwhile: the numbers of whoever
/// began before would be those of whoever begins after.
async fn begin(client: &Client, era: &Era) -> Result<(), Fault> {
    // A number and a point, or a word: there is nothing to quote.
    let era = era.name();
    let is_due = format!("(era IS DISTINCT FROM '{era}' OR {NEWEST} >= ({NEXT} + base) << 18)");
    let check = format!("SELECT 1 FROM cofferdam.change_base WHERE {is_due}");
    let found = client.simple_query(&check).await?;
    let is_row = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(_));
    if !found.iter().any(is_row) {
        return Ok(());
    }
    let script = format!(
        "BEGIN; SET LOCAL synchronous_commit = on; LOCK TABLE cofferdam.task IN SHARE MODE;
         UPDATE cofferdam.change_base
         SET base = greatest(base, ({NEWEST} >> 18) - {NEXT} + 1) + (1 << 22), era = '{era}'
         WHERE {is_due};
         COMMIT"
    );
    Ok(client.batch_execute(&script).await?)
}
