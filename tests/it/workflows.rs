//! Workflows: nodes wait for each other, take in what those before them gave, and all end, whatever happens. The same
//! on both databases.

mod changes;
mod definitions;
mod doors;
mod scripts;
mod stage;

use serde_json::{Value, json};

use self::stage::{Stage, node, on_both};

fn diamond(stage: &Stage) {
    let client = &stage.host.client;
    let workflow = r#"{
        "name": "diamond",
        "input": {"n": 1.50},
        "nodes": [
            {"id": "a", "module": "echo", "input": {"x": [10, 20], "n": {"$input": "/n"}}},
            {"id": "b", "module": "echo", "input": {"of_a": {"$from": "a", "pointer": "/x/1"}}},
            {"id": "c", "module": "echo", "input": {"$from": "a"}},
            {"id": "d", "module": "echo", "input": [{"$from": "b"}, {"$from": "c", "pointer": "/n"}, {"$error": "b"}]}
        ],
        "edges": [["a", "b"], ["a", "c"], ["b", "d"], ["c", "d"]]
    }"#;
    let headers = [("content-type", "application/json")];
    let submitted = client.send("POST", "/v1/workflows", &headers, workflow.as_bytes());
    let id = submitted.expect(202).json()["workflow_id"].clone();
    let done = stage.done(id.as_str().unwrap());
    assert_eq!(
        (&done["status"], &done["run"], &done["name"]),
        (&json!("completed"), &json!(1), &json!("diamond"))
    );
    assert_eq!(done["levels"], json!([["a"], ["b", "c"], ["d"]]));
    // Numbers are passed on as they were written.
    let result = stage.result(&done, "d");
    assert_eq!(result, r#"[{"of_a": 20}, 1.50, null]"#);
    assert_eq!(node(&done, "d")["parents"], json!(["b", "c"]));
    // No node begins before those that it waits for are done.
    let at = |id: &str, field: &str| node(&done, id)[field].as_str().unwrap().to_owned();
    for (parent, child) in [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")] {
        assert!(
            at(parent, "finished_at") <= at(child, "started_at"),
            "{done}"
        );
    }
    let task = client.task(node(&done, "d")["task_id"].as_str().unwrap());
    assert_eq!(
        (&task["status"], &task["module"]),
        (&json!("completed"), &json!("echo"))
    );
    let counts =
        json!({"nodes": 4, "open": 0, "completed": 4, "failed": 0, "cancelled": 0, "skipped": 0});
    assert_eq!(done["counts"], counts);
}

on_both!(
    diamond,
    nodes_take_in_what_those_before_them_gave_on_sqlite,
    nodes_take_in_what_those_before_them_gave_on_postgres
);

fn failures(stage: &Stage) {
    let nodes = json!([
        {"id": "bad", "module": "trap"},
        {"id": "slow", "module": "echo", "input": 1},
        {"id": "behind", "module": "echo", "input": {"$from": "bad"}},
        {"id": "farther", "module": "echo", "input": {"$from": "behind"}},
        {"id": "anyway", "module": "echo", "on_parent_failure": "run",
         "input": {"out": {"$from": "bad"}, "why": {"$error": "bad", "pointer": "/kind"}}},
        {"id": "beside", "module": "echo", "input": {"$from": "slow"}},
    ]);
    let edges = json!([
        ["bad", "behind"],
        ["behind", "farther"],
        ["bad", "anyway"],
        ["slow", "beside"]
    ]);
    let done = stage.finished(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    assert_eq!(done["status"], "failed", "{done}");
    let stands = |id: &str| {
        let node = node(&done, id);
        (
            node["status"].as_str().unwrap().to_owned(),
            node["label"].as_str().unwrap().to_owned(),
            node["reason"].clone(),
        )
    };
    let skipped = |why: &str| ("cancelled".to_owned(), "skipped".to_owned(), json!(why));
    assert_eq!(stands("bad").0, "failed");
    assert_eq!(node(&done, "bad")["error"]["kind"], "trap");
    assert_eq!(stands("behind"), skipped("parent_failed:bad"));
    assert_eq!(stands("farther"), skipped("parent_failed:behind"));
    assert_eq!(stands("beside").0, "completed");
    assert_eq!(
        stage.result(&done, "anyway"),
        r#"{"out":null,"why":"trap"}"#
    );

    // With stop nothing begins any more, and nothing waits for a signal any more.
    let nodes = json!([
        {"id": "bad", "module": "trap"},
        {"id": "gate", "wait": {"signal": "go"}},
        {"id": "beside", "module": "echo", "input": {"$from": "gate"}},
        {"id": "behind", "module": "echo", "on_parent_failure": "run", "input": {"$error": "bad"}},
    ]);
    let edges = json!([["gate", "beside"], ["bad", "behind"]]);
    let done = stage.finished(&json!({"nodes": nodes, "edges": edges}));
    for id in ["behind", "gate"] {
        assert_eq!(node(&done, id)["reason"], "stopped", "{done}");
    }
    assert_eq!(
        (&done["status"], &done["stopping"]),
        (&json!("failed"), &json!(true)),
        "{done}"
    );
    assert_eq!(node(&done, "beside")["label"], "skipped", "{done}");
}

on_both!(
    failures,
    a_failed_node_stops_what_it_is_said_to_stop_on_sqlite,
    a_failed_node_stops_what_it_is_said_to_stop_on_postgres
);

fn conditions(stage: &Stage) {
    let echo =
        |id: &str, when: Value| json!({"id": id, "module": "echo", "input": 1, "when": when});
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"n": 3, "s": "x"}},
        echo("more", json!({"$from": "a", "pointer": "/n", "gt": 2})),
        echo("less", json!({"$from": "a", "pointer": "/n", "lt": 2})),
        echo("absent", json!({"$from": "a", "pointer": "/none", "exists": false})),
        echo("other", json!({"$input": "/go", "equals": true})),
        {"id": "behind", "module": "echo", "input": {"$from": "less"}},
    ]);
    let edges = json!([
        ["a", "more"],
        ["a", "less"],
        ["a", "absent"],
        ["less", "behind"]
    ]);
    let workflow = json!({"input": {"go": false}, "nodes": nodes, "edges": edges});
    let done = stage.finished(&workflow);
    // What is skipped is no failure.
    assert_eq!(done["status"], "completed", "{done}");
    let label = |id: &str| node(&done, id)["label"].as_str().unwrap().to_owned();
    let labels = ["more", "less", "absent", "other", "behind"].map(label);
    assert_eq!(
        labels,
        ["completed", "skipped", "completed", "skipped", "skipped"]
    );
    assert_eq!(node(&done, "less")["reason"], "condition");
    assert_eq!(node(&done, "behind")["reason"], "parent_failed:less");
}

on_both!(
    conditions,
    a_node_runs_if_its_condition_holds_on_sqlite,
    a_node_runs_if_its_condition_holds_on_postgres
);

fn maps(stage: &Stage) {
    let map = |over: Value| json!({"over": over, "concurrency": 2});
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"items": [{"k": 1}, {"k": 2}, {"k": {"$literal": {"$from": "no"}}}], "none": []}},
        {"id": "each", "module": "echo", "map": map(json!({"$from": "a", "pointer": "/items"})),
         "input": {"k": {"$item": "/k"}, "i": {"$index": null}, "all": {"$from": "a", "pointer": "/none"}}},
        {"id": "plain", "module": "echo", "map": map(json!({"$from": "a", "pointer": "/items"}))},
        {"id": "none", "module": "echo", "map": map(json!({"$from": "a", "pointer": "/none"}))},
        {"id": "last", "module": "echo", "input": [{"$from": "each"}, {"$from": "none"}]},
    ]);
    let edges = json!([
        ["a", "each"],
        ["a", "plain"],
        ["a", "none"],
        ["each", "last"],
        ["none", "last"]
    ]);
    let done = stage.finished(&json!({"nodes": nodes, "edges": edges}));
    assert_eq!(done["status"], "completed", "{done}");
    let last: Value = serde_json::from_str(&stage.result(&done, "last")).unwrap();
    let each = json!([
        {"k": 1, "i": 0, "all": []}, {"k": 2, "i": 1, "all": []}, {"k": {"$from": "no"}, "i": 2, "all": []},
    ]);
    assert_eq!(last, json!([each, []]));
    let plain: Value = serde_json::from_str(&stage.result(&done, "plain")).unwrap();
    assert_eq!(plain, json!([{"k": 1}, {"k": 2}, {"k": {"$from": "no"}}]));
    assert_eq!(node(&done, "each[2]")["instance_of"], "each");

    // A node fails if one of its instances fails, or if it is to run for each element of something that is not a list.
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"items": ["0no", "0nor this"], "text": "x", "many": [1, 2, 3]}},
        {"id": "fails", "module": "task-fails", "map": {"over": {"$from": "a", "pointer": "/items"}}},
        {"id": "no-list", "module": "echo", "map": {"over": {"$from": "a", "pointer": "/text"}}},
        {"id": "many", "module": "echo", "map": {"over": {"$from": "a", "pointer": "/many"}, "max": 2}},
    ]);
    let edges = json!([["a", "fails"], ["a", "no-list"], ["a", "many"]]);
    let done = stage.finished(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    assert_eq!(done["status"], "failed", "{done}");
    let why = |id: &str| {
        node(&done, id)["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(why("fails").starts_with("fails[0] failed: "), "{done}");
    assert!(why("no-list").contains("is not a list"), "{done}");
    assert!(
        why("many").contains("has 3 elements, and max is 2"),
        "{done}"
    );
}

on_both!(
    maps,
    a_node_runs_once_for_each_element_on_sqlite,
    a_node_runs_once_for_each_element_on_postgres
);

fn signals(stage: &Stage) {
    let client = &stage.host.client;
    let nodes = json!([
        {"id": "asked", "wait": {"signal": "approve"}},
        {"id": "late", "wait": {"signal": "never", "timeout_ms": 100}},
        {"id": "early", "wait": {"signal": "before"}},
        {"id": "then", "module": "echo", "input": {"by": {"$from": "asked", "pointer": "/by"}}},
        {"id": "start", "module": "echo", "input": 1},
    ]);
    let edges = json!([["asked", "then"], ["start", "early"]]);
    let id = stage.submit(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    let path = |name: &str| format!("/v1/workflows/{id}/signals/{name}");
    let send = |name: &str, key: &str, body: &Value| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        client.send("POST", &path(name), &headers, body.to_string().as_bytes())
    };
    let waits = stage.when(&id, |it| node(it, "asked")["waits_for"] == "signal:approve");
    assert_eq!(node(&waits, "asked")["label"], "blocked");
    let first = send("approve", "k1", &json!({"by": "me"}))
        .expect(202)
        .json();
    assert_eq!(first["outcome"], "given");
    assert_eq!(
        send("approve", "k1", &json!({"by": "me"}))
            .expect(200)
            .json()["outcome"],
        "repeated"
    );
    send("approve", "k1", &json!({"by": "you"})).expect_problem(409, "conflict");
    client
        .post(&path("a%20b"), &json!(1))
        .expect_problem(400, "invalid_field");
    client
        .post(&path("before"), &json!("kept or given"))
        .expect(202);
    let done = stage.done(&id);
    assert_eq!(done["status"], "failed", "{done}");
    assert_eq!(stage.result(&done, "then"), r#"{"by":"me"}"#);
    assert_eq!(stage.result(&done, "early"), r#""kept or given""#);
    let late = node(&done, "late");
    assert_eq!(
        (&late["status"], &late["error"]["kind"]),
        (&json!("failed"), &json!("timeout")),
        "{done}"
    );
    client
        .post(&path("approve"), &json!(1))
        .expect_problem(409, "workflow_final");
}

on_both!(
    signals,
    a_node_waits_for_a_signal_or_for_its_time_on_sqlite,
    a_node_waits_for_a_signal_or_for_its_time_on_postgres
);

fn nested(stage: &Stage) {
    let inner = json!({
        "nodes": [
            {"id": "x", "module": "echo", "input": {"twice": [{"$input": "/n"}, {"$input": "/n"}]}},
            {"id": "y", "module": "echo", "input": {"$from": "x", "pointer": "/twice"}},
            {"id": "deep", "input": {"of": {"$from": "x"}},
             "workflow": {"nodes": [{"id": "x", "module": "echo", "input": {"$input": "/of/twice/0"}}]}},
        ],
        "edges": [["x", "y"], ["x", "deep"]],
    });
    let nodes = json!([
        {"id": "a", "module": "echo", "input": 7},
        {"id": "sub", "input": {"n": {"$from": "a"}}, "workflow": inner},
        {"id": "b", "module": "echo", "input": {"$from": "sub"}},
    ]);
    let edges = json!([["a", "sub"], ["sub", "b"]]);
    let done = stage.finished(&json!({"nodes": nodes, "edges": edges}));
    assert_eq!(done["status"], "completed", "{done}");
    let result: Value = serde_json::from_str(&stage.result(&done, "b")).unwrap();
    assert_eq!(result, json!({"y": [7, 7], "deep": {"x": 7}}));
    assert_eq!(node(&done, "sub/deep/x")["status"], "completed");

    // A nested workflow that fails is a failed node; one that is not to run is a skipped one.
    let one = |module: &str| json!({"nodes": [{"id": "x", "module": module}]});
    let nodes = json!([
        {"id": "bad", "workflow": one("trap")},
        {"id": "off", "workflow": one("echo"), "when": {"$input": "", "equals": 1}},
        {"id": "after", "module": "echo", "input": {"$error": "bad"}, "on_parent_failure": "run"},
    ]);
    let edges = json!([["bad", "after"]]);
    let done = stage.finished(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    assert_eq!(
        (&done["status"], &node(&done, "bad")["status"]),
        (&json!("failed"), &json!("failed")),
        "{done}"
    );
    assert_eq!(node(&done, "off")["reason"], "condition", "{done}");
    assert!(
        stage.result(&done, "after").contains("bad/x failed"),
        "{done}"
    );
}

on_both!(
    nested,
    a_workflow_is_a_node_of_another_on_sqlite,
    a_workflow_is_a_node_of_another_on_postgres
);

fn bad_values(stage: &Stage) {
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"x": 1}},
        {"id": "plain", "module": "echo", "input": "not JSON", "content_type": "text/plain"},
        {"id": "outside", "module": "echo", "input": {"$from": "a", "pointer": "/y"}},
        {"id": "no-json", "module": "echo", "input": {"$from": "plain", "pointer": "/y"}},
        {"id": "whole", "module": "echo", "input": {"$from": "plain"}},
        {"id": "strict", "module": "strict", "input": {"n": {"$from": "a", "pointer": "/x"}}},
        {"id": "misfit", "module": "strict", "input": {"n": {"$from": "a"}}},
    ]);
    let edges = json!([
        ["a", "outside"],
        ["plain", "no-json"],
        ["plain", "whole"],
        ["a", "strict"],
        ["a", "misfit"],
    ]);
    let done = stage.finished(&json!({"on_failure": "continue", "nodes": nodes, "edges": edges}));
    let told = |id: &str| {
        let error = &node(&done, id)["error"];
        (
            error["kind"].as_str().unwrap_or_default().to_owned(),
            error["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let invalid = |why: &str| ("invalid_input".to_owned(), why.to_owned());
    assert_eq!(
        told("outside"),
        invalid("the output of a has nothing at /y")
    );
    assert!(
        told("no-json").1.contains("is not JSON (text/plain)"),
        "{done}"
    );
    assert_eq!(stage.result(&done, "whole"), r#""not JSON""#);
    assert_eq!(node(&done, "strict")["status"], "completed", "{done}");
    assert_eq!(told("misfit").0, "invalid_input", "{done}");
    assert!(told("misfit").1.contains("schema"), "{done}");
}

on_both!(
    bad_values,
    a_value_that_cannot_be_had_fails_the_node_that_asks_for_it_on_sqlite,
    a_value_that_cannot_be_had_fails_the_node_that_asks_for_it_on_postgres
);

fn long_outputs(stage: &Stage) {
    let long = "x".repeat(3 << 20);
    let nodes = json!([
        {"id": "a", "module": "echo", "input": long},
        {"id": "b", "module": "echo", "input": {"of": long}},
        {"id": "c", "module": "echo", "input": {"b": {"$from": "b"}}},
        {"id": "d", "module": "echo", "input": [{"$from": "a"}, {"$from": "b"}]},
    ]);
    let edges = json!([["b", "c"], ["a", "d"], ["b", "d"]]);
    let done = stage.finished(&json!({"nodes": nodes, "edges": edges}));
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(stage.result(&done, "c").len(), long.len() + 15);
    // Both together are too long to be put into one input.
    let d: Value = serde_json::from_str(&stage.result(&done, "d")).unwrap();
    assert_eq!(d[0].as_str().map(str::len), Some(long.len()));
    let file =
        json!({"file": "/in/b", "content_type": "application/json", "size_bytes": long.len() + 9});
    assert_eq!(d[1], file);
}

on_both!(
    long_outputs,
    long_outputs_come_as_files_on_sqlite,
    long_outputs_come_as_files_on_postgres
);
