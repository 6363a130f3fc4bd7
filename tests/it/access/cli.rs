//! Keys and tenants from the command line.

use std::process::Output;

use serde_json::{Value, json};

use super::site::{ADMIN, Site};
use crate::cli::{cofferdam, text};

/// Runs a command with this key.
fn run(site: &Site, key: &str, args: &[&str]) -> Output {
    let mut all = vec!["--server", &site.host.client.base, "--api-key", key];
    all.extend(args);
    cofferdam(&all, b"")
}

/// What a command of the administrator says that is carried out.
#[track_caller]
pub(super) fn done(site: &Site, args: &[&str]) -> String {
    let output = run(site, ADMIN, args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Holds that a command with this key is refused, and why.
#[track_caller]
fn refused(site: &Site, key: &str, args: &[&str], why: &str) {
    let output = run(site, key, args);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(why), "{told}");
}

#[test]
fn tenants_are_changed_from_the_command_line() {
    let site = Site::start("");
    let put = [
        "tenant",
        "put",
        "team",
        "--weight",
        "3",
        "--ceiling",
        "cpu_ms=500",
        "--dir",
        "data",
    ];
    let shown = done(&site, &put);
    assert!(
        shown.contains("weight 3") && shown.contains("cpu_ms=500"),
        "{shown}"
    );
    let listed = done(&site, &["tenant", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("team")));
    let json = done(&site, &["--json", "tenant", "show", "team"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["weight"], &json["dirs"]),
        (&json!(3), &json!(["data"]))
    );
    done(&site, &["tenant", "rm", "team"]);
    let listed = done(&site, &["tenant", "list"]);
    assert!(!listed.contains("team"), "{listed}");
}

#[test]
fn keys_are_changed_from_the_command_line() {
    let site = Site::start("");
    let tasks = ["task", "list"];
    done(&site, &["tenant", "put", "team"]);
    let create = [
        "key", "create", "--name", "CI", "--scope", "run,read", "--tenant", "team",
    ];
    let key = done(&site, &create);
    let key = key.trim();
    assert!(key.starts_with("cfd_"), "{key}");
    assert!(run(&site, key, &tasks).status.success());
    refused(&site, key, &["key", "list"], "forbidden");
    let id = &key[4..20];
    let next = done(&site, &["key", "rotate", id, "--overlap-ms", "0"]);
    let next = next.trim();
    refused(&site, key, &tasks, "key_expired");
    assert!(run(&site, next, &tasks).status.success());
    let listed = done(&site, &["key", "list", "--tenant", "team"]);
    assert!(
        listed.contains(id) && listed.contains("expired"),
        "{listed}"
    );
    done(&site, &["key", "revoke", &next[4..20]]);
    refused(&site, next, &tasks, "key_revoked");
    refused(&site, "", &tasks, "key_");
}
