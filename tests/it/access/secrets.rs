//! Secrets: they go in, and nobody gets them back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::site::{ADMIN, Site};
use crate::support::host::Host;

/// Nothing else has this in it.
const MARKER: &str = "marker-of-a-secret-0123456789";

fn put(site: &Site, key: &str, name: &str, value: &str) -> u16 {
    let path = format!("/v1/secrets/{name}");
    site.send(key, "PUT", &path, &json!({"value": value}))
        .status
}

fn names(site: &Site, key: &str) -> Vec<String> {
    let page = site.send(key, "GET", "/v1/secrets", &Value::Null);
    let page = page.expect(200).json();
    assert!(!page.to_string().contains(MARKER), "{page}");
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The files below a directory that have the bytes in them.
fn files_with(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path)
            .is_ok_and(|content| content.windows(bytes.len()).any(|part| part == bytes))
        {
            found.push(path);
        }
    }
    found
}

fn secrets_are_put_listed_and_forgotten(site: &mut Site) {
    let (a, b) = (
        site.key("a", &["modules", "read"]),
        site.key("b", &["modules", "read"]),
    );
    assert_eq!(put(site, &a, "token", MARKER), 201);
    assert_eq!(put(site, &a, "token", &format!("{MARKER}-2")), 204);
    assert_eq!(put(site, &a, "A.b-c_d", MARKER), 201);
    assert_eq!(names(site, &a), ["A.b-c_d", "token"]);
    assert_eq!(names(site, &b), [""; 0]);
    let page = site.send(&a, "GET", "/v1/secrets?limit=1", &Value::Null);
    let cursor = page.expect(200).json()["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = format!("/v1/secrets?cursor={cursor}");
    let rest = site.send(&a, "GET", &rest, &Value::Null).expect(200).json();
    assert_eq!(
        (&rest["items"][0]["name"], &rest["next_cursor"]),
        (&json!("token"), &Value::Null)
    );
    let remove = |key: &str| site.send(key, "DELETE", "/v1/secrets/token", &Value::Null);
    remove(&b).expect_problem(404, "secret_not_found");
    remove(&a).expect(204);
    remove(&a).expect_problem(404, "secret_not_found");
    site.send(&a, "GET", "/v1/secrets/A.b-c_d", &Value::Null)
        .expect_problem(405, "method_not_allowed");
    site.host.stop();
    let kept = "SELECT name || encode(sealed, 'escape') FROM cofferdam.secret";
    let kept = site.database.as_ref().map(|database| database.run(kept));
    let data = site.host.data();
    match kept {
        Some(rows) => assert!(
            rows.starts_with("A.b-c_d") && !rows.contains(MARKER),
            "{rows}"
        ),
        None => assert!(!files_with(data, b"A.b-c_d").is_empty()),
    }
    assert_eq!(files_with(data, MARKER.as_bytes()), Vec::<PathBuf>::new());
    let log = site.host.log();
    assert!(
        log.contains("a secret was put") && !log.contains(MARKER),
        "{log}"
    );
}

#[test]
fn secrets_are_put_listed_and_forgotten_on_sqlite() {
    let mut site = Site::start("[log]\nlevel = \"trace\"\n");
    secrets_are_put_listed_and_forgotten(&mut site);
}

#[test]
fn secrets_are_put_listed_and_forgotten_on_postgres() {
    let mut site = Site::on_postgres("[log]\nlevel = \"trace\"\n");
    secrets_are_put_listed_and_forgotten(&mut site);
}

#[test]
fn what_is_no_secret_is_refused_without_repeating_it() {
    let site = Site::start("[log]\nlevel = \"trace\"\n");
    let key = site.key("a", &["modules"]);
    let long = MARKER.repeat(300);
    for body in [
        json!(MARKER),
        json!({"value": ""}),
        json!({"value": [MARKER]}),
        json!({"value": MARKER, MARKER: 1}),
        json!({ "value": long }),
    ] {
        let refused = site.send(&key, "PUT", "/v1/secrets/token", &body);
        let problem = refused.expect_problem(400, "invalid_field");
        assert!(!problem.to_string().contains(MARKER), "{problem}");
    }
    let body = json!({"value": MARKER});
    for name in ["-a", "a%2fb", &"a".repeat(65)] {
        let refused = site.send(&key, "PUT", &format!("/v1/secrets/{name}"), &body);
        refused.expect_problem(400, "invalid_field");
    }
    assert!(!site.host.log().contains(MARKER));
}

#[test]
fn a_host_without_keys_keeps_no_secrets() {
    let host = Host::start();
    let body = json!({"value": MARKER}).to_string();
    let headers = [("content-type", "application/json")];
    let refused = host
        .client
        .send("PUT", "/v1/secrets/token", &headers, body.as_bytes());
    let problem = refused.expect_problem(501, "secrets_disabled");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("storage.encryption_keys"), "{detail}");
    let listed = host.client.get("/v1/secrets").expect(200).json();
    assert_eq!(listed["items"], json!([]));
}

#[test]
fn keys_are_read_from_a_file_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let keys = ["0f".repeat(32), "1e".repeat(32)];
    std::fs::write(&file, format!("{}\n{}\n", keys[0], keys[1])).unwrap();
    let config = format!("[storage]\nencryption_keys_file = {file:?}\n[log]\nlevel = \"trace\"\n");
    let host = Host::with_config(&config);
    let body = json!({"value": MARKER}).to_string();
    let headers = [("content-type", "application/json")];
    host.client
        .send("PUT", "/v1/secrets/token", &headers, body.as_bytes())
        .expect(201);
    assert!(keys.iter().all(|key| !host.log().contains(key)));
    let (variable, text) = ("COFFERDAM_STORAGE_ENCRYPTION_KEYS", keys.join(","));
    let shown = |value: &str| {
        let mut check = std::process::Command::new(crate::support::host::program());
        let output = check
            .arg("check-config")
            .env(variable, value)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(keys.iter().all(|key| !told.contains(&key[2..])), "{told}");
        told
    };
    assert!(shown(&text).contains("encryption_keys = [\"***\", \"***\"]"));
    assert!(shown(&text[1..]).contains("COFFERDAM_STORAGE_ENCRYPTION_KEYS is not shown"));
}

#[test]
fn secrets_are_changed_from_the_command_line() {
    let site = Site::start("");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("value");
    std::fs::write(&file, format!("{MARKER}\n")).unwrap();
    let run = |args: &[&str], stdin: &[u8]| {
        let mut all = vec![
            "--server",
            &site.host.client.base,
            "--api-key",
            ADMIN,
            "secret",
        ];
        all.extend(args);
        let output = crate::cli::cofferdam(&all, stdin);
        (
            output.status.success(),
            [output.stdout, output.stderr].concat(),
        )
    };
    assert!(run(&["put", "one"], MARKER.as_bytes()).0);
    assert!(run(&["put", "two", "--file", file.to_str().unwrap()], b"").0);
    assert!(!run(&["put", "three"], b"\n").0);
    let (_, listed) = run(&["list"], b"");
    let listed = String::from_utf8(listed).unwrap();
    let names: Vec<_> = listed
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert!(run(&["rm", "one"], b"").0 && !run(&["rm", "one"], b"").0);
}
