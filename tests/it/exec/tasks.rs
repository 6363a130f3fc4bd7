//! Code as durable tasks, as a stream, through the worker API and on the command line.

use serde_json::json;

use super::ready;
use crate::support::host::Host;

#[test]
fn code_can_be_a_task_that_survives_its_host() {
    let mut host = ready("");
    let request = json!({"language": "python", "code": "open('left.txt', 'w').write('x')\nprint('hi')\n[1, 2]", "files": {"a": "b"}});
    let accepted = host
        .client
        .post("/v1/exec?async=true", &request)
        .expect(202)
        .json();
    let id = accepted["task_id"].as_str().unwrap().to_owned();
    host.client.final_task(&id);
    let answer = host
        .client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(200)
        .json();
    assert_eq!(
        (&answer["status"], &answer["result"]),
        (&json!("completed"), &json!([1, 2]))
    );
    assert_eq!(answer["stdout"], "hi\n");
    let url = answer["files"]["left.txt"]["url"].as_str().unwrap();
    assert_eq!(host.client.get(url).expect(200).body, b"x");
    assert_eq!(answer["files"].as_object().unwrap().len(), 1);

    let failing = json!({"language": "python", "code": "def f():\n    1/0\nf()"});
    let accepted = host
        .client
        .post("/v1/exec?async=true", &failing)
        .expect(202)
        .json();
    let task = host
        .client
        .final_task(accepted["task_id"].as_str().unwrap());
    assert_eq!(task["error"]["kind"], "guest_error");
    assert!(
        task["error"]["backtrace"]
            .as_str()
            .unwrap()
            .contains("line 2, in f"),
        "{task}"
    );

    let slow = json!({"language": "python", "code": "import time\ntime.sleep(2)\n7"});
    let accepted = host
        .client
        .post("/v1/exec?async=true", &slow)
        .expect(202)
        .json();
    let id = accepted["task_id"].as_str().unwrap().to_owned();
    host.client
        .task_when(&id, |task| task["status"] == "running");
    host.kill();
    host.restart();
    let task = host.client.final_task(&id);
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(task["lost"], 1);
}

#[test]
fn output_is_streamed_while_code_runs() {
    let host = ready("");
    let header = [
        ("accept", "text/event-stream"),
        ("content-type", "application/json"),
    ];
    let body = json!({"language": "python", "code": "import sys\nprint('a')\nprint('b', file=sys.stderr)\n3"});
    let stream = host
        .client
        .send("POST", "/v1/exec", &header, body.to_string().as_bytes())
        .expect(200);
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let text = stream.text();
    let events: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(events.first(), Some(&"stdout"), "{text}");
    assert_eq!(events.last(), Some(&"result"), "{text}");
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let result: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&result["result"], &result["stdout"]),
        (&json!(3), &json!("a\n"))
    );
}

#[test]
fn a_value_reaches_every_caller_verbatim() {
    let host = ready("");
    let number = "1606938044258990275541962092341162602522202993782792835301376";
    let nested = format!("{}{}", "[".repeat(201), "]".repeat(201));
    for (code, value) in [
        ("2**200", number),
        ("a = []\nfor _ in range(200): a = [a]\na", nested.as_str()),
    ] {
        let wanted = format!("\"result\":{value},");
        let body = json!({"language": "python", "code": code}).to_string();
        let stream = [
            ("accept", "text/event-stream"),
            ("content-type", "application/json"),
        ];
        let send = |path: &str, body: &str, headers: &[(&str, &str)]| {
            let answer = host.client.send("POST", path, headers, body.as_bytes());
            answer.expect(200).text()
        };
        let session = host
            .client
            .post("/v1/sessions", &json!({"language": "python"}))
            .json();
        let session = format!(
            "/v1/sessions/{}/exec",
            session["session_id"].as_str().unwrap()
        );
        let turn = json!({"code": code}).to_string();
        for (path, body) in [("/v1/exec", &body), (session.as_str(), &turn)] {
            assert!(send(path, body, &stream).contains(&wanted), "{path} {code}");
            assert!(
                send(path, body, &stream[1..]).contains(&wanted),
                "{path} {code}"
            );
        }
        let task = host
            .client
            .post(
                "/execute",
                &json!({"task_type": "sandboxed_execution", "payload": {"code": code}}),
            )
            .expect(200)
            .json();
        let id = task["task_id"].as_str().unwrap();
        host.client.final_task(id);
        let result = host.client.get(&format!("/task/{id}/result")).expect(200);
        assert!(result.text().contains(&wanted), "{}", result.text());
    }
}

#[test]
fn a_repeated_submission_returns_the_state_of_the_first() {
    let host = ready("");
    let body = json!({"language": "python", "code": "1"}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let send = || {
        let answer = host
            .client
            .send("POST", "/v1/exec?async=true", &headers, body.as_bytes());
        answer.expect(202).json()
    };
    let first = send();
    host.client.final_task(first["task_id"].as_str().unwrap());
    let again = send();
    assert_eq!(again["task_id"], first["task_id"]);
    assert_eq!(again["status"], "completed");
}

#[test]
fn existing_pools_send_code_as_they_do() {
    let host = ready("");
    let body = json!({"task_id": "job-1", "task_type": "sandboxed_execution",
        "payload": {"code": "print(2)\n3", "language": "python", "timeout": 5.5, "memory_limit_mb": 128}});
    assert_eq!(
        host.client.post("/execute", &body).expect(200).json()["status"],
        "accepted"
    );
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let result = loop {
        let result = host.client.get("/task/job-1/result").expect(200).json();
        if result["status"] == "completed" {
            break result;
        }
        assert!(std::time::Instant::now() < until, "{result}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(
        (&result["result"]["stdout"], &result["result"]["result"]),
        (&json!("2\n"), &json!(3))
    );
}

#[test]
fn the_command_line_runs_code() {
    let host = ready("");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.txt"), "data").unwrap();
    let cofferdam = |args: &[&str]| {
        let server = &host.client.base;
        let output = std::process::Command::new(crate::support::host::program())
            .args(["--server", server])
            .args(args)
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let run = |args: &[&str]| cofferdam(&[&["exec"], args].concat());
    let (code, out, err) = run(&[
        "--python",
        "print(open('x').read())\nopen('y','w').write('!')\n[1]",
        "--file",
        "x=in.txt",
        "--out",
        "got",
    ]);
    assert_eq!((code, out.as_str()), (Some(0), "data\n[1]\n"), "{err}");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("got/y")).unwrap(),
        "!"
    );
    let (code, out, err) = run(&["--javascript", "console.log(process.argv[2]); null.x", "a"]);
    assert_eq!((code, out.as_str()), (Some(1), "a\n"));
    assert!(err.contains("TypeError"), "{err}");
    assert_eq!(run(&[]).0, Some(2));

    let exact = run(&["--python", "10**30"]);
    assert_eq!(exact.1, format!("1{}\n", "0".repeat(30)));
    let exact = run(&["--json", "--python", "10**30"]);
    assert!(
        exact
            .1
            .contains(&format!("\"result\":1{},", "0".repeat(30)))
    );

    let script = folder.path().join("double.py");
    std::fs::write(&script, "def run(input):\n    return input * 2\n").unwrap();
    let pushed = cofferdam(&["module", "push", "double", "double.py"]);
    assert_eq!(pushed.0, Some(0), "{}", pushed.2);
    let done = cofferdam(&["task", "submit", "double", "--data", "21", "--wait"]);
    assert_eq!(done.1, "42");
}

#[test]
fn scripts_wait_for_an_interpreter_that_is_being_compiled() {
    const TASKS: usize = 40;
    // There is only one interpreter, so that the compiler spends no time on the other.
    let folder = tempfile::tempdir().unwrap();
    let built = crate::support::host::program().with_file_name("interpreters/javascript.wasm");
    std::fs::copy(built, folder.path().join("javascript.wasm")).expect("it is built");
    let dir = folder.path().display();
    let mut host = Host::with_config(&format!("[interpreters]\ndir = {:?}\n", dir.to_string()));
    let state = |host: &Host| {
        let ready = host.client.get("/readyz").expect(200).json();
        ready["interpreters"]["javascript"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let until_ready = |host: &Host| {
        while state(host) != "ready" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    until_ready(&host);
    let source = "export function run(input) { return input + 1; }";
    let header = [("content-type", "text/javascript")];
    host.client
        .send("PUT", "/v1/modules/more", &header, source.as_bytes())
        .expect(201);
    let ids: Vec<String> = (0..TASKS)
        .map(|n| {
            let task = json!({"module": "more", "input": n, "delay_ms": 1000,
                "retry": {"max_attempts": 1}});
            host.client.submit(&task)
        })
        .collect();
    host.kill();
    // Its compiled code is removed, so that the tasks are due long before it is ready.
    std::fs::remove_dir_all(host.data().join("compiled")).unwrap();
    host.restart();
    let first = host
        .client
        .task_when(&ids[0], |task| task["label"] != "pending");
    println!("{first} while the interpreter is {}", state(&host));
    for (n, id) in ids.iter().enumerate() {
        let task = host.client.final_task(id);
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&json!("completed"), &json!(1)),
            "{task}"
        );
        let result = host.client.get(&format!("/v1/tasks/{id}/result"));
        assert_eq!(result.expect(200).json(), json!(n + 1));
    }
}
