//! Names and addresses that mean harm, as a module asks for them, with a name server of the test's own: nothing
//! reaches an address that is refused. The server is at every address of this machine, and one of these is listed.

use serde_json::{Value, json};

use super::server::Server;
use crate::support::guests::built;
use crate::support::host::Host;
use crate::support::names::Names;

/// The one that may be reached.
pub(crate) const LISTED: &str = "127.0.0.2";

/// Hosts that are not public, or that can be read in two ways.
pub(crate) const REFUSED: [&str; 37] = [
    "127.0.0.1",
    "127.0.0.3",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:127.0.0.2]",
    "[::127.0.0.2]",
    "[64:ff9b::7f00:2]",
    "[64:ff9b:1::7f00:2]",
    "[2002:7f00:2::]",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "[fe80::1]",
    "[fc00::1]",
    "224.0.0.1",
    "255.255.255.255",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.1",
    "127.2",
    "2130706434",
    "0x7f000002",
    "0177.0.0.2",
    "017700000002",
    "127.0.0.2.",
    "127.0.0.2%00",
    "listed.example@127.0.0.1",
    "127.0.0.2@127.0.0.1",
    // One of its letters is Cyrillic.
    "list\u{435}d.example",
];

/// Names that lead to such addresses, each by another way, and names that do not.
pub(crate) fn names() -> Names {
    let thousand: Vec<&str> = std::iter::repeat_n(LISTED, 999)
        .chain(["127.0.0.1"])
        .collect();
    Names::start(&[
        ("private.example", &[&["127.0.0.1"]]),
        ("unspecified.example", &[&["0.0.0.0"]]),
        ("mixed.example", &[&[LISTED, "127.0.0.1"]]),
        ("mixed-kinds.example", &[&[LISTED, "::1"]]),
        ("mapped.example", &[&["::ffff:127.0.0.2"]]),
        ("translated.example", &[&["64:ff9b::7f00:2"]]),
        ("many.example", &[&thousand]),
        ("metadata.google.internal", &[&["169.254.169.254"]]),
        ("alias.example", &[&["alias-2.example"]]),
        ("alias-2.example", &[&["alias-3.example"]]),
        ("alias-3.example", &[&["private.example"]]),
        ("listed.example", &[&[LISTED]]),
        ("good-alias.example", &[&["listed.example"]]),
        ("many-good.example", &[&thousand[..999]]),
        (
            "rebinds.example",
            &[&[LISTED], &["127.0.0.1"], &[LISTED, "127.0.0.1"], &[LISTED]],
        ),
    ])
}

/// Those of them that are refused, whenever they are asked for.
pub(crate) const REFUSED_NAMES: [&str; 9] = [
    "private.example",
    "unspecified.example",
    "mixed.example",
    "mixed-kinds.example",
    "mapped.example",
    "translated.example",
    "many.example",
    "metadata.google.internal",
    "alias.example",
];

/// A host that lets its guests go anywhere, as far as names go.
fn host(server: &Server, names: &Names) -> Host {
    let port = server.port();
    let host = Host::with_config(&format!(
        "[egress]\nallow = [\"*:{port}\"]\nallow_private = [\"{LISTED}\"]\n{}",
        names.config()
    ));
    host.client.put_module("fetch", &built("fetch")).expect(201);
    host
}

fn fetch(host: &Host, server: &Server, isolation: &str, place: &str) -> Value {
    let port = server.port();
    host.client.submit_and_wait(&json!({
        "module": "fetch", "input": {"url": format!("http://{place}:{port}/hello")},
        "grants": {"http": [format!("*:{port}")]}, "isolation": isolation,
    }))
}

#[test]
fn nothing_reaches_an_address_that_is_refused() {
    let (server, names) = (Server::start(), names());
    let host = host(&server, &names);
    let mut noted = 0;
    for isolation in ["shared", "process"] {
        for place in REFUSED.iter().chain(&REFUSED_NAMES) {
            let task = fetch(&host, &server, isolation, place);
            assert_eq!(task["status"], "failed", "{place}: {task}");
            assert_eq!(task["error"]["kind"], "guest_error", "{place}: {task}");
            noted += usize::from(task["usage"]["egress_requests"] == 1);
        }
    }
    assert_eq!(server.connections(), 0);
    // The others were no requests to begin with, as their guest was told.
    assert!(noted >= 2 * (23 + REFUSED_NAMES.len()), "{noted}");
    host.client.delete("/v1/modules/nothing");
    let path = "/v1/audit?actor=guest&limit=1000";
    let entries = host.client.get(path).expect(200).json();
    let entries = entries["items"].as_array().unwrap();
    assert_eq!(entries.len(), noted);
    for entry in entries {
        let code = entry["detail"].as_str().unwrap();
        assert!(["prohibited", "bad_target"].contains(&code), "{entry}");
    }
}

#[test]
fn a_name_is_resolved_for_each_request_and_what_was_checked_is_dialled() {
    let (server, names) = (Server::start(), names());
    let host = host(&server, &names);
    let mut dialled = 0;
    for (place, is_reached) in [
        ("listed.example", true),
        ("good-alias.example", true),
        ("many-good.example", true),
        ("rebinds.example", true),
        ("rebinds.example", false),
        ("rebinds.example", false),
        ("rebinds.example", true),
        ("nobody.example", false),
    ] {
        let task = fetch(&host, &server, "shared", place);
        assert_eq!(task["status"] == "completed", is_reached, "{place}: {task}");
        dialled += usize::from(is_reached);
    }
    assert_eq!(server.reached(), vec![LISTED; dialled]);
    let head = server.last_head();
    let expected = format!("host: rebinds.example:{}", server.port());
    assert!(head.contains(&expected), "{head}");
}
