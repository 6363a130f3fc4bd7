//! Sessions that another host keeps.

use std::io::{BufRead, BufReader};

use cofferdam_test_postgres::Database;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{await_that, connections};
use crate::exec::ready;
use crate::mcp;
use crate::support::host::Host;

/// Hosts that are taken for dead only after a long silence: a busy machine may delay any heartbeat.
fn config(database: &Database) -> String {
    let url = database.url();
    format!("[storage]\nurl = {url:?}\n[queue]\ndead_after_ms = 600000\n")
}

/// Hosts of which a test awaits that they are taken for dead.
fn mortal(database: &Database) -> String {
    let url = database.url();
    format!(
        "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n"
    )
}

/// The path of a new session.
fn begin(host: &Host) -> String {
    let request = json!({"language": "javascript"});
    let made = host.client.post("/v1/sessions", &request).expect(201);
    made.header("location").to_owned()
}

fn run(host: &Host, session: &str, code: &str) -> Value {
    let path = format!("{session}/exec");
    let answer = host.client.post(&path, &json!({"code": code}));
    answer.expect(200).json()
}

#[test]
fn a_session_is_used_at_any_host() {
    let database = Database::fresh();
    let [keeps, asked] = [(); 2].map(|()| ready(&config(&database)));
    let session = begin(&keeps);
    assert_eq!(run(&asked, &session, "let n = 1; n")["result"], 1);
    assert_eq!(run(&keeps, &session, "n += 1; n")["result"], 2);
    assert_eq!(run(&asked, &session, "n + 1")["result"], 3);
    let info = asked.client.get(&session).expect(200).json();
    assert_eq!(
        (&info["calls"], &info["state"]),
        (&json!(3), &json!("idle"))
    );

    // Files, in both directions and larger than what is in memory at once.
    let text = "0123456789".repeat(300_000);
    let code = "const fs = require('fs'); fs.writeFileSync('b.txt', fs.readFileSync('a.txt'))";
    let request = json!({"code": code, "files": {"a.txt": text}});
    let path = format!("{session}/exec");
    asked.client.post(&path, &request).expect(200);
    let listed = asked.client.get(&format!("{session}/files"));
    let listed = listed.expect(200).json();
    assert_eq!(
        listed["files"]["b.txt"]["size_bytes"], 3_000_000,
        "{listed}"
    );
    let url = listed["files"]["b.txt"]["url"].as_str().unwrap();
    let file = asked.client.get(url).expect(200);
    assert_eq!(file.text(), text);
    let nothing = asked.client.get(&format!("{session}/files/nothing"));
    nothing.expect_problem(404, "artifact_not_found");

    // Only its own host ends it.
    asked.client.delete(&session).expect(204);
    for host in [&keeps, &asked] {
        let gone = host.client.get(&session);
        gone.expect_problem(404, "session_not_found");
    }
    assert_eq!(connections(&asked, &keeps), 0);
}

#[test]
fn a_sessions_output_is_streamed_through_another_host() {
    let database = Database::fresh();
    let [keeps, asked] = [(); 2].map(|()| ready(&config(&database)));
    let session = begin(&keeps);
    let endless = "console.log('begun'); for (;;) {}";
    let limits = json!({"code": endless, "timeout_ms": 60_000, "cpu_ms": 60_000});
    let body = limits.to_string();
    let address = asked.client.base.strip_prefix("http://").unwrap();
    let mut stream = asked.connect();
    let head = format!(
        "POST {session}/exec HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let begun = lines.find(|line| line.as_ref().unwrap().contains("begun"));
    assert!(begun.is_some());
    // The code still runs, and one connection carries its output.
    let info = keeps.client.get(&session).expect(200).json();
    assert_eq!(info["state"], "running", "{info}");
    assert_eq!(connections(&asked, &keeps), 1);
    // Whoever goes away takes the connection along; the code goes on, as it does without another host.
    drop(lines);
    drop(stream);
    await_that("the connection is closed", || {
        connections(&asked, &keeps) == 0
    });
    asked.client.delete(&session).expect(204);
}

#[test]
fn a_session_whose_host_has_ended_is_gone_at_every_host() {
    let database = Database::fresh();
    let [mut killed, asked] = [(); 2].map(|()| ready(&mortal(&database)));
    let mut stopped = ready(&mortal(&database));
    let (first, second) = (begin(&killed), begin(&stopped));
    let agent = mcp::Session::begin(&killed).at(&asked);
    assert!(agent.ask("tools/list", &json!({}))["result"]["tools"].is_array());
    let lost = |host: &Host, session: &str| {
        let exec = host
            .client
            .post(&format!("{session}/exec"), &json!({"code": "1"}));
        for answer in [host.client.get(session), exec] {
            let problem = answer.expect_problem(410, "session_lost");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("has ended"), "{detail}");
        }
    };
    // Who takes its leave is known to be gone at once.
    assert!(stopped.stop().success());
    lost(&asked, &second);
    // Until a killed one is taken for dead it is only out of reach.
    killed.kill();
    await_that("its host is taken for dead", || {
        match asked.client.get(&first).status {
            410 => true,
            503 => false,
            other => panic!("{other}"),
        }
    });
    lost(&asked, &first);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    agent.send(&list).expect_problem(404, "session_not_found");
    killed.restart();
    lost(&killed, &first);
}

#[test]
fn a_host_that_hangs_is_waited_for_until_it_is_taken_for_dead() {
    let database = Database::fresh();
    let [keeps, asked] = [(); 2].map(|()| ready(&mortal(&database)));
    let session = begin(&keeps);
    let pid = i32::try_from(keeps.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), Signal::STOP).unwrap();
    // It takes the connection and never answers.
    let gone = asked.client.get(&session);
    gone.expect_problem(410, "session_lost");
    await_that("the connection is closed", || {
        connections(&asked, &keeps) == 0
    });
}

#[test]
fn a_host_without_others_knows_which_sessions_it_has_lost() {
    let mut host = ready("");
    let session = begin(&host);
    assert!(host.stop().success());
    host.restart();
    let gone = host.client.get(&session);
    gone.expect_problem(410, "session_lost");
}

#[test]
fn an_agents_session_is_used_at_any_host() {
    let database = Database::fresh();
    let [keeps, asked] = [(); 2].map(|()| ready(&config(&database)));
    let session = mcp::Session::begin(&keeps);
    let call = json!({"name": "run_javascript", "arguments": {"code": "6 * 7"}});
    for host in [&keeps, &asked] {
        let answer = session.at(host).ask("tools/call", &call);
        let text = answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default();
        assert!(text.contains("42"), "{answer}");
    }
}
