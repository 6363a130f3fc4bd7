//! How SQLite means to answer what a host asks by itself, again and again: by an index, however much there is.

use super::*;
use crate::sqlite::{classes, rescue};

/// The tables that grow with use.
const LONG: [&str; 3] = ["t", "task", "p"];

#[test]
fn what_a_host_does_by_itself_walks_no_long_table() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    let conn = Connection::open(database_path(dir.path())).unwrap();
    for sql in [rescue::LOST, classes::UNUSED] {
        let mut explained = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![0; explained.parameter_count()];
        let steps = explained.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        let walks = |step: &&String| LONG.iter().any(|table| **step == format!("SCAN {table}"));
        assert_eq!(steps.iter().find(walks), None, "{sql}: {steps:?}");
    }
}
