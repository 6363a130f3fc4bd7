//! The result cache through the real binary: what is found again, for whom, and what is never kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::site::{ADMIN, Site};
use crate::cli::cofferdam;
use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// A host with a module that gives something else each time it runs.
fn host(config: &str) -> Host {
    let host = Host::with_config(config);
    for name in ["draw", "trap"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

/// What a run gives, and where that came from.
fn draw(client: &Client, query: &str) -> (Vec<u8>, String) {
    let answer = client.run(&format!("draw?{query}"), "text/plain", b"");
    let answer = answer.expect(200);
    let how = answer.header("cofferdam-cache").to_owned();
    (answer.body, how)
}

#[test]
fn what_a_task_left_is_held_to_the_schema_by_whoever_finds_it() {
    let host = host("");
    let client = &host.client;
    let schema = json!({"type": "object"}).to_string();
    let module = guests::described(None, Some(&schema));
    client.put_module("described", &module).expect(201);
    let task = json!({"module": "described", "input": 7, "cache": {"ttl_ms": 600_000}});
    let task = client.submit_and_wait(&task);
    assert_eq!(task["error"]["kind"], "guest_error", "{task}");
    for _ in 0..2 {
        let path = "described?cache_ttl_ms=600000";
        client
            .run(path, "application/json", b"7")
            .expect_problem(422, "guest_error");
    }
}

fn lookups(client: &Client, how: &str) -> u64 {
    let metrics = client.get("/metrics").expect(200).text();
    let name = format!("cofferdam_cache_lookups_total{{outcome=\"{how}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

/// How many results there are on disk, and how many were found there.
fn on_disk(metrics: &str) -> [u64; 2] {
    ["results", "hits_total"].map(|what| {
        let name = format!("cofferdam_cache_{what}{{tier=\"disk\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    })
}

fn metrics(host: &Host) -> String {
    let headers = [("x-api-key", ADMIN)];
    let answer = host.client.send("GET", "/metrics", &headers, b"");
    answer.expect(200).text()
}

#[track_caller]
fn await_on_disk(host: &Host, results: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while on_disk(&metrics(host))[0] != results {
        assert!(Instant::now() < deadline, "{}", metrics(host));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_asks_takes_the_result_of_one_that_was_the_same() {
    let host = host("");
    let client = &host.client;
    let (first, how) = draw(client, "cache_ttl_ms=600000");
    assert_eq!(how, "miss");
    assert_eq!(
        draw(client, "cache_ttl_ms=600000"),
        (first.clone(), "hit".to_owned())
    );
    let headers = [("cofferdam-cache-ttl-ms", "600000")];
    let by_header = client.send("POST", "/v1/run/draw", &headers, b"");
    assert_eq!(
        by_header.header("cofferdam-cache"),
        "miss",
        "it has another content type"
    );
    // Whoever does not ask, asks for other limits or another argument, or for something newer, has it run.
    for query in [
        "",
        "cache_ttl_ms=600000&timeout_ms=9999",
        "cache_ttl_ms=600000&arg=x",
        "cache_ttl_ms=600000&env=K%3DV",
        "cache_ttl_ms=1",
    ] {
        let (other, how) = draw(client, query);
        assert_ne!(other, first, "{query}");
        assert_eq!(how, if query.is_empty() { "" } else { "miss" }, "{query}");
    }
    // A failure is found out anew.
    for _ in 0..2 {
        let path = "trap?cache_ttl_ms=600000";
        client
            .run(path, "text/plain", b"")
            .expect_problem(422, "trap");
    }
    for bad in ["0", "604800001", "x"] {
        let path = format!("draw?cache_ttl_ms={bad}");
        client
            .run(&path, "text/plain", b"")
            .expect_problem(400, "invalid_parameter");
    }
    assert_eq!(lookups(client, "hit"), 1);
}

#[test]
fn those_that_come_at_once_are_one_run() {
    let host = host("");
    let client = &host.client;
    let found: Vec<(Vec<u8>, String)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| draw(client, "cache_ttl_ms=600000")))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let bodies: BTreeSet<&Vec<u8>> = found.iter().map(|(body, _)| body).collect();
    assert_eq!(bodies.len(), 1, "{found:?}");
    let misses = found.iter().filter(|(_, how)| how == "miss");
    assert_eq!(misses.count(), 1, "{found:?}");
    assert!(found.iter().any(|(_, how)| how == "joined"), "{found:?}");
}

#[test]
fn a_task_that_asks_is_a_task_with_a_result_of_its_own() {
    let host = host("");
    let client = &host.client;
    let task = json!({"module": "draw", "cache": {"ttl_ms": 600_000}});
    let ids = [(); 2].map(|()| client.submit_and_wait(&task)["task_id"].clone());
    assert_ne!(ids[0], ids[1]);
    let of = |id: &Value, path: &str| {
        let path = format!("/v1/tasks/{}{path}", id.as_str().unwrap());
        client.get(&path).expect(200)
    };
    let results = [0, 1].map(|at| of(&ids[at], "/result").body);
    assert_eq!(results[0], results[1]);
    // The second did not run: it waited for nothing and used no processor.
    let second = of(&ids[1], "").json();
    assert_eq!(second["status"], "completed");
    assert_eq!(second["usage"]["cpu_us"], 0);
    assert!(
        second["usage"]["duration_us"].as_u64().unwrap() < 150_000,
        "{second}"
    );
    let again = of(&ids[1], "/request").json();
    assert_eq!(again["request"]["cache"], json!({"ttl_ms": 600_000}));
    let attempts = of(&ids[1], "/attempts").json();
    assert_eq!(attempts["items"].as_array().unwrap().len(), 1);
    client
        .post(
            "/v1/tasks",
            &json!({"module": "draw", "cache": {"ttl_ms": 0}}),
        )
        .expect_problem(400, "invalid_field");
    assert_eq!(lookups(client, "hit"), 1);
    // From the command line, with the input in JSON and beside it.
    let submit = [
        "--server",
        &client.base,
        "task",
        "submit",
        "draw",
        "--cache",
        "10m",
        "--wait",
    ];
    for more in [&[][..], &["--data", "7"]] {
        let drawn = [(); 2].map(|()| cofferdam(&[&submit[..], more].concat(), b"").stdout);
        assert_eq!(drawn[0], drawn[1]);
        assert!(!drawn[0].is_empty());
    }
}

#[test]
fn what_a_workflow_says_holds_for_its_nodes_that_do_not_say_their_own() {
    let host = host("");
    let client = &host.client;
    let own = json!({"id": "own", "module": "draw", "cache": {"ttl_ms": 1}});
    let inner = json!({"nodes": [{"id": "in", "module": "draw"}]});
    let nodes = json!([{"id": "a", "module": "draw"}, {"id": "b", "workflow": inner}, own]);
    let edges = json!([["a", "b"], ["b", "own"]]);
    let workflow = json!({"cache": {"ttl_ms": 600_000}, "nodes": nodes, "edges": edges});
    let stored = client.post("/v1/workflows", &workflow).expect(202).json();
    let path = format!("/v1/workflows/{}", stored["workflow_id"].as_str().unwrap());
    let get = || client.get(&path).expect(200).json();
    while get()["status"] == "running" {}
    let done = get();
    let result = |id: &str| {
        let mut nodes = done["nodes"].as_array().unwrap().iter();
        let node = nodes.find(|node| node["id"] == id).unwrap();
        let task = node["task_id"].as_str().unwrap();
        let path = |rest: &str| format!("/v1/tasks/{task}{rest}");
        let asked = client.get(&path("/request")).expect(200).json();
        let result = client.get(&path("/result")).expect(200).body;
        (result, asked["request"]["cache"]["ttl_ms"].clone())
    };
    let (a, inner, own) = (result("a"), result("b/in"), result("own"));
    assert_eq!((&a, &a.1), (&inner, &json!(600_000)));
    assert_ne!(own.0, a.0);
    assert_eq!(own.1, 1);
}

#[test]
fn a_host_that_keeps_nothing_runs_everything() {
    let host = host("[cache]\nbytes = 0\n");
    let drawn = [(); 2].map(|()| draw(&host.client, "cache_ttl_ms=600000"));
    assert_ne!(drawn[0].0, drawn[1].0);
    assert_eq!(drawn[0].1, "");
}

#[test]
fn what_is_one_tenants_is_no_others() {
    let site = Site::start("");
    let keys = ["a", "b"].map(|tenant| site.key(tenant, &["run", "modules"]));
    for key in &keys {
        site.put_module(key, "draw", &guests::wat("draw.wat"));
    }
    site.put_module(ADMIN, "public/draw", &guests::wat("draw.wat"));
    let run = |key: &str, module: &str| {
        let path = format!("/v1/run/{module}?cache_ttl_ms=600000");
        let answer = site.send(key, "POST", &path, &json!(1)).expect(200);
        (
            answer.body.clone(),
            answer.header("cofferdam-cache").to_owned(),
        )
    };
    for module in ["draw", "public/draw"] {
        let [first, other] = [0, 1].map(|at| run(&keys[at], module));
        assert_eq!((first.1.as_str(), other.1.as_str()), ("miss", "miss"));
        assert_ne!(first.0, other.0, "{module}");
        assert_eq!(run(&keys[0], module), (first.0, "hit".to_owned()));
    }
}

#[test]
fn what_was_kept_outlives_a_host_that_is_killed_and_is_still_its_tenants() {
    for policy in ["lfu", "lru", "fifo"] {
        let mut site = Site::start(&format!("[cache]\npolicy = \"{policy}\"\n"));
        site.put_module(ADMIN, "public/draw", &guests::wat("draw.wat"));
        let keys = ["a", "b"].map(|tenant| site.key(tenant, &["run"]));
        let run = |site: &Site, key: &str, ttl_ms: &str| {
            let path = format!("/v1/run/public/draw?cache_ttl_ms={ttl_ms}");
            let answer = site.send(key, "POST", &path, &json!(1)).expect(200);
            let how = answer.header("cofferdam-cache").to_owned();
            (answer.body, how)
        };
        let (first, _) = run(&site, &keys[0], "600000");
        await_on_disk(&site.host, 1);
        site.host.kill();
        site.host.restart();
        await_on_disk(&site.host, 1);
        let (other, how) = run(&site, &keys[1], "600000");
        assert_eq!(how, "miss");
        assert_ne!(other, first);
        await_on_disk(&site.host, 2);
        let found = [(); 2].map(|()| run(&site, &keys[0], "600000"));
        assert_eq!(found, [(); 2].map(|()| (first.clone(), "hit".to_owned())));
        // The second time it was in memory.
        assert_eq!(on_disk(&metrics(&site.host)), [2, 1]);
        assert_eq!(run(&site, &keys[0], "1").1, "miss", "it is too old");
    }
}

#[test]
fn what_was_kept_is_not_found_without_its_key() {
    let keys = ["0f", "1f"].map(|byte| byte.repeat(32));
    let config = |keys: &[&String]| format!("[storage]\nencryption_keys = {keys:?}\n");
    let mut host = host(&config(&[&keys[0]]));
    let mut again = |config: &str, there: u64| {
        host.kill();
        host.restart_with(config);
        await_on_disk(&host, there);
        let drawn = draw(&host.client, "cache_ttl_ms=600000");
        await_on_disk(&host, 1);
        drawn
    };
    for without in [config(&[&keys[1]]), String::new()] {
        let (first, _) = again(&config(&[&keys[0]]), 0);
        let found = again(&config(&[&keys[1], &keys[0]]), 1);
        assert_eq!(found, (first.clone(), "hit".to_owned()));
        let (other, how) = again(&without, 0);
        assert_eq!(how, "miss");
        assert_ne!(other, first);
    }
}

#[test]
fn code_is_found_again_unless_it_leaves_files() {
    let host = ready("");
    let client = &host.client;
    let exec = |code: &str, cache: &Value| {
        let request = json!({"language": "javascript", "code": code, "cache": cache});
        let answer = client.post("/v1/exec", &request).expect(200);
        (
            answer.json()["result"].clone(),
            answer.header("cofferdam-cache").to_owned(),
        )
    };
    let ttl = json!({"ttl_ms": 600_000});
    let (first, how) = exec("Math.random()", &ttl);
    assert_eq!(how, "miss");
    assert_eq!(
        exec("Math.random()", &ttl),
        (first.clone(), "hit".to_owned())
    );
    let (other, how) = exec("Math.random()", &Value::Null);
    assert_eq!(how, "");
    assert_ne!(other, first);
    let writes = "require('fs').writeFileSync('a.txt', 'x'); Math.random()";
    let written = [(); 2].map(|()| exec(writes, &ttl));
    assert_ne!(written[0].0, written[1].0);
    assert_eq!(written[1].1, "miss");
}
