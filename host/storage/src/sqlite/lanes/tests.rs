//! The cost of a claim in steps of SQLite's virtual machine, which do not depend on other work on the
//! computer: however many tasks wait, and however many of them have no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::{Place, candidates, next_run_at, ring, running};
use crate::conformance::fixture::*;
use crate::serving::Serving;
use crate::settings::ClaimRules;
use crate::sqlite::SqliteStorage;
use crate::sqlite::connection::{database_path, open_reader};
use crate::turns::{self, Turns};
use cofferdam_domain::task::ClaimOrder;
use rand::SeedableRng;
use rand::rngs::StdRng;

const TASKS: i64 = 100_000;
/// Modules whose tasks wait; of two of them as many run as may.
const MODULES: i64 = 4;
/// Steps between two counts.
const STEPS: i64 = 10;
/// The cost of choosing 64 tasks.
const CHOICE_MAX: i64 = 5000;

fn fill(conn: &Connection) {
    conn.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {TASKS})
         INSERT INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost,
             created_at, updated_at, cancel_requested, progress, progress_note, name, change, tenant,
             lane)
         SELECT i, CAST(printf('%016d', i) AS BLOB), 1, 1, 2, i, 0, 1, 0, i, i, 0, 0, '', 1, i,
             iif(i < {TASKS} / 2, 'default', 'other'), i % {MODULES} FROM n;
         UPDATE task SET state = 2, fence = 1, worker = zeroblob(16), claimed_at = 1, counted = 1
         WHERE seq <= 40 AND lane IN (1, 2);
         COMMIT;"
    ))
    .unwrap();
}

#[test]
fn no_claim_walks_over_what_waits() {
    let data = tempfile::tempdir().unwrap();
    drop(SqliteStorage::open(&settings(data.path()), StdRng::seed_from_u64(1)).unwrap());
    fill(&Connection::open(database_path(data.path())).unwrap());
    let mut conn = open_reader(&database_path(data.path())).unwrap();
    let steps = Arc::new(AtomicI64::new(0));
    let count = Arc::clone(&steps);
    let counting = move || {
        count.fetch_add(STEPS, Ordering::Relaxed);
        false
    };
    conn.progress_handler(i32::try_from(STEPS).unwrap(), Some(counting))
        .unwrap();
    let rules = ClaimRules {
        running_per_module_max: 10,
        running_per_tenant_max: 0,
        ageing: Duration::from_secs(1),
        preferred_grace: Duration::from_secs(5),
    };
    for order in [ClaimOrder::Priority, ClaimOrder::Fifo, ClaimOrder::Lifo] {
        steps.store(0, Ordering::Relaxed);
        let (lanes, _) = ring(&conn, &Place::default()).unwrap();
        assert_eq!(lanes.len(), 8);
        let running = running(&conn, &lanes, &rules).unwrap();
        let wanted = turns::wanted(&lanes, &rules, &running, (64, order), at(0));
        // Two have no room.
        assert_eq!(wanted.len(), 6);
        let found: Vec<_> = wanted
            .iter()
            .map(|wanted| candidates(&conn, wanted, order).unwrap())
            .collect();
        let chosen = Turns::default().choose(&wanted, &found, (64, order));
        assert_eq!(chosen.len(), 64);
        let took = steps.load(Ordering::Relaxed);
        println!("{order:?}: {took} steps");
        assert!(took <= CHOICE_MAX, "{order:?}: {took} steps");
    }
    steps.store(0, Ordering::Relaxed);
    assert!(
        next_run_at(&conn, &Serving::default(), ME, &rules)
            .unwrap()
            .is_some()
    );
    assert!(steps.load(Ordering::Relaxed) <= CHOICE_MAX / 4);
}
