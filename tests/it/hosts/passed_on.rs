//! Requests that one host passes on to another: who may, how many, and what is told where it fails.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use cofferdam_test_postgres::Database;
use serde_json::json;

use super::await_that;
use crate::exec::ready;
use crate::support::host::Host;

const HEADER: &str = "cofferdam-forwarded";

fn config(database: &Database, http: &str) -> String {
    format!("[storage]\nurl = {:?}\n[http]\n{http}", database.url())
}

fn begin(host: &Host) -> String {
    let request = json!({"language": "javascript"});
    let made = host.client.post("/v1/sessions", &request).expect(201);
    made.header("location").to_owned()
}

#[test]
fn a_pass_serves_once_for_its_own_request_and_none_is_made_up() {
    let database = Database::fresh();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let advertise = format!(
        "advertise = \"http://{}\"\n",
        listener.local_addr().unwrap()
    );
    let keeps = ready(&config(&database, &advertise));
    let asked = ready(&config(&database, ""));
    let session = begin(&keeps);
    // The test stands where the other host would be, and reads the pass.
    let pass = std::thread::scope(|scope| {
        let client = &asked.client;
        let asking = scope.spawn(|| client.get(&session).expect(200).text());
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<_> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(head[0], format!("GET {session} HTTP/1.1"));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nread";
        stream.write_all(answer.as_bytes()).unwrap();
        assert_eq!(asking.join().unwrap(), "read");
        let pass = head
            .iter()
            .find_map(|line| line.strip_prefix("cofferdam-forwarded: "));
        pass.expect("it is passed on with a pass").to_owned()
    });
    let send = |host: &Host, method: &str, path: &str, pass: &str| {
        host.client.send(method, path, &[(HEADER, pass)], b"")
    };
    let refused = |host: &Host, method: &str, path: &str, pass: &str| {
        send(host, method, path, pass).expect_problem(403, "forwarding_refused")
    };
    // It is of no other request.
    refused(&keeps, "DELETE", &session, &pass);
    refused(&keeps, "GET", "/v1/sessions", &pass);
    refused(&keeps, "GET", &format!("{session}/files"), &pass);
    // It is for one host.
    send(&asked, "GET", &session, &pass).expect_problem(421, "not_this_host");
    send(&keeps, "GET", &session, &pass).expect(200);
    let problem = refused(&keeps, "GET", &session, &pass);
    assert!(
        problem["detail"].as_str().unwrap().contains("used before"),
        "{problem}"
    );
    for made_up in ["", "x", "e30.AAAA"] {
        refused(&keeps, "GET", &session, made_up);
        refused(&keeps, "GET", "/livez", made_up);
    }
    // A host that has no others takes none.
    let alone = Host::start();
    refused(&alone, "GET", "/livez", &pass);
}

#[test]
fn a_host_that_cannot_be_reached_is_told_from_one_that_has_ended() {
    let database = Database::fresh();
    let asked = ready(&config(&database, ""));
    let told = |advertise: &str| {
        let keeps = ready(&config(&database, &format!("advertise = {advertise:?}\n")));
        let session = begin(&keeps);
        let answer = asked.client.get(&session);
        assert_ne!(answer.header("retry-after"), "");
        let problem = answer.expect_problem(503, "host_unreachable");
        // Its own host has it.
        keeps.client.get(&session).expect(200);
        problem["detail"].as_str().unwrap().to_owned()
    };
    for (advertise, why) in [
        // Nobody is there.
        ("http://127.0.0.1:1", "no connection"),
        // The host that asks is there itself.
        (asked.client.base.as_str(), "another host answers there"),
        ("https://127.0.0.1:1", "https"),
    ] {
        let detail = told(advertise);
        assert!(
            detail.contains(why) && detail.contains("http.advertise"),
            "{detail}"
        );
    }
}

#[test]
fn no_more_is_passed_on_at_once_than_is_allowed() {
    let database = Database::fresh();
    let keeps = ready(&config(&database, ""));
    let asked = ready(&config(&database, "forwards_max = 1\n"));
    let session = begin(&keeps);
    let client = &asked.client;
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| {
            let code = json!({"code": "for (;;) {}", "timeout_ms": 60_000, "cpu_ms": 60_000});
            client.post(&format!("{session}/exec"), &code).expect(200)
        });
        await_that("the code runs", || {
            keeps.client.get(&session).expect(200).json()["state"] == "running"
        });
        let busy = client.get(&session);
        assert_eq!(busy.header("retry-after"), "1");
        busy.expect_problem(503, "forwards_busy");
        keeps.client.delete(&session).expect(204);
        endless.join().unwrap();
    });
    let gone = client.get(&session);
    gone.expect_problem(404, "session_not_found");
}
