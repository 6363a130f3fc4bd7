//! Results for a model: nothing is repeated, sizes are accepted by clients, and kinds fit.

use serde_json::{Value, json};

use super::{ACCEPT, JSON, PATIENT, Session, initialize, post, ran};
use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;

/// The largest message that the strictest client accepts.
const MESSAGE_BYTES_MAX: usize = 500_000;

/// A tool's answer, and the address of the whole if it was cut.
fn call(session: &Session<'_>, name: &str, arguments: &Value) -> Value {
    let answer = session.ask("tools/call", &json!({"name": name, "arguments": arguments}));
    assert!(
        answer.to_string().len() < MESSAGE_BYTES_MAX,
        "it is too large"
    );
    answer["result"].clone()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{result}"))
}

/// The addresses in a text.
fn addresses(text: &str) -> Vec<&str> {
    let ends = |c: char| c.is_whitespace() || c == ']';
    let parts = text.match_indices("http://").map(|(at, _)| &text[at..]);
    parts.map(|rest| rest.split(ends).next().unwrap()).collect()
}

#[test]
fn long_output_is_cut_and_all_of_it_has_an_address() {
    let host = ready("");
    let session = Session::begin(&host);
    let code = "for _ in range(900): print('\\x01' * 999)\nimport sys\nprint('e' * 60_000, file=sys.stderr)\n'r' * 800_000";
    let result = ran(&session, code);
    assert!(result.to_string().len() < MESSAGE_BYTES_MAX);
    assert!(result.get("structuredContent").is_none());
    let addresses = addresses(text(&result));
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    let lengths = addresses.iter().map(|address| {
        let path = address
            .strip_prefix(&host.client.base)
            .expect("of this host");
        host.client.get(path).expect(200).body.len()
    });
    let lengths: Vec<usize> = lengths.collect();
    assert_eq!(lengths, [900_000, 60_000, 800_002]);
}

#[test]
fn a_traceback_occurs_once() {
    let host = ready("");
    let session = Session::begin(&host);
    let result = ran(
        &session,
        "def unusual():\n    raise ValueError('odd')\nunusual()",
    );
    assert_eq!(result["isError"], true);
    let whole = result.to_string();
    assert_eq!(whole.matches("in unusual").count(), 1, "{whole}");
    assert!(whole.matches("ValueError: odd").count() <= 2, "{whole}");
}

/// A PNG of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[test]
fn images_are_images_and_many_files_stay_within_a_message() {
    let host = ready("");
    let session = Session::begin(&host);
    let code = format!("import base64\nopen('plot.png', 'wb').write(base64.b64decode('{PIXEL}'))");
    let result = ran(&session, &code);
    let image = &result["content"][1];
    assert_eq!(
        (&image["type"], &image["mimeType"]),
        (&json!("image"), &json!("image/png"))
    );
    assert_eq!(image["data"], PIXEL);
    let many = "for n in range(900):\n    open('f' * 200 + str(n), 'w').write('\\x01' * 2000)";
    let result = ran(&session, many);
    assert!(result.to_string().len() < MESSAGE_BYTES_MAX);
    let last = result["content"].as_array().unwrap().last().unwrap();
    assert!(
        last["text"]
            .as_str()
            .is_some_and(|text| text.contains("more files")),
        "{last}"
    );
}

#[test]
fn numbers_stay_as_they_are() {
    let host = Host::start();
    let any = guests::described(Some("{}"), None);
    let object = guests::described(Some(r#"{"type": "object"}"#), None);
    host.client.put_module("any", &any).expect(201);
    host.client.put_module("object", &object).expect(201);
    let session = Session::begin(&host);
    let exact = |tool: &str, arguments: &str| {
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        let headers = [ACCEPT, JSON, ("mcp-session-id", session.id.as_str())];
        post(&host, &headers, &message).expect(200).text()
    };
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "0.10000000000000000001",
    ] {
        let told = exact("any", &format!(r#"{{"input":{number}}}"#));
        assert!(
            told.contains(&format!(r#""text":"{number}""#)),
            "{number}: {told}"
        );
    }
    let told = exact("object", r#"{"n":18446744073709551617}"#);
    assert!(told.contains(r#"{\"n\":18446744073709551617}"#), "{told}");
    // Data that was promised as well, however the module lays it out.
    let promised = guests::described(Some("{}"), Some(r#"{"type": "object"}"#));
    host.client.put_module("promised", &promised).expect(201);
    let numbers = r#"{"a":18446744073709551616,"b":[-9223372036854775809,0.10000000000000000001]}"#;
    let told = exact("promised", &format!("{{\"input\":{numbers}}}"));
    let structured = format!(r#""structuredContent":{numbers}"#);
    assert!(told.contains(&structured), "{told}");
    let told = exact(
        "promised",
        "{\"input\":{\"a\"\n:\r\n\"structuredContent\"}}",
    );
    assert!(
        told.contains(r#""structuredContent":{"a" :  "structuredContent"}"#),
        "{told}"
    );
}

#[test]
fn promised_data_is_given_once_and_is_not_too_long() {
    let host = Host::start();
    let echo = guests::described(Some("{}"), Some(r#"{"type": "object"}"#));
    host.client.put_module("m", &echo).expect(201);
    let session = Session::begin(&host);
    let of = |bytes: usize| json!({"input": {"text": "x".repeat(bytes)}});
    let large = call(&session, "m", &of(250_000));
    assert_eq!(
        large["structuredContent"]["text"].as_str().unwrap().len(),
        250_000
    );
    assert!(text(&large).len() < 4_000);
    let too_large = call(&session, "m", &of(600_000));
    assert_eq!(too_large["isError"], true);
    let address = addresses(text(&too_large))[0].to_owned();
    let path = address
        .strip_prefix(&host.client.base)
        .expect("of this host");
    assert_eq!(
        host.client.get(path).expect(200).json()["text"]
            .as_str()
            .unwrap()
            .len(),
        600_000
    );
}

#[test]
fn every_tool_name_is_accepted_by_clients_and_can_be_called() {
    let host = Host::start();
    let echo = guests::described(Some("{}"), None);
    let long = "team/".repeat(20);
    let modules = [
        format!("{long}a"),
        format!("{long}b"),
        "7zip".to_owned(),
        "run_python".to_owned(),
    ];
    for module in &modules {
        host.client.put_module(module, &echo).expect(201);
    }
    let session = Session::begin(&host);
    let list = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let named: Vec<(&str, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| {
            (
                tool["name"].as_str().unwrap(),
                tool["title"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(named.len(), modules.len(), "{named:?}");
    for (name, title) in named {
        assert!(
            name.len() <= 64 && modules.iter().any(|module| module == title),
            "{name}"
        );
        let result = call(&session, name, &json!({"input": title}));
        assert_eq!(text(&result), format!("\"{title}\""), "{result}");
    }
    let none = session.ask(
        "tools/call",
        &json!({"name": "teamH0123456789abcdef", "arguments": {}}),
    );
    assert_eq!(none["error"]["code"], -32602);
}

/// Runs that the host has counted of a module.
fn runs(host: &Host, module: &str) -> u64 {
    let metrics = host.client.get("/metrics").expect(200).text();
    let of_module = format!("cofferdam_run_duration_seconds_count{{module=\"{module}\"}} ");
    let mut counted = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(&of_module));
    counted
        .next()
        .map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn a_call_counts_one_run() {
    let host = ready("");
    host.client
        .put_module("echo", &guests::described(Some("{}"), None))
        .expect(201);
    let session = Session::begin(&host);
    call(&session, "echo", &json!({"input": 1}));
    ran(&session, "1");
    ran(&session, "1 / 0");
    assert_eq!(runs(&host, "echo"), 1);
    assert_eq!(runs(&host, "interpreters/python"), 2);
}

#[test]
fn a_busy_session_is_not_ended() {
    let host = ready(PATIENT);
    let session = Session::begin(&host);
    let code = "import time\nopen('begun', 'w').close()\ntime.sleep(15)\n'finished'";
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| ran(&session, code));
        host.await_scratch(true);
        // These are more than there is room for, so that each unused one is ended.
        for _ in 0..1_100 {
            post(&host, &[ACCEPT, JSON], &initialize().to_string()).expect(200);
        }
        let result = caller.join().unwrap();
        assert_eq!(text(&result), "result: \"finished\"", "{result}");
    });
}
