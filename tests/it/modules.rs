//! Uploading, resolving and removing modules.

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;

#[test]
fn an_upload_is_checked_compiled_and_described() {
    let host = Host::start();
    let wasm = guests::built("transform");

    let created = host
        .client
        .put_module("team/transform", &wasm)
        .expect(201)
        .json();
    assert_eq!(created["name"], "team/transform");
    assert_eq!(created["kind"], "task");
    assert_eq!(created["size_bytes"], wasm.len());
    assert!(created["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(
        created["descriptor"]["summary"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(created["descriptor"]["input_schema"]["type"], "object");
    let imports = created["imports"].as_array().unwrap();
    assert!(
        imports
            .iter()
            .any(|name| name.as_str().unwrap().starts_with("wasi:io/streams@0.2"))
    );

    let again = host
        .client
        .put_module("team/transform", &wasm)
        .expect(200)
        .json();
    assert_eq!(again["digest"], created["digest"]);

    let shown = host
        .client
        .get("/v1/modules/team/transform")
        .expect(200)
        .json();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 1);
    assert_eq!(
        host.client
            .get("/v1/modules/team/transform/wasm")
            .expect(200)
            .body,
        wasm
    );
}

#[test]
fn a_name_refers_to_its_newest_version_and_a_digest_pins_one() {
    let host = Host::start();
    let first = host
        .client
        .put_module("m", &guests::built("echo"))
        .expect(201)
        .json();
    host.client
        .put_module("m", &guests::built("primes"))
        .expect(201);

    let pinned = format!("m@{}", first["digest"].as_str().unwrap());
    assert_eq!(
        host.client
            .run(&pinned, "text/plain", b"hello")
            .expect(200)
            .body,
        b"hello"
    );
    host.client.run("m", "text/plain", b"hello").expect(422);
    let versions = host.client.get("/v1/modules/m").expect(200).json()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 2);
}

#[test]
fn modules_are_listed_by_name_page_by_page() {
    let host = Host::start();
    let echo = guests::built("echo");
    for name in ["b", "a", "c"] {
        host.client.put_module(name, &echo).expect(201);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = host.client.get("/v1/modules?limit=2").expect(200).json();
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = host
        .client
        .get(&format!("/v1/modules?limit=2&cursor={cursor}"))
        .expect(200)
        .json();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["next_cursor"], Value::Null);
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=x", "colour=red"] {
        host.client.get(&format!("/v1/modules?{bad}")).expect(400);
    }
}

#[test]
fn a_removed_module_is_gone() {
    let host = Host::start();
    host.client
        .put_module("m", &guests::built("echo"))
        .expect(201);
    host.client.delete("/v1/modules/m").expect(204);
    host.client.delete("/v1/modules/m").expect(404);
    host.client.get("/v1/modules/m").expect(404);
    host.client.run("m", "text/plain", b"").expect(404);
}

#[test]
fn a_file_that_is_not_a_module_is_refused_with_the_reason() {
    let host = Host::start();
    let refused = |bytes: &[u8]| {
        let answer = host.client.put_module("m", bytes).expect(422).json();
        answer["detail"]
            .as_str()
            .expect("a problem has a detail")
            .to_owned()
    };
    refused(b"\0asm\x01\0\0\0 truncated");
    refused(b"\x7fELF and so on");
    refused(b"(module (func (export \"run\")))");
    let detail = refused(
        b"(module (import \"env\" \"launch\" (func)) (func (export \"_start\")) (memory (export \"memory\") 1))",
    );
    assert!(
        detail.contains("env") && detail.contains("launch"),
        "{detail}"
    );
    host.client.get("/v1/modules/m").expect(404);
}

#[test]
fn the_older_syntax_of_components_is_accepted() {
    let host = Host::start();
    let new = String::from_utf8(guests::wat("echo.wat")).unwrap();
    let old = new
        .replace(
            "(memory (core memory $guest \"memory\"))",
            "(memory $guest \"memory\")",
        )
        .replace("(realloc (core func $guest", "(realloc (func $guest");
    assert_ne!(old, new, "echo.wat uses the newer syntax");
    for text in [new, old] {
        host.client.put_module("echo", text.as_bytes()).expect(201);
        host.client.delete("/v1/modules/echo").expect(204);
    }
}

#[test]
fn a_name_in_a_module_does_not_choose_the_refusal() {
    let host = Host::start();
    let export = |name: &str| format!("(export \"{name}\" (func 0)) (export \"{name}\" (func 0))");
    for name in [
        "Cannot allocate memory",
        "memory allocation of 9 bytes failed",
    ] {
        let text = format!("(module (func (export \"_start\")) {})", export(name));
        let answer = host.client.put_module("twice", text.as_bytes());
        let problem = answer.expect_problem(422, "module_refused");
        assert!(
            problem["detail"].as_str().unwrap().contains(name),
            "{problem}"
        );
    }
}

#[test]
fn a_bad_name_or_type_is_refused() {
    let host = Host::start();
    for name in ["A", "a..b", "a%2F..%2Fb", ".a", "a%00", "%C3%A9"] {
        host.client.put_module(name, b"(module)").expect(400);
    }
    let kind = [("content-type", "image/png")];
    host.client
        .send("PUT", "/v1/modules/m", &kind, b"(module)")
        .expect_problem(415, "unsupported_media_type");
}

#[test]
fn a_modules_description_and_media_type_are_bounded() {
    let host = Host::start();
    let put = host
        .client
        .put_module("loud", &guests::wat("loud.wat"))
        .expect(201)
        .json();
    let summary = put["descriptor"]["summary"].as_str().unwrap();
    assert!(summary.len() < 5000, "{} bytes", summary.len());
    assert!(host.client.get("/v1/modules").expect(200).body.len() < 50_000);
    let answer = host.client.run("loud", "text/plain", b"").expect(200);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let task = host.client.submit_and_wait(&json!({"module": "loud"}));
    let path = format!("/v1/tasks/{}/result", task["task_id"].as_str().unwrap());
    let result = host.client.get(&path).expect(200);
    assert_eq!(result.header("content-type"), "application/octet-stream");
}

#[test]
fn an_upload_of_unknown_kind_is_told_how_to_declare_it() {
    let host = Host::start();
    let script = b"def run(input):\n    return input\n";
    let put = |name: &str, headers: &[(&str, &str)], body: &[u8]| {
        let path = format!("/v1/modules/{name}");
        host.client.send("PUT", &path, headers, body)
    };
    // This is what `curl -T` sends; the next error is that there is no interpreter here.
    put("report.py", &[], script).expect_problem(501, "interpreter_not_installed");
    let unsaid = put("report", &[], script).expect_problem(415, "unsupported_media_type");
    let detail = unsaid["detail"].as_str().unwrap();
    assert!(
        detail.contains("text/x-python") && detail.contains(".py"),
        "{detail}"
    );
    put("report.ts", &[], script).expect_problem(501, "interpreter_not_installed");
    put("echo", &[], &guests::wat("echo.wat")).expect(201);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    put("echo", &form, &guests::wat("echo.wat")).expect(200);
}
