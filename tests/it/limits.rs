//! Hostile guests through the real host: each ends soon after its limit, with its own failure kind
//! and the figures, whether it runs at once or as a task; others are served meanwhile; and it
//! leaves nothing behind.
//!
//! The benchmark `busy` measures how much slower others are served; the bound here is one that any
//! machine meets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::{Host, Slack};
use crate::support::http::Client;

/// How long after its limit a guest may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// Runs whose process may not be ready in time.
const TRIES: usize = 20;
/// How long another client waits for an answer at most, in a build without optimisation.
const CANARY_MAX: Duration = Duration::from_millis(250);

/// Small, so that filling them takes no time; and modules whose runs are long have no processes, which would count
/// as what a run left.
const CONFIG: &str =
    "[limits]\ndisk_bytes = 1048576\ndisk_files = 100\n[sandbox]\nisolation = \"shared\"\n";

/// One guest against one limit.
pub(crate) struct Case {
    pub(crate) guest: &'static str,
    input: &'static [u8],
    /// The limits it runs under, as a query and as a task name them.
    limits: &'static [(&'static str, u64)],
    kind: &'static str,
    /// The figures in its message.
    says: &'static str,
}

const fn case(
    guest: &'static str,
    limits: &'static [(&'static str, u64)],
    kind: &'static str,
    says: &'static str,
) -> Case {
    Case {
        guest,
        input: b"",
        limits,
        kind,
        says,
    }
}

const CPU: &[(&str, u64)] = &[("cpu_ms", 200)];
const TIMEOUT: &[(&str, u64)] = &[("timeout_ms", 200)];
const FUEL: &[(&str, u64)] = &[("fuel", 1_000_000)];
const MEMORY: &[(&str, u64)] = &[("memory_bytes", 64 << 20)];
const CPU_SAYS: &str = "ms of CPU time; 200 ms are allowed";
const TIMEOUT_SAYS: &str = "ms; 200 ms are allowed";
/// The number of "no space left on device".
const NO_SPACE: &str = "exit code 51";

pub(crate) const CASES: &[Case] = &[
    // Time.
    case("spin.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("spin-at-start.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("fill-memory.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("ask-the-clock.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("drip.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("walk-paths.wat", CPU, "cpu_exhausted", CPU_SAYS),
    case("spin.wat", TIMEOUT, "timeout", TIMEOUT_SAYS),
    case("sleep.wat", TIMEOUT, "timeout", TIMEOUT_SAYS),
    case("block.wat", TIMEOUT, "timeout", TIMEOUT_SAYS),
    case(
        "spin.wat",
        FUEL,
        "fuel_exhausted",
        "of 1000000 units of fuel",
    ),
    case(
        "recurse.wat",
        &[],
        "stack_overflow",
        "524288 bytes are allowed",
    ),
    // The guest's own memory.
    case(
        "grow-memory.wat",
        MEMORY,
        "memory_exceeded",
        "67108864 are allowed",
    ),
    case(
        "grow-many-memories.wat",
        MEMORY,
        "memory_exceeded",
        "67108864 are allowed",
    ),
    case(
        "grow-tables.wat",
        &[],
        "memory_exceeded",
        "20000 are allowed",
    ),
    case(
        "grow-past-the-pool.wat",
        &[],
        "memory_exceeded",
        "asked for 1000001 more; 20000 are allowed",
    ),
    case(
        "demand-memory.wat",
        &[],
        "memory_exceeded",
        "asked for 1073741824 more; 134217728 are allowed",
    ),
    // Names that a guest chose have no effect.
    case("names-of-limits.wat", &[], "trap", "unreachable"),
    // Host memory.
    case(
        "leak-handles.wat",
        &[],
        "host_resources_exceeded",
        "4096 handles",
    ),
    case(
        "leak-pollables.wat",
        &[],
        "host_resources_exceeded",
        "4096 host resources",
    ),
    case(
        "leak-files.wat",
        &[],
        "host_resources_exceeded",
        "4096 host resources",
    ),
    case(
        "random.wat",
        &[],
        "host_resources_exceeded",
        "2097152 random bytes; 1048576 are allowed",
    ),
    case(
        "progress.wat",
        &[],
        "host_resources_exceeded",
        "8388608 bytes",
    ),
    Case {
        guest: "task-output.wat",
        // A gibibyte.
        input: &[0, 0, 0, 0x40],
        limits: &[("memory_bytes", 2 << 30)],
        kind: "output_exceeded",
        says: "4194304 bytes that are allowed",
    },
    // Disk: the guest sees the refusal and gives up.
    case("fill-disk.wat", &[], "exit", NO_SPACE),
    case("sparse.wat", &[], "exit", NO_SPACE),
    case("many-files.wat", &[], "exit", NO_SPACE),
    case("renumber.wat", &[], "exit", NO_SPACE),
    // Ends that guests choose themselves.
    case("exit-7.wat", &[], "exit", "exit code 7"),
    case("trap.wat", &[], "trap", "divide by zero"),
    case(
        "exit-200.wat",
        &[],
        "trap",
        "exit with invalid exit status outside of [0..126)",
    ),
    Case {
        guest: "task-fails.wat",
        input: b"1 is permanent",
        limits: &[],
        kind: "guest_error",
        says: "1 is permanent",
    },
];

impl Case {
    /// By when it must have ended.
    fn patience(&self) -> Duration {
        let limit = self.limits.iter().find(|(name, _)| name.ends_with("_ms"));
        Duration::from_millis(limit.map_or(0, |(_, limit)| *limit)) + GRACE
    }

    fn module(&self) -> &'static str {
        self.guest.trim_end_matches(".wat")
    }

    /// The checks of a problem or of a task's error.
    #[track_caller]
    fn check(&self, kind: &Value, message: &Value, backtrace: &Value) {
        let message = message.as_str().expect("a failure has a message");
        assert_eq!(kind, self.kind, "{}: {message}", self.guest);
        assert!(message.contains(self.says), "{}: {message}", self.guest);
        assert!(!message.contains("backtrace"), "{}: {message}", self.guest);
        if self.kind == "trap" {
            assert!(backtrace.as_str().is_some_and(|text| text.contains("wasm")));
        }
    }

    /// Runs it at once.
    fn run(&self, client: &Client) {
        self.run_in("shared", client);
    }

    /// Runs it at once with this isolation; returns its failure.
    pub(crate) fn run_in(&self, isolation: &str, client: &Client) -> Value {
        let mut target = format!("{}?isolation={isolation}", self.module());
        for (name, limit) in self.limits {
            target.push_str(&format!("&{name}={limit}"));
        }
        let run = || {
            let began = Instant::now();
            let answer = client.run(&target, "application/octet-stream", self.input);
            (answer, began.elapsed())
        };
        let (mut answer, mut took) = run();
        // On a busy machine the first process may take longer than the limit.
        for _ in 0..TRIES {
            if !answer.text().contains("no process for the guest was ready") {
                break;
            }
            (answer, took) = run();
        }
        let problem = answer.expect_problem(422, self.kind);
        self.check(&problem["code"], &problem["detail"], &problem["backtrace"]);
        // On a busy machine a guest may have to wait for its CPU time, but never past its timeout.
        let spent = match self.kind {
            "timeout" => took,
            _ => micros(&problem["usage"]["cpu_us"]),
        };
        assert!(spent < self.patience(), "{} took {spent:?}", self.guest);
        problem
    }

    fn submit(&self, client: &Client) -> String {
        let limits: serde_json::Map<String, Value> = self
            .limits
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), json!(limit)))
            .collect();
        client.submit(&json!({
            "module": self.module(),
            "content_type": "application/octet-stream",
            "input_base64": STANDARD.encode(self.input),
            "limits": limits,
        }))
    }
}

/// A host with all of their guests.
pub(crate) fn host() -> Host {
    let host = Host::with_config(CONFIG);
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    for case in CASES {
        let status = host
            .client
            .put_module(case.module(), &guests::wat(case.guest))
            .status;
        // A guest may occur in several cases.
        assert!(status == 201 || status == 200, "{}", case.guest);
    }
    host
}

/// Runs `work` while another client makes small requests; returns the times of their answers, the
/// longest last.
fn beside_a_canary(client: &Client, work: impl FnOnce()) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // A panic in `work` ends the canary too.
        let end = OnDrop(&over);
        let canary = scope.spawn(|| {
            let mut took = Vec::new();
            while !over.load(Ordering::Acquire) {
                let began = Instant::now();
                client.run("echo", "text/plain", b"tweet").expect(200);
                took.push(began.elapsed());
            }
            took.sort();
            took
        });
        work();
        drop(end);
        canary.join().expect("the canary lives")
    })
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn micros(value: &Value) -> Duration {
    Duration::from_micros(value.as_u64().expect("a number of microseconds"))
}

#[track_caller]
fn assert_served(answers: &[Duration]) {
    let (last, common) = (
        answers[answers.len() - 1],
        answers[answers.len() * 99 / 100],
    );
    println!(
        "{} answers, 99 % in {common:?}, all in {last:?}",
        answers.len()
    );
    assert!(
        common < CANARY_MAX,
        "99 % of the answers took up to {common:?}"
    );
}

#[test]
fn a_hostile_guest_ends_at_its_limit_and_others_are_served() {
    let host = host();
    let answers = beside_a_canary(&host.client, || {
        for case in CASES {
            case.run(&host.client);
        }
    });
    assert_served(&answers);
}

#[test]
fn a_hostile_task_ends_like_a_hostile_run_and_leaves_nothing() {
    let host = host();
    let all_at_once = || {
        let ids: Vec<String> = CASES.iter().map(|case| case.submit(&host.client)).collect();
        for (case, id) in CASES.iter().zip(&ids) {
            let task = host.client.final_task(id);
            assert_eq!(task["status"], "failed", "{task}");
            let error = &task["error"];
            case.check(&error["kind"], &error["message"], &error["backtrace"]);
        }
    };
    // Once to map the modules and warm the pools.
    all_at_once();
    let before = host.footprint();
    let answers = beside_a_canary(&host.client, || {
        for _ in 0..3 {
            all_at_once();
        }
    });
    assert_served(&answers);
    host.await_footprint(&before, &Slack::default());
}

#[test]
fn a_flood_is_cut_off_and_does_not_end_the_guest() {
    let host = Host::start();
    host.client
        .put_module("flood", &guests::wat("flood.wat"))
        .expect(201);
    let before = host.footprint();
    let task = host.client.submit_and_wait(&json!({"module": "flood",
        "limits": {"timeout_ms": 60_000, "cpu_ms": 60_000}}));
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(task["truncated"]["stdout"], true, "{task}");
    assert_eq!(task["truncated"]["stderr"], true, "{task}");
    let id = task["task_id"].as_str().unwrap();
    let kept = |stream: &str| {
        let path = format!("/v1/tasks/{id}/logs?stream={stream}");
        host.client.get(&path).expect(200).body.len()
    };
    assert_eq!(kept("stderr"), 1 << 20);
    host.client
        .get(&format!("/v1/tasks/{id}/logs?attempt=2"))
        .expect_problem(404, "attempt_not_found");
    host.await_footprint(&before, &Slack::default());
}

#[test]
fn a_guest_past_its_quota_is_ended_where_the_operator_wants_that() {
    let host = Host::with_config(&format!("{CONFIG}over_quota = \"kill\"\n"));
    for (guest, says) in [
        ("fill-disk.wat", "1048576 bytes"),
        ("many-files.wat", "100"),
    ] {
        host.client.put_module("m", &guests::wat(guest)).expect(201);
        let problem = host
            .client
            .run("m", "text/plain", b"")
            .expect_problem(422, "disk_exceeded");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
}

#[test]
fn a_module_that_cannot_describe_itself_is_refused() {
    let host = Host::with_config("[limits]\ncpu_ms = 200\n");
    let began = Instant::now();
    let answer = host
        .client
        .put_module("m", &guests::wat("describe-for-ever.wat"))
        .expect(422)
        .json();
    assert!(began.elapsed() < Duration::from_secs(10));
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("CPU time"), "{answer}");
    host.client.get("/v1/modules/m").expect(404);
}

#[test]
fn an_input_that_nobody_reads_does_not_block() {
    let host = Host::with_config("[http]\ninline_body_bytes = 1048576\n");
    host.client
        .put_module("m", &guests::wat("exit-7.wat"))
        .expect(201);
    let problem = host
        .client
        .run("m", "text/plain", &vec![b'x'; 1 << 20])
        .expect_problem(422, "exit");
    assert_eq!(
        (&problem["exit_code"], &problem["stderr"]),
        (&json!(7), &json!("seven\n"))
    );
    let spooled = host.client.send(
        "POST",
        "/v1/tasks?module=m&wait_ms=60000",
        &[("content-type", "text/plain")],
        &vec![b'x'; 32 << 20],
    );
    let task = spooled.expect(200).json();
    assert_eq!(task["error"]["exit_code"], 7, "{task}");
}

/// How much more CPU time than its limit a guest may make the host use: unmeasured work, and the
/// host's own work around each call.
const CHARGED_FACTOR: u32 = 3;

#[test]
fn work_of_the_host_for_a_guest_is_charged_to_it() {
    let host = Host::start();
    let guest = guests::wat("walk-paths.wat");
    host.client.put_module("walk", &guest).expect(201);
    let run = || host.client.run("walk?cpu_ms=500", "text/plain", b"");
    run().expect_problem(422, "cpu_exhausted");
    let before = cpu_time(&host);
    run().expect_problem(422, "cpu_exhausted");
    let used = cpu_time(&host) - before;
    println!("500 ms allowed, {used:?} used");
    assert!(
        used < Duration::from_millis(500) * CHARGED_FACTOR,
        "{used:?}"
    );
}

/// The CPU time of the whole process.
fn cpu_time(host: &Host) -> Duration {
    let path = format!("/proc/{}/stat", host.pid());
    let stat = std::fs::read_to_string(path).expect("the host runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
