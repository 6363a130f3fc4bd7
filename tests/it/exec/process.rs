//! Python code's expectations of its process: standard input, exit codes, files, clocks.

use serde_json::{Value, json};

use super::{exec, python, ready};

#[test]
fn standard_input_is_reached_in_every_way_and_unchanged() {
    let host = ready("");
    let given = "one\r\ntwo\nthree é";
    for code in [
        "import sys; sys.stdin.read()",
        "import sys; sys.stdin.buffer.read().decode()",
        "open(0, newline='').read()",
        "open(0, 'rb').read().decode()",
        "import os; os.read(0, 100).decode()",
        "open('/dev/stdin', newline='').read()",
        "open('/dev/fd/0', 'rb').read().decode()",
        "import os; os.read(os.open('/dev/stdin', os.O_RDONLY), 100).decode()",
        "import pathlib; pathlib.Path('/dev/stdin').read_bytes().decode()",
        "import fileinput; ''.join(fileinput.input('-'))",
        "import sys; ''.join(sys.stdin)",
        "import sys; ''.join(sys.stdin.readlines())",
        "import sys; ''.join(iter(sys.stdin.readline, ''))",
        "import io, sys; io.TextIOWrapper(sys.stdin.detach(), newline='').read()",
        "import os, sys; os.fdopen(sys.stdin.fileno(), newline='').read()",
    ] {
        let request = json!({"language": "python", "code": code, "stdin": given});
        let answer = exec(&host, &request);
        assert_eq!(answer["result"], given, "{code}: {answer}");
    }
    let both = "a = input()\nimport sys, os\n[a, sys.stdin.readline(), os.read(0, 9).decode()]";
    let request = json!({"language": "python", "code": both, "stdin": "x\ny\n"});
    assert_eq!(exec(&host, &request)["result"], json!(["x", "y\n", ""]));
    let nothing = python(
        &host,
        "import sys; [sys.stdin.read(), open(0).read(), sys.stdin.name]",
    );
    assert_eq!(nothing["result"], json!(["", "", "<stdin>"]));
    let missing = python(&host, "input()");
    assert_eq!(missing["error"]["type"], "EOFError");
    let message = missing["error"]["message"].as_str().unwrap();
    assert!(message.contains("`stdin`"), "{missing}");
    // Half of a surrogate pair is three bytes, as Python itself passes it.
    let body = r#"{"language":"python","code":"import sys; sys.stdin.buffer.read().hex()","stdin":"\ud800"}"#;
    let header = [("content-type", "application/json")];
    let answer = host
        .client
        .send("POST", "/v1/exec", &header, body.as_bytes());
    assert_eq!(answer.expect(200).json()["result"], "eda080");
}

#[test]
fn each_call_of_a_session_has_its_own_standard_input() {
    let host = ready("");
    let made = host
        .client
        .post("/v1/sessions", &json!({"language": "python"}))
        .expect(201);
    let path = format!("{}/exec", made.header("location"));
    let call = |code: &str, stdin: Option<&str>| {
        let answer = host
            .client
            .post(&path, &json!({"code": code, "stdin": stdin}));
        answer.expect(200).json()["result"].clone()
    };
    assert_eq!(call("open(0).read()", Some("first")), "first");
    assert_eq!(call("import sys; sys.stdin.read()", None), "");
    assert_eq!(call("input()", Some("a\nleft over")), "a");
    assert_eq!(call("import os; os.read(0, 99).decode()", Some("b")), "b");
    assert_eq!(call("sys.stdin.close()", Some("c")), Value::Null);
    assert_eq!(call("sys.stdin.read()", Some("d")), "d");
}

#[test]
fn a_process_ends_with_the_code_it_chose() {
    let host = ready("");
    for (code, exit_code) in [
        ("import sys\nsys.exit(7)", 7),
        ("import os\nos._exit(3)", 3),
        (
            "import os\ntry:\n    os._exit(4)\nfinally:\n    print('never')",
            4,
        ),
        ("import posix\nposix._exit(5)", 5),
        ("raise SystemExit(6)", 6),
        ("import sys\nsys.exit('said')", 1),
        ("import sys\nsys.exit(-1)", 255),
        ("import sys\nsys.exit(2**70)", 255),
        ("exit(9)", 9),
    ] {
        let answer = python(&host, code);
        assert_eq!(answer["exit_code"], exit_code, "{code}: {answer}");
        assert_eq!(answer["status"], "failed", "{code}: {answer}");
        assert_eq!(answer["error"]["kind"], "exit", "{code}: {answer}");
        assert_eq!(answer["stdout"], "", "{code}: {answer}");
    }
    for code in [
        "import os\nprint('done')\nos._exit(0)",
        "print('done')\nexit()",
    ] {
        let answer = python(&host, code);
        assert_eq!(
            (&answer["status"], &answer["exit_code"], &answer["error"]),
            (&json!("completed"), &json!(0), &Value::Null),
            "{code}: {answer}"
        );
        assert_eq!(answer["stdout"], "done\n");
    }
}

#[test]
fn a_session_ends_with_its_process() {
    let host = ready("");
    for code in [0, 3] {
        let made = host
            .client
            .post("/v1/sessions", &json!({"language": "python"}))
            .expect(201);
        let path = format!("{}/exec", made.header("location"));
        let exit = json!({"code": format!("import os\nos._exit({code})")});
        let answer = host.client.post(&path, &exit).expect(200).json();
        assert_eq!(
            (&answer["session"], &answer["exit_code"]),
            (&json!("ended"), &json!(code)),
            "{answer}"
        );
        let gone = host.client.post(&path, &json!({"code": "1"}));
        let gone = gone.expect_problem(410, "session_ended");
        assert_eq!(gone["failure"], "exit", "{gone}");
    }
}

#[test]
fn a_file_that_is_appended_to_can_be_read() {
    let host = ready("");
    let code = "f = open('a', 'a+')\nf.write('hello')\nf.seek(0)\nseen = [f.read()]\n\
        f.write('!')\nf.seek(2)\nseen += [f.read(2), f.tell(), f.seek(0), f.readline()]\n\
        f = open('a', 'ab+')\nseen += [f.tell(), f.read().decode(), f.seek(1), f.read(2).decode()]\n\
        f = open('a', 'ab+', buffering=0)\nseen += [f.write(b'?'), f.seek(5), f.read().decode()]\nseen";
    assert_eq!(
        python(&host, code)["result"],
        json!(["hello", "ll", 4, 0, "hello!", 6, "", 1, "el", 1, 5, "!?"])
    );
}

#[test]
fn an_empty_path_names_nothing() {
    let host = ready("");
    let code = "import os\n[os.path.exists(''), os.path.isdir(''), os.access('', os.F_OK)]";
    assert_eq!(python(&host, code)["result"], json!([false, false, false]));
    for call in [
        "open('')",
        "os.stat('')",
        "os.listdir('')",
        "os.scandir('')",
        "os.mkdir('')",
        "os.remove('')",
        "os.rename('', 'x')",
        "os.chdir('')",
        "os.open('', os.O_RDONLY)",
    ] {
        let answer = python(&host, &format!("import os\n{call}"));
        assert_eq!(
            answer["error"]["type"], "FileNotFoundError",
            "{call}: {answer}"
        );
    }
}

#[test]
fn process_time_begins_with_the_run() {
    let host = ready("");
    let code = "import time, os\na = time.process_time()\ntime.sleep(0.3)\n\
        while time.process_time() < a + 0.01: pass\nb = time.process_time()\n\
        [a, b, time.process_time_ns() >= b * 1e9, time.thread_time() >= b, os.times().user >= b]";
    let answer = python(&host, code);
    let (before, after) = (&answer["result"][0], &answer["result"][1]);
    let (before, after) = (before.as_f64().unwrap(), after.as_f64().unwrap());
    assert!((0.0..5.0).contains(&before), "{answer}");
    assert!(after > before, "{answer}");
    assert_eq!(answer["result"][4], true, "{answer}");
    // Sleeping does not count.
    let slept = python(
        &host,
        "import time\na = time.process_time()\ntime.sleep(1)\ntime.process_time() - a < 0.9",
    );
    assert_eq!(slept["result"], true);
}

/// The host takes a large write in parts, and nothing is lost.
#[test]
fn a_large_write_arrives_whole() {
    let host = ready("");
    let (size, lines) = (900_000, 3);
    for (code, stdout, stderr) in [
        (format!("print('x' * {size}, end='')"), size, 0),
        (
            format!("import sys\nsys.stderr.write('x' * {size})\nNone"),
            0,
            size,
        ),
        (
            format!(
                "import sys\nfor _ in range({lines}): sys.stdout.buffer.write(b'x' * 300_000)\nNone"
            ),
            lines * 300_000,
            0,
        ),
    ] {
        let answer = python(&host, &code);
        assert_eq!(answer["status"], "completed", "{code}: {answer}");
        let length = |stream: &str| answer[stream].as_str().unwrap().len();
        assert_eq!(
            (length("stdout"), length("stderr")),
            (stdout, stderr),
            "{code}"
        );
    }
    let request =
        json!({"language": "javascript", "code": format!("console.log('x'.repeat({size}))")});
    assert_eq!(
        exec(&host, &request)["stdout"].as_str().unwrap().len(),
        size + 1
    );
}
