//! Workers as others see them, and hosts that are asked to take no more tasks.

use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::cli::cofferdam;
use crate::support::guests;
use crate::support::host::Host;

/// Every change of a worker is seen sooner.
const PATIENCE: Duration = Duration::from_secs(30);

fn sharing(database: &Database, rest: &str) -> Host {
    let url = database.url();
    Host::with_config(&format!(
        "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n{rest}"
    ))
}

fn put_echo(host: &Host) {
    let echo = guests::built("echo");
    host.client.put_module("echo", &echo).expect(201);
}

/// The id of a host's process.
fn id_of(host: &Host) -> String {
    let health = host.client.get("/health").expect(200).json();
    health["worker_id"].as_str().unwrap().to_owned()
}

/// What a host tells of a worker, once `wanted` is true of it.
#[track_caller]
fn worker_when(host: &Host, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let worker = host.client.get(&format!("/v1/workers/{id}"));
        let worker = worker.expect(200).json();
        if wanted(&worker) {
            return worker;
        }
        assert!(Instant::now() < deadline, "{worker}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn hosts_know_one_another_and_see_them_go() {
    let database = Database::fresh();
    let first = sharing(&database, "slots = 3\n");
    let rest = "[worker]\nname = \"Big-1\"\ncapabilities = [\"gpu\"]\ngroups = [\"eu\"]\n\
                [http]\nadvertise = \"https://big-1.example:8443/\"\n";
    let mut second = sharing(&database, rest);
    let (first_id, second_id) = (id_of(&first), id_of(&second));

    let worker = worker_when(&first, &second_id, |_| true);
    assert_eq!(worker["name"], "Big-1");
    assert_eq!(worker["address"], "https://big-1.example:8443");
    assert_eq!(worker["capabilities"], json!(["cpu", "gpu", "sandbox"]));
    assert_eq!(worker["groups"], json!(["eu"]));
    assert_eq!(
        (&worker["state"], &worker["load"]),
        (&json!("idle"), &json!(0))
    );
    assert_eq!(worker["answers"], false, "{worker}");
    assert!(
        worker["heartbeat_age_ms"].as_u64().unwrap() < 30_000,
        "{worker}"
    );
    let worker = worker_when(&second, &first_id, |_| true);
    assert_eq!(worker["address"], json!(first.client.base));
    assert_eq!(
        (&worker["slots"], &worker["groups"]),
        (&json!(3), &json!([]))
    );
    assert!(
        worker["started_at"].is_string() && worker["version"].is_string(),
        "{worker}"
    );

    let page = first.client.get("/v1/workers?limit=1").expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = first
        .client
        .get(&format!("/v1/workers?limit=1&cursor={cursor}"));
    let next = next.expect(200).json();
    let mut listed = [&page, &next].map(|page| page["items"][0]["id"].as_str().unwrap());
    listed.sort_unstable();
    let mut both = [first_id.as_str(), second_id.as_str()];
    both.sort_unstable();
    assert_eq!(listed, both);
    assert_eq!(next["next_cursor"], Value::Null);

    // Who is killed is missed; who ends says so.
    second.kill();
    worker_when(&first, &second_id, |worker| worker["state"] == "terminated");
    second.restart();
    let third_id = id_of(&second);
    assert_ne!(third_id, second_id);
    assert!(second.stop().success());
    let ended = worker_when(&first, &third_id, |_| true);
    assert_eq!(ended["state"], "terminated");
    first
        .client
        .post(&format!("/v1/workers/{third_id}/drain"), &json!({}))
        .expect_problem(409, "worker_terminated");
}

#[test]
fn a_drained_host_finishes_its_tasks_and_takes_no_more_until_that_is_undone() {
    let database = Database::fresh();
    let drained = sharing(&database, "");
    put_echo(&drained);
    let sleep = guests::wat("sleep.wat");
    drained.client.put_module("sleep", &sleep).expect(201);
    let id = id_of(&drained);
    let limits = json!({"timeout_ms": 3000});
    let slow = drained
        .client
        .submit(&json!({"module": "sleep", "limits": limits}));
    drained
        .client
        .task_when(&slow, |task| task["status"] == "running");
    worker_when(&drained, &id, |worker| {
        worker["state"] == "running" && worker["load"] == 1
    });

    let other = sharing(&database, "");
    let path = format!("/v1/workers/{id}/drain");
    let worker = other.client.post(&path, &json!({})).expect(202).json();
    assert_eq!(
        (&worker["state"], &worker["drain_requested"]),
        (&json!("draining"), &json!(true))
    );
    // The host itself has heard of it.
    let deadline = Instant::now() + PATIENCE;
    while drained.client.get("/health").expect(200).json()["status"] != "draining" {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let others = id_of(&other);
    for _ in 0..20 {
        let task = drained
            .client
            .submit_and_wait(&json!({"module": "echo", "input": 7}));
        assert_eq!(task["worker_id"], json!(others), "{task}");
    }
    let task = drained.client.final_task(&slow);
    assert_eq!(task["worker_id"], json!(id), "{task}");
    assert_eq!(
        (&task["attempt"], &task["error"]["kind"]),
        (&json!(1), &json!("timeout"))
    );

    other.client.delete(&path).expect(202);
    drop(other);
    let task = drained
        .client
        .submit_and_wait(&json!({"module": "echo", "input": 7}));
    assert_eq!(task["worker_id"], json!(id), "{task}");
}

/// Stops a host's process, or lets it go on.
fn signal(host: &Host, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn submit_endless(host: &Host) -> String {
    let sleep = guests::wat("sleep.wat");
    host.client.put_module("sleep", &sleep).expect(201);
    let limits = json!({"timeout_ms": 300_000, "cpu_ms": 300_000});
    let id = host
        .client
        .submit(&json!({"module": "sleep", "limits": limits}));
    host.client
        .task_when(&id, |task| task["status"] == "running");
    id
}

/// Waits until a host has ended its guests by itself.
#[track_caller]
fn await_fenced(host: &Host) {
    let deadline = Instant::now() + PATIENCE;
    while !host.log().contains("because it could not reach storage") {
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_host_that_stood_still_ends_what_is_no_longer_its_own_and_takes_up_work_again() {
    let database = Database::fresh();
    let stands_still = sharing(&database, "");
    let first_id = id_of(&stands_still);
    let task = submit_endless(&stands_still);
    let other = sharing(&database, "");
    signal(&stands_still, rustix::process::Signal::STOP);
    let moved = other.client.task_when(&task, |task| task["attempt"] == 2);
    assert_eq!(moved["worker_id"], json!(id_of(&other)), "{moved}");
    let worker = worker_when(&other, &first_id, |_| true);
    assert_eq!(worker["state"], "terminated");

    signal(&stands_still, rustix::process::Signal::CONT);
    await_fenced(&stands_still);
    worker_when(&other, &first_id, |worker| worker["state"] == "idle");
    // Nothing it does reaches the task any more.
    let now = other.client.task(&task);
    assert_eq!(
        (&now["status"], &now["attempt"]),
        (&json!("running"), &json!(2))
    );
    put_echo(&other);
    let path = format!("/v1/workers/{}/drain", id_of(&other));
    other.client.post(&path, &json!({})).expect(202);
    let echo = json!({"module": "echo", "input": 7});
    let echoed = stands_still.client.submit_and_wait(&echo);
    assert_eq!(echoed["worker_id"], json!(first_id), "{echoed}");
    other
        .client
        .delete(&format!("/v1/tasks/{task}"))
        .expect(202);
    assert_eq!(other.client.final_task(&task)["status"], "cancelled");
    let attempts = other.client.get(&format!("/v1/tasks/{task}/attempts"));
    let attempts = attempts.expect(200).json();
    assert_eq!(attempts["items"].as_array().unwrap().len(), 2, "{attempts}");
}

#[test]
fn a_host_without_its_database_ends_its_guests_in_time_and_goes_on_when_it_is_back() {
    let (database, elsewhere) = (Database::fresh(), Database::fresh());
    let url = database.url();
    let dead_after = Duration::from_secs(6);
    let host = Host::with_config(&format!(
        "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 500\ndead_after_ms = 6000\n"
    ));
    let task = submit_endless(&host);
    let name = database.run("SELECT current_database()");
    let name = name.trim();
    let cut_at = Instant::now();
    elsewhere.run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    elsewhere.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ));
    await_fenced(&host);
    assert!(cut_at.elapsed() < dead_after, "{:?}", cut_at.elapsed());
    host.client.get("/readyz").expect(503);

    elsewhere.run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    let again = host.client.task_when(&task, |task| task["attempt"] == 2);
    assert_eq!(
        (&again["status"], &again["lost"]),
        (&json!("running"), &json!(1))
    );
    host.client.delete(&format!("/v1/tasks/{task}")).expect(202);
    host.client.final_task(&task);
    let id = id_of(&host);
    worker_when(&host, &id, |worker| worker["state"] == "idle");
}

/// A task of the guest that gives back what it is given.
fn echo(requires: Value) -> Value {
    json!({"module": "echo", "input": 7, "requires": requires})
}

#[test]
fn a_task_runs_where_all_it_requires_is_and_says_for_whom_it_waits() {
    let database = Database::fresh();
    let plain = sharing(&database, "");
    put_echo(&plain);
    let client = &plain.client;

    // Nobody was ever there that has it; nobody else is in its way.
    let both = client.submit(&echo(json!(["gpu", "group:eu", "cpu"])));
    let waits = client.task(&both)["waiting_for"].clone();
    assert_eq!(waits["reason"], "capable_worker", "{waits}");
    assert_eq!(waits["missing"], json!(["gpu", "group:eu"]), "{waits}");
    let task = client.submit_and_wait(&echo(json!(["cpu"])));
    assert_eq!(task["status"], "completed");
    assert_eq!(task["waiting_for"], Value::Null);
    let listed = client.get("/v1/tasks?status=pending").expect(200).json();
    let listed = &listed["items"][0];
    assert_eq!(listed["waiting_for"], waits);
    assert_eq!(listed["requires"], json!(["cpu", "gpu", "group:eu"]));

    let able = "[worker]\nname = \"able\"\ncapabilities = [\"gpu\"]\ngroups = [\"eu\"]\n";
    let mut able = sharing(&database, able);
    let task = client.final_task(&both);
    assert_eq!(task["worker_id"], json!(id_of(&able)), "{task}");
    assert_eq!(task["status"], "completed");
    assert_eq!(task["waiting_for"], Value::Null);
    for id in many_that_require_it(&plain) {
        let task = client.final_task(&id);
        assert_eq!(task["worker_id"], json!(id_of(&able)), "{task}");
    }

    // One that has it is known, but it is not up.
    assert!(able.stop().success());
    let server = client.base.clone();
    let submit = ["--server", &server, "task", "submit", "echo", "--data", "7"];
    let submitted = cofferdam(&[&submit[..], &["--requires", "gpu"]].concat(), b"");
    let down = String::from_utf8(submitted.stdout).unwrap();
    let down = down.trim();
    assert_eq!(
        client.task(down)["waiting_for"],
        json!({"reason": "worker_up", "missing": []})
    );
    able.restart();
    assert_eq!(client.final_task(down)["status"], "completed");
}

/// Tasks that come as a batch and as raw bytes.
fn many_that_require_it(host: &Host) -> Vec<String> {
    let batch = json!({"tasks": vec![echo(json!(["gpu"])); 3]});
    let batch = host.client.post("/v1/tasks/batch", &batch).expect(202);
    let raw = host.client.send(
        "POST",
        "/v1/tasks?module=echo&requires=gpu&requires=group:eu",
        &[("content-type", "application/octet-stream")],
        b"7",
    );
    let (batch, raw) = (batch.json(), raw.expect(202).json());
    let ids = batch["task_ids"].as_array().unwrap().iter();
    ids.chain([&raw["task_id"]])
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_preferred_worker_has_the_task_to_itself_for_a_while() {
    let database = Database::fresh();
    let grace = "preferred_grace_ms = 2000\n";
    let near = sharing(&database, grace);
    put_echo(&near);
    let far = sharing(&database, &format!("{grace}[worker]\nname = \"far\"\n"));
    let far_id = id_of(&far);
    for preferred in ["far", &far_id] {
        for _ in 0..5 {
            let task = json!({"module": "echo", "input": 7, "preferred_worker": preferred});
            let task = near.client.submit_and_wait(&task);
            assert_eq!(task["worker_id"], json!(far_id), "{task}");
            assert_eq!(task["preferred_worker"], *preferred);
        }
    }
    // Where that worker is not there, others take the task afterwards.
    drop(far);
    let task = json!({"module": "echo", "input": 7, "preferred_worker": "far"});
    let id = near.client.submit(&task);
    let early = near.client.get(&format!("/v1/tasks/{id}?wait_ms=1000"));
    assert_eq!(early.expect(200).json()["status"], "pending");
    let task = near.client.final_task(&id);
    assert_eq!(task["worker_id"], json!(id_of(&near)), "{task}");
    near.client
        .post("/v1/tasks", &json!({"module": "echo", "requires": ["GPU"]}))
        .expect_problem(400, "invalid_field");
}

#[test]
fn a_single_host_is_a_worker_that_the_command_line_drains() {
    let host = Host::start();
    put_echo(&host);
    let id = id_of(&host);
    let server = ["--server", &host.client.base];
    let command = |args: &[&str]| {
        let output = cofferdam(&[&server[..], args].concat(), b"");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let listed = command(&["worker", "list"]);
    assert!(
        listed.starts_with(&id) && listed.contains("cpu,sandbox"),
        "{listed}"
    );
    let shown: Value = serde_json::from_str(&command(&["--json", "worker", "list"])).unwrap();
    assert_eq!(
        (&shown["id"], &shown["answers"]),
        (&json!(id), &json!(true))
    );

    let drained = command(&["worker", "drain", &id]);
    assert!(drained.contains("draining"), "{drained}");
    let task = host.client.submit(&json!({"module": "echo", "input": 7}));
    let waited = host.client.get(&format!("/v1/tasks/{task}?wait_ms=1500"));
    assert_eq!(waited.expect(200).json()["status"], "pending");
    host.client
        .run("echo", "application/json", b"7")
        .expect(200);
    command(&["worker", "drain", "--undo", &id]);
    assert_eq!(host.client.final_task(&task)["status"], "completed");

    let unknown = "00000000-0000-4000-8000-000000000000";
    for id in [unknown, "no-id"] {
        let answer = host.client.get(&format!("/v1/workers/{id}"));
        answer.expect_problem(404, "worker_not_found");
        let answer = host
            .client
            .post(&format!("/v1/workers/{id}/drain"), &json!({}));
        answer.expect_problem(404, "worker_not_found");
    }
}
