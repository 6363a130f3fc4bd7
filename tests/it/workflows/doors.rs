//! What is refused at the door, lists, events, other tenants, and the command line.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::stage::{Stage, node, on_both};
use crate::access::site::Site;
use crate::cli::{cofferdam, text};
use crate::support::guests;

/// A refusal that says so.
#[track_caller]
fn refusal(stage: &Stage, body: &Value, code: &str, says: &str) -> Value {
    let client = &stage.host.client;
    let problem = client.post("/v1/workflows", body).expect_problem(400, code);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(says), "{problem}");
    problem
}

fn echo(id: &str, input: Value) -> Value {
    json!({"id": id, "module": "echo", "input": input})
}

#[test]
fn what_is_no_graph_is_refused_by_name() {
    let stage = Stage::on_sqlite();
    let refused = |body: &Value, code, says| refusal(&stage, body, code, says);
    let two = |edges: Value| json!({"nodes": [echo("a", json!(1)), echo("b", json!({"$from": "a"}))], "edges": edges});
    let cycle = refused(
        &two(json!([["a", "b"], ["b", "a"]])),
        "invalid_workflow",
        "wait for each other",
    );
    assert_eq!(cycle["field"], "edges");
    refused(
        &two(json!([["a", "x"]])),
        "invalid_workflow",
        "\"x\", which is no node",
    );
    let no_edge = refused(
        &two(json!([])),
        "invalid_workflow",
        "no edge leads from a to b",
    );
    assert_eq!(no_edge["node"], "b");
    let twice = json!({"nodes": [echo("a", json!(1)), echo("a", json!(1))]});
    refused(&twice, "invalid_workflow", "two nodes have the id a");
    let outside = json!({"input": {"n": 1}, "nodes": [echo("a", json!({"$input": "/m"}))]});
    refused(&outside, "invalid_workflow", "nothing at /m");
    let misspelt = json!({"nodes": [{"id": "a", "module": "echo", "limits": {"timeout": 1}}]});
    assert_eq!(
        refused(&misspelt, "invalid_field", "timeout_ms")["field"],
        "nodes[0].limits.timeout"
    );
    let above =
        json!({"nodes": [{"id": "a", "module": "echo", "limits": {"timeout_ms": 1e15 as u64}}]});
    assert_eq!(
        refused(&above, "limit_above_ceiling", "node a")["node"],
        "a"
    );
}

#[test]
fn what_is_no_node_is_refused_by_its_field() {
    let stage = Stage::on_sqlite();
    let refused = |body: &Value, code, says| refusal(&stage, body, code, says);
    let both = json!({"nodes": [{"id": "a", "module": "echo", "wait": {"signal": "x"}}]});
    refused(&both, "invalid_field", "exactly one of");
    let neither = json!({"nodes": [{"id": "a"}]});
    refused(&neither, "invalid_field", "exactly one of");
    let inner = json!({"nodes": [{"id": "x", "module": "echo", "modul": 1}]});
    let nested = json!({"nodes": [{"id": "a", "workflow": inner}]});
    assert_eq!(
        refused(&nested, "invalid_field", "modul")["field"],
        "nodes[0].workflow.nodes[0].modul"
    );
    let map = json!({"nodes": [{"id": "a", "module": "echo", "map": {"over": {"$input": ""}, "max": 1001}}]});
    assert_eq!(
        refused(&map, "invalid_field", "1 to 1000")["field"],
        "nodes[0].map.max"
    );
    refused(&json!({"nodes": []}), "invalid_field", "1 to 1000 nodes");
    refused(
        &json!({"nodes": [echo("a", json!(1))], "on_failure": "x"}),
        "invalid_field",
        "stop nor continue",
    );
    refused(
        &json!({"nodes": [echo("a", json!(1))], "definition": "x"}),
        "invalid_field",
        "no nodes and edges of its own",
    );
    let when = json!({"nodes": [{"id": "a", "module": "echo", "when": {"$input": "", "is": 1}}]});
    refused(&when, "invalid_workflow", "node a: when: is");
    let many: Vec<Value> = (0..1001)
        .map(|it| echo(&format!("n{it}"), json!(1)))
        .collect();
    refused(&json!({"nodes": many}), "invalid_field", "not 1001");
}

#[test]
fn a_node_that_cannot_run_is_refused() {
    let stage = Stage::on_sqlite();
    let client = &stage.host.client;
    let unknown = json!({"nodes": [{"id": "a", "module": "nothing"}]});
    client
        .post("/v1/workflows", &unknown)
        .expect_problem(404, "module_not_found");
    let misfit = json!({"nodes": [{"id": "a", "module": "strict", "input": {"n": "x"}}]});
    client
        .post("/v1/workflows", &misfit)
        .expect_problem(422, "invalid_input");
    let script = json!({"nodes": [{"id": "a", "script": {"language": "python", "code": "1"}}]});
    client
        .post("/v1/workflows", &script)
        .expect_problem(501, "interpreter_not_installed");
    client
        .get("/v1/workflows/x")
        .expect_problem(404, "workflow_not_found");
    // Nothing of all that was stored.
    assert_eq!(
        client.get("/v1/workflows").expect(200).json()["items"],
        json!([])
    );
    assert_eq!(
        client.get("/v1/tasks").expect(200).json()["items"],
        json!([])
    );
}

#[test]
fn what_can_never_fit_is_refused_by_its_edge() {
    let stage = Stage::on_sqlite();
    let output = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"n": {"type": "integer"}, "t": {"type": "string"}},
    });
    let gives = guests::described(None, Some(&output.to_string()));
    stage.host.client.put_module("gives", &gives).expect(201);
    let flow = |pointer: &str, more: Value| {
        let mut taker = json!({"id": "b", "module": "strict",
            "input": {"n": {"$from": "a", "pointer": pointer}}});
        for (name, value) in more.as_object().unwrap() {
            taker[name] = value.clone();
        }
        json!({"nodes": [{"id": "a", "module": "gives", "input": 1}, taker], "edges": [["a", "b"]]})
    };
    let text = flow("/t", json!({}));
    let says = "the edge from a to b: what a gives at /t: it is a string, and /n takes a number";
    let problem = refusal(&stage, &text, "invalid_workflow", says);
    assert_eq!(
        (&problem["field"], &problem["node"]),
        (&json!("edges"), &json!("b"))
    );
    let nothing = flow("/other", json!({}));
    refusal(
        &stage,
        &nothing,
        "invalid_workflow",
        "it never has anything at /other",
    );
    let over = json!({"map": {"over": {"$from": "a", "pointer": "/n"}}});
    let says = "it is an integer, and map.over must be a list";
    refusal(&stage, &flow("/n", over), "invalid_workflow", says);
    let nested = json!({"nodes": [{"id": "sub", "workflow": text.clone()}]});
    refusal(
        &stage,
        &nested,
        "invalid_workflow",
        "the edge from sub/a to sub/b",
    );
    let path = "/v1/workflow-definitions/x";
    let headers = [("content-type", "application/json")];
    let body = text.to_string();
    let client = &stage.host.client;
    client
        .send("PUT", path, &headers, body.as_bytes())
        .expect_problem(400, "invalid_workflow");
    // What may fit is not refused, nor what need not: null is taken for what failed.
    stage.submit(&flow("/n", json!({})));
    stage.submit(&flow("/t", json!({"on_parent_failure": "run"})));
}

fn keys_and_lists(stage: &Stage) {
    let client = &stage.host.client;
    let body = json!({"name": "w", "nodes": [{"id": "a", "module": "echo", "input": 1}]});
    let send = |body: &Value, key: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        client.send(
            "POST",
            "/v1/workflows",
            &headers,
            body.to_string().as_bytes(),
        )
    };
    let first = send(&body, "k").expect(202).json();
    let id = first["workflow_id"].as_str().unwrap().to_owned();
    assert_eq!(send(&body, "k").expect(200).json()["workflow_id"], id);
    let mut other = body.clone();
    other["name"] = json!("v");
    send(&other, "k").expect_problem(409, "conflict");
    stage.done(&id);
    for number in 0..5 {
        send(&other, &format!("k{number}")).expect(202);
    }
    let page = |query: &str| {
        client
            .get(&format!("/v1/workflows?{query}"))
            .expect(200)
            .json()
    };
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|it| it["workflow_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&format!("limit=2{cursor}"));
        all.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((all.len(), all.last()), (6, Some(&id)));
    assert_eq!(ids(&page("name=w")), std::slice::from_ref(&id));
    assert_eq!(ids(&page("name=w&status=completed,failed")), [id]);
    assert!(ids(&page("status=paused")).is_empty());
    client
        .get("/v1/workflows?status=x")
        .expect_problem(400, "invalid_parameter");
}

on_both!(
    keys_and_lists,
    workflows_have_keys_and_are_listed_on_sqlite,
    workflows_have_keys_and_are_listed_on_postgres
);

fn watched(stage: &Stage) {
    let nodes = json!([
        {"id": "gate", "wait": {"signal": "go"}},
        {"id": "b", "module": "echo", "input": {"$from": "gate"}},
    ]);
    let id = stage.submit(&json!({"nodes": nodes, "edges": [["gate", "b"]]}));
    let (status, stream) = stage
        .host
        .client
        .open(&format!("/v1/workflows/{id}/events"), &[]);
    assert_eq!(status, 200);
    let mut events = Vec::new();
    let mut name = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            if name == "node" && data["id"] == "gate" && data["waits_for"] == "signal:go" {
                let path = format!("/v1/workflows/{id}/signals/go");
                stage.host.client.post(&path, &json!(5)).expect(202);
            }
            events.push((name.clone(), data));
        }
    }
    assert_eq!(events[0].0, "workflow");
    let last = events.last().unwrap();
    assert_eq!(
        (&*last.0, &last.1["status"]),
        ("result", &json!("completed"))
    );
    assert_eq!(node(&last.1, "b")["status"], "completed");
    let of_b = events
        .iter()
        .filter(|(name, data)| name == "node" && data["id"] == "b");
    let of_b: Vec<&str> = of_b
        .map(|(_, data)| data["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        (of_b.first(), of_b.last()),
        (Some(&"blocked"), Some(&"completed"))
    );
}

on_both!(
    watched,
    a_workflow_is_followed_while_it_runs_on_sqlite,
    a_workflow_is_followed_while_it_runs_on_postgres
);

fn of_another_tenant(site: &Site) {
    let (own, foreign) = (
        site.key("a", &["run", "read", "modules"]),
        site.key("b", &["run", "read", "modules"]),
    );
    site.put_module(&own, "echo", &guests::wat("echo.wat"));
    let nodes = json!([{"id": "a", "wait": {"signal": "go"}}, {"id": "b", "module": "echo", "input": {"$from": "a"}}]);
    let body = json!({"workflow_id": "0190f0c2-7a3b-7def-8123-456789abcd01", "nodes": nodes, "edges": [["a", "b"]]});
    let id = site
        .send(&own, "POST", "/v1/workflows", &body)
        .expect(202)
        .json()["workflow_id"]
        .clone();
    let id = id.as_str().unwrap();
    let path = |rest: &str| format!("/v1/workflows/{id}{rest}");
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/events"),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/signals/go"),
        ("POST", "/callback/redeliver"),
    ] {
        let answer = site.send(&foreign, method, &path(rest), &Value::Null);
        answer.expect_problem(404, "workflow_not_found");
    }
    let listed = site
        .send(&foreign, "GET", "/v1/workflows", &Value::Null)
        .expect(200)
        .json();
    assert_eq!(listed["items"], json!([]));
    let listed = site
        .send(&own, "GET", "/v1/workflows", &Value::Null)
        .expect(200)
        .json();
    assert_eq!(listed["items"][0]["workflow_id"], id);
    site.send(&own, "DELETE", &path(""), &Value::Null)
        .expect(202);
}

#[test]
fn another_tenants_workflow_does_not_exist_on_sqlite() {
    of_another_tenant(&Site::start(""));
}

#[test]
fn another_tenants_workflow_does_not_exist_on_postgres() {
    of_another_tenant(&Site::on_postgres(""));
}

#[test]
fn workflows_are_driven_from_the_command_line() {
    let stage = Stage::on_sqlite();
    let called = |args: &[&str], input: &[u8]| {
        let mut all = vec!["--server", &stage.host.client.base];
        all.extend(args);
        let output = cofferdam(&all, input);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let workflow =
        json!({"name": "w", "nodes": [{"id": "a", "wait": {"signal": "go"}}]}).to_string();
    let (code, id, errors) = called(&["workflow", "submit", "-"], workflow.as_bytes());
    assert_eq!(code, Some(0), "{errors}");
    let id = id.trim();
    stage.when(id, |it| !node(it, "a")["waits_for"].is_null());
    assert_eq!(called(&["workflow", "pause", id], b"").0, Some(0));
    assert!(
        called(&["workflow", "list", "--status", "paused"], b"")
            .1
            .contains(id)
    );
    assert_eq!(called(&["workflow", "resume", id], b"").0, Some(0));
    assert_eq!(
        called(&["workflow", "signal", id, "go", "--content", "[1]"], b"").0,
        Some(0)
    );
    let (code, shown, _) = called(&["workflow", "wait", id], b"");
    assert!(code == Some(0) && shown.contains("completed"), "{shown}");
    assert_eq!(
        called(&["workflow", "retry", id, "--mode", "all"], b"").0,
        Some(0)
    );
    assert_eq!(called(&["workflow", "cancel", id], b"").0, Some(0));
    let (code, shown, _) = called(&["--json", "workflow", "wait", id], b"");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (code, &shown["status"], &shown["run"]),
        (Some(1), &json!("cancelled"), &json!(2))
    );
    assert_eq!(called(&["workflow", "submit", "-"], b"{").0, Some(2));
}
