//! Callbacks of workflows: their rows, and how they are found. The schema makes the deliveries; taking and settling
//! these is the same for whatever ended.

use uuid::Uuid;

use crate::NewWorkflow;
use crate::postgres::params::params;
use crate::postgres::tx::Tx;

/// For workflows that an earlier statement of the same transaction has stored.
const INSERT: &str = "
    WITH u AS MATERIALIZED (
        SELECT w.seq, w.tenant, u.url, u.place, u.secret, u.ends
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int2[])
            AS u(id, url, place, secret, ends)
        JOIN cofferdam.workflow w ON w.id = u.id),
    c AS (
        INSERT INTO cofferdam.callback (seq, tenant, url, place, secret, workflow)
        SELECT seq + 4611686018427387904, tenant, url, place, secret, seq FROM u)
    UPDATE cofferdam.workflow w SET callback = u.ends FROM u WHERE w.seq = u.seq";
/// A callback, and its newest end.
pub(super) const CALLBACK: &str = "
    SELECT c.url, c.secret, w.callback, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM cofferdam.workflow w JOIN cofferdam.callback c ON c.seq = w.seq + 4611686018427387904
    LEFT JOIN cofferdam.delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n WHERE n.seq = c.seq)
    WHERE w.id = $1 AND ($2::text IS NULL OR w.tenant = $2)";
/// The newest end, if there is one.
pub(super) const NEWEST: &str = "
    SELECT NULL::int2, d.seq, d.number, d.taken AND d.status = 0, d.status, d.tries, d.due_at,
        d.last_status, d.last_error
    FROM cofferdam.workflow w LEFT JOIN cofferdam.delivery d ON d.seq = w.seq + 4611686018427387904
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n
            WHERE n.seq = w.seq + 4611686018427387904)
    WHERE w.id = $1 AND ($2::text IS NULL OR w.tenant = $2) FOR UPDATE OF w";

/// Keeps whom the ends of new workflows are told, with the commit.
pub(in crate::postgres) fn insert_of_workflows<'w>(
    tx: &mut Tx,
    workflows: impl Iterator<Item = &'w NewWorkflow>,
) {
    let mut ids: Vec<Uuid> = Vec::new();
    let (mut urls, mut places): (Vec<String>, Vec<String>) = Default::default();
    let mut secrets: Vec<Option<String>> = Vec::new();
    let mut ends: Vec<i16> = Vec::new();
    for workflow in workflows {
        let Some(callback) = &workflow.callback else {
            continue;
        };
        ids.push(workflow.id.0);
        urls.push(callback.url.as_str().to_owned());
        places.push(callback.url.place());
        let secret = callback.secret.as_ref();
        secrets.push(secret.map(|name| name.as_str().to_owned()));
        ends.push(callback.on.bits().into());
    }
    if !ids.is_empty() {
        tx.later(INSERT, params![ids, urls, places, secrets, ends]);
    }
}
