//! A full disk: acknowledged data is kept, everything else is refused, and new space is enough to
//! go on.

use serde_json::{Value, json};

use crate::exec::WARM_UP;
use crate::support::disk::SmallDisk;
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Answer;

/// Room for a database, its log and some compiled code.
const DISK_MEBIBYTES: u64 = 64;
/// The space left when it is almost full: enough for some tasks but not for their ends.
const LEFT_BYTES: u64 = 512 * 1024;
/// How many tasks are tried then.
const TRIES: usize = 1000;
/// The bytes of each task, and of its end.
const INPUT_BYTES: usize = 50_000;

const NO_INTERPRETERS: &str = "[interpreters]\ndir = \"/nowhere\"\n";

fn host(disk: &SmallDisk, config: &str) -> Host {
    let host = Host::over(disk.folder(), config);
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    host
}

#[track_caller]
fn expect_no_room(answer: Answer) -> Value {
    answer.expect_problem(507, "storage_full")
}

#[test]
fn a_full_disk_loses_nothing_acknowledged_and_room_is_enough_to_go_on() {
    let Some(disk) = SmallDisk::new(DISK_MEBIBYTES) else {
        return;
    };
    let mut host = host(&disk, NO_INTERPRETERS);
    let mut acknowledged = vec![
        host.client
            .submit(&json!({"module": "echo", "input": "first"})),
    ];
    let filling = disk.fill(LEFT_BYTES);
    let input = "x".repeat(INPUT_BYTES);
    let refused = (0..TRIES).find_map(|_| {
        let task = json!({"module": "echo", "input": input});
        let answer = host.client.post("/v1/tasks", &task);
        if answer.status == 202 {
            let id = answer.json()["task_id"].as_str().unwrap().to_owned();
            acknowledged.push(id);
            return None;
        }
        Some(answer)
    });
    expect_no_room(refused.expect("a full disk takes only some tasks"));
    // It lives and answers queries.
    host.client.get("/livez").expect(200);
    for id in &acknowledged {
        host.client.task(id);
    }

    drop(filling);
    acknowledged.push(
        host.client
            .submit(&json!({"module": "echo", "input": "last"})),
    );
    for id in &acknowledged {
        let task = host.client.final_task(id);
        assert_eq!(task["status"], "completed", "{task}");
    }
    println!("{} acknowledged on a full disk", acknowledged.len());
    assert!(host.stop().success());
    host.restart();
    let listed = host.client.get("/v1/tasks?limit=1000").expect(200).json();
    let mut kept: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["task_id"].as_str().unwrap())
        .collect();
    kept.sort_unstable();
    acknowledged.sort_unstable();
    assert_eq!(kept, acknowledged, "refused tasks are not kept");
}

#[test]
fn work_that_needs_disk_space_is_refused_and_other_work_goes_on() {
    let Some(disk) = SmallDisk::new(DISK_MEBIBYTES) else {
        return;
    };
    let mut host = host(
        &disk,
        &format!("{NO_INTERPRETERS}[http]\ninline_body_bytes = 65536\n"),
    );
    let client = &host.client;
    client
        .put_module("writer", &guests::wat("fill-disk.wat"))
        .expect(201);
    let (module, large) = (guests::wat("exit-7.wat"), vec![b' '; 1 << 20]);
    let submit_large = || {
        let headers = [("content-type", "text/plain")];
        client.send("POST", "/v1/tasks?module=echo", &headers, &large)
    };
    let filling = disk.fill(0);

    expect_no_room(client.put_module("late", &module));
    expect_no_room(submit_large());
    let echoed = client
        .run("echo", "text/plain", b"needs no room")
        .expect(200);
    assert_eq!(echoed.body, b"needs no room");
    // Far below its quota; it gives up with the number of "no space left on device".
    let problem = client
        .run("writer", "text/plain", b"")
        .expect_problem(422, "exit");
    assert!(
        problem["detail"].as_str().unwrap().contains("51"),
        "{problem}"
    );

    drop(filling);
    client.put_module("late", &module).expect(201);
    let accepted = submit_large().expect(202).json();
    let task = client.final_task(accepted["task_id"].as_str().unwrap());
    assert_eq!(task["status"], "completed", "{task}");
    assert!(host.stop().success());
}

#[test]
fn a_full_disk_shows_and_a_host_with_room_is_ready_by_itself() {
    let Some(disk) = SmallDisk::new(DISK_MEBIBYTES) else {
        return;
    };
    let mut host = host(&disk, NO_INTERPRETERS);
    let metric = |name: &str| {
        let text = host.client.get("/metrics").expect(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    host.client.get("/readyz").expect(200);
    assert_eq!(metric("cofferdam_disk_full "), "0");
    let filling = disk.fill(0);
    let problem = host.client.get("/readyz").expect_problem(503, "disk_full");
    assert_eq!(problem["missing"], json!(["disk"]));
    assert_eq!(metric("cofferdam_disk_full "), "1");
    assert_eq!(metric("cofferdam_disk_free_bytes "), "0");
    drop(filling);
    host.client.get("/readyz").expect(200);
    let filling = disk.fill(0);
    let began = std::time::Instant::now();
    assert!(host.stop().success());
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(filling);
}

/// Room for the compiled interpreters, their modules, and what else there is.
const DISK_WITH_INTERPRETERS_MEBIBYTES: u64 = 512;
/// Enough to take work, and for JavaScript, but not for what Python is compiled to.
const LEFT_WITHOUT_PYTHON_BYTES: u64 = 40 << 20;

#[test]
fn an_interpreter_without_room_is_missing_and_comes_by_itself() {
    let Some(disk) = SmallDisk::new(DISK_WITH_INTERPRETERS_MEBIBYTES) else {
        return;
    };
    let filling = disk.fill(LEFT_WITHOUT_PYTHON_BYTES);
    let host = Host::over(disk.folder(), "");
    let until = std::time::Instant::now() + WARM_UP;
    let readiness_when = |wanted: &dyn Fn(&Answer) -> bool| loop {
        let answer = host.client.get("/readyz");
        if wanted(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < until, "{}", answer.text());
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    // While Python is compiled, the draft fills the disk for everybody.
    readiness_when(&|answer| answer.status == 503 && answer.json()["missing"] == json!(["python"]))
        .expect_problem(503, "disk_full");
    let metrics = host.client.get("/metrics").expect(200).text();
    let line = r#"cofferdam_interpreter_state{language="python",state="no_room"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    let code = json!({"language": "python", "code": "6 * 7"});
    let refused = host.client.post("/v1/exec", &code);
    assert_ne!(refused.header("retry-after"), "");
    refused.expect_problem(503, "interpreter_failed");

    drop(filling);
    readiness_when(&|answer| {
        answer.status == 200 && answer.json()["interpreters"]["python"] == "ready"
    });
    let answer = host.client.post("/v1/exec", &code).expect(200).json();
    assert_eq!(answer["result"], 42, "{answer}");
    let metrics = host.client.get("/metrics").expect(200).text();
    assert!(!metrics.contains("no_room"), "{metrics}");
}
