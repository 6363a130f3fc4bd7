//! Descriptions, schemas and inputs that a stranger chose do not stop others.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// Long checks end soon.
const CONFIG: &str = "[sandbox]\nschema_check_timeout_ms = 300\n";

/// Six callers do the same at once; meanwhile the host answers everybody else, and at the end it
/// stops properly.
#[track_caller]
fn while_six_call(mut host: Host, call: impl Fn(&Client) -> Answer + Sync) -> Vec<Answer> {
    let answers = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6).map(|_| scope.spawn(|| call(&host.client))).collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            host.client.get("/livez").expect(200);
            std::thread::sleep(Duration::from_millis(20));
        }
        let joined = callers.into_iter().map(|caller| caller.join().unwrap());
        joined.collect()
    });
    assert!(host.stop().success());
    answers
}

/// A schema with 40 levels, each of which refers to the next twice, in a property whose name is a
/// keyword.
fn doubling(word: &str, last: &Value) -> Value {
    let mut levels = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/properties/definitions/properties/a{}", n + 1)});
        levels.insert(format!("a{n}"), json!({ word: [next, next] }));
    }
    levels.insert("a40".to_owned(), last.clone());
    json!({
        "$ref": "#/properties/definitions/properties/a0",
        "properties": {"definitions": {"properties": levels}},
    })
}

#[test]
fn a_check_that_would_take_for_ever_ends_and_stops_nobody() {
    let schemas = [
        doubling("allOf", &json!(true)),
        doubling("anyOf", &json!(false)),
        doubling("oneOf", &json!(false)),
        json!({"items": {"pattern": "^[01]*1[01]{3000}$"}}),
        json!({"patternProperties": {"^[01]*1[01]{3000}$": true}}),
    ];
    // No part of it repeats, so an automaton meets a new state at each step.
    let bits = std::iter::successors(Some(1_u32), |n| {
        Some(n.wrapping_mul(747_796_405).wrapping_add(1))
    });
    let bits = bits.map(|n| if n >> 31 == 0 { '0' } else { '1' });
    let long: String = bits.take(400_000).collect();
    for schema in schemas {
        let host = Host::with_config(CONFIG);
        let module = guests::described(Some(&schema.to_string()), None);
        host.client.put_module("m", &module).expect(201);
        let input = json!([long.as_str()]);
        let input = match schema.get("patternProperties") {
            Some(_) => json!({ &long: 1 }),
            None => input,
        };
        for answer in while_six_call(host, |client| {
            client.post("/v1/tasks", &json!({"module": "m", "input": input}))
        }) {
            // A caller without a place may try again.
            let code = answer.json()["code"].clone();
            assert!(
                code == "schema_check_limit" || code == "schema_checks_busy",
                "{schema}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn a_run_at_once_and_a_call_of_an_agent_are_checked_as_a_task_is() {
    let host = Host::with_config(CONFIG);
    let schema = doubling("allOf", &json!(true)).to_string();
    let module = guests::described(Some(&schema), None);
    host.client.put_module("m", &module).expect(201);
    host.client
        .run("m", "application/json", b"1")
        .expect_problem(422, "schema_check_limit");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "m", "arguments": {"input": 1}}});
    let session = crate::mcp::Session::begin(&host);
    let answer = session.send(&call).expect(200).text();
    assert!(
        answer.contains("isError\":true") && answer.contains("300 ms"),
        "{answer}"
    );
}

#[test]
fn a_schema_that_is_too_costly_to_read_is_refused_at_the_upload() {
    let patterns = (0..300).map(|n| (format!("{n}(a{{250}}){{600}}"), json!(true)));
    let patterns = json!({"patternProperties": patterns.collect::<Map<_, _>>()}).to_string();
    let host = Host::start();
    let module = guests::described(Some(&patterns), None);
    for answer in while_six_call(host, |client| client.put_module("m", &module)) {
        let problem = answer.expect_problem(422, "module_refused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("automaton") && detail.len() < 1000,
            "{detail}"
        );
    }
}

#[test]
fn a_large_schema_and_a_large_list_of_unlike_items_are_checked() {
    // A slow machine may take its time; the square of the items would take longer.
    let host = Host::with_config("[sandbox]\nschema_check_timeout_ms = 60000\n");
    let names: Vec<String> = (0..8_000).map(|n| format!("name{n}")).collect();
    let schema = json!({"items": {"enum": names}, "uniqueItems": true, "maxItems": 9_000});
    let module = guests::described(Some(&schema.to_string()), None);
    host.client.put_module("m", &module).expect(201);
    let numbers: Vec<u32> = (0..100_000).collect();
    let unique = guests::described(Some(r#"{"uniqueItems": true}"#), None);
    host.client.put_module("unique", &unique).expect(201);
    let run = |module: &str, value: &Value| {
        let body = value.to_string();
        host.client.run(module, "application/json", body.as_bytes())
    };
    run("unique", &json!(numbers)).expect(200);
    let mut repeated = numbers.clone();
    repeated.push(7);
    let problem = run("unique", &json!(repeated)).expect_problem(422, "invalid_input");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("7 and 100000") && detail.len() < 1000,
        "{detail}"
    );
    run("m", &json!(["name7", "name7999"])).expect(200);
    run("m", &json!(["name7", "name8000"])).expect_problem(422, "invalid_input");
}

/// CPU time of the threads with one name, in ticks.
fn cpu_of(host: &Host, name: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let ticks = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let is_it = head.split_once('(')?.1.starts_with(name);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let used: u64 = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
        is_it.then_some(used)
    });
    ticks.sum()
}

#[test]
fn a_description_is_computed_on_the_guest_threads() {
    for guest in [
        "describe-for-ever.wat",
        "describe-after-start.wat",
        "describe-fills-memory.wat",
    ] {
        let host = Host::with_config("[limits]\ncpu_ms = 500\ntimeout_ms = 60000\n");
        let module = guests::wat(guest);
        let answered = while_six_describe(&host, &module);
        for answer in answered {
            let problem = answer.expect_problem(422, "module_refused");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("describe() failed"), "{detail}");
        }
        let (own, guests) = (cpu_of(&host, "http"), cpu_of(&host, "guest"));
        assert!(
            own < guests,
            "{guest}: {own} ticks, the guests had {guests}"
        );
    }
}

fn while_six_describe(host: &Host, module: &[u8]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let upload = |n| host.client.put_module(&format!("m{n}"), module);
        let uploads: Vec<_> = (0..6).map(|n| scope.spawn(move || upload(n))).collect();
        while uploads.iter().any(|upload| !upload.is_finished()) {
            host.client.get("/livez").expect(200);
            std::thread::sleep(Duration::from_millis(20));
        }
        let joined = uploads.into_iter().map(|upload| upload.join().unwrap());
        joined.collect()
    })
}
