//! Definitions: kept under names, version by version, and what is submitted by them.

use serde_json::{Value, json};

use super::stage::{Stage, node, on_both};
use crate::access::site::{ADMIN, Site};
use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::http::Answer;

const PATH: &str = "/v1/workflow-definitions";

fn put(stage: &Stage, name: &str, definition: &Value) -> Answer {
    let path = format!("{PATH}/{name}");
    let headers = [("content-type", "application/json")];
    let body = definition.to_string();
    stage
        .host
        .client
        .send("PUT", &path, &headers, body.as_bytes())
}

/// One whose node takes in the input, and another that fails behind it.
fn definition(number: u32) -> Value {
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"n": {"$input": "/n"}, "version": number}},
        {"id": "bad", "module": "trap"},
        {"id": "b", "module": "echo", "input": {"$from": "a"}},
    ]);
    json!({"on_failure": "continue", "nodes": nodes, "edges": [["a", "b"]]})
}

fn kept(stage: &Stage) {
    let client = &stage.host.client;
    let first = put(stage, "report", &definition(1)).expect(201).json();
    assert_eq!(
        put(stage, "report", &definition(1)).expect(200).json(),
        first
    );
    let second = put(stage, "report", &definition(2)).expect(201).json();
    put(stage, "other", &definition(1)).expect(201);
    assert_ne!(first["digest"], second["digest"]);
    let shown = client.get(&format!("{PATH}/report")).expect(200).json();
    assert_eq!(
        (&shown["definition"], &shown["digest"]),
        (&definition(2), &second["digest"])
    );
    let versions = shown["versions"].as_array().unwrap();
    let versions: Vec<&Value> = versions.iter().map(|it| &it["digest"]).collect();
    assert_eq!(versions, [&second["digest"], &first["digest"]]);
    let pinned = format!("report@{}", first["digest"].as_str().unwrap());
    let shown = client.get(&format!("{PATH}/{pinned}")).expect(200).json();
    assert_eq!(shown["definition"], definition(1));
    // What a name means, page by page.
    let page = client.get(&format!("{PATH}?limit=1")).expect(200).json();
    let next = page["next_cursor"].as_str().unwrap();
    let rest = client.get(&format!("{PATH}?limit=9&cursor={next}"));
    let rest = rest.expect(200).json();
    assert_eq!(
        (&page["items"][0]["name"], &rest["items"][0]["digest"]),
        (&json!("other"), &second["digest"])
    );
    assert_eq!(rest["next_cursor"], Value::Null);
    // By name or by version; what is not said is the definition's.
    let by = |named: &str| stage.finished(&json!({"definition": named, "input": {"n": 7}}));
    for (named, version) in [("report", 2), (pinned.as_str(), 1)] {
        let done = by(named);
        assert_eq!(
            (&done["name"], &done["on_failure"], &done["status"]),
            (&json!("report"), &json!("continue"), &json!("failed"))
        );
        let result: Value = serde_json::from_str(&stage.result(&done, "b")).unwrap();
        assert_eq!(result, json!({"n": 7, "version": version}));
    }
    let own =
        json!({"definition": "report", "name": "mine", "on_failure": "stop", "input": {"n": 1}});
    let done = stage.finished(&own);
    assert_eq!(
        (&done["name"], &done["on_failure"], &done["stopping"]),
        (&json!("mine"), &json!("stop"), &json!(true))
    );
    assert_eq!(node(&done, "bad")["status"], "failed");
    client.delete(&format!("{PATH}/report")).expect(204);
    let gone = client.get(&format!("{PATH}/{pinned}"));
    gone.expect_problem(404, "workflow_definition_not_found");
    let gone = client.post("/v1/workflows", &json!({"definition": "report"}));
    gone.expect_problem(404, "workflow_definition_not_found");
}

on_both!(
    kept,
    definitions_are_kept_and_submitted_on_sqlite,
    definitions_are_kept_and_submitted_on_postgres
);

#[test]
fn a_definition_is_checked_as_a_workflow_is() {
    let stage = Stage::on_sqlite();
    let client = &stage.host.client;
    let one = |node: Value| json!({"nodes": [node]});
    let echo = json!({"id": "a", "module": "echo", "input": {"$input": "/n"}});
    for (body, status, code, says) in [
        (
            json!({"nodes": []}),
            400,
            "invalid_field",
            "1 to 1000 nodes",
        ),
        (
            json!({"nodes": [echo], "input": 1}),
            400,
            "invalid_field",
            "input",
        ),
        (
            json!({"nodes": [echo], "on_failure": "x"}),
            400,
            "invalid_field",
            "stop nor continue",
        ),
        (
            one(json!({"id": "a", "module": "none"})),
            404,
            "module_not_found",
            "none",
        ),
        (
            one(json!({"id": "a", "module": "echo", "input": {"$from": "b"}})),
            400,
            "invalid_workflow",
            "b is no node",
        ),
    ] {
        let problem = put(&stage, "x", &body).expect_problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{problem}");
    }
    put(&stage, "-x", &one(echo.clone())).expect_problem(400, "invalid_field");
    client
        .get(&format!("{PATH}/x"))
        .expect_problem(404, "workflow_definition_not_found");
    put(&stage, "x", &one(echo)).expect(201);
    // What depends on the input is checked with it.
    let submit = |body: &Value| client.post("/v1/workflows", body);
    let outside = submit(&json!({"definition": "x", "input": {"m": 1}}));
    outside.expect_problem(400, "invalid_workflow");
    for both in [
        json!({"nodes": [{"id": "a", "module": "echo"}]}),
        json!({"edges": []}),
    ] {
        let mut body = both;
        body["definition"] = json!("x");
        submit(&body).expect_problem(400, "invalid_field");
    }
    submit(&json!({"definition": "X"})).expect_problem(400, "invalid_field");
    submit(&json!({"input": 1})).expect_problem(400, "invalid_field");
}

#[test]
fn a_schedule_may_name_a_definition() {
    let stage = Stage::on_sqlite();
    let client = &stage.host.client;
    put(&stage, "report", &definition(1)).expect(201);
    let schedule = |named: &str| {
        let workflow = json!({"definition": named, "input": {"n": 3}});
        let body = json!({"every_ms": 3_600_000, "workflow": workflow}).to_string();
        let headers = [("content-type", "application/json")];
        client.send("PUT", "/v1/schedules/nightly", &headers, body.as_bytes())
    };
    schedule("nothing").expect_problem(404, "workflow_definition_not_found");
    schedule("report").expect(201);
    // What the name means when it is fired.
    put(&stage, "report", &definition(2)).expect(201);
    let run = client.post("/v1/schedules/nightly/run", &Value::Null);
    let run = run.expect(202).json();
    let done = stage.done(run["workflow_id"].as_str().unwrap());
    let result: Value = serde_json::from_str(&stage.result(&done, "b")).unwrap();
    assert_eq!(result, json!({"n": 3, "version": 2}));
}

fn of_a_tenant(site: &Site) {
    let quota = json!({"storage_bytes": 100_000});
    site.send(ADMIN, "PUT", "/v1/tenants/a", &quota).expect(200);
    let scopes = ["run", "read", "modules"];
    let (own, foreign) = (site.key("a", &scopes), site.key("b", &scopes));
    site.put_module(&own, "echo", &guests::wat("echo.wat"));
    let path = format!("{PATH}/report");
    let body = |bytes: usize| {
        let input = "x".repeat(bytes);
        json!({"nodes": [{"id": "a", "module": "echo", "input": input}]})
    };
    let digest = site.send(&own, "PUT", &path, &body(1)).expect(201).json()["digest"].clone();
    site.send(&own, "PUT", &path, &body(100_000))
        .expect_problem(429, "quota_exceeded");
    let pinned = format!("{path}@{}", digest.as_str().unwrap());
    for (method, path) in [("GET", &path), ("GET", &pinned), ("DELETE", &path)] {
        let answer = site.send(&foreign, method, path, &Value::Null);
        answer.expect_problem(404, "workflow_definition_not_found");
    }
    let by = json!({"definition": "report"});
    let answer = site.send(&foreign, "POST", "/v1/workflows", &by);
    answer.expect_problem(404, "workflow_definition_not_found");
    // Who put it is in the audit trail, with its version.
    let trail = site.send(
        ADMIN,
        "GET",
        "/v1/audit?action=put_workflow_definition",
        &Value::Null,
    );
    let trail = trail.expect(200).json();
    let entries = trail["items"].as_array().unwrap().iter();
    let resources: Vec<&Value> = entries.map(|entry| &entry["resource"]).collect();
    assert!(resources.contains(&&json!(pinned)), "{trail}");
    // It goes with its tenant.
    let purge = "/v1/tenants/a?purge=true";
    while site.send(ADMIN, "DELETE", purge, &Value::Null).status != 204 {}
    site.send(ADMIN, "PUT", "/v1/tenants/a", &json!({}))
        .expect(201);
    let again = site.key("a", &scopes);
    let answer = site.send(&again, "GET", &path, &Value::Null);
    answer.expect_problem(404, "workflow_definition_not_found");
}

#[test]
fn definitions_are_a_tenants_own_on_sqlite() {
    of_a_tenant(&Site::start(""));
}

#[test]
fn definitions_are_a_tenants_own_on_postgres() {
    of_a_tenant(&Site::on_postgres(""));
}

#[test]
fn definitions_are_kept_from_the_command_line() {
    let stage = Stage::on_sqlite();
    let called = |args: &[&str], input: &str| {
        let mut all = vec!["--server", &stage.host.client.base, "workflow"];
        all.extend(args);
        let output = cofferdam(&all, input.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let nodes = json!({"nodes": [{"id": "a", "module": "echo", "input": 5}]}).to_string();
    let digest = called(&["definition", "put", "report", "-"], &nodes);
    assert!(digest.starts_with("sha256:"), "{digest}");
    let listed = called(&["definition", "list"], "");
    assert!(listed.contains(digest.trim()), "{listed}");
    let shown = called(&["definition", "show", "report"], "");
    assert!(shown.contains("echo"), "{shown}");
    let by = json!({"definition": "report"}).to_string();
    let done = called(&["submit", "--wait", "-"], &by);
    assert!(done.contains("completed"), "{done}");
    called(&["definition", "rm", "report"], "");
    assert_eq!(called(&["definition", "list"], ""), "");
}
