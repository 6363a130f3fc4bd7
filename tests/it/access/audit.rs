//! The audit trail: each operation that changes something leaves one entry, whoever tries it; nobody fills it,
//! nothing that was acknowledged is missing, and who tampers with it is found out.

use std::process::Output;

use serde_json::{Value, json};

use super::matrix::{Owned, SCOPES};
use super::site::{ADMIN, Site};
use crate::cli::{cofferdam, text};
use crate::support::guests;

/// The operations that are no changes: they run or submit something.
const WORK: [&str; 9] = [
    "run_module",
    "run_code",
    "run_code_in_session",
    "snapshot_session",
    "send_mcp_message",
    "submit_task",
    "submit_batch",
    "submit_workflow",
    "worker_execute",
];

/// Every entry that a query asks for, the newest first.
#[track_caller]
fn entries(site: &Site, query: &str) -> Vec<Value> {
    let (mut cursor, mut all) = (String::new(), Vec::new());
    loop {
        let path = format!("/v1/audit?limit=1000&{query}{cursor}");
        let page = site
            .send(ADMIN, "GET", &path, &Value::Null)
            .expect(200)
            .json();
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The id of a key.
fn id(key: &str) -> &str {
    &key[4..20]
}

fn verify(site: &Site, more: &[&str]) -> Output {
    let mut args = vec![
        "--server",
        &site.host.client.base,
        "--api-key",
        ADMIN,
        "audit",
        "verify",
    ];
    args.extend(more);
    cofferdam(&args, b"")
}

/// The newest entry, as a verification that finds nothing wrong prints it.
#[track_caller]
fn whole(site: &Site, more: &[&str]) -> String {
    let output = verify(site, more);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    told.trim().rsplit(' ').next().unwrap().to_owned()
}

/// Tries every operation by somebody who may and by somebody who may not.
fn every_change_leaves_one_entry(site: &Site) {
    let document = site.host.client.get("/openapi.json").expect(200).json();
    let owned = Owned::of(site);
    let mut tried = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(scope) = operation["x-cofferdam-scope"].as_str() else {
                continue;
            };
            let name = operation["operationId"].as_str().unwrap();
            let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
            let keys = [site.key("a", &[scope]), site.key("a", &others)];
            let is_change = method != "get" && !WORK.contains(&name);
            for (key, is_noted) in keys.into_iter().zip([is_change, true]) {
                let (_, status, _) = owned.ask(Some(&key), method, name);
                // The same route serves a module and its bytes.
                let name = if name == "get_module_bytes" {
                    "get_module"
                } else {
                    name
                };
                tried.push((name.to_owned(), key, status, is_noted));
            }
        }
    }
    // What was noted before has its entry before this one is acknowledged.
    site.key("a", &["read"]);
    let mut wrong = Vec::new();
    for (name, key, status, is_noted) in tried {
        let found = entries(site, &format!("actor={}", id(&key)));
        let fits = |entry: &Value| {
            let outcome = match status {
                ..400 => "done",
                400..500 => "refused",
                _ => "failed",
            };
            entry["action"] == name && entry["status"] == status && entry["outcome"] == outcome
        };
        if found.len() != usize::from(is_noted) || !found.iter().all(fits) {
            wrong.push(format!(
                "{name}, which was answered with {status}: {found:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let newest = &entries(site, "action=create_key")[0];
    assert_eq!(
        (&newest["actor"], &newest["from"], &newest["tenant"]),
        (&json!("admin"), &json!("127.0.0.1"), &json!("default")),
        "{newest}"
    );
    // A note of the head holds for a longer trail.
    let head = whole(site, &[]);
    site.key("a", &["read"]);
    assert_ne!(whole(site, &["--noted", &head]), head);
}

#[test]
fn every_change_leaves_one_entry_on_sqlite() {
    every_change_leaves_one_entry(&Site::start(""));
}

#[test]
fn every_change_leaves_one_entry_on_postgres() {
    every_change_leaves_one_entry(&Site::on_postgres(""));
}

#[test]
fn runs_have_entries_if_the_operator_wishes() {
    let site = Site::start("[audit]\nruns = true\n");
    let key = site.key("a", &["run", "modules"]);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    site.send(&key, "POST", "/v1/run/echo", &json!(7))
        .expect(200);
    let task = json!({"module": "echo", "input": 7});
    let task = site
        .send(&key, "POST", "/v1/tasks", &task)
        .expect(202)
        .json();
    site.key("a", &["read"]);
    let found = entries(&site, &format!("actor={}", id(&key)));
    let told: Vec<_> = found
        .iter()
        .map(|entry| {
            (
                entry["action"].as_str().unwrap(),
                entry["resource"].as_str().unwrap(),
            )
        })
        .collect();
    let place = format!("/v1/tasks/{}", task["task_id"].as_str().unwrap());
    assert_eq!(
        told[..2],
        [("submit_task", &*place), ("run_module", "/v1/run/echo")]
    );
    assert!(
        told[2].1.starts_with("/v1/modules/echo@sha256:"),
        "{told:?}"
    );
}

#[test]
fn what_callers_send_is_not_in_the_trail() {
    let site = Site::start("[audit]\nruns = true\n");
    let key = site.key("a", &["run", "read", "modules", "admin"]);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    let marker = "marker-7f3a9c";
    let task = json!({
        "module": "echo", "input": {"a": marker}, "env": {"A": marker}, "metadata": {"a": marker},
    });
    site.send(&key, "POST", "/v1/tasks?wait_ms=60000", &task)
        .expect(200);
    site.send(&key, "POST", "/v1/run/echo?x=marker-7f3a9c", &json!(marker));
    let filter = json!({"filter": {"metadata.a": marker}});
    site.send(&key, "POST", "/v1/tasks/cancel", &filter);
    let _whether_it_is_kept =
        site.send(&key, "PUT", "/v1/secrets/token", &json!({"value": marker}));
    let client = &site.host.client;
    client
        .send("GET", "/v1/tasks", &[("x-api-key", marker)], &[])
        .expect(401);
    client
        .send("GET", &format!("/v1/tasks?api_key={key}"), &[], &[])
        .expect(400);
    let path = format!("/v1/keys/{key}");
    site.send(&key, "DELETE", &path, &Value::Null).expect(404);
    // Its entry is behind those of what was refused before.
    site.put_module(&key, "other", &guests::wat("echo.wat"));
    let all = json!(entries(&site, "")).to_string();
    for secret in [marker, &key[21..], ADMIN] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    assert!(all.contains("/v1/keys/***"), "{all}");
    for refusal in ["key_unknown", "key_in_query"] {
        let found = entries(&site, "actor=nobody");
        assert!(
            found.iter().any(|entry| entry["detail"] == refusal),
            "{found:#?}"
        );
    }
}

#[test]
fn what_was_acknowledged_is_in_the_trail_after_a_kill() {
    let mut site = Site::start("");
    for _ in 0..5 {
        let key = site.key("a", &["read"]);
        site.host.kill();
        site.host.restart();
        let made = format!("/v1/keys/{}", id(&key));
        let newest = &entries(&site, "action=create_key")[0];
        assert_eq!(newest["resource"], made, "{newest}");
    }
    whole(&site, &[]);
}

#[test]
fn ten_thousand_bad_keys_leave_few_entries() {
    let mut site = Site::start("");
    let tries = 10_000;
    for number in 0..tries {
        let key = format!("cfd_{number:016x}_{}", "a".repeat(64));
        let refused = site
            .host
            .client
            .send("GET", "/v1/tasks", &[("x-api-key", &key)], &[]);
        refused.expect(401);
    }
    // What was counted is written at the end.
    assert!(site.host.stop().success());
    site.host.restart();
    let found = entries(&site, "actor=nobody");
    let counted: u64 = found
        .iter()
        .map(|entry| entry["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, tries);
    // Two for each minute that it took.
    assert!(found.len() <= 20, "{}", found.len());
    site.key("a", &["read"]);
    let metrics = site
        .send(ADMIN, "GET", "/metrics", &Value::Null)
        .expect(200)
        .text();
    assert!(
        metrics.contains("cofferdam_audit_entries_total{class=\"change\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cofferdam_audit_appends_failed_total 0"),
        "{metrics}"
    );
}

/// Holds that verifications find out that entry 2 was changed, by the server and without.
#[track_caller]
fn is_found_out(site: &Site, here: &[&str]) {
    for args in [&[][..], here] {
        let output = verify(site, args);
        let told = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{told}{}",
            text(&output.stderr)
        );
        assert!(
            told.contains("entry 2: ") && told.contains("it was changed"),
            "{told}"
        );
    }
}

#[test]
fn who_tampers_with_the_database_is_found_out_on_sqlite() {
    let site = Site::start("");
    let data = site.host.data().display().to_string();
    let here = ["--here", "--data", &data];
    assert_eq!(whole(&site, &[]), whole(&site, &here));
    let conn = rusqlite::Connection::open(site.host.data().join("cofferdam.db")).unwrap();
    let change = "UPDATE audit SET actor = 'nobody' WHERE seq = 2";
    assert!(conn.execute_batch(change).is_err());
    conn.execute_batch(&format!("DROP TRIGGER audit_is_not_changed; {change}"))
        .unwrap();
    is_found_out(&site, &here);
}

#[test]
fn who_tampers_with_the_database_is_found_out_on_postgres() {
    let site = Site::on_postgres("");
    let database = site.database.as_ref().unwrap();
    let url = database.url();
    let here = ["--here", "--storage", &url];
    assert_eq!(whole(&site, &[]), whole(&site, &here));
    database.run(
        "SET session_replication_role = replica;
         UPDATE cofferdam.audit SET actor = 'nobody' WHERE seq = 2",
    );
    is_found_out(&site, &here);
}

#[test]
fn the_trail_is_listed_from_the_command_line() {
    let site = Site::start("");
    let key = site.key("a", &["read"]);
    let list = |more: &[&str]| {
        let base = &site.host.client.base;
        let mut args = vec!["--server", base, "--api-key", ADMIN, "audit", "list"];
        args.extend(more);
        let output = cofferdam(&args, b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let all = list(&[]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    assert!(
        lines[0].contains("create_key") && lines[0].contains(id(&key)),
        "{all}"
    );
    assert_eq!(list(&["--limit", "1"]).lines().count(), 1);
    assert_eq!(
        list(&["--action", "put_tenant", "--actor", "admin"])
            .lines()
            .count(),
        2
    );
    assert_eq!(list(&["--tenant", "b"]), "");
    assert_eq!(list(&["--since", "2100-01-01T00:00:00Z"]), "");
}
