//! Claims of nodes for the worker that ended what was before them: whether it may have them, and what it is told of
//! them. They are claimed where they are released (`release`).

use std::collections::HashMap;

use super::{claim_of, statements};
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::params;
use crate::postgres::tx::Tx;
use crate::postgres::{nodes, release};
use crate::{Heir, StorageError};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::time::Timestamp;

/// The heir, if the tasks of one tenant alone wait, in one lane without bounds, as far as was seen a moment ago.
/// Where others wait too, claims decide whose turn it is.
pub(in crate::postgres) fn heir(call: &Call, heir: Heir) -> Option<release::Heir> {
    let of = call.db.lanes.alone(heir.now)?;
    let may_have = !of.is_stale && !call.db.serving.holds_back(&of.tenant);
    may_have.then(|| release::Heir {
        worker: heir.worker,
        fences: call.db.fences(heir.slots),
        of,
        now: heir.now,
    })
}

/// The claims of these tasks, which were made in this transaction.
pub(in crate::postgres) async fn inherited(
    tx: &mut Tx,
    seqs: Vec<i64>,
    now: Timestamp,
) -> Result<Vec<Claim>, Fault> {
    let claimed = (statements::INHERITED, params![seqs.clone()]);
    let (rows, of_nodes) = tx.query_both(claimed, nodes::of_claimed(seqs)).await?;
    let mut nodes: HashMap<_, _> = nodes::claimed_nodes(&of_nodes)?;
    let mut claims = Vec::with_capacity(rows.len());
    for row in &rows {
        let seq: i64 = get(row, 9)?;
        match claim_of(tx, row, None, now).await {
            Ok(claim) => claims.push(Claim {
                node: nodes.remove(&seq).map(Box::new),
                ..claim
            }),
            // Nobody holds it, so it is given back, and whoever claims it then ends it.
            Err(Fault {
                error: StorageError::Corrupt(why),
                ..
            }) => tracing::error!(seq, why, "a task's stored data cannot be read"),
            Err(fault) => return Err(fault),
        }
    }
    Ok(claims)
}
