//! Requests whose callers go away, at every moment there is: whatever a request had taken is given back,
//! and what it left on disk is counted.
//!
//! The host is in this process, because a request is dropped here between two polls, which no client
//! could do on purpose.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::json;
use tempfile::TempDir;

use cofferdam_domain::caller::Origin;
use cofferdam_domain::module::Language;
use cofferdam_server::app::Local;
use cofferdam_server::config::Config;

use crate::exec::{WARM_UP, copy_compiled};
use crate::mcp::{ACCEPT, JSON, initialize};
use crate::support::guests;
use crate::support::host::program;

/// How long a host may take to give back what it took.
const SETTLING: Duration = Duration::from_secs(20);
/// More polls than any request here takes.
const POLLS_MAX: usize = 2_000;
/// A body that is counted, and that a task's input goes to disk with.
const LARGE: usize = 300_000;
/// What a body comes in.
const PIECE: usize = 100_000;

/// A host, and what its compiled code is kept in.
struct Stage {
    local: Local,
    _cache: TempDir,
}

impl Stage {
    fn start() -> Stage {
        let mut config = Config::default();
        config.http.inline_body_bytes = LARGE as u64 - 1;
        config.interpreters.dir = program().with_file_name("interpreters");
        let cache = TempDir::new().unwrap();
        copy_compiled(&cache.path().join("compiled"));
        let local = Local::start(config, program(), cache.path(), &[Language::JavaScript]);
        let stage = Stage {
            local: local.unwrap(),
            _cache: cache,
        };
        let until = Instant::now() + WARM_UP;
        while !stage.ask("/readyz").contains("\"javascript\":\"ready\"") {
            assert!(Instant::now() < until, "{}", stage.ask("/readyz"));
            std::thread::sleep(Duration::from_millis(20));
        }
        let echo = guests::wat("echo.wat");
        let put = request(
            "PUT",
            "/v1/modules/echo",
            &[("content-type", "text/wat")],
            echo,
        );
        assert_eq!(stage.answer(put).status(), 201);
        stage
    }

    fn answer(&self, request: Request<Body>) -> Response<Bytes> {
        self.local.block_on(async {
            let (parts, body) = self
                .local
                .api()
                .answer(Origin::Here, request)
                .await
                .into_parts();
            Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
        })
    }

    fn ask(&self, path: &str) -> String {
        let answer = self.answer(request("GET", path, &[], Vec::new()));
        String::from_utf8_lossy(answer.body()).into_owned()
    }

    /// A figure of the metrics.
    fn figure(&self, name: &str) -> u64 {
        let metrics = self.ask("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {metrics}"));
        line.trim().parse().unwrap()
    }

    fn memory(&self) -> [u64; 3] {
        ["guests", "compiles", "bodies"].map(|purpose| {
            self.figure(&format!(
                "cofferdam_memory_taken_bytes{{purpose=\"{purpose}\"}}"
            ))
        })
    }

    /// Waits until nothing is held in memory, and what is counted on disk is what is there.
    #[track_caller]
    fn await_settled(&self, after: &str) {
        let until = Instant::now() + SETTLING;
        loop {
            let (memory, counted) = (self.memory(), self.figure("cofferdam_files_bytes"));
            let there = on_disk(self.local.data());
            if memory == [0; 3] && counted == there {
                return;
            }
            assert!(
                Instant::now() < until,
                "{after}: {memory:?} in memory, {counted} bytes of files counted, {there} there"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Drops a request after its first poll, after its second and so on until it is answered: each time
    /// once at its wait and once when what it waited for has come.
    #[track_caller]
    fn abort_everywhere(&self, what: &str, request: impl Fn(usize) -> Request<Body>) {
        for is_late in [false, true] {
            let ended = (1..POLLS_MAX).find(|polls| {
                let number = polls * 2 + usize::from(is_late);
                let answering = async {
                    let answer = self.local.api().answer(Origin::Here, request(number)).await;
                    let status = answer.status();
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    assert!(status.is_success(), "{what}: {status} {body:?}");
                };
                let is_answered = self.local.block_on(cut(answering, *polls, is_late));
                self.await_settled(&format!(
                    "{what} dropped after {polls} polls, late: {is_late}"
                ));
                is_answered
            });
            let polls = ended.expect("it is answered in so many polls");
            println!("{what}: answered after {polls} polls");
            assert!(polls > 1, "{what} waits for nothing");
        }
    }
}

/// Drives `work` for so many polls; true if it has ended.
async fn cut(work: impl Future<Output = ()>, polls: usize, is_late: bool) -> bool {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 && !is_late => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A request whose body comes in pieces, with a wait before each.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Body> {
    let pieces: Vec<Bytes> = body.chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let pieces = stream::iter(pieces).then(|piece| async move {
        // Twice, because whoever reads a body polls once more before it waits.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        Ok::<_, std::convert::Infallible>(piece)
    });
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from_stream(pieces)).unwrap()
}

/// What the kept files take up: whole blocks, and one for each folder below a task's own.
fn on_disk(data: &Path) -> u64 {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    fn below(path: &Path, entries: &dyn Fn(&Path) -> Vec<std::path::PathBuf>) -> u64 {
        let block = |bytes: u64| bytes.div_ceil(4096).max(1) * 4096;
        let cost = |path: &std::path::PathBuf| match std::fs::symlink_metadata(path) {
            Ok(about) if about.is_dir() => block(0) + below(path, entries),
            Ok(about) => block(about.len()),
            Err(_gone) => 0,
        };
        entries(path).iter().map(cost).sum()
    }
    let tasks = entries(&data.join("artifacts"));
    let artifacts: u64 = tasks.iter().map(|task| below(task, &entries)).sum();
    artifacts + below(&data.join("spool"), &entries) + below(&data.join("executions"), &entries)
}

#[test]
fn an_upload_dropped_anywhere_leaves_nothing() {
    let stage = Stage::start();
    stage.abort_everywhere("an upload", |number| {
        // Each is compiled anew.
        let text = format!("(module (memory (export \"memory\") 1) (data (i32.const {number}) \"x\") (func (export \"_start\")))");
        let mut module = text.into_bytes();
        module.resize(LARGE, b' ');
        let headers = [("content-type", "text/wat")];
        request("PUT", "/v1/modules/dropped", &headers, module)
    });
}

#[test]
fn runs_and_tasks_dropped_anywhere_leave_nothing_uncounted() {
    let stage = Stage::start();
    let text = [("content-type", "text/plain")];
    stage.abort_everywhere("a run", |_| {
        request("POST", "/v1/run/echo", &text, vec![b'x'; LARGE - 1])
    });
    stage.abort_everywhere("a task with a large input", |_| {
        request("POST", "/v1/tasks?module=echo", &text, vec![b'x'; LARGE])
    });
    stage.abort_everywhere("a task that is waited for", |_| {
        let path = "/v1/tasks?module=echo&wait_ms=60000";
        request("POST", path, &text, vec![b'x'; LARGE])
    });
}

/// Reads a file that comes with it, and writes one of some size.
const CODE: &str = "const fs = require('fs');\n\
    fs.writeFileSync('out.txt', fs.readFileSync('in.txt', 'utf8').slice(0, 90000));\n1";

#[test]
fn code_with_files_dropped_anywhere_leaves_nothing_uncounted() {
    let stage = Stage::start();
    let body =
        json!({"language": "javascript", "code": CODE, "files": {"in.txt": "x".repeat(100_000)}});
    let body = body.to_string().into_bytes();
    stage.abort_everywhere("code", |_| {
        request("POST", "/v1/exec", &[JSON], body.clone())
    });
    let events = [JSON, ("accept", "text/event-stream")];
    stage.abort_everywhere("code that is watched", |_| {
        request("POST", "/v1/exec", &events, body.clone())
    });
}

/// Begins a session of `/mcp`, and calls code in it.
fn mcp_call(stage: &Stage, code: &str) -> impl Fn() -> Request<Body> + use<> {
    let begin = initialize().to_string().into_bytes();
    let begun = stage.answer(request("POST", "/mcp", &[ACCEPT, JSON], begin));
    let session = begun.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let send = move |message: String| {
        let headers = [ACCEPT, JSON, ("mcp-session-id", session.as_str())];
        request("POST", "/mcp", &headers, message.into_bytes())
    };
    assert_eq!(stage.answer(send(ready.to_string())).status(), 202);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "run_javascript",
        "arguments": {"code": code, "files": {"in.txt": "x".repeat(100_000)}},
    }});
    move || send(call.to_string())
}

#[test]
fn calls_of_agents_dropped_anywhere_leave_nothing_uncounted() {
    let stage = Stage::start();
    let call = mcp_call(&stage, CODE);
    stage.abort_everywhere("a call", |_| call());
}

#[test]
fn an_agents_answer_that_nobody_reads_holds_its_memory() {
    let stage = Stage::start();
    let call = mcp_call(&stage, CODE);
    let local = &stage.local;
    let answer = local.block_on(local.api().answer(Origin::Here, call()));
    assert_eq!(answer.status(), 200);
    let until = Instant::now() + SETTLING;
    while stage.memory()[2] < 90_000 || stage.memory()[0] > 0 {
        assert!(Instant::now() < until, "{:?}", stage.memory());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(answer);
    stage.await_settled("an answer that nobody read");
}
