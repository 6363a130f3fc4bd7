//! Files that come with code and files that it leaves.

use serde_json::json;

use super::{exec, python, ready};

#[test]
fn files_come_in_and_what_changed_comes_out() {
    let host = ready("");
    let answer = exec(
        &host,
        &json!({
            "language": "python",
            "code": "import os\nos.makedirs('out/deep')\nopen('out/deep/sum é.txt', 'w').write(open('a.csv').read() * 2)\nopen('b.bin', 'ab').write(b'!')\nsorted(os.listdir())",
            "files": {"a.csv": "1,2\n", "b.bin": {"base64": "AP8="}},
        }),
    );
    assert_eq!(
        answer["result"],
        json!(["a.csv", "b.bin", "out"]),
        "{answer}"
    );
    let files = answer["files"].as_object().unwrap();
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(names, ["b.bin", "out/deep/sum é.txt"]);
    let get = |name: &str| {
        let url = files[name]["url"].as_str().unwrap();
        host.client.get(url).expect(200).body
    };
    assert_eq!(get("b.bin"), [0, 255, b'!']);
    assert_eq!(get("out/deep/sum é.txt"), b"1,2\n1,2\n");
    let url = files["b.bin"]["url"].as_str().unwrap();
    let folder = url.strip_suffix("b.bin").unwrap();
    host.client
        .get(&format!("{folder}a.csv"))
        .expect_problem(404, "artifact_not_found");
    host.client
        .get(&format!("{folder}..%2F..%2Fcofferdam.db"))
        .expect(400);
}

#[test]
fn files_are_kept_for_their_time_only() {
    let host = ready("[interpreters]\nfiles_retention_ms = 1000\n");
    let answer = python(&host, "open('x', 'w').write('y')");
    let url = answer["files"]["x"]["url"].as_str().unwrap().to_owned();
    let gone = || {
        host.client
            .try_send("GET", &url, &[], b"")
            .is_ok_and(|answer| answer.status == 404)
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !gone() {
        assert!(std::time::Instant::now() < until, "the file is still there");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn wheels_of_the_operator_can_be_imported() {
    let wheels = tempfile::tempdir().unwrap();
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    z.writestr('greeter/__init__.py', 'def hello(): return \"hello\"')\n    z.writestr('greeter-1.0.dist-info/METADATA', 'Name: greeter')\n";
    let wheel = wheels.path().join("greeter-1.0-py3-none-any.whl");
    let made = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&wheel)
        .status();
    assert!(made.expect("python3 is needed for this test").success());
    let host = ready(&format!("[interpreters]\npackages = {:?}\n", wheels.path()));
    let code = "import greeter\ngreeter.hello()";
    assert_eq!(
        python(&host, code)["result"],
        "hello",
        "{}",
        python(&host, code)
    );
    let named = exec(
        &host,
        &json!({"language": "python", "code": code, "packages": ["greeter"]}),
    );
    assert_eq!(named["result"], "hello");
    let none = exec(
        &host,
        &json!({"language": "python", "code": code, "packages": []}),
    );
    let message = none["error"]["message"].as_str().unwrap();
    assert!(message.contains("greeter"), "{message}");
    let write = python(&host, "open('/packages/x', 'w')");
    assert_eq!(write["status"], "failed");
}
