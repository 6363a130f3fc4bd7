//! Many tasks at once: batches, and changes of every task that a filter finds.

use std::io::Write;

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// A host with echo and spin, and what is added to its configuration.
fn host_with(config: &str) -> Host {
    let host = Host::with_config(config);
    for name in ["echo", "spin"] {
        let wat = guests::wat(&format!("{name}.wat"));
        let put = host.client.put_module(name, &wat);
        assert!([200, 201].contains(&put.status), "{}", put.text());
    }
    host
}

fn on(database: &Database) -> String {
    let url = database.url();
    format!("[storage]\nurl = {url:?}\n")
}

fn echoes(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| json!({"module": "echo", "input": number}))
        .collect()
}

/// Tasks that spin until their time is over.
fn spinners(count: usize, timeout_ms: u64) -> Vec<Value> {
    let limits = json!({"timeout_ms": timeout_ms, "cpu_ms": 60_000});
    vec![json!({"module": "spin", "limits": limits}); count]
}

fn submit(client: &Client, batch: &Value) -> String {
    let answer = client.post("/v1/tasks/batch", batch).expect(202).json();
    answer["batch_id"].as_str().unwrap().to_owned()
}

/// The batch once it is as wanted.
fn batch_when(client: &Client, id: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    for _ in 0..3000 {
        let batch = client.get(&format!("/v1/batches/{id}")).expect(200).json();
        if wanted(&batch) {
            return batch;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("batch {id} never came to that");
}

fn ids(answer: &Value) -> Vec<String> {
    let ids = answer["task_ids"].as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn all_of_a_batch(host: &Host) {
    const TASKS: usize = 10_000;
    let client = &host.client;
    let body = json!({"tasks": echoes(TASKS)}).to_string();
    let send = |body: &str| -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", "all"),
        ];
        client.send("POST", "/v1/tasks/batch", &headers, body.as_bytes())
    };
    let first = send(&body).expect(202);
    let id = first.json()["batch_id"].as_str().unwrap().to_owned();
    assert_eq!(first.header("location"), format!("/v1/batches/{id}"));
    let tasks = ids(&first.json());
    assert_eq!(tasks.len(), TASKS);
    // The same again is the same batch; another under its key is refused.
    assert_eq!(send(&body).expect(200).json(), first.json());
    send(r#"{"tasks":[{"module":"echo"}]}"#).expect_problem(409, "conflict");
    let batch = batch_when(client, &id, |batch| batch["done"] == true);
    assert_eq!(batch["counts"]["completed"], TASKS, "{batch}");
    assert_eq!(
        (&batch["tasks"], &batch["removed"]),
        (&json!(TASKS), &json!(0))
    );
    // In the order of the request.
    let result = client.get(&format!("/v1/tasks/{}/result", tasks[17]));
    assert_eq!(result.expect(200).json(), json!(17));
    let gone = client.delete(&format!("/v1/tasks/{}?purge=true", tasks[17]));
    gone.expect(204);
    let batch = batch_when(client, &id, |_| true);
    assert_eq!(
        (&batch["tasks"], &batch["removed"]),
        (&json!(TASKS), &json!(1))
    );
}

#[test]
fn a_batch_is_acknowledged_whole_and_counted() {
    all_of_a_batch(&host_with(""));
}

#[test]
fn a_batch_is_acknowledged_whole_and_counted_on_a_shared_database() {
    let database = Database::fresh();
    all_of_a_batch(&host_with(&on(&database)));
}

#[test]
fn a_batch_is_refused_whole_and_the_task_is_named() {
    let host = host_with("[queue]\npending_max = 50\n[http]\nbatch_body_bytes = 65536\n");
    let client = &host.client;
    let refused = |change: Value, status: u16, code: &str, field: Option<&str>| {
        let mut tasks = echoes(20);
        let members = change.as_object().unwrap().clone();
        tasks[17].as_object_mut().unwrap().extend(members);
        let answer = client.post("/v1/tasks/batch", &json!({"tasks": tasks}));
        let problem = answer.expect_problem(status, code);
        assert_eq!(problem["field"].as_str(), field, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("tasks[17]"), "{problem}");
    };
    let below = json!({"limits": {"timeout_ms": 0}});
    let field = Some("tasks[17].limits.timeout_ms");
    refused(below, 400, "invalid_field", field);
    let above = json!({"limits": {"timeout_ms": 9_000_000_000_u64}});
    refused(above, 400, "limit_above_ceiling", field);
    let field = Some("tasks[17].callback.url");
    let callback = json!({"callback": {"url": "ftp://a.example/"}});
    refused(callback, 400, "invalid_field", field);
    let callback = json!({"callback": {"url": "https://a.example/"}});
    refused(callback, 400, "callback_refused", None);
    refused(json!({"module": "nobody"}), 404, "module_not_found", None);
    refused(json!({"module": ".."}), 400, "invalid_module_name", None);
    let post = |batch: Value| client.post("/v1/tasks/batch", &batch);
    post(json!({"tasks": []})).expect_problem(400, "invalid_field");
    post(json!({"tasks": echoes(1), "callback": {}})).expect_problem(400, "invalid_field");
    post(json!({"tasks": echoes(1), "parallelism": 0})).expect_problem(400, "invalid_field");
    let full = post(json!({"tasks": echoes(51)}));
    assert_eq!(full.header("retry-after"), "1");
    full.expect_problem(503, "queue_full");
    let long = json!({"module": "echo", "input": "x".repeat(70_000)});
    post(json!({"tasks": [long]})).expect_problem(413, "body_too_large");
    // None of all these left a task.
    let listed = client.get("/v1/tasks").expect(200).json();
    assert_eq!(listed["items"], json!([]), "{listed}");
    let nobody = "/v1/batches/01890000-0000-7000-8000-000000000000";
    client.get(nobody).expect_problem(404, "batch_not_found");
    client.delete(nobody).expect_problem(404, "batch_not_found");
    client
        .get("/v1/batches/x")
        .expect_problem(404, "batch_not_found");
}

/// Milliseconds since some moment.
fn millis(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().expect("RFC 3339");
    time.as_millisecond()
}

/// Runs a batch at a host that is alone; gives the most that ran at once, by the stamps of its attempts.
fn most_at_once(host: &Host, parallelism: Option<usize>) -> usize {
    let batch = json!({"tasks": spinners(12, 60), "parallelism": parallelism});
    let client = &host.client;
    let answer = client.post("/v1/tasks/batch", &batch).expect(202).json();
    let id = answer["batch_id"].as_str().unwrap();
    let batch = batch_when(client, id, |batch| batch["done"] == true);
    assert_eq!(batch["counts"]["failed"], 12, "{batch}");
    let mut moments = Vec::new();
    for id in ids(&answer) {
        let attempts = client.get(&format!("/v1/tasks/{id}/attempts"));
        for attempt in attempts.expect(200).json()["items"].as_array().unwrap() {
            // Where one ends in the millisecond in which another begins, the end comes first.
            moments.push((millis(&attempt["started_at"]), 1_i32));
            moments.push((millis(&attempt["finished_at"]), -1_i32));
        }
    }
    moments.sort_unstable();
    let mut running = 0_i32;
    let at_once = moments.iter().map(|(_, change)| {
        running += change;
        running
    });
    usize::try_from(at_once.max().unwrap()).unwrap()
}

/// The same with several hosts, as the database counts them while they run: a claim that waits for
/// another host's is dated before that, so the stamps of several hosts say nothing.
fn most_at_once_over(hosts: &[&Host], parallelism: Option<usize>) -> u64 {
    let batch = json!({"tasks": spinners(12, 200), "parallelism": parallelism});
    let id = submit(&hosts[0].client, &batch);
    let mut most = 0;
    for host in hosts {
        let batch = batch_when(&host.client, &id, |batch| {
            most = most.max(batch["counts"]["running"].as_u64().unwrap());
            batch["done"] == true
        });
        assert_eq!(batch["counts"]["failed"], 12, "{batch}");
    }
    most
}

#[test]
fn no_more_of_a_batch_run_at_once_than_its_parallelism() {
    let host = host_with("[queue]\nslots = 8\npoll_interval_ms = 60000\n");
    assert_eq!(most_at_once(&host, Some(2)), 2);
}

#[test]
fn no_more_of_a_module_or_a_tenant_run_at_once_than_the_operator_says() {
    let config = "[queue]\nslots = 8\npoll_interval_ms = 60000\n";
    let host = host_with(&format!("{config}running_per_module_max = 2\n"));
    assert_eq!(most_at_once(&host, None), 2);
    let host = host_with(&format!("{config}running_per_tenant_max = 3\n"));
    assert_eq!(most_at_once(&host, None), 3);
}

/// Who makes room tells it: nobody polls here.
#[test]
fn hosts_keep_the_bound_of_a_module_together() {
    let database = Database::fresh();
    let config = format!(
        "{}[queue]\nslots = 8\nrunning_per_module_max = 3\npoll_interval_ms = 60000\n",
        on(&database)
    );
    let (first, second) = (host_with(&config), host_with(&config));
    let most = most_at_once_over(&[&first, &second], None);
    assert!((1..=3).contains(&most), "{most} ran at once");
}

#[test]
fn hosts_keep_the_parallelism_of_a_batch_together() {
    let database = Database::fresh();
    let config = format!("{}[queue]\nslots = 8\n", on(&database));
    let (first, second) = (host_with(&config), host_with(&config));
    let most = most_at_once_over(&[&first, &second], Some(3));
    assert!((1..=3).contains(&most), "{most} ran at once");
}

#[test]
fn a_batch_outlives_its_host_and_is_cancelled() {
    let mut host = host_with("");
    let id = submit(
        &host.client,
        &json!({"tasks": spinners(700, 60_000), "parallelism": 1}),
    );
    batch_when(&host.client, &id, |batch| batch["counts"]["running"] == 1);
    host.kill();
    host.restart();
    let batch = batch_when(&host.client, &id, |batch| batch["counts"]["running"] == 1);
    assert_eq!(batch["counts"]["pending"], 699, "{batch}");
    let path = format!("/v1/batches/{id}");
    let answer = host.client.delete(&path).expect(202).json();
    assert_eq!(answer["tasks"], 700, "{answer}");
    let batch = batch_when(&host.client, &id, |batch| batch["done"] == true);
    assert_eq!(batch["counts"]["cancelled"], 700, "{batch}");
    assert_eq!(host.client.delete(&path).expect(202).json()["tasks"], 0);
}

#[test]
fn a_filter_changes_what_it_was_seen_to_find() {
    let host = host_with("");
    let client = &host.client;
    let later = json!({"module": "echo", "delay_ms": 3_600_000, "metadata": {"team": "a"}});
    let mut tasks = vec![later; 1200];
    tasks.extend(echoes(3));
    let id = submit(client, &json!({"tasks": tasks}));
    batch_when(client, &id, |batch| batch["counts"]["completed"] == 3);
    let ask = |change: &str, body: Value| client.post(&format!("/v1/tasks/{change}"), &body);
    let team = json!({"metadata.team": "a", "status": "pending,completed"});
    let found = ask("cancel", json!({"filter": team})).expect(200).json();
    assert_eq!(found, json!({"matches": 1200}));
    // What is final cannot be cancelled, and nothing was cancelled yet.
    let found = ask("cancel", json!({"filter": {}})).expect(200).json();
    assert_eq!(found, json!({"matches": 1200}));
    let grown = ask("cancel", json!({"filter": team, "expect": 1199}));
    let problem = grown.expect_problem(409, "matches_grew");
    assert_eq!(problem["matches"], 1200, "{problem}");
    let begun = ask("cancel", json!({"filter": team, "expect": 1200})).expect(202);
    assert_eq!(begun.json(), json!({"matches": 1200}));
    let batch = batch_when(client, &id, |batch| batch["counts"]["cancelled"] == 1200);
    assert_eq!(batch["counts"]["completed"], 3, "{batch}");
    let none = json!({"filter": {"status": "completed"}});
    assert_eq!(ask("retry", none).expect(200).json(), json!({"matches": 0}));
    let all = json!({"filter": {"module": "echo"}, "expect": 5000});
    assert_eq!(
        ask("retry", all).expect(202).json(),
        json!({"matches": 1200})
    );
    batch_when(client, &id, |batch| batch["counts"]["completed"] == 1203);
    for (filter, field) in [
        (json!({"status": "lost"}), "filter.status"),
        (json!({"since": "c0"}), "filter.since"),
        (json!({"stauts": "failed"}), "filter.stauts"),
    ] {
        let answer = ask("retry", json!({"filter": filter}));
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["field"], field, "{}", answer.text());
    }
    ask("cancel", json!({"expect": 1})).expect_problem(400, "invalid_field");
}

#[test]
fn batches_and_filters_from_the_command_line() {
    let host = host_with("");
    let run = |args: &[&str], stdin: &[u8]| {
        let server = ["--server", host.client.base.as_str(), "task"];
        let output = cofferdam(&[&server, args].concat(), stdin);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), out.trim().to_owned(), err)
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for task in spinners(3, 60_000) {
        writeln!(file, "{task}").unwrap();
    }
    let path = file.path().display().to_string();
    let submit = ["submit", "--batch", &path, "--parallelism", "1"];
    let (code, id, err) = run(&submit, b"");
    assert_eq!(code, Some(0), "{err}");
    batch_when(&host.client, &id, |batch| batch["counts"]["running"] == 1);
    let told = run(&["batch", &id], b"").1;
    assert!(
        told.starts_with("3 tasks: ") && told.contains("2 pending"),
        "{told}"
    );
    assert_eq!(run(&["cancel", "--filter", "status=pending"], b"").1, "2");
    let sure = ["cancel", "--filter", "status=pending", "--expect", "2"];
    assert_eq!(run(&sure, b"").1, "2");
    batch_when(&host.client, &id, |batch| batch["counts"]["cancelled"] == 2);
    assert_eq!(run(&["cancel", "--batch", &id], b"").1, "1");
    batch_when(&host.client, &id, |batch| batch["counts"]["cancelled"] == 3);
    assert_eq!(run(&["retry", "--filter", "label=cancelled"], b"").1, "3");
    let array = json!(echoes(2)).to_string();
    let (code, _, err) = run(&["submit", "--batch", "-"], array.as_bytes());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(run(&["cancel"], b"").0, Some(2));
    assert_eq!(run(&["submit", "--batch", "-"], b"{]").0, Some(2));
    assert_eq!(run(&["submit"], b"").0, Some(2));
}
