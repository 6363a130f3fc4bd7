//! Workflows that are changed as a whole, and hosts that die under them.

use serde_json::{Value, json};

use super::stage::{Stage, node, on_both};
use crate::support::http::Answer;

fn post(stage: &Stage, id: &str, what: &str, body: &Value) -> Answer {
    stage
        .host
        .client
        .post(&format!("/v1/workflows/{id}/{what}"), body)
}

fn cancelled(stage: &Stage) {
    let client = &stage.host.client;
    let nodes = json!([
        {"id": "runs", "module": "sleep", "limits": {"timeout_ms": 600_000}},
        {"id": "behind", "module": "echo", "input": {"$from": "runs"}},
        {"id": "waits", "wait": {"signal": "go"}},
        {"id": "each", "module": "sleep", "limits": {"timeout_ms": 600_000},
         "map": {"over": {"$input": ""}, "concurrency": 1}},
    ]);
    let id =
        stage.submit(&json!({"input": [1, 2, 3], "nodes": nodes, "edges": [["runs", "behind"]]}));
    stage.when(&id, |it| {
        let running = |id: &str| node(it, id)["status"] == "running";
        let waits = |id: &str| !node(it, id)["waits_for"].is_null();
        running("runs") && waits("waits") && waits("each") && running("each[0]")
    });
    let answer = client
        .delete(&format!("/v1/workflows/{id}"))
        .expect(202)
        .json();
    assert!(answer["cancelling"].as_u64().unwrap() >= 2, "{answer}");
    let done = stage.done(&id);
    assert_eq!(done["status"], "cancelled", "{done}");
    for node in done["nodes"].as_array().unwrap() {
        assert_eq!(node["status"], "cancelled", "{done}");
    }
    client
        .delete(&format!("/v1/workflows/{id}"))
        .expect_problem(409, "workflow_final");
    let task = node(&done, "runs")["task_id"].as_str().unwrap();
    let of_workflow = client.post(&format!("/v1/tasks/{task}/retry"), &json!({}));
    of_workflow.expect_problem(409, "task_of_workflow");
    client
        .delete(&format!("/v1/tasks/{task}?purge=true"))
        .expect_problem(409, "task_of_workflow");
}

on_both!(
    cancelled,
    a_cancelled_workflow_ends_wherever_it_is_on_sqlite,
    a_cancelled_workflow_ends_wherever_it_is_on_postgres
);

fn stopped(stage: &Stage) {
    let nodes = json!([
        {"id": "gate", "wait": {"signal": "go"}},
        {"id": "bad", "module": "trap", "on_parent_failure": "run", "input": {"$from": "gate"}},
        {"id": "runs", "module": "sleep", "limits": {"timeout_ms": 600_000}},
    ]);
    let workflow = json!({"cancel_running": true, "nodes": nodes, "edges": [["gate", "bad"]]});
    let id = stage.submit(&workflow);
    stage.when(&id, |it| {
        node(it, "runs")["status"] == "running" && !node(it, "gate")["waits_for"].is_null()
    });
    post(stage, &id, "signals/go", &json!(1)).expect(202);
    let done = stage.done(&id);
    assert_eq!(done["status"], "failed", "{done}");
    let label = |id: &str| node(&done, id)["label"].as_str().unwrap().to_owned();
    assert_eq!(
        [label("bad"), label("runs")],
        ["failed", "cancelled"],
        "{done}"
    );
    let metrics = stage
        .host
        .client
        .send("GET", "/metrics", &[("accept", "text/plain")], b"");
    assert!(
        metrics
            .text()
            .contains("\ncofferdam_workflow_repairs_total 0\n")
    );
}

on_both!(
    stopped,
    a_failure_cancels_what_runs_where_that_is_asked_for_on_sqlite,
    a_failure_cancels_what_runs_where_that_is_asked_for_on_postgres
);

fn paused(stage: &Stage) {
    let nodes = json!([
        {"id": "gate", "wait": {"signal": "go"}},
        {"id": "behind", "module": "echo", "input": {"$from": "gate"}},
    ]);
    let id = stage.submit(&json!({"nodes": nodes, "edges": [["gate", "behind"]]}));
    stage.when(&id, |it| !node(it, "gate")["waits_for"].is_null());
    for _ in 0..2 {
        assert_eq!(
            post(stage, &id, "pause", &json!({})).expect(200).json()["status"],
            "paused"
        );
    }
    post(stage, &id, "signals/go", &json!(7)).expect(202);
    // Another workflow gets through meanwhile, so the host has looked.
    let other = stage.finished(&json!({"nodes": [{"id": "a", "module": "echo", "input": 1}]}));
    assert_eq!(other["status"], "completed");
    let still = stage.get(&id);
    assert_eq!(
        (&still["status"], &node(&still, "behind")["attempt"]),
        (&json!("paused"), &json!(0)),
        "{still}"
    );
    assert_eq!(
        post(stage, &id, "resume", &json!({})).expect(200).json()["status"],
        "running"
    );
    let done = stage.done(&id);
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(stage.result(&done, "behind"), "7");
    post(stage, &id, "pause", &json!({})).expect_problem(409, "workflow_final");
}

on_both!(
    paused,
    a_paused_workflow_stands_still_on_sqlite,
    a_paused_workflow_stands_still_on_postgres
);

fn retried(stage: &Stage) {
    let client = &stage.host.client;
    let nodes = json!([
        {"id": "a", "module": "echo", "input": 1},
        {"id": "b", "module": "task-fails", "input": "1no"},
        {"id": "c", "module": "echo", "input": {"$from": "b"}},
        {"id": "d", "module": "echo", "input": {"$from": "a"}},
        {"id": "e", "module": "echo", "input": {"$from": "a"}, "on_parent_failure": "run"},
    ]);
    let edges = json!([["a", "b"], ["b", "c"], ["a", "d"], ["a", "e"], ["b", "e"]]);
    let id = stage.submit(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    post(stage, &id, "retry", &json!({"mode": "al"})).expect_problem(400, "invalid_field");
    let attempts = |workflow: &Value| {
        let attempt = |id: &str| node(workflow, id)["attempt"].as_u64().unwrap();
        ["a", "b", "c", "d", "e"].map(attempt)
    };
    let first = stage.done(&id);
    assert_eq!(
        (&first["status"], &first["run"]),
        (&json!("failed"), &json!(1)),
        "{first}"
    );
    let before = attempts(&first);
    let again = |body: &Value| {
        let answer = post(stage, &id, "retry", body).expect(202).json();
        let run = answer["run"].clone();
        let done = stage.done(&id);
        assert_eq!(done["run"], run, "{done}");
        done
    };
    let more = |done: &Value, than: &[u64; 5]| {
        let now = attempts(done);
        [0, 1, 2, 3, 4].map(|at| now[at] > than[at])
    };
    // Only what did not complete is tried again.
    let failed = again(&json!({}));
    assert_eq!(failed["run"], 2);
    assert_eq!(
        more(&failed, &before),
        [false, true, true, false, false],
        "{failed}"
    );
    let before = attempts(&failed);
    let down = again(&json!({"mode": "failed_and_downstream"}));
    assert_eq!(
        more(&down, &before),
        [false, true, true, false, true],
        "{down}"
    );
    let before = attempts(&down);
    let from = again(&json!({"mode": "failed", "from": ["d"]}));
    assert_eq!(
        more(&from, &before),
        [false, false, false, true, false],
        "{from}"
    );
    let before = attempts(&from);
    let all = again(&json!({"mode": "all"}));
    assert_eq!(more(&all, &before), [true; 5], "{all}");
    assert_eq!(stage.result(&all, "d"), "1");
    let unknown = post(stage, &id, "retry", &json!({"from": ["x"]}));
    assert_eq!(
        unknown.expect_problem(400, "invalid_field")["field"],
        "from"
    );
    // Earlier attempts stay visible.
    let task = node(&all, "a")["task_id"].as_str().unwrap();
    let listed = client
        .get(&format!("/v1/tasks/{task}/attempts"))
        .expect(200)
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);

    not_retried(stage);
}

/// What cannot be tried again.
fn not_retried(stage: &Stage) {
    let open = stage.submit(&json!({"nodes": [{"id": "w", "wait": {"signal": "x"}}]}));
    post(stage, &open, "retry", &json!({})).expect_problem(409, "workflow_not_final");
    let fine = stage.submit(&json!({"nodes": [{"id": "a", "module": "echo", "input": 1}]}));
    stage.done(&fine);
    post(stage, &fine, "retry", &json!({})).expect_problem(409, "nothing_to_retry");
}

on_both!(
    retried,
    a_workflow_is_tried_again_from_where_it_failed_on_sqlite,
    a_workflow_is_tried_again_from_where_it_failed_on_postgres
);

/// A layered workflow of many nodes, each of which names two before it.
fn layered(layers: usize, width: usize) -> Value {
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        for at in 0..width {
            let id = format!("n{layer}-{at}");
            let before =
                [at, (at + 1) % width].map(|at| format!("n{}-{at}", layer.saturating_sub(1)));
            let input = match layer {
                0 => json!([at]),
                _ => json!(
                    before
                        .each_ref()
                        .map(|it| json!({"$from": it, "pointer": "/0"}))
                ),
            };
            if layer > 0 {
                edges.extend(before.map(|it| json!([it, id])));
            }
            nodes.push(json!({"id": id, "module": "echo", "input": input}));
        }
    }
    json!({"nodes": nodes, "edges": edges})
}

fn killed(stage: &mut Stage) {
    let workflow = layered(12, 6);
    let ids: Vec<String> = (0..6).map(|_| stage.submit(&workflow)).collect();
    for _ in 0..4 {
        stage.when(&ids[5], |it| {
            it["counts"]["completed"].as_u64().unwrap() > 0
        });
        stage.host.kill();
        stage.host.restart();
    }
    for id in &ids {
        let done = stage.done(id);
        assert_eq!(done["status"], "completed", "{done}");
        let at = |node: &Value, field: &str| node[field].as_str().unwrap().to_owned();
        for child in done["nodes"].as_array().unwrap() {
            for parent in child["parents"].as_array().unwrap() {
                let parent = node(&done, parent.as_str().unwrap());
                assert!(
                    at(parent, "finished_at") <= at(child, "started_at"),
                    "{parent} {child}"
                );
            }
        }
    }
}

#[test]
fn a_killed_host_leaves_no_node_behind_on_sqlite() {
    killed(&mut Stage::on_sqlite());
}

#[test]
fn a_killed_host_leaves_no_node_behind_on_postgres() {
    killed(&mut Stage::on_postgres());
}
