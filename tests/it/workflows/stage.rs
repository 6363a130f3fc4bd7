//! A host with modules, on either database, and workflows on it.

use std::thread;
use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host.
pub(super) struct Stage {
    pub(super) host: Host,
    // Dropped after its host.
    _database: Option<Database>,
}

impl Stage {
    pub(super) fn on_sqlite() -> Stage {
        Stage::over(None)
    }

    pub(super) fn on_postgres() -> Stage {
        Stage::over(Some(Database::fresh()))
    }

    fn over(database: Option<Database>) -> Stage {
        let storage = database.as_ref().map(Database::url);
        let storage = storage.map(|url| format!("[storage]\nurl = {url:?}\n"));
        Stage::of(Host::with_config(&storage.unwrap_or_default()), database)
    }

    pub(super) fn of(host: Host, database: Option<Database>) -> Stage {
        for name in ["echo", "trap", "sleep", "spin", "task-fails"] {
            host.client
                .put_module(name, &guests::wat(&format!("{name}.wat")))
                .expect(201);
        }
        let schema = json!({"type": "object", "properties": {"n": {"type": "number"}}}).to_string();
        host.client
            .put_module("strict", &guests::described(Some(&schema), None))
            .expect(201);
        Stage {
            host,
            _database: database,
        }
    }

    #[track_caller]
    pub(super) fn submit(&self, workflow: &Value) -> String {
        let answer = self.host.client.post("/v1/workflows", workflow).expect(202);
        let json = answer.json();
        let id = json["workflow_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/v1/workflows/{id}"));
        id
    }

    #[track_caller]
    pub(super) fn get(&self, id: &str) -> Value {
        self.host
            .client
            .get(&format!("/v1/workflows/{id}"))
            .expect(200)
            .json()
    }

    /// The workflow, once it is as wanted.
    #[track_caller]
    pub(super) fn when(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let workflow = self.get(id);
            if wanted(&workflow) {
                return workflow;
            }
            assert!(Instant::now() < deadline, "{workflow}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The workflow, once it is final.
    #[track_caller]
    pub(super) fn done(&self, id: &str) -> Value {
        self.when(id, |it| {
            !["running", "paused"].contains(&it["status"].as_str().unwrap())
        })
    }

    #[track_caller]
    pub(super) fn finished(&self, workflow: &Value) -> Value {
        let id = self.submit(workflow);
        self.done(&id)
    }

    /// The output of a node.
    #[track_caller]
    pub(super) fn result(&self, workflow: &Value, id: &str) -> String {
        let task = node(workflow, id)["task_id"].as_str().unwrap();
        self.host
            .client
            .get(&format!("/v1/tasks/{task}/result"))
            .expect(200)
            .text()
    }
}

/// A node of a workflow.
#[track_caller]
pub(super) fn node<'a>(workflow: &'a Value, id: &str) -> &'a Value {
    let nodes = workflow["nodes"].as_array().unwrap();
    let found = nodes.iter().find(|node| node["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not in {workflow}"))
}

/// One body, on both databases.
macro_rules! on_both {
    ($body:ident, $sqlite:ident, $postgres:ident) => {
        #[test]
        fn $sqlite() {
            $body(&crate::workflows::stage::Stage::on_sqlite());
        }

        #[test]
        fn $postgres() {
            $body(&crate::workflows::stage::Stage::on_postgres());
        }
    };
}
pub(super) use on_both;
