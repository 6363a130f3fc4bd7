//! `/monitoring` in a real browser: Debian's Chromium, driven by the scripts in `tests/browser`, over real hosts
//! with real tasks. The pages, what they must not do, and the journeys are in those scripts; here is what
//! they find.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// The administrator's key of the host with keys.
const ADMIN: &str = "an-administrator-s-key-for-a-browser-0123456789";
/// A number that JavaScript rounds.
const LARGE: u64 = 12_345_678_901_234_567_890;
/// What a hostile guest says, wherever it can say something.
const MARK: &str = r#"<img src=x onerror="window.hurt=1">"#;

/// Where the packages are that drive the browser, and where its pictures go.
fn packages() -> PathBuf {
    let folder = guests::root().join("target/browser");
    let driver = folder.join("node_modules/playwright-core/package.json");
    assert!(
        driver.exists(),
        "{} is missing; `cargo xtask peers` installs it",
        driver.display()
    );
    folder
}

fn chromium() -> &'static Path {
    let program = Path::new("/usr/bin/chromium");
    assert!(
        program.exists(),
        "{} is missing; `cargo xtask peers` installs Debian's package chromium",
        program.display()
    );
    program
}

fn put_script(client: &Client, name: &str, source: &str) {
    let headers = [("content-type", "text/x-python")];
    client
        .send(
            "PUT",
            &format!("/v1/modules/{name}"),
            &headers,
            source.as_bytes(),
        )
        .expect(201);
}

/// A module with a schema from which a form is made.
const DESCRIBED: &str = r#""""Scales a picture down to a thumbnail, and says how large it has become."""
INPUT_SCHEMA = {
    "type": "object", "required": ["width"], "additionalProperties": False,
    "properties": {
        "width": {"type": "integer", "minimum": 1, "maximum": 4096, "description": "in pixels", "default": 320},
        "mode": {"enum": ["fit", "fill", "crop"]}, "quality": {"type": "number", "default": 0.8},
        "progressive": {"type": "boolean"}, "note": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "border": {"type": "object", "properties": {"colour": {"type": "string"}, "width": {"type": "integer"}}},
    },
}
OUTPUT_SCHEMA = {"type": "object"}
def run(input):
    if input["width"] > 4000:
        raise ValueError("wider than 4000 pixels")
    return {"width": input["width"]}
"#;

/// A module that says the mark wherever it can.
fn hostile() -> String {
    let mark = Value::from(MARK).to_string();
    format!(
        "{mark}\nMARK = {mark}\n\
         INPUT_SCHEMA = {{'type': 'object', 'properties': {{'fail': {{'type': 'boolean', 'title': {mark}, \
         'description': {mark}}}}}}}\n\
         def run(input):\n    print(MARK)\n    if input.get('fail'):\n        raise Exception(MARK)\n    \
         open('/out/' + MARK, 'w').write(MARK)\n    return {{MARK: MARK}}\n"
    )
}

/// Gives a host work of every kind, and says what there is.
fn load(client: &Client) -> Value {
    for name in ["echo", "trap", "sleep", "say-and-sleep"] {
        let wat = guests::wat(&format!("{name}.wat"));
        client.put_module(name, &wat).expect(201);
    }
    put_script(client, "images/thumbnail", DESCRIBED);
    put_script(client, "hostile", &hostile());
    let ended = |task: Value| client.submit_and_wait(&task)["task_id"].clone();
    let long = json!({"timeout_ms": 600_000});
    let begun = |module: &str| {
        let id = client.submit(&json!({"module": module, "limits": long}));
        client.task_when(&id, |task| task["status"] == "running");
        id
    };
    let said = json!({"note": MARK});
    let batch = json!({"tasks": [{"module": "echo", "input": 1}, {"module": "echo", "input": 2}]});
    let batch = client.post("/v1/tasks/batch", &batch).expect(202).json();
    let nightly =
        json!({"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "task": {"module": "echo"}});
    let often = json!({"every_ms": 3_600_000, "paused": true, "task": {"module": "echo"}});
    for (name, schedule) in [("nightly", nightly), ("often", often)] {
        let headers = [("content-type", "application/json")];
        let path = format!("/v1/schedules/{name}");
        let put = client.send("PUT", &path, &headers, schedule.to_string().as_bytes());
        put.expect(201);
    }
    client
        .post("/v1/schedules/nightly/run", &json!({}))
        .expect(202);
    json!({
        "completed": ended(json!({"module": "echo", "input": {"a": [1, LARGE]}, "metadata": {"order": 7}})),
        "failed": ended(json!({"module": "trap", "input": 7})),
        "failed_twice": ended(json!({"module": "trap", "input": 7, "retry": {"max_attempts": 3, "base_ms": 20}})),
        "running": begun("sleep"),
        "talking": begun("say-and-sleep"),
        "batch": batch["batch_id"],
        "workflow": workflow(client),
        "described": "images/thumbnail",
        "hostile_module": "hostile",
        "hostile_done": ended(json!({"module": "hostile", "input": {}, "metadata": said})),
        "hostile_failed": ended(json!({"module": "hostile", "input": {"fail": true}, "metadata": said})),
        "mark": MARK,
        "large": LARGE.to_string(),
        "base": client.base,
    })
}

/// Submits a workflow that waits for a signal, then has a node that fails and one behind it. Gives its id.
fn workflow(client: &Client) -> Value {
    let nodes = json!([
        {"id": "fetch", "module": "echo", "input": {"a": 1}}, {"id": "left", "module": "echo", "input": {"$from": "fetch"}},
        {"id": "right", "module": "echo", "input": {"$from": "fetch", "pointer": "/a"}},
        {"id": "approval", "wait": {"signal": "approved", "timeout_ms": 600_000}},
        {"id": "publish", "module": "trap", "input": 1}, {"id": "after", "module": "echo"},
    ]);
    let edges = json!([
        ["fetch", "left"],
        ["fetch", "right"],
        ["left", "approval"],
        ["right", "approval"],
        ["approval", "publish"],
        ["publish", "after"],
    ]);
    let workflow =
        json!({"name": "nightly report", "on_failure": "continue", "nodes": nodes, "edges": edges});
    let made = client.post("/v1/workflows", &workflow).expect(202).json();
    made["workflow_id"].clone()
}

/// A host with an administrator's key, and another that only reads.
fn keyed() -> (Host, String) {
    let environment = vec![("COFFERDAM_ACCESS_ADMIN_KEY", ADMIN.to_owned())];
    let host = Host::with_environment("", environment);
    let asked = json!({"name": MARK, "scopes": ["read"]}).to_string();
    let headers = [("x-api-key", ADMIN), ("content-type", "application/json")];
    let made = host
        .client
        .send("POST", "/v1/keys", &headers, asked.as_bytes());
    let key = made.expect(201).json()["key"].as_str().unwrap().to_owned();
    (host, key)
}

#[test]
fn people_watch_and_use_a_host_in_a_browser() {
    let (packages, chromium) = (packages(), chromium());
    let host = ready(&format!(
        "[breaker]\nthreshold = 5\n[storage]\nencryption_keys = [\"{}\"]\n",
        "0f".repeat(32)
    ));
    let (with_keys, reader) = keyed();
    let mut site = load(&host.client);
    site["keyed"] = json!(with_keys.client.base);
    site["admin"] = json!(ADMIN);
    site["reader"] = json!(reader);
    let output = Command::new("node")
        .arg(guests::root().join("tests/browser/main.mjs"))
        .env("COFFERDAM_BROWSER", packages)
        .env("COFFERDAM_CHROMIUM", chromium)
        .env("COFFERDAM_SITE", site.to_string())
        .output()
        .expect("Node starts");
    let (told, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{wrong}");
    println!("{told}");
}

#[test]
fn the_request_of_a_task_makes_another_like_it() {
    let host = Host::start();
    let client = &host.client;
    client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let asked = json!({
        "module": "echo", "input": {"a": 1.50}, "args": ["x"], "env": {"K": "V"}, "priority": "high",
        "limits": {"timeout_ms": 1234, "memory_bytes": 8_388_608}, "retry": {"max_attempts": 3, "factor": 1.5},
        "requires": ["cpu"], "isolation": "shared", "metadata": {"order": 7},
    });
    let request = |id: &str| client.get(&format!("/v1/tasks/{id}/request")).expect(200);
    let first = request(&client.submit(&asked)).json();
    for (name, value) in asked.as_object().unwrap() {
        let got = &first["request"][name];
        let holds = value.as_object().map_or(got == value, |members| {
            members.iter().all(|(name, value)| got[name] == *value)
        });
        assert!(holds, "{name}: {got}, not {value}");
    }
    let second = request(&client.submit(&first["request"])).json();
    assert_eq!(first, second);
    let bytes = json!({"module": "echo", "input_base64": "AP8=", "content_type": "image/png"});
    let first = request(&client.submit(&bytes)).json();
    assert_eq!(first["request"]["input_base64"], "AP8=");
    assert_eq!(first["request"]["content_type"], "image/png");
    assert_eq!(first["input_bytes"], 2);
    let second = request(&client.submit(&first["request"])).json();
    assert_eq!(first, second);
}

#[test]
fn an_input_beside_the_database_is_left_out_of_the_request() {
    let host = Host::with_config("[http]\ninline_body_bytes = 65536\n");
    let client = &host.client;
    client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let large = vec![b'x'; 100_000];
    let headers = [("content-type", "text/plain")];
    let task = client.send(
        "POST",
        "/v1/tasks?module=echo&delay_ms=3600000",
        &headers,
        &large,
    );
    let id = task.expect(202).json()["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let request = client
        .get(&format!("/v1/tasks/{id}/request"))
        .expect(200)
        .json();
    assert_eq!(request["input_left_out"], true);
    assert_eq!(request["input_bytes"], large.len());
    assert_eq!(request["request"].get("input_base64"), None);
}
