//! The contract on SQLite, and properties of this backend only.

mod consistency;
mod corrupt;
mod interleavings;
mod plans;
mod repairs;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::Connection;
use tempfile::TempDir;

use self::consistency::check_database;
use super::SqliteStorage;
use super::connection::database_path;
use crate::conformance::fixture::*;
use crate::conformance::{self, Backend, Storage, Tampered};
use crate::settings::{ClaimRules, StorageConfig};
use crate::{Inserted, Modules, Reads, StorageError, Tasks};

use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;

struct Sqlite {
    dir: TempDir,
    storage: SqliteStorage,
}

fn translated(sql: &str) -> String {
    let sql = sql
        .replace("TRAIL", "audit")
        .replace("NEWID", "randomblob(16)");
    sql.replace("HEX[", "x'").replace(']', "'")
}

fn open(dir: &std::path::Path) -> Result<SqliteStorage, StorageError> {
    SqliteStorage::open(&settings(dir), StdRng::seed_from_u64(7))
}

impl Backend for Sqlite {
    async fn fresh() -> Sqlite {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path()).unwrap();
        put_echo(&storage).await;
        Sqlite { dir, storage }
    }

    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    async fn reopened(self) -> Sqlite {
        let rules = settings(self.dir.path()).claims;
        self.reopened_with(rules).await
    }

    async fn reopened_with(self, claims: ClaimRules) -> Sqlite {
        let Sqlite { dir, storage } = self;
        drop(storage);
        let settings = StorageConfig {
            claims,
            ..settings(dir.path())
        };
        let storage = SqliteStorage::open(&settings, StdRng::seed_from_u64(7)).unwrap();
        Sqlite { dir, storage }
    }

    async fn check(&self) {
        self.storage.close();
        check_database(self.dir.path());
    }
}

impl Tampered for Sqlite {
    fn config(&self) -> StorageConfig {
        settings(self.dir.path())
    }

    fn tamper(&self, sql: &str) {
        let conn = Connection::open(database_path(self.dir.path())).unwrap();
        let all = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit%'";
        let mut triggers = conn.prepare(all).unwrap();
        let triggers = triggers
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap();
        for trigger in triggers.map(Result::unwrap).collect::<Vec<_>>() {
            conn.execute_batch(&format!("DROP TRIGGER {trigger}"))
                .unwrap();
        }
        conn.execute_batch(&translated(sql)).unwrap();
    }

    fn refuses(&self, sql: &str) {
        let conn = Connection::open(database_path(self.dir.path())).unwrap();
        let told = conn
            .execute_batch(&translated(sql))
            .unwrap_err()
            .to_string();
        assert!(told.contains("the audit trail"), "{sql}: {told}");
    }
}

conformance::conformance!(Sqlite);

#[tokio::test]
async fn a_directory_has_one_owner() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let refused = open(dir.path()).err().unwrap();
    assert!(
        refused.to_string().contains("another host is using it"),
        "{refused}"
    );
    storage.close();
    assert!(matches!(
        storage.ping().await,
        Err(StorageError::Unavailable(_))
    ));
    open(dir.path()).unwrap().close();
}

#[tokio::test]
async fn a_copy_taken_at_any_moment_opens() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    insert_all(&storage, (1..=50).map(new_task).collect()).await;
    let claim = claim_one(&storage, ME, at(1)).await;
    // The disk has what a crash would leave: the log was not copied back.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["cofferdam.db", "cofferdam.db-wal"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let reopened = open(crashed.path()).unwrap();
    let counts = reopened.counts(&MINE).await.unwrap();
    assert_eq!((counts.pending, counts.running), (49, 1));
    finish_one(&reopened, completed(&claim, at(2))).await;
    assert_eq!(reopened.counts(&MINE).await.unwrap().completed, 1);
    reopened.close();
    check_database(crashed.path());
}

#[tokio::test]
async fn a_full_disk_is_reported_and_survived() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    insert(&storage, new_task(1)).await;
    let limit_pages = async |pages: u32| {
        storage
            .writer
            .call(move |db| {
                db.conn
                    .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_row| {
                        Ok(())
                    })?;
                Ok(())
            })
            .await
            .unwrap();
    };
    limit_pages(1).await;
    let mut big = new_task(2);
    let body = vec![0; 1 << 20].into();
    big.spec.input = cofferdam_domain::task::Input::Inline(cofferdam_domain::attempt::Payload {
        content_type: "application/octet-stream".into(),
        body,
    });
    // The other call in the batch is not affected.
    let (refused, claimed) = tokio::join!(
        storage.insert_tasks(vec![new_task(3), big.clone()], 9.into(), at(1)),
        storage.cancel(&MINE, id(1), at(1)),
    );
    assert!(matches!(refused, Err(StorageError::Full(_))), "{refused:?}");
    claimed.unwrap();
    assert!(storage.task(&MINE, id(3)).await.unwrap().is_none());
    limit_pages(1 << 30).await;
    let inserted = storage
        .insert_tasks(vec![new_task(3), big], 9.into(), at(2))
        .await
        .unwrap();
    assert_eq!(inserted, [Inserted::New; 2]);
    storage.close();
    check_database(dir.path());
}

#[tokio::test]
async fn a_failing_call_does_not_fail_its_neighbours() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let calls =
        (1..=40).map(|number| storage.insert_tasks(vec![new_task(number)], 99.into(), at(0)));
    let broken = storage.writer.call(|db| {
        db.conn
            .execute("UPDATE task SET state = 9 WHERE seq = 1", [])?;
        db.conn.execute("INSERT INTO nowhere VALUES (1)", [])?;
        Ok(())
    });
    let (inserted, broken) = tokio::join!(futures_util::future::join_all(calls), broken);
    assert!(
        inserted
            .into_iter()
            .all(|inserted| inserted.unwrap() == [Inserted::New])
    );
    assert!(broken.is_err());
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 40);
    storage.close();
    check_database(dir.path());
}

#[tokio::test]
async fn the_schema_refuses_what_the_states_forbid() {
    let Sqlite { storage, .. } = Sqlite::fresh().await;
    insert(&storage, new_task(1)).await;
    for (rule, set) in [
        ("state_valid", "state = 6"),
        ("finalized_iff_final_state", "state = 3"),
        ("fence_iff_running", "fence = 1"),
        (
            "attempt_not_above_max",
            "attempt = 2, state = 3, finished_at = 1",
        ),
        ("pending_has_attempts_left", "attempt = 1"),
        ("cancel_asked_of_running", "cancel_requested = 1"),
    ] {
        let refused = storage
            .writer
            .call(move |db| Ok(db.conn.execute(&format!("UPDATE task SET {set}"), [])?))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(rule), "{rule}: {refused}");
    }
}

#[tokio::test]
async fn nobody_else_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let expect_private = || {
        assert_eq!(mode(&dir), 0o700);
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let private = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), private, "{}", path.display());
        }
    };
    let storage = open(&dir).unwrap();
    storage.ping().await.unwrap();
    expect_private();
    assert!(dir.join("cofferdam.db-wal").exists());
    storage.close();
    // As an earlier version, or an operator, may leave them.
    for path in [dir.clone(), database_path(&dir), dir.join("lock")] {
        let wide = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, wide).unwrap();
    }
    let storage = open(&dir).unwrap();
    storage.ping().await.unwrap();
    expect_private();
    storage.close();
}

/// The thread that should panic, in a separate process.
const PANIC: &str = "COFFERDAM_TEST_PANIC";

#[tokio::test]
async fn a_panic_of_a_storage_thread_ends_the_process() {
    if let Ok(thread) = std::env::var(PANIC) {
        let Sqlite { storage, .. } = Sqlite::fresh().await;
        let _never_answered: Result<(), _> = match thread.as_str() {
            "writer" => storage.writer.call(|_| panic!("as the test wants")).await,
            _ => storage.readers.call(|_| panic!("as the test wants")).await,
        };
        return;
    }
    let module = module_path!().split_once("::").unwrap().1;
    let name = format!("{module}::a_panic_of_a_storage_thread_ends_the_process");
    for thread in ["writer", "reader"] {
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(PANIC, thread)
            .output()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
        assert_eq!(signal, Some(6), "{thread}: {ended:?}");
    }
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let quick = StorageConfig {
        read_timeout: std::time::Duration::from_millis(20),
        ..settings(dir.path())
    };
    let storage = SqliteStorage::open(&quick, StdRng::seed_from_u64(7)).unwrap();
    let endless = storage.readers.call(|conn| {
        let sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)
            SELECT count(*) FROM n";
        Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    });
    assert!(matches!(endless.await, Err(StorageError::TooSlow)));
    for _ in 0..8 {
        storage.counts(&MINE).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_above_its_budget_takes_no_task_and_records_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut tight = settings(dir.path());
    tight.database_budget_bytes = 1 << 20;
    let storage = SqliteStorage::open(&tight, StdRng::seed_from_u64(7)).unwrap();
    put_echo(&storage).await;
    insert_all(&storage, vec![new_task(1), new_task(2), new_task(3)]).await;
    let claim = claim_one(&storage, ME, at(1)).await;
    let mut large = new_task(4);
    large.spec.input = cofferdam_domain::task::Input::Inline(payload(&[b' '; 1 << 20]));
    let over_budget =
        |error: Option<StorageError>| matches!(error, Some(StorageError::OverBudget { .. }));
    let insert = async |task| storage.insert_tasks(vec![task], 9.into(), at(1)).await;
    assert!(over_budget(insert(large).await.err()));
    assert_eq!(insert(new_task(5)).await.unwrap(), [Inserted::New]);
    let mut end = completed(&claim, at(2));
    end.outcome = cofferdam_domain::attempt::Outcome::Completed(payload(&[b' '; 2 << 20]));
    finish_one(&storage, end).await;
    assert!(over_budget(insert(new_task(6)).await.err()));
    // A repetition of an accepted task is answered.
    assert_eq!(
        insert(new_task(5)).await.unwrap(),
        [Inserted::Repeated(id(5))]
    );
    // The quarter reserved for results is used up as well.
    let claimed = storage
        .claim(ME, 1, cofferdam_domain::task::ClaimOrder::Fifo, at(3))
        .await;
    assert!(over_budget(claimed.err()));
    storage.prune(at(9), 0, 9, at(9)).await.unwrap();
    claim_one(&storage, ME, at(9)).await;
}

/// The files of large bytes.
fn blob_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir.join("blobs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_bytes_of_a_module_are_beside_the_database() {
    const LARGE: usize = 8 << 20;
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let echo = blob_files(dir.path());
    assert_eq!(echo.len(), 1);
    let put = async |text: &str| {
        let wasm = vec![7; LARGE].into();
        storage
            .put_module(&US, &name(text), &module(7), wasm, None, at(1))
            .await
            .unwrap()
    };
    assert_eq!(put("large").await, crate::PutModule::Created);
    assert_eq!(put("large").await, crate::PutModule::Unchanged);
    assert_eq!(put("twin").await, crate::PutModule::Created);
    assert_eq!(blob_files(dir.path()).len(), 2);
    let database: u64 = ["cofferdam.db", "cofferdam.db-wal"]
        .iter()
        .map(|file| dir.path().join(file).metadata().unwrap().len())
        .sum();
    assert!(database < 1 << 20, "{database} bytes");
    let wasm = storage.module_wasm(&digest(7)).await.unwrap().unwrap();
    assert_eq!(wasm, vec![7; LARGE]);

    storage.remove_module(&US, &name("large")).await.unwrap();
    storage.prune(at(0), 9, 9, at(2)).await.unwrap();
    assert_eq!(blob_files(dir.path()).len(), 2, "another name refers to it");
    storage.remove_module(&US, &name("twin")).await.unwrap();
    storage.prune(at(0), 9, 9, at(2)).await.unwrap();
    assert_eq!(blob_files(dir.path()), echo);

    storage.close();
    std::fs::write(dir.path().join("blobs").join("0".repeat(64)), "left").unwrap();
    let storage = open(dir.path()).unwrap();
    assert_eq!(blob_files(dir.path()), echo);
    storage.close();
    check_database(dir.path());
}

#[tokio::test]
async fn a_module_kept_in_its_row_by_an_early_version_can_still_be_read() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    storage
        .writer
        .call(|db| {
            let inside = "UPDATE module SET wasm = CAST('wasm' AS BLOB), blob = NULL";
            Ok(db.conn.execute(inside, [])?)
        })
        .await
        .unwrap();
    for blob in blob_files(dir.path()) {
        std::fs::remove_file(blob).unwrap();
    }
    let wasm = async || storage.module_wasm(&digest(1)).await.unwrap().unwrap();
    assert_eq!(wasm().await, b"wasm"[..]);
    // When it is put again, it moves out.
    put_echo(&storage).await;
    assert_eq!(blob_files(dir.path()).len(), 1);
    assert_eq!(wasm().await, b"wasm"[..]);
}

#[tokio::test]
async fn a_large_output_is_beside_the_database_and_goes_with_its_task() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let before = blob_files(dir.path());
    insert_all(&storage, (1..=2).map(new_task).collect()).await;
    for number in 1..=2 {
        let claim = claim_one(&storage, ME, at(1)).await;
        let mut end = completed(&claim, at(2));
        end.outcome = cofferdam_domain::attempt::Outcome::Completed(payload(&[7; 2 << 20]));
        if number == 2 {
            storage.cancel(&MINE, id(2), at(2)).await.unwrap();
        }
        finish_one(&storage, end).await;
        assert_eq!(blob_files(dir.path()).len(), before.len() + 1);
    }
    storage.purge(&MINE, id(2)).await.unwrap();
    assert_eq!(
        blob_files(dir.path()).len(),
        before.len() + 1,
        "one still has it"
    );
    storage.purge(&MINE, id(1)).await.unwrap();
    assert_eq!(blob_files(dir.path()), before);
}

#[tokio::test]
async fn bytes_whose_caller_went_away_are_removed() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let before = blob_files(dir.path());
    let used = || {
        storage
            .beside
            .blobs()
            .used_bytes()
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let used_before = used();
    // The caller goes away at every possible point.
    for polls in 0..12 {
        let wasm = vec![polls; 1 << 20].into();
        let (text, info) = (name("left"), module(100 + polls));
        let mut put = std::pin::pin!(storage.put_module(&US, &text, &info, wasm, None, at(1)));
        for _ in 0..polls {
            if futures_util::poll!(&mut put).is_ready() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }
    storage.remove_module(&US, &name("left")).await.unwrap();
    // This waits for blobs that are still being written.
    storage.prune(at(0), 9, 9, at(2)).await.unwrap();
    storage.prune(at(0), 9, 9, at(2)).await.unwrap();
    assert_eq!((blob_files(dir.path()), used()), (before, used_before));
}
