//! Each limit has its own failure kind, and output until then is in the answer.

use serde_json::{Value, json};

use super::{exec, python, ready};

#[test]
fn every_limit_ends_code_with_its_own_kind() {
    let host = ready("");
    let kind = |mut request: Value, field: &str, limit: u64| {
        request[field] = json!(limit);
        let answer = exec(&host, &request);
        assert_eq!(answer["status"], "failed", "{answer}");
        answer["error"]["kind"].as_str().unwrap().to_owned()
    };
    let py = |code: &str| json!({"language": "python", "code": code});
    let js = |code: &str| json!({"language": "javascript", "code": code});
    assert_eq!(kind(py("while True: pass"), "cpu_ms", 200), "cpu_exhausted");
    assert_eq!(kind(py("while True: pass"), "timeout_ms", 200), "timeout");
    assert_eq!(
        kind(py("import time\ntime.sleep(60)"), "timeout_ms", 200),
        "timeout"
    );
    assert_eq!(
        kind(py("x = 'x'\nwhile True: x += x"), "memory_limit_mb", 96),
        "memory_exceeded"
    );
    assert_eq!(kind(py("9**9**9"), "cpu_ms", 200), "cpu_exhausted");
    assert_eq!(
        kind(
            py("import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')"),
            "cpu_ms",
            200
        ),
        "cpu_exhausted"
    );
    assert_eq!(kind(js("for (;;) {}"), "cpu_ms", 200), "cpu_exhausted");
    assert_eq!(
        kind(
            js("const a = []; for (;;) a.push(new Array(1e5).fill(1))"),
            "memory_limit_mb",
            64
        ),
        "memory_exceeded"
    );
    assert_eq!(
        kind(js("setTimeout(() => {}, 60000)"), "timeout_ms", 200),
        "timeout"
    );
    assert_eq!(python(&host, "1 + 1")["result"], 2);
}

#[test]
fn output_before_the_end_is_in_the_answer() {
    let host = ready("");
    let answer = exec(
        &host,
        &json!({"language": "python", "code": "print('before')\nwhile True: pass", "cpu_ms": 200}),
    );
    assert_eq!(answer["stdout"], "before\n");
    assert_eq!(answer["exit_code"], Value::Null);
    assert_eq!(answer["error"]["traceback"], Value::Null);
}

#[test]
fn recursion_is_an_error_of_the_script() {
    let host = ready("");
    let answer = python(&host, "def f(): f()\nf()");
    assert_eq!(answer["error"]["type"], "RecursionError");
    let deep = python(
        &host,
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(): f()\nf()",
    );
    assert_eq!(deep["status"], "failed");
    let nested = python(&host, "x = []\nfor _ in range(10**5): x = [x]\nrepr(x)");
    // Through C the guest's own stack ends first, and the sandbox reports it.
    assert_eq!(nested["error"]["kind"], "stack_overflow", "{nested}");
    let answer = super::javascript(&host, "function f() { f() } f()");
    assert!(["RangeError", "InternalError"].contains(&answer["error"]["type"].as_str().unwrap()));
    assert_eq!(python(&host, "1")["result"], 1);
}

#[test]
fn a_huge_print_is_cut_and_says_so() {
    let host = ready("");
    let answer = python(&host, "for _ in range(4096): print('x' * 1023)\n7");
    assert_eq!(answer["result"], 7);
    assert_eq!(answer["stdout"].as_str().unwrap().len(), 1024 * 1024);
    assert_eq!(
        answer["truncated"],
        json!({"stdout": true, "stderr": false})
    );
    let answer = python(&host, "'x' * (5 << 20)");
    assert_eq!(answer["error"]["kind"], "output_exceeded");
}

#[test]
fn a_sleeper_does_not_delay_others() {
    const SLEEPERS: usize = 4;
    let host = ready("[interpreters]\nrunning_max = 1\n");
    // The file gives each run a directory, which shows that it has begun.
    let code = "import time\nopen('begun', 'w').close()\ntime.sleep(60)";
    let request = json!({"language": "python", "code": code, "timeout_ms": 8000});
    std::thread::scope(|scope| {
        let sleepers: Vec<_> = (0..SLEEPERS)
            .map(|_| scope.spawn(|| exec(&host, &request)))
            .collect();
        host.await_directories(SLEEPERS);
        assert_eq!(python(&host, "1")["result"], 1);
        let asleep = sleepers.iter().filter(|it| !it.is_finished()).count();
        assert_eq!(asleep, SLEEPERS, "they were not waited for");
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap()["error"]["kind"], "timeout");
        }
    });
}

#[test]
fn code_waits_no_longer_than_its_caller_lets_it() {
    use std::time::{Duration, Instant};
    let host = ready("[interpreters]\ninstances_max = 1\n[sessions]\nmax = 1\n");
    let session = host
        .client
        .post("/v1/sessions", &json!({"language": "python"}))
        .expect(201)
        .json();
    let session = format!(
        "/v1/sessions/{}/exec",
        session["session_id"].as_str().unwrap()
    );
    let sleep = "import time\ntime.sleep(5)";
    let busy = |path: &str, body: &Value| {
        let until = Instant::now() + Duration::from_secs(4);
        loop {
            let began = Instant::now();
            let answer = host.client.post(path, body);
            if answer.status == 503 {
                assert!(
                    began.elapsed() < Duration::from_secs(3),
                    "{:?}",
                    began.elapsed()
                );
                answer.expect_problem(503, "queue_timeout");
                return;
            }
            assert!(Instant::now() < until, "{}", answer.text());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            host.client
                .post(&session, &json!({"code": sleep}))
                .expect(200)
        });
        scope.spawn(|| {
            let code = json!({"language": "python", "code": sleep});
            host.client.post("/v1/exec", &code).expect(200);
        });
        let soon = json!({"code": "1", "timeout_ms": 700});
        busy(&session, &soon);
        busy(
            "/v1/exec",
            &json!({"language": "python", "code": "1", "timeout_ms": 700}),
        );
    });
}
