//! Every operation of the API document, by every kind of caller: no key, a key of the tenant that has all
//! scopes but the one that is needed, a key that has just that one, a key of another tenant, and an
//! administrator's. An operation that is not in the table fails the test.

use std::cell::Cell;

use serde_json::{Value, json};
use uuid::Uuid;

use super::site::{ADMIN, Site};
use crate::mcp::{ACCEPT, initialize};
use crate::support::guests;

pub(super) const SCOPES: [&str; 4] = ["run", "read", "modules", "admin"];

/// A name that nothing has.
const NOBODY: &str = "0190f0c2-7a3b-7def-8123-456789abcdef";

/// A request, and how it is answered if the caller may make it.
struct Case {
    path: String,
    body: Value,
    raw: Option<(&'static str, Vec<u8>)>,
    status: u16,
}

fn case(path: impl Into<String>, status: u16) -> Case {
    Case {
        path: path.into(),
        body: Value::Null,
        raw: None,
        status,
    }
}

impl Case {
    fn json(self, body: Value) -> Case {
        Case { body, ..self }
    }

    fn raw(self, content_type: &'static str, bytes: Vec<u8>) -> Case {
        let raw = Some((content_type, bytes));
        Case { raw, ..self }
    }
}

/// What the tenant `a` has, or what nobody has.
pub(super) struct Owned<'a> {
    site: &'a Site,
    key: String,
    made: Cell<u32>,
    module: &'static str,
    completed: String,
    /// A workflow.
    ended: String,
    worker: String,
    is_there: bool,
}

impl<'a> Owned<'a> {
    pub(super) fn of(site: &'a Site) -> Owned<'a> {
        let key = site.key("a", &SCOPES);
        for name in ["echo", "trap"] {
            site.put_module(&key, name, &guests::wat(&format!("{name}.wat")));
        }
        let task = json!({"module": "echo", "input": 7});
        let task = site.send(&key, "POST", "/v1/tasks?wait_ms=60000", &task);
        let workers = site
            .send(&key, "GET", "/v1/workers", &Value::Null)
            .expect(200)
            .json();
        Owned {
            site,
            made: Cell::new(0),
            module: "echo",
            ended: ended(site, &key),
            key,
            completed: id(&task.expect(200).json(), "task_id"),
            worker: id(&workers["items"][0], "id"),
            is_there: true,
        }
    }

    /// The same requests about things that do not exist.
    fn of_nobody(site: &'a Site) -> Owned<'a> {
        Owned {
            site,
            key: String::new(),
            made: Cell::new(0),
            module: "no-echo",
            completed: NOBODY.to_owned(),
            ended: NOBODY.to_owned(),
            worker: NOBODY.to_owned(),
            is_there: false,
        }
    }

    fn fresh(&self, what: &str) -> String {
        self.made.set(self.made.get() + 1);
        let whose = if self.is_there { "own" } else { "no" };
        format!("{whose}-{what}-{}", self.made.get())
    }

    fn fresh_module(&self) -> String {
        let name = self.fresh("module");
        if self.is_there {
            self.site
                .put_module(&self.key, &name, &guests::wat("echo.wat"));
        }
        name
    }

    /// A task that does not begin.
    fn pending(&self) -> String {
        if !self.is_there {
            return NOBODY.to_owned();
        }
        let task = json!({"module": "echo", "input": 7, "delay_ms": 3_600_000});
        let task = self.site.send(&self.key, "POST", "/v1/tasks", &task);
        id(&task.expect(202).json(), "task_id")
    }

    fn failed(&self) -> String {
        if !self.is_there {
            return NOBODY.to_owned();
        }
        let task = json!({"module": "trap", "input": 7});
        let task = self
            .site
            .send(&self.key, "POST", "/v1/tasks?wait_ms=60000", &task);
        let task = task.expect(200).json();
        assert_eq!(task["status"], "failed", "{task}");
        id(&task, "task_id")
    }

    fn batch(&self) -> String {
        if !self.is_there {
            return NOBODY.to_owned();
        }
        let tasks = json!([{"module": "echo", "input": 7, "delay_ms": 3_600_000}]);
        let batch = json!({"tasks": tasks});
        let batch = self.site.send(&self.key, "POST", "/v1/tasks/batch", &batch);
        id(&batch.expect(202).json(), "batch_id")
    }

    fn workflow(&self, node: &Value) -> String {
        if !self.is_there {
            return NOBODY.to_owned();
        }
        let body = json!({"nodes": [node]});
        let made = self.site.send(&self.key, "POST", "/v1/workflows", &body);
        id(&made.expect(202).json(), "workflow_id")
    }

    /// The path of a workflow that waits.
    fn open_workflow(&self, rest: &str) -> String {
        let id = self.workflow(&json!({"id": "a", "wait": {"signal": "go"}}));
        format!("/v1/workflows/{id}{rest}")
    }

    /// The path of one that is final.
    fn final_workflow(&self, rest: &str) -> String {
        format!("/v1/workflows/{}{rest}", self.ended)
    }

    /// The path of a definition.
    fn definition(&self) -> String {
        let path = format!("/v1/workflow-definitions/{}", self.fresh("definition"));
        if self.is_there {
            let body = json!({"nodes": [{"id": "a", "wait": {"signal": "go"}}]});
            self.site.send(&self.key, "PUT", &path, &body).expect(201);
        }
        path
    }

    fn schedule(&self) -> String {
        let name = self.fresh("schedule");
        if self.is_there {
            let path = format!("/v1/schedules/{name}");
            let body = json!({"every_ms": 3_600_000, "task": {"module": "echo"}});
            self.site.send(&self.key, "PUT", &path, &body).expect(201);
        }
        name
    }

    fn key_id(&self) -> String {
        self.site.key("a", &["read"])[4..20].to_owned()
    }

    fn secret(&self) -> String {
        let name = self.fresh("secret");
        if self.is_there {
            let put = json!({"value": "x"});
            let path = format!("/v1/secrets/{name}");
            self.site.send(&self.key, "PUT", &path, &put).expect(201);
        }
        name
    }

    fn fresh_tenant(&self) -> String {
        let name = self.fresh("tenant");
        let path = format!("/v1/tenants/{name}");
        self.site.send(ADMIN, "PUT", &path, &json!({})).expect(201);
        name
    }

    /// A proper request for an operation, of something that is there.
    fn case(&self, operation: &str) -> Case {
        let module = self.module;
        let of_nobody = |rest: &str| format!("/v1/sessions/{NOBODY}{rest}");
        match operation {
            "get_home" => case("/", 200),
            "get_monitoring" => case("/monitoring", 200),
            "get_monitoring_file" => case(self.site.file_of_the_page(), 200),
            "get_liveness" => case("/livez", 200),
            "get_readiness" => case("/readyz", 200),
            "get_api_document" => case("/openapi.json", 200),
            "worker_health" => case("/health", 200),
            "get_metrics" => case("/metrics", 200),
            "list_modules" => case("/v1/modules", 200),
            "get_module" => case(format!("/v1/modules/{module}"), 200),
            "get_module_bytes" => case(format!("/v1/modules/{module}/wasm"), 200),
            "put_module" => case(format!("/v1/modules/{}", self.fresh("module")), 201)
                .raw("text/wat", guests::wat("echo.wat")),
            "delete_module" => case(format!("/v1/modules/{}", self.fresh_module()), 204),
            "reset_module" => case(format!("/v1/modules/{module}/reset"), 200),
            "run_module" => case(format!("/v1/run/{module}"), 200).json(json!(7)),
            "run_code" => case("/v1/exec", 501).json(json!({"language": "python", "code": "1"})),
            "get_code_file" => case(format!("/v1/exec/{NOBODY}/files/a"), 404),
            "list_interpreters" => case("/v1/interpreters", 200),
            "create_session" => case("/v1/sessions", 501).json(json!({"language": "python"})),
            "list_sessions" => case("/v1/sessions", 200),
            "get_session" | "delete_session" => case(of_nobody(""), 404),
            "run_code_in_session" => case(of_nobody("/exec"), 404).json(json!({"code": "1"})),
            "list_session_files" => case(of_nobody("/files"), 404),
            "get_session_file" => case(of_nobody("/files/a"), 404),
            "snapshot_session" => case(of_nobody("/snapshot"), 404).json(json!({})),
            "send_mcp_message" => case("/mcp", 200).json(initialize()),
            "listen_to_mcp_session" => case("/mcp", 404),
            // To end what is not there is no mistake in that protocol.
            "end_mcp_session" => case("/mcp", 204),
            other => self.case_of_tasks(other),
        }
    }

    /// The same of the operations of tasks.
    fn case_of_tasks(&self, operation: &str) -> Case {
        let module = self.module;
        let task = |rest: &str| format!("/v1/tasks/{}{rest}", self.completed);
        let run = json!({"module": module, "input": 7});
        match operation {
            "submit_task" => case("/v1/tasks", 202).json(run),
            "submit_batch" => case("/v1/tasks/batch", 202).json(json!({"tasks": [run]})),
            "list_tasks" => case("/v1/tasks", 200),
            "cancel_tasks" => case("/v1/tasks/cancel", 200).json(json!({"filter": {}})),
            "retry_tasks" => case("/v1/tasks/retry", 200).json(json!({"filter": {}})),
            "get_batch" => case(format!("/v1/batches/{}", self.batch()), 200),
            "cancel_batch" => case(format!("/v1/batches/{}", self.batch()), 202),
            "get_task" => case(task(""), 200),
            "get_task_result" => case(task("/result"), 200),
            "get_task_logs" => case(task("/logs"), 200),
            "list_task_artifacts" => case(task("/artifacts"), 200),
            "get_task_artifact" => case(task("/artifacts/a"), 404),
            "get_task_request" => case(task("/request"), 200),
            "list_task_attempts" => case(task("/attempts"), 200),
            "watch_task" => case(task("/events"), 200),
            "cancel_task" => case(format!("/v1/tasks/{}", self.pending()), 202),
            "retry_task" => case(format!("/v1/tasks/{}/retry", self.failed()), 202),
            // It has none.
            "redeliver_callback" => case(task("/callback/redeliver"), 409),
            "redeliver_batch_callback" => case(
                format!("/v1/batches/{}/callback/redeliver", self.batch()),
                409,
            ),
            "redeliver_workflow_callback" => case(self.final_workflow("/callback/redeliver"), 409),
            "submit_workflow" => case("/v1/workflows", 202)
                .json(json!({"nodes": [{"id": "a", "module": module, "input": 7}]})),
            "list_workflows" => case("/v1/workflows", 200),
            "get_workflow" => case(self.final_workflow(""), 200),
            "watch_workflow" => case(self.final_workflow("/events"), 200),
            // It has no such node.
            "retry_workflow" => {
                case(self.final_workflow("/retry"), 400).json(json!({"from": ["x"]}))
            }
            "cancel_workflow" => case(self.open_workflow(""), 202),
            "pause_workflow" => case(self.open_workflow("/pause"), 200),
            "resume_workflow" => case(self.open_workflow("/resume"), 200),
            "signal_workflow" => case(self.open_workflow("/signals/go"), 202).json(json!(7)),
            "list_workflow_definitions" => case("/v1/workflow-definitions", 200),
            "put_workflow_definition" => case(
                format!("/v1/workflow-definitions/{}", self.fresh("definition")),
                201,
            )
            .json(json!({"nodes": [{"id": "a", "module": module, "input": 7}]})),
            "get_workflow_definition" => case(self.definition(), 200),
            "delete_workflow_definition" => case(self.definition(), 204),
            "get_stats" => case("/v1/stats", 200),
            "worker_execute" => case("/execute", 200).json(json!({
                "task_id": Uuid::now_v7(), "task_type": module, "payload": {"a": 7},
            })),
            "worker_task_status" => case(format!("/task/{}/status", self.completed), 200),
            "worker_task_result" => case(format!("/task/{}/result", self.completed), 200),
            "worker_cancel_task" => case(format!("/task/{}", self.pending()), 200),
            other => self.case_of_operators(other),
        }
    }

    /// The same of the operations of administrators.
    fn case_of_operators(&self, operation: &str) -> Case {
        match operation {
            "list_workers" => case("/v1/workers", 200),
            "get_worker" => case(format!("/v1/workers/{}", self.worker), 200),
            "drain_worker" | "undrain_worker" => {
                case(format!("/v1/workers/{}/drain", self.worker), 202)
            }
            "create_key" => case("/v1/keys", 201).json(json!({"name": "a", "scopes": ["read"]})),
            "list_keys" => case("/v1/keys", 200),
            "revoke_key" => case(format!("/v1/keys/{}", self.key_id()), 204),
            "rotate_key" => case(format!("/v1/keys/{}/rotate", self.key_id()), 201),
            "list_schedules" => case("/v1/schedules", 200),
            "put_schedule" => case(format!("/v1/schedules/{}", self.fresh("schedule")), 201)
                .json(json!({"every_ms": 3_600_000, "task": {"module": "echo"}})),
            "get_schedule" => case(format!("/v1/schedules/{}", self.schedule()), 200),
            "run_schedule" => case(format!("/v1/schedules/{}/run", self.schedule()), 202),
            "delete_schedule" => case(format!("/v1/schedules/{}", self.schedule()), 204),
            "list_tenants" => case("/v1/tenants", 200),
            "put_tenant" => {
                case(format!("/v1/tenants/{}", self.fresh("tenant")), 201).json(json!({}))
            }
            "get_tenant" => case("/v1/tenants/a", 200),
            "list_audit" => case("/v1/audit", 200),
            "list_alerts" => case("/v1/alerts", 200),
            "get_stats_series" => case("/v1/stats/series?range=30m", 200),
            "list_secrets" => case("/v1/secrets", 200),
            "put_secret" => case(format!("/v1/secrets/{}", self.fresh("secret")), 201)
                .json(json!({"value": "x"})),
            "delete_secret" => case(format!("/v1/secrets/{}", self.secret()), 204),
            "delete_tenant" => case(format!("/v1/tenants/{}", self.fresh_tenant()), 204),
            unknown => panic!("{unknown} is not in this table"),
        }
    }

    /// Has a caller make a proper request; gives the status that it must have if they may, and the answer.
    pub(super) fn ask(
        &self,
        key: Option<&str>,
        method: &str,
        operation: &str,
    ) -> (u16, u16, Value) {
        let case = self.case(operation);
        let mut headers = vec![ACCEPT];
        headers.extend(key.map(|key| ("x-api-key", key)));
        if operation.contains("mcp_session") {
            headers.push(("mcp-session-id", NOBODY));
        }
        let (content_type, body) = match (case.raw, &case.body) {
            (Some((content_type, bytes)), _) => (content_type, bytes),
            (None, Value::Null) => ("", Vec::new()),
            (None, json) => ("application/json", json.to_string().into_bytes()),
        };
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        let client = &self.site.host.client;
        let answer = client.send(&method.to_uppercase(), &case.path, &headers, &body);
        let told = serde_json::from_slice(&answer.body).unwrap_or_default();
        (case.status, answer.status, told)
    }
}

/// A workflow that is final.
fn ended(site: &Site, key: &str) -> String {
    let body = json!({"nodes": [{"id": "a", "module": "echo", "input": 7}]});
    let made = site.send(key, "POST", "/v1/workflows", &body).expect(202);
    let ended = id(&made.json(), "workflow_id");
    let path = format!("/v1/workflows/{ended}");
    let get = || {
        site.send(key, "GET", &path, &Value::Null)
            .expect(200)
            .json()
    };
    while get()["status"] == "running" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ended
}

fn id(json: &Value, field: &str) -> String {
    json[field]
        .as_str()
        .unwrap_or_else(|| panic!("{json}"))
        .to_owned()
}

/// Tries every operation by every caller.
fn every_operation_by_every_caller(site: &Site) {
    let document = site.host.client.get("/openapi.json").expect(200).json();
    let owned = Owned::of(site);
    let all_but = |scope: &str| {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        site.key("a", &others)
    };
    let administrator = site.key("a", &SCOPES);
    let mut tried = 0;
    let mut wrong = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let mut check = |who: &str, key: Option<&str>, refusal: Option<(u16, &str)>| {
                let (admitted, status, told) = owned.ask(key, method, name);
                let expected = refusal.map_or(admitted, |(status, _)| status);
                let code = told["code"].as_str().unwrap_or_default();
                if status != expected || refusal.is_some_and(|(_, refusal)| refusal != code) {
                    wrong.push(format!("{name} by {who}: {status} {code}, not {expected}"));
                }
                tried += 1;
            };
            let Some(scope) = operation["x-cofferdam-scope"].as_str() else {
                check("nobody", None, None);
                check("an unknown key", Some("x"), None);
                check("an administrator", Some(&administrator), None);
                continue;
            };
            check("nobody", None, Some((401, "key_missing")));
            check("an unknown key", Some("x"), Some((401, "key_unknown")));
            let low = all_but(scope);
            check(
                "a key without the scope",
                Some(&low),
                Some((403, "forbidden")),
            );
            let own = site.key("a", &[scope]);
            check("a key with the scope", Some(&own), None);
            check("an administrator", Some(&administrator), None);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{tried} requests");
    assert!(tried > 250, "{tried}");
}

/// Tries every operation on what another tenant has: it is answered as if there were no such thing.
fn another_tenants_things_do_not_exist(site: &Site) {
    let document = site.host.client.get("/openapi.json").expect(200).json();
    let (owned, of_nobody) = (Owned::of(site), Owned::of_nobody(site));
    let foreign = site.key("b", &["run", "read", "modules"]);
    let mut wrong = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let of = |owned: &Owned<'_>| {
                let (_, status, told) = owned.ask(Some(&foreign), method, name);
                let code = told["code"].as_str().unwrap_or_default().to_owned();
                (status, code, told.to_string())
            };
            let (theirs, nobodys) = (of(&owned), of(&of_nobody));
            if (theirs.0, &theirs.1) != (nobodys.0, &nobodys.1) {
                wrong.push(format!("{name}: {theirs:?}, and {nobodys:?} of nobody's"));
            }
            let is_told = |what: &str| theirs.2.contains(what) && !nobodys.2.contains(what);
            if operation["x-cofferdam-scope"].is_string() && is_told("echo\"") {
                wrong.push(format!("{name} tells of another tenant: {}", theirs.2));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let task = format!("/v1/tasks/{}", owned.completed);
    site.send(&owned.key, "GET", &task, &Value::Null)
        .expect(200);
}

#[test]
fn every_operation_is_for_those_who_may_on_sqlite() {
    every_operation_by_every_caller(&Site::start(""));
}

#[test]
fn every_operation_is_for_those_who_may_on_postgres() {
    every_operation_by_every_caller(&Site::on_postgres(""));
}

#[test]
fn another_tenants_things_do_not_exist_on_sqlite() {
    another_tenants_things_do_not_exist(&Site::start(""));
}

#[test]
fn another_tenants_things_do_not_exist_on_postgres() {
    another_tenants_things_do_not_exist(&Site::on_postgres(""));
}
