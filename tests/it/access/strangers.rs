//! What strangers try who have no key, a wrong one, or one of their own: to say what is not theirs to say, to come
//! from elsewhere, to lock somebody out, and to read keys where they were needed once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::site::{ADMIN, Site};
use crate::support::guests;

/// How long the process of a run may be awaited.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn nobody_says_whose_a_task_is_or_how_far_it_has_come() {
    let site = Site::start("");
    let key = site.key("a", &["run", "read", "modules"]);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    for (name, value) in [
        ("tenant", json!("b")),
        ("tenant_id", json!("b")),
        ("owner", json!("b")),
        ("status", json!("completed")),
        ("state", json!("completed")),
        ("attempt", json!(3)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("finished_at", json!("2020-01-01T00:00:00Z")),
        ("worker_id", json!("a")),
        ("result", json!(7)),
        ("label", json!("dead")),
    ] {
        let mut task = json!({"module": "echo", "input": 7});
        task[name] = value.clone();
        let mut code = json!({"language": "javascript", "code": "1"});
        code[name] = value.clone();
        let mut node = json!({"id": "a", "module": "echo", "input": 7});
        node[name] = value.clone();
        for (method, path, body) in [
            ("POST", "/v1/tasks", task.clone()),
            ("POST", "/v1/tasks/batch", json!({"tasks": [task]})),
            ("POST", "/v1/exec?async=true", code),
            ("POST", "/v1/workflows", json!({"nodes": [node]})),
            (
                "PUT",
                "/v1/schedules/s",
                json!({"every_ms": 60_000, "task": task}),
            ),
        ] {
            let answer = site.send(&key, method, path, &body);
            let problem = answer.expect_problem(400, "invalid_field");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(name), "{path} {name}: {problem}");
        }
    }
    let tasks = site.send(ADMIN, "GET", "/v1/tasks?tenant=b", &Value::Null);
    assert_eq!(tasks.expect(200).json()["items"], json!([]));
}

#[test]
fn whoever_says_that_they_come_from_elsewhere_has_the_rate_of_their_key() {
    let site = Site::start("");
    let asked = json!({"name": "a", "scopes": ["read"], "rate": "1/hour", "burst": 2});
    let made = site
        .send(ADMIN, "POST", "/v1/keys", &asked)
        .expect(201)
        .json();
    let key = made["key"].as_str().unwrap();
    let get = |from: &str| {
        let forwarded = format!("for={from}");
        let headers = [
            ("x-api-key", key),
            ("x-forwarded-for", from),
            ("x-real-ip", from),
            ("forwarded", &forwarded),
        ];
        site.host.client.send("GET", "/v1/tasks", &headers, &[])
    };
    for from in ["192.0.2.1", "192.0.2.2"] {
        get(from).expect(200);
    }
    for from in ["192.0.2.3", "127.0.0.1"] {
        get(from).expect_problem(429, "rate_limited");
    }
    // Nor does the trail believe it.
    site.key("a", &["read"]);
    let path = "/v1/audit?action=list_tasks";
    let entries = site.send(ADMIN, "GET", path, &Value::Null).expect(200);
    for entry in entries.json()["items"].as_array().unwrap() {
        assert_eq!(entry["from"], "127.0.0.1", "{entry}");
    }
}

#[test]
fn whoever_guesses_at_a_key_locks_nobody_out() {
    let site = Site::start("");
    let key = site.key("a", &["read"]);
    let get = |key: &str| site.send(key, "GET", "/v1/tasks", &Value::Null);
    for guess in 0..500 {
        // Its id is no secret.
        let guessed = format!("{}{guess:064x}", &key[..21]);
        get(&guessed).expect_problem(401, "key_unknown");
    }
    get(&key).expect(200);
}

/// The processes that another one has started, and those that these have.
fn below(parent: u32) -> Vec<u32> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = folders.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent_of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        fields.nth(1)?.parse::<u32>().ok()
    };
    let own: Vec<u32> = processes
        .filter(|pid| parent_of(pid) == Some(parent))
        .collect();
    let deeper: Vec<u32> = own.iter().flat_map(|pid| below(*pid)).collect();
    [own, deeper].concat()
}

/// Those below another process that run a program of their own: between fork and exec a process is a copy of
/// its parent, with its parent's environment, and has read nothing of a guest.
fn begun_below(parent: u32) -> Vec<u32> {
    let command = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let of_parent = command(parent);
    let mut processes = below(parent);
    processes.retain(|pid| {
        let own = command(*pid);
        !own.is_empty() && own != of_parent
    });
    processes
}

#[test]
fn processes_that_run_guests_have_no_key_in_their_environment() {
    let site = Site::start("");
    let key = site.key("a", &["run", "read", "modules"]);
    site.put_module(&key, "sleep", &guests::wat("sleep.wat"));
    let task = json!({
        "module": "sleep", "input": 1, "isolation": "process", "limits": {"timeout_ms": 60_000},
    });
    let task = site.send(&key, "POST", "/v1/tasks", &task).expect(202);
    let path = format!("/v1/tasks/{}", task.json()["task_id"].as_str().unwrap());
    while site.send(&key, "GET", &path, &Value::Null).json()["status"] != "running" {}
    // It is claimed before there is a process for it.
    let deadline = Instant::now() + PATIENCE;
    let mut children = begun_below(site.host.pid());
    while children.is_empty() {
        assert!(Instant::now() < deadline, "no process runs it");
        children = begun_below(site.host.pid());
    }
    for pid in children {
        let path: PathBuf = format!("/proc/{pid}/environ").into();
        // One that the kernel shows to nobody tells nothing.
        let environment = std::fs::read(&path).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        for secret in [ADMIN, "5e5e5e5e"] {
            assert!(!environment.contains(secret), "{pid}: {environment}");
        }
    }
}
