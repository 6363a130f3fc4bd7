//! Finding tasks by what they are labelled, how they failed and what their submitter noted.

use serde_json::{Value, json};

use super::host_with;
use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;

/// A host with tasks that are scheduled, failed, retrying and completed, by their ids.
fn host_of_four() -> (Host, [String; 4]) {
    let host = host_with(&["echo"]);
    host.client
        .put_module("trap", &guests::wat("trap.wat"))
        .expect(201);
    let submit = |task: Value| host.client.submit(&task);
    let later =
        submit(json!({"module": "echo", "delay_ms": 600_000, "metadata": {"team": "a", "n": 7}}));
    let failed = submit(json!({"module": "trap", "metadata": {"team": "b"}}));
    let retry = json!({"max_attempts": 2, "base_ms": 600_000, "max_ms": 600_000});
    let again = submit(json!({"module": "trap", "retry": retry, "metadata": {"team": "a"}}));
    let done = submit(json!({"module": "echo"}));
    for id in [&failed, &done] {
        host.client.final_task(id);
    }
    host.client
        .task_when(&again, |task| task["label"] == "retrying");
    (host, [later, failed, again, done])
}

#[test]
fn tasks_are_found_by_label_kind_of_failure_and_metadata() {
    let (host, [later, failed, again, _done]) = host_of_four();
    let listed = |query: &str| -> Vec<String> {
        let page = host.client.get(&format!("/v1/tasks?{query}")).expect(200);
        let items = page.json()["items"].as_array().unwrap().clone();
        let id = |task: &Value| task["task_id"].as_str().unwrap().to_owned();
        items.iter().map(id).collect()
    };
    for (query, expected) in [
        ("label=scheduled", vec![&later]),
        ("label=retrying", vec![&again]),
        (
            "label=retrying,scheduled,failed",
            vec![&again, &failed, &later],
        ),
        ("label=pending", vec![]),
        ("status=pending", vec![&again, &later]),
        ("error_kind=trap", vec![&again, &failed]),
        ("error_kind=timeout,trap&status=failed", vec![&failed]),
        ("error_kind=trap&module=echo", vec![]),
        ("metadata.team=a", vec![&again, &later]),
        ("metadata.team=a&metadata.n=7", vec![&later]),
        (
            "metadata.team=a&label=retrying&error_kind=trap&since=c0",
            vec![&again],
        ),
        ("metadata.te%61m=c", vec![]),
    ] {
        assert_eq!(
            listed(query).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
}

#[test]
fn dead_letters_are_listed_counted_and_retried() {
    let host = host_with(&["echo"]);
    host.client
        .put_module("trap", &guests::wat("trap.wat"))
        .expect(201);
    let twice = json!({"max_attempts": 2, "base_ms": 0});
    let dead: Vec<String> = (0..3)
        .map(|_| {
            let task = json!({"module": "trap", "retry": twice});
            host.client.submit(&task)
        })
        .collect();
    let once = host.client.submit(&json!({"module": "trap"}));
    for id in dead.iter().chain([&once]) {
        host.client.final_task(id);
    }
    let task = host.client.task(&dead[0]);
    assert_eq!(
        (&task["status"], &task["label"]),
        (&json!("failed"), &json!("dead"))
    );
    assert_eq!(host.client.task(&once)["label"], "failed");
    let listed = || {
        let page = host.client.get("/v1/tasks?label=dead").expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(listed(), 3);
    let died = |so_many: u32| {
        let metrics = host.client.get("/metrics").expect(200).text();
        metrics.contains(&format!("cofferdam_tasks_dead_total {so_many}\n"))
    };
    assert!(died(3));
    let retried = |id: &str, attempt: u32| {
        host.client.task_when(id, |task| {
            task["attempt"] == attempt && task["status"] == "failed"
        });
    };
    host.client
        .post(&format!("/v1/tasks/{}/retry", dead[0]), &json!({}))
        .expect(202);
    retried(&dead[0], 4);
    let all = json!({"filter": {"label": "dead"}, "expect": 3});
    let begun = host.client.post("/v1/tasks/retry", &all).expect(202).json();
    assert_eq!(begun, json!({"matches": 3}));
    for (id, attempt) in dead.iter().zip([6, 4, 4]) {
        retried(id, attempt);
    }
    assert_eq!(host.client.task(&once)["attempt"], 1);
    assert_eq!(listed(), 3);
    assert!(died(7));
}

#[test]
fn the_command_line_has_every_filter() {
    let (host, [_, _, again, _]) = host_of_four();
    let list = |flags: &[&str]| {
        let server = ["--server", host.client.base.as_str(), "task", "list"];
        let output = cofferdam(&[&server[..], flags].concat(), b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let all = [
        ["--label", "retrying"],
        ["--error-kind", "trap"],
        ["--module", "trap"],
        ["--priority", "normal"],
        ["--metadata", "team=a"],
        ["--since", "c0"],
        ["--status", "pending"],
    ];
    let found = list(&all.concat());
    assert!(
        found.starts_with(&again) && found.lines().count() == 1,
        "{found}"
    );
    assert_eq!(list(&["--limit", "2"]).lines().count(), 2);
}

#[test]
fn a_filter_that_makes_no_sense_is_named() {
    let host = Host::start();
    for (query, code, named) in [
        ("label=late", "invalid_parameter", "retrying"),
        ("error_kind=boom", "invalid_parameter", "cpu_exhausted"),
        ("metadata.=a", "unknown_parameter", "metadata.KEY"),
        (
            "metadata.a=1&metadata.a=2",
            "invalid_parameter",
            "metadata.a",
        ),
        ("lable=failed", "unknown_parameter", "did you mean label"),
    ] {
        let problem = host.client.get(&format!("/v1/tasks?{query}"));
        let problem = problem.expect_problem(400, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{query}: {detail}");
    }
    let many: String = (0..9).map(|n| format!("metadata.m{n}=x&")).collect();
    let path = format!("/v1/tasks?{}", many.trim_end_matches('&'));
    host.client
        .get(&path)
        .expect_problem(400, "invalid_parameter");
}

#[test]
fn attempts_come_in_pages() {
    let host = host_with(&[]);
    host.client
        .put_module("trap", &guests::wat("trap.wat"))
        .expect(201);
    let retry = json!({"max_attempts": 5, "base_ms": 0});
    let id = host
        .client
        .submit(&json!({"module": "trap", "retry": retry}));
    host.client.final_task(&id);
    let page = |query: &str| -> (Vec<u64>, Value) {
        let path = format!("/v1/tasks/{id}/attempts?{query}");
        let page = host.client.get(&path).expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        let numbers = items.map(|item| item["attempt"].as_u64().unwrap());
        (numbers.collect(), page["next_cursor"].clone())
    };
    assert_eq!(page(""), (vec![1, 2, 3, 4, 5], Value::Null));
    let (first, next) = page("limit=3");
    assert_eq!(first, [1, 2, 3]);
    let next = format!("limit=2&cursor={}", next.as_str().unwrap());
    assert_eq!(page(&next), (vec![4, 5], Value::Null));
    let path = format!("/v1/tasks/{id}/attempts?cursor=YTA3");
    host.client.get(&path).expect_problem(400, "invalid_cursor");
    let server = [
        "--server",
        host.client.base.as_str(),
        "task",
        "attempts",
        &id,
    ];
    let listed = cofferdam(&server, b"");
    assert_eq!(text(&listed.stdout).lines().count(), 5);
}
