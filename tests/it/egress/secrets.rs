//! Secrets in the headers of guests' requests: the upstream has them, and nobody else.

use serde_json::{Value, json};

use super::allowing;
use super::server::Server;
use crate::exec::ready;
use crate::support::guests::built;
use crate::support::host::Host;

/// Nothing else has this in it.
const MARKER: &str = "marker-of-a-secret-9876543210";

fn config(server: &Server) -> String {
    let key = "5e".repeat(32);
    let more = format!("[log]\nlevel = \"trace\"\n[storage]\nencryption_keys = [\"{key}\"]\n");
    allowing(server, &more)
}

fn with_secret(host: Host) -> Host {
    let value = json!({"value": MARKER}).to_string();
    let json = [("content-type", "application/json")];
    host.client
        .send("PUT", "/v1/secrets/token", &json, value.as_bytes())
        .expect(201);
    host
}

fn host(server: &Server) -> Host {
    let host = with_secret(Host::with_config(&config(server)));
    host.client.put_module("fetch", &built("fetch")).expect(201);
    host
}

/// A grant with the secret for the server.
fn grant(server: &Server) -> Value {
    let header = json!({"secret": "token", "prefix": "Bearer "});
    json!({"host": server.place(), "headers": {"Authorization": header}})
}

/// What the server was sent last as its authorization.
fn authorization(server: &Server) -> Vec<String> {
    let head = server.last_head().to_lowercase();
    let lines = head
        .lines()
        .filter(|line| line.starts_with("authorization:"));
    lines.map(str::to_owned).collect()
}

fn expected() -> Vec<String> {
    vec![format!("authorization: bearer {MARKER}")]
}

/// Nothing that a caller is shown of a task has the secret.
fn is_shown_nowhere(host: &Host, task: &Value) {
    let id = task["task_id"].as_str().unwrap();
    for path in [
        "",
        "/result",
        "/attempts",
        "/logs?stream=log",
        "/logs?stream=stderr",
    ] {
        let shown = host.client.get(&format!("/v1/tasks/{id}{path}")).text();
        assert!(!shown.contains(MARKER), "{path}: {shown}");
    }
}

#[test]
fn a_module_sends_a_secret_that_it_never_has() {
    let server = Server::start();
    let host = host(&server);
    let port = server.port();
    for isolation in ["shared", "process"] {
        let fetch = |url: String, http: Value| {
            host.client.submit_and_wait(&json!({
                "module": "fetch", "input": {"url": url}, "grants": {"http": http},
                "isolation": isolation,
            }))
        };
        let task = fetch(server.url("/hello"), json!([grant(&server)]));
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(authorization(&server), expected());
        is_shown_nowhere(&host, &task);
        // What was submitted can be submitted again.
        let path = format!("/v1/tasks/{}/request", task["task_id"].as_str().unwrap());
        let request = host.client.get(&path).expect(200).json()["request"].clone();
        let header = &request["grants"]["http"][0]["headers"]["authorization"];
        assert_eq!(*header, json!({"secret": "token", "prefix": "Bearer "}));
        let again = host.client.submit_and_wait(&request);
        assert_eq!(again["status"], "completed", "{again}");
        // It goes to the hosts of its grant alone.
        let other = format!("localhost:{port}");
        let url = format!("http://{other}/hello");
        let task = fetch(url, json!([grant(&server), other]));
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(authorization(&server), [""; 0]);
        // What fails says nothing of it.
        let task = fetch(server.url("/half"), json!([grant(&server)]));
        assert_eq!(task["status"], "failed", "{task}");
        is_shown_nowhere(&host, &task);
    }
    let log = host.log();
    assert!(
        log.contains("TRACE") && !log.contains(MARKER),
        "the log has the secret"
    );
}

#[test]
fn a_secret_that_is_not_there_is_refused_or_fails_its_task() {
    let server = Server::start();
    let host = host(&server);
    let task = |delay_ms: u32| {
        json!({
            "module": "fetch", "input": {"url": server.url("/hello")},
            "grants": {"http": [grant(&server)]}, "delay_ms": delay_ms,
        })
    };
    let id = host.client.submit(&task(1500));
    host.client
        .send("DELETE", "/v1/secrets/token", &[], &[])
        .expect(204);
    for (path, body) in [
        ("/v1/tasks", task(0)),
        ("/v1/tasks/batch", json!({"tasks": [task(0)]})),
    ] {
        let refused = host.client.post(path, &body);
        let problem = refused.expect_problem(400, "grant_refused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("there is no secret token"), "{detail}");
    }
    let failed = host.client.final_task(&id);
    assert_eq!(failed["error"]["kind"], "invalid_input", "{failed}");
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("there is no secret token"), "{message}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn what_is_no_header_for_a_secret_is_refused() {
    let server = Server::start();
    let host = host(&server);
    let token = json!({"secret": "token"});
    for headers in [
        json!({"Host": token}),
        json!({"a b": token}),
        json!({"X": {"secret": "../a"}}),
        json!({"X": {"secret": "token", "prefix": "a\r\n"}}),
        json!({"X": {"secret": "token", "suffix": "a"}}),
        json!({"X": token, "x": token}),
        json!({"X": "token"}),
    ] {
        let refused = host.client.post(
            "/v1/tasks",
            &json!({
                "module": "fetch", "input": {"url": server.url("/hello")},
                "grants": {"http": [{"host": server.place(), "headers": headers}]},
            }),
        );
        refused.expect_problem(400, "invalid_field");
    }
}

#[test]
fn code_sends_a_secret_in_place_of_its_own_header() {
    let server = Server::start();
    let host = with_secret(ready(&config(&server)));
    for (language, code) in [
        (
            "javascript",
            "await (await fetch('SERVER/hello', {headers: {Authorization: 'mine'}})).text()",
        ),
        (
            "python",
            "import urllib.request\n\
             asked = urllib.request.Request('SERVER/hello', headers={'Authorization': 'mine'})\n\
             urllib.request.urlopen(asked).read().decode()",
        ),
    ] {
        let code = code.replace("SERVER", &server.url(""));
        let request = json!({
            "language": language, "code": code, "grants": {"http": [grant(&server)]},
        });
        let answer = host.client.post("/v1/exec", &request).expect(200).json();
        assert_eq!(answer["result"], "hello", "{answer}");
        assert_eq!(authorization(&server), expected(), "{language}");
        assert!(!answer.to_string().contains(MARKER), "{answer}");
        // A session has it too.
        let request = json!({"language": language, "grants": {"http": [grant(&server)]}});
        let session = host
            .client
            .post("/v1/sessions", &request)
            .expect(201)
            .json();
        let path = format!(
            "/v1/sessions/{}/exec",
            session["session_id"].as_str().unwrap()
        );
        let answer = host
            .client
            .post(&path, &json!({"code": code}))
            .expect(200)
            .json();
        assert_eq!(answer["result"], "hello", "{answer}");
        assert_eq!(authorization(&server), expected(), "{language}");
    }
    assert!(!host.log().contains(MARKER));
}
