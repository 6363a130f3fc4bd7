//! A data directory of an earlier version goes on in this one, with every task and module.
//!
//! `upgrade/` has what such a version left when it was killed: its rows and the files beside them.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guests::root;
use crate::support::host::Host;

/// What the application id of the product's databases is.
const APPLICATION_ID: i32 = 0x4366_6672;
/// The tasks, by what had become of them.
const COMPLETED: &str = "01a219b5-2a92-7bd3-93ed-2e01f74511bb";
const FAILED: &str = "01a219b5-2aaa-75d9-8bad-ac216d41727b";
const CANCELLED: &str = "01a219b5-2ab4-776f-97c4-7084cccb7453";
const PENDING: &str = "01a219b5-2ab7-74ca-a774-671bcc5e6971";
const SPOOLED: &str = "01a219b5-2aba-7a44-abca-b5ce72c691d0";
const RUNNING: &str = "01a219b5-2abb-7a66-a33f-831089ee5514";
/// The input of the one that was spooled, and the name of its file.
const INPUT: [u8; 2000] = [b'x'; 2000];
const INPUT_FILE: &str = "b597e4c2228c4c4eb379f110f22540de";

/// The request that made the completed one, under an idempotency key.
const TASK: &str =
    r#"{"module": "echo", "input": {"answer": 42}, "metadata": {"team": "a"}, "priority": "high"}"#;

/// A data directory as the version with so many migrations left it.
fn left_by(migrations: usize) -> TempDir {
    let data = TempDir::new().unwrap();
    let left: PathBuf = root().join(format!("tests/it/upgrade/schema-{migrations}"));
    let conn = Connection::open(data.path().join("cofferdam.db")).unwrap();
    let scripts = root().join("host/storage/migrations/sqlite");
    let mut scripts: Vec<PathBuf> = (std::fs::read_dir(scripts).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort_unstable();
    for script in &scripts[..migrations] {
        run(&conn, script);
    }
    run(&conn, &left.join("rows.sql"));
    let version = i32::try_from(migrations).unwrap();
    conn.pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    conn.pragma_update(None, "user_version", version).unwrap();
    for folder in ["blobs", "spool"] {
        std::fs::create_dir(data.path().join(folder)).unwrap();
    }
    for blob in std::fs::read_dir(left.join("blobs")).unwrap() {
        let blob = blob.unwrap();
        let to = data.path().join("blobs").join(blob.file_name());
        std::fs::copy(blob.path(), to).unwrap();
    }
    std::fs::write(data.path().join("spool").join(INPUT_FILE), INPUT).unwrap();
    data
}

fn run(conn: &Connection, script: &Path) {
    let sql = std::fs::read_to_string(script).unwrap();
    conn.execute_batch(&sql).unwrap();
}

fn host() -> Host {
    Host::over(left_by(5), "[interpreters]\ndir = \"/nowhere\"\n")
}

#[test]
fn tasks_of_an_earlier_version_are_kept_and_go_on() {
    let mut host = host();
    for _ in 0..2 {
        let client = &host.client;
        let result = |id: &str| client.get(&format!("/v1/tasks/{id}/result"));
        let task = client.task(COMPLETED);
        assert_eq!(
            (&task["status"], &task["priority"]),
            (&json!("completed"), &json!("high"))
        );
        assert_eq!(result(COMPLETED).expect(200).json(), json!({"answer": 42}));
        let failed = client.task(FAILED);
        assert_eq!(
            (&failed["error"]["kind"], &failed["attempt"]),
            (&json!("trap"), &json!(2))
        );
        let path = format!("/v1/tasks/{FAILED}/attempts");
        let attempts = client.get(&path).expect(200).json();
        assert_eq!(attempts["items"].as_array().unwrap().len(), 2, "{attempts}");
        let cancelled = client.task(CANCELLED);
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(cancelled["isolation"], Value::Null);
        // These waited, and their time has come.
        assert_eq!(client.final_task(PENDING)["status"], "completed");
        assert_eq!(result(PENDING).expect(200).json(), json!("later"));
        assert_eq!(client.final_task(SPOOLED)["status"], "completed");
        // This one ran when its host was killed.
        let lost = client.final_task(RUNNING);
        assert_eq!(
            (&lost["error"]["kind"], &lost["attempt"]),
            (&json!("timeout"), &json!(2))
        );
        host.kill();
        host.restart();
    }
}

#[test]
fn lists_keys_and_modules_of_an_earlier_version_are_kept() {
    let host = host();
    let client = &host.client;
    for id in [PENDING, SPOOLED, RUNNING] {
        client.final_task(id);
    }
    let found = |query: &str| -> Vec<Value> {
        let list = client.get(&format!("/v1/tasks?{query}")).expect(200).json();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|task| task["task_id"].clone()).collect()
    };
    assert_eq!(found("").len(), 6);
    assert_eq!(found("since=c0").len(), 6);
    assert_eq!(found("error_kind=trap"), [FAILED]);
    assert_eq!(found("metadata.team=a"), [COMPLETED]);
    assert_eq!(found("module=spin"), [RUNNING]);
    // The same request under its key is still the same task.
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "kept"),
    ];
    let again = client.send("POST", "/v1/tasks", &headers, TASK.as_bytes());
    assert_eq!(again.expect(200).json()["task_id"], COMPLETED);
    for name in ["echo", "spin", "trap"] {
        let module = client
            .get(&format!("/v1/modules/{name}"))
            .expect(200)
            .json();
        let wasm = client.get(&format!("/v1/modules/{name}/wasm")).expect(200);
        assert_eq!(json!(wasm.body.len()), module["size_bytes"]);
    }
    // It takes what earlier versions did not know.
    let batch = json!({"tasks": [{"module": "echo", "input": 1}], "parallelism": 1});
    let batch = client.post("/v1/tasks/batch", &batch).expect(202).json();
    let id = batch["task_ids"][0].as_str().unwrap();
    assert_eq!(client.final_task(id)["status"], "completed");
}
