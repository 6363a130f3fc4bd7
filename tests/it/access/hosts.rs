//! Keys where hosts share a database: what one host is told, every other heeds.

use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::json;

use super::site::{ADMIN, admin_key, host};
use crate::support::host::Host;

/// After so long a revoked key opens nothing anywhere.
const HEARD: Duration = Duration::from_secs(5);

#[test]
fn a_key_is_made_and_revoked_for_every_host() {
    let database = Database::fresh();
    let url = database.url();
    let config = format!("[storage]\nurl = {url:?}\n");
    // The second has no key from outside, and nobody needs one there before the first key.
    let hosts = [host(&config), Host::with_config(&config)];
    hosts[1].client.get("/v1/tasks").expect(200);
    let asked = json!({"name": "a", "scopes": ["read"]}).to_string();
    let headers = [admin_key(), ("content-type", "application/json")];
    let made = hosts[0]
        .client
        .send("POST", "/v1/keys", &headers, asked.as_bytes());
    let key = made.expect(201).json()["key"].as_str().unwrap().to_owned();
    let get = |host: &Host| {
        host.client
            .send("GET", "/v1/tasks", &[("x-api-key", &key)], &[])
    };
    // At the other one too, at once.
    get(&hosts[0]).expect(200);
    get(&hosts[1]).expect(200);
    let deadline = Instant::now() + HEARD;
    while hosts[1].client.get("/v1/tasks").status != 401 {
        assert!(Instant::now() < deadline, "the second host needs no key");
    }
    hosts[1]
        .client
        .send("GET", "/v1/tasks", &[("x-api-key", ADMIN)], &[])
        .expect(401);
    let path = format!("/v1/keys/{}", &key[4..20]);
    hosts[0]
        .client
        .send("DELETE", &path, &[admin_key()], &[])
        .expect(204);
    get(&hosts[0]).expect_problem(401, "key_revoked");
    let deadline = Instant::now() + HEARD;
    while get(&hosts[1]).status != 401 {
        assert!(Instant::now() < deadline, "the second host has not heard");
    }
    get(&hosts[1]).expect_problem(401, "key_revoked");
}
