//! The contract on PostgreSQL, and what only this backend can show.

mod consistency;
mod costs;
mod hosts_trail;
mod repairs;
mod together;
mod wall;

use std::collections::HashSet;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

pub(super) use self::consistency::check_database;
use super::PostgresStorage;
use super::connection::Connector;
use super::fault::{Fault, Kind};
use crate::conformance::fixture::*;
use crate::conformance::{self, Backend, Storage};
use crate::settings::{ClaimRules, StorageConfig};
use crate::{
    Cancelled, ChangeNumber, Finished, Inserted, Modules, Reads, Since, StorageError, TaskFilter,
    Tasks,
};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Dedup};
use cofferdam_test_postgres::Database;

struct Postgres {
    // Closed before its database is dropped.
    storage: PostgresStorage,
    dir: TempDir,
    database: Database,
}

/// A host of its own on this database.
fn open(database: &Database, dir: &TempDir) -> Result<PostgresStorage, StorageError> {
    open_with(database, dir, settings(dir.path()).claims)
}

fn open_with(
    database: &Database,
    dir: &TempDir,
    claims: ClaimRules,
) -> Result<PostgresStorage, StorageError> {
    let random = StdRng::from_os_rng();
    let clock = Clock::told(at(0));
    let settings = StorageConfig {
        claims,
        ..settings(dir.path())
    };
    PostgresStorage::open(&database.url(), &settings, random, clock)
}

impl Backend for Postgres {
    async fn fresh() -> Postgres {
        let database = Database::fresh();
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&database, &dir).unwrap();
        put_echo(&storage).await;
        Postgres {
            storage,
            dir,
            database,
        }
    }

    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    async fn reopened(self) -> Postgres {
        let rules = settings(self.dir.path()).claims;
        self.reopened_with(rules).await
    }

    async fn reopened_with(self, rules: ClaimRules) -> Postgres {
        let Postgres {
            storage,
            dir,
            database,
        } = self;
        drop(storage);
        let storage = open_with(&database, &dir, rules).unwrap();
        Postgres {
            storage,
            dir,
            database,
        }
    }

    async fn check(&self) {
        self.storage.close();
        check_database(&self.database);
    }
}

conformance::conformance!(Postgres);

/// Two hosts on one database.
struct Two {
    hosts: [PostgresStorage; 2],
    _dirs: [TempDir; 2],
    database: Database,
}

impl Two {
    async fn fresh() -> Two {
        let database = Database::fresh();
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        // Both at once bring the schema up to date.
        let hosts = std::thread::scope(|scope| {
            let opening = [&dirs[0], &dirs[1]].map(|dir| {
                let database = &database;
                scope.spawn(move || open(database, dir).unwrap())
            });
            opening.map(|host| host.join().unwrap())
        });
        put_echo(&hosts[0]).await;
        Two {
            hosts,
            _dirs: dirs,
            database,
        }
    }

    fn check(self) {
        self.hosts.iter().for_each(PostgresStorage::close);
        check_database(&self.database);
    }
}

#[tokio::test]
async fn the_same_request_at_two_hosts_is_stored_once() {
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    for number in 0..40_u128 {
        let mut tasks = [new_task(2 * number + 1), new_task(2 * number + 2)];
        for task in &mut tasks {
            task.fingerprint = [7; 16];
            match number % 2 {
                0 => task.idempotency_key = Some(format!("key\0{number}")),
                _ => {
                    task.dedup = Some(Dedup {
                        key: format!("dedup {number}"),
                        window: Duration::from_secs(60),
                    });
                }
            }
        }
        let [a, b] = tasks;
        let (a, b) = tokio::join!(
            one.insert_tasks(vec![a.clone()], ANY_NUMBER, at(0)),
            other.insert_tasks(vec![b.clone()], ANY_NUMBER, at(0))
        );
        let told = [a.unwrap()[0], b.unwrap()[0]];
        let new = told.iter().filter(|told| **told == Inserted::New).count();
        assert_eq!(new, 1, "{number}: {told:?}");
    }
    assert_eq!(one.counts(&MINE).await.unwrap().pending, 40);
    two.check();
}

#[tokio::test]
async fn a_template_that_another_host_removed_is_written_again() {
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    insert(one, new_task(1)).await;
    one.cancel(&MINE, id(1), at(1)).await.unwrap();
    other.prune(at(9), 9, 9, at(9)).await.unwrap();
    // This one believes that it knows the template, and that there is room.
    one.db.waiting.learned(0);
    insert(one, new_task(2)).await;
    one.cancel(&MINE, id(2), at(1)).await.unwrap();
    assert!(other.remove_module(&US, &name("echo")).await.unwrap());
    let pruned = other.prune(at(9), 9, 9, at(9)).await.unwrap();
    assert_eq!(pruned.modules, [digest(1)]);
    one.db.waiting.learned(0);
    let late = one.insert_tasks(vec![new_task(3)], ANY_NUMBER, at(9)).await;
    assert!(matches!(late, Err(StorageError::ModuleGone(_))), "{late:?}");
    two.check();
}

#[tokio::test]
async fn cut_connections_are_made_anew() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'cofferdam' AND datname = current_database()";
    for number in 1..=10 {
        insert(storage, new_task(number)).await;
        assert_ne!(backend.database.run(cut).trim(), "0");
        let claim = claim_one(storage, ME, at(1)).await;
        backend.database.run(cut);
        let finished = finish_one(storage, completed(&claim, at(2))).await;
        assert_eq!(finished, Finished::Recorded(TaskState::Completed));
        backend.database.run(cut);
        assert_eq!(state(storage, number).await, TaskState::Completed);
    }
    backend.check().await;
}

#[tokio::test]
async fn a_change_is_told_once_all_before_it_can_be_seen() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    insert(storage, new_task(1)).await;
    let since = async |number| {
        let filter = TaskFilter {
            since: Some(Since::Change(number)),
            ..TaskFilter::default()
        };
        let page = storage.tasks(&US, &filter, 9).await.unwrap();
        let ids: Vec<_> = page.tasks.iter().map(|task| task.id).collect();
        (ids, page)
    };
    // Transactions of other tests on the same server may hold something back as well.
    let everything_since = async |number| {
        loop {
            let (ids, page) = since(number).await;
            if page.as_of == page.newest {
                return (ids, page);
            }
        }
    };
    let (first, page) = everything_since(ChangeNumber(0)).await;
    assert_eq!(first, [id(1)]);

    // Another host's transaction, begun before the next change and not ended.
    let connector = Connector::parse(&backend.database.url()).unwrap();
    let conn = connector.connect().await.unwrap();
    let run = async |sql| conn.client.batch_execute(sql).await.unwrap();
    run(
        "BEGIN; SET LOCAL cofferdam.whose = '*'; SELECT pg_current_xact_id();
        UPDATE cofferdam.task SET change = cofferdam.change_number(0)",
    )
    .await;
    insert(storage, new_task(2)).await;
    let (held_back, page) = since(page.as_of).await;
    assert_eq!(held_back, []);
    assert!(page.newest > page.as_of);
    assert_eq!(
        storage
            .tasks(&US, &TaskFilter::default(), 9)
            .await
            .unwrap()
            .tasks
            .len(),
        2
    );
    run("COMMIT").await;
    let (told, page) = everything_since(page.as_of).await;
    assert_eq!(told, [1, 2].map(id));
    assert_eq!(everything_since(page.as_of).await.0, []);
    drop(conn);
    backend.check().await;
}

#[tokio::test]
async fn a_database_that_was_moved_goes_on_counting_changes() {
    let backend = Postgres::fresh().await;
    insert(&backend.storage, new_task(1)).await;
    backend.storage.close();
    // As if it came from a server that had done much more.
    backend
        .database
        .run("UPDATE cofferdam.task SET change = change + (100000000::int8 << 18)");
    let backend = backend.reopened().await;
    let before = backend
        .storage
        .tasks(&US, &TaskFilter::default(), 1)
        .await
        .unwrap();
    insert(&backend.storage, new_task(2)).await;
    let filter = TaskFilter {
        since: Some(Since::Change(before.newest)),
        ..TaskFilter::default()
    };
    let after = loop {
        let page = backend.storage.tasks(&US, &filter, 9).await.unwrap();
        if page.as_of == page.newest {
            break page;
        }
    };
    assert_eq!(after.tasks[0].id, id(2));
    assert!(after.newest > before.newest);
}

#[tokio::test]
async fn a_host_that_starts_leaves_the_numbers_of_those_who_work_alone() {
    let backend = Postgres::fresh().await;
    let connector = Connector::parse(&backend.database.url()).unwrap();
    let conn = connector.connect().await.unwrap();
    let lock = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({})",
        super::migrate::MIGRATING
    );
    conn.client.batch_execute(&lock).await.unwrap();
    let base = || {
        backend
            .database
            .run("SELECT base FROM cofferdam.change_base")
    };
    let before = base();
    let (url, dir) = (backend.database.url(), tempfile::tempdir().unwrap());
    let path = dir.path().to_owned();
    let second = std::thread::spawn(move || {
        let clock = Clock::told(at(0));
        PostgresStorage::open(&url, &settings(&path), StdRng::from_os_rng(), clock).unwrap()
    });
    // Its transaction has begun, and waits.
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while backend.database.run(waits).trim() != "1" {}
    // So the number of this change is higher.
    insert(&backend.storage, new_task(1)).await;
    conn.client.batch_execute("COMMIT").await.unwrap();
    second.join().unwrap().close();
    assert_eq!(base(), before);
    backend.check().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Postgres {
        storage,
        dir,
        database,
    } = Postgres::fresh().await;
    storage.close();
    // The version after this one still serves this one.
    database.run("INSERT INTO cofferdam.schema_version VALUES (98, 1)");
    drop(storage);
    open(&database, &dir).unwrap().close();
    database.run("INSERT INTO cofferdam.schema_version VALUES (99, 99)");
    let refused = open(&database, &dir).err().unwrap();
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

#[tokio::test]
async fn the_schema_refuses_what_the_states_forbid() {
    let backend = Postgres::fresh().await;
    insert(&backend.storage, new_task(1)).await;
    let connector = Connector::parse(&backend.database.url()).unwrap();
    let conn = connector.connect().await.unwrap();
    let everybodys = "SET cofferdam.whose = '*'";
    conn.client.batch_execute(everybodys).await.unwrap();
    for (rule, set) in [
        ("state_valid", "state = 6"),
        ("finalized_iff_final_state", "state = 3"),
        ("fence_iff_running", "fence = 1"),
        (
            "attempt_not_above_max",
            "attempt = 2, state = 3, finished_at = 1",
        ),
        ("pending_has_attempts_left", "attempt = 1"),
        ("cancel_asked_of_running", "cancel_requested = true"),
    ] {
        let sql = format!("UPDATE cofferdam.task SET {set}");
        let refused = conn.client.batch_execute(&sql).await.unwrap_err();
        let told = refused.as_db_error().unwrap();
        assert!(told.constraint().is_some(), "{rule}: {told}");
        assert_eq!(Fault::from(refused).kind, Kind::Final);
    }
}

#[tokio::test]
async fn bytes_stay_for_a_while_after_nothing_refers_to_them() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    let large = vec![7_u8; (3 << 20) + 1];
    storage
        .put_module(
            &US,
            &name("large"),
            &module(7),
            large.clone().into(),
            None,
            at(1),
        )
        .await
        .unwrap();
    assert_eq!(
        storage.module_wasm(&digest(7)).await.unwrap().unwrap(),
        large
    );
    let parts = || {
        backend
            .database
            .run("SELECT count(*) FROM cofferdam.blob_part")
    };
    assert_eq!(parts().trim(), "5");
    storage.remove_module(&US, &name("large")).await.unwrap();
    let prune = async || storage.prune(at(0), 9, 9, at(2)).await.unwrap();
    assert_eq!(prune().await.modules, [digest(7)]);
    assert_eq!(
        parts().trim(),
        "5",
        "somebody may be about to refer to them"
    );
    backend
        .database
        .run("UPDATE cofferdam.blob SET put_at = put_at - interval '1 day'");
    prune().await;
    assert_eq!(parts().trim(), "1", "a module still has that");
    backend.check().await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_at_once_where_it_is_asked_for() {
    let database = Database::fresh();
    let url = format!("{}?sslmode=require", database.url());
    let dir = tempfile::tempdir().unwrap();
    let (random, clock) = (StdRng::from_os_rng(), Clock::told(at(0)));
    let refused = PostgresStorage::open(&url, &settings(dir.path()), random, clock);
    let refused = refused.err().unwrap();
    assert!(refused.to_string().contains("TLS"), "{refused}");
}
