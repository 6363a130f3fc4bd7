//! Sessions with an interpreter: each is its tenant's, at whichever host it is asked for, and goes with its tenant.

use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::site::ADMIN;
use crate::exec::ready;
use crate::support::host::Host;
use crate::support::http::Answer;

/// After so long the sessions of a removed tenant have ended everywhere.
const GONE: Duration = Duration::from_secs(15);

fn send(host: &Host, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let mut headers = vec![("x-api-key", key)];
    let body = if body.is_null() {
        String::new()
    } else {
        headers.push(("content-type", "application/json"));
        body.to_string()
    };
    host.client.send(method, path, &headers, body.as_bytes())
}

/// A key of a tenant, which is made if need be.
fn key(host: &Host, tenant: &str, scopes: &[&str]) -> String {
    let path = format!("/v1/tenants/{tenant}");
    send(host, ADMIN, "PUT", &path, &json!({}));
    let asked = json!({"tenant": tenant, "name": "test", "scopes": scopes});
    let made = send(host, ADMIN, "POST", "/v1/keys", &asked).expect(201);
    made.json()["key"].as_str().unwrap().to_owned()
}

/// Every operation on a session.
fn operations(session: &str) -> [(&'static str, String, Value); 6] {
    [
        ("GET", session.to_owned(), Value::Null),
        ("POST", format!("{session}/exec"), json!({"code": "x = 0"})),
        ("GET", format!("{session}/files"), Value::Null),
        ("GET", format!("{session}/files/left.txt"), Value::Null),
        ("POST", format!("{session}/snapshot"), json!({})),
        ("DELETE", session.to_owned(), Value::Null),
    ]
}

/// The first host has the session; the last is asked for it, too.
fn a_session_is_its_tenants(hosts: &[Host]) {
    let (here, there) = (&hosts[0], &hosts[hosts.len() - 1]);
    let scopes = ["run", "read"];
    let [a, b] = ["a", "b"].map(|tenant| key(here, tenant, &scopes));
    let asked = json!({"language": "python"});
    let made = send(here, &a, "POST", "/v1/sessions", &asked).expect(201);
    let session = made.header("location").to_owned();
    let exec = |host: &Host, key: &str, code: &str| {
        let path = format!("{session}/exec");
        send(host, key, "POST", &path, &json!({"code": code}))
    };
    let code = "open('left.txt', 'w').write('of a')\nx = 41";
    exec(here, &a, code).expect(200);
    let snapshot = send(here, &a, "POST", &format!("{session}/snapshot"), &json!({}));
    let snapshot = snapshot.expect(201).json();
    let file = snapshot["files"]["left.txt"]["url"].as_str().unwrap();
    for host in [here, there] {
        for (method, path, body) in operations(&session) {
            send(host, &b, method, &path, &body).expect_problem(404, "session_not_found");
        }
        let listed = send(host, &b, "GET", "/v1/sessions", &Value::Null).expect(200);
        assert_eq!(listed.json()["items"], json!([]));
        assert_eq!(send(host, &b, "GET", file, &Value::Null).status, 404);
        assert_eq!(send(host, &a, "GET", file, &Value::Null).text(), "of a");
        // Too little scope is told to those whose session it is.
        let reads = key(host, "a", &["read"]);
        exec(host, &reads, "x = 0").expect_problem(403, "forbidden");
    }
    let kept = exec(there, &a, "x + 1").expect(200).json();
    assert_eq!(kept["result"], 42, "{kept}");
    // It goes with its tenant, and is not that of another one of its name.
    let path = "/v1/tenants/a?purge=true";
    while send(there, ADMIN, "DELETE", path, &Value::Null).status != 204 {}
    exec(here, &a, "x").expect_problem(401, "key_revoked");
    let a = key(there, "a", &scopes);
    let deadline = Instant::now() + GONE;
    while send(here, &a, "GET", &session, &Value::Null).status != 404 {
        assert!(Instant::now() < deadline, "the session is still there");
    }
    let listed = send(here, &a, "GET", "/v1/sessions", &Value::Null).expect(200);
    assert_eq!(listed.json()["items"], json!([]));
}

fn config(more: &str) -> String {
    format!("[access]\nadmin_key = {ADMIN:?}\n{more}")
}

#[test]
fn a_session_is_its_tenants_at_one_host() {
    a_session_is_its_tenants(&[ready(&config(""))]);
}

#[test]
fn a_session_is_its_tenants_at_every_host() {
    let database = Database::fresh();
    let config = config(&format!("[storage]\nurl = {:?}\n", database.url()));
    a_session_is_its_tenants(&[ready(&config), ready(&config)]);
}
