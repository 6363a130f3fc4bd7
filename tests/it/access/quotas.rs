//! The quotas of tenants: what would go beyond one is refused with 429, and told which one it is.

use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::site::{ADMIN, Site, admin_key, host};
use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// After so long every host has heard of it.
const HEARD: Duration = Duration::from_secs(10);

/// A task that waits for an hour.
fn later() -> Value {
    json!({"module": "echo", "input": 7, "delay_ms": 3_600_000})
}

fn site(is_shared: bool) -> Site {
    match is_shared {
        true => Site::on_postgres(""),
        false => Site::start(""),
    }
}

/// Holds that a quota was exceeded.
#[track_caller]
pub(super) fn assert_over(refused: Answer, quota: &str, limit: u64, used: u64) {
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    let (told, left) = (refused.header("ratelimit"), limit.saturating_sub(used));
    assert_eq!(told, format!("\"{quota}\";r={left};t={wait}"));
    assert_eq!(
        refused.header("ratelimit-policy"),
        format!("\"{quota}\";q={limit}")
    );
    let problem = refused.expect_problem(429, "quota_exceeded");
    assert_eq!(
        (&problem["quota"], &problem["limit"], &problem["used"]),
        (&json!(quota), &json!(limit), &json!(used)),
        "{problem}"
    );
}

fn no_more_tasks_wait_than_the_tenant_may_have(is_shared: bool) {
    let site = site(is_shared);
    let put = |rules: &Value| site.send(ADMIN, "PUT", "/v1/tenants/a", rules);
    let shown = put(&json!({"pending_max": 2})).expect(200).json();
    assert_eq!(shown["pending_max"], 2, "{shown}");
    let (key, theirs) = (
        site.key("a", &["run", "read", "modules"]),
        site.key("b", &["run", "modules"]),
    );
    for key in [&key, &theirs] {
        site.put_module(key, "echo", &guests::wat("echo.wat"));
    }
    let submit = |key: &str, task: &Value| site.send(key, "POST", "/v1/tasks", task);
    let first = submit(&key, &later()).expect(202).json();
    let two = json!({"tasks": [later(), later()]});
    assert_over(
        site.send(&key, "POST", "/v1/tasks/batch", &two),
        "pending_max",
        2,
        1,
    );
    submit(&key, &later()).expect(202);
    assert_over(submit(&key, &later()), "pending_max", 2, 2);
    let raw = "/v1/tasks?module=echo&delay_ms=3600000";
    assert_over(site.send(&key, "POST", raw, &json!(7)), "pending_max", 2, 2);
    // Not those of another tenant, nor what runs at once.
    for _ in 0..3 {
        submit(&theirs, &later()).expect(202);
    }
    site.send(&key, "POST", "/v1/run/echo", &json!(7))
        .expect(200);
    let cancel = format!("/v1/tasks/{}", first["task_id"].as_str().unwrap());
    site.send(&key, "DELETE", &cancel, &Value::Null).expect(202);
    submit(&key, &later()).expect(202);
    // A retry needs no place.
    site.send(&key, "POST", &format!("{cancel}/retry"), &Value::Null)
        .expect(202);
    put(&json!({})).expect(200);
    submit(&key, &later()).expect(202);
}

#[test]
fn no_more_tasks_wait_than_the_tenant_may_have_on_sqlite() {
    no_more_tasks_wait_than_the_tenant_may_have(false);
}

#[test]
fn no_more_tasks_wait_than_the_tenant_may_have_on_postgres() {
    no_more_tasks_wait_than_the_tenant_may_have(true);
}

/// A hundred submits at once at these hosts, where there is room for one.
fn the_last_place_is_one_tasks(hosts: &[Host]) {
    const QUOTA: u64 = 5;
    let send = |client: &Client, method: &str, path: &str, body: &Value| {
        let headers = [admin_key(), ("content-type", "application/json")];
        client.send(method, path, &headers, body.to_string().as_bytes())
    };
    let client = &hosts[0].client;
    let wat = [admin_key(), ("content-type", "text/wat")];
    client
        .send("PUT", "/v1/modules/echo", &wat, &guests::wat("echo.wat"))
        .expect(201);
    send(
        client,
        "PUT",
        "/v1/tenants/default",
        &json!({"pending_max": QUOTA}),
    )
    .expect(200);
    for _ in 1..QUOTA {
        send(client, "POST", "/v1/tasks", &later()).expect(202);
    }
    for host in hosts {
        // Until it has heard of the quota.
        let many = json!({"tasks": [later(), later()]});
        loop {
            let answer = send(&host.client, "POST", "/v1/tasks/batch", &many);
            if answer.status == 429 {
                break;
            }
            let batch = answer.expect(202).json();
            let batch = format!("/v1/batches/{}", batch["batch_id"].as_str().unwrap());
            send(&host.client, "DELETE", &batch, &Value::Null).expect(202);
        }
    }
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let submit = |n: usize| {
            send(
                &hosts[n % hosts.len()].client,
                "POST",
                "/v1/tasks",
                &later(),
            )
        };
        let all: Vec<_> = (0..100).map(|n| scope.spawn(move || submit(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (stored, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!((stored.len(), refused.len()), (1, 99));
    for refused in refused {
        assert_over(refused, "pending_max", QUOTA, QUOTA);
    }
}

#[test]
fn of_a_hundred_submits_one_gets_the_last_place_on_sqlite() {
    the_last_place_is_one_tasks(&[host("")]);
}

#[test]
fn of_a_hundred_submits_one_gets_the_last_place_over_two_hosts() {
    let database = Database::fresh();
    let config = format!("[storage]\nurl = {:?}\n", database.url());
    the_last_place_is_one_tasks(&[host(&config), host(&config)]);
}

#[test]
fn a_tenant_has_no_more_sessions_than_it_may() {
    let host = ready("");
    let json = [("content-type", "application/json")];
    let put = |rules: &Value| {
        let body = rules.to_string();
        host.client
            .send("PUT", "/v1/tenants/default", &json, body.as_bytes())
            .expect(200);
    };
    put(&json!({"sessions_max": 1}));
    let open = || {
        host.client
            .post("/v1/sessions", &json!({"language": "javascript"}))
    };
    let first = open().expect(201);
    assert_over(open(), "sessions_max", 1, 1);
    host.client.delete(first.header("location")).expect(204);
    open().expect(201);
    put(&json!({"sessions_max": 0}));
    assert_over(open(), "sessions_max", 0, 1);
    put(&json!({}));
    open().expect(201);
}

/// A tenant whose bytes are bounded.
struct Bounded {
    site: Site,
    key: String,
    /// What its modules have.
    modules: u64,
    /// What it may have.
    most: u64,
}

impl Bounded {
    /// A tenant with two modules and room for 1,100 bytes more.
    fn start(is_shared: bool) -> Bounded {
        let site = site(is_shared);
        let key = site.key("a", &["run", "read", "modules"]);
        site.put_module(&key, "echo", &guests::wat("echo.wat"));
        let echo = site.send(&key, "GET", "/v1/modules/echo", &Value::Null);
        let mut bounded = Bounded {
            site,
            key,
            modules: 0,
            most: 0,
        };
        let report = bounded.upload("report").expect(201).json();
        let bytes = |module: &Value| module["size_bytes"].as_u64().unwrap();
        bounded.modules = bytes(&report) + bytes(&echo.expect(200).json());
        bounded.most = bounded.modules + 1100;
        let rules = json!({"storage_bytes": bounded.most});
        let put = bounded.site.send(ADMIN, "PUT", "/v1/tenants/a", &rules);
        assert_eq!(put.expect(200).json()["storage_bytes"], bounded.most);
        bounded
    }

    fn upload(&self, name: &str) -> Answer {
        let headers = [
            ("x-api-key", self.key.as_str()),
            ("content-type", "application/wasm"),
        ];
        let path = format!("/v1/modules/{name}");
        let client = &self.site.host.client;
        client.send("PUT", &path, &headers, &guests::built("report"))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.site.send(&self.key, "POST", path, body)
    }

    /// The task that echoes 300 letters, once it is final.
    fn echo(&self) -> Value {
        let task = json!({"module": "echo", "input": "x".repeat(300)});
        self.post("/v1/tasks?wait_ms=60000", &task)
            .expect(200)
            .json()
    }

    fn remove(&self, path: &str) {
        self.site
            .send(&self.key, "DELETE", path, &Value::Null)
            .expect(204);
    }

    fn purge(&self, task: &Value) {
        let id = task["task_id"].as_str().unwrap();
        self.remove(&format!("/v1/tasks/{id}?purge=true"));
    }

    /// Holds that there is no room although nothing but the modules is kept.
    #[track_caller]
    fn assert_over(&self, refused: Answer) {
        assert_over(refused, "storage_bytes", self.most, self.modules);
    }
}

fn what_is_kept_for_a_tenant_is_bounded(is_shared: bool) {
    let bounded = Bounded::start(is_shared);
    bounded.assert_over(bounded.upload("again"));
    // In memory, in a batch, and on its way to disk.
    let long = json!({"module": "echo", "input": "x".repeat(2000)});
    bounded.assert_over(bounded.post("/v1/tasks", &long));
    let batch = json!({"tasks": [{"module": "echo", "input": 7}, long]});
    bounded.assert_over(bounded.post("/v1/tasks/batch", &batch));
    let raw = [
        ("x-api-key", bounded.key.as_str()),
        ("content-type", "text/plain"),
    ];
    let (client, spooled) = (&bounded.site.host.client, vec![b'x'; 9 << 20]);
    bounded.assert_over(client.send("POST", "/v1/tasks?module=echo", &raw, &spooled));
    // What an attempt would leave beyond it ends the attempt, and nothing of it is kept.
    let small = bounded.echo();
    assert_eq!(small["status"], "completed", "{small}");
    let failed = bounded.echo();
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["error"]["kind"], "disk_exceeded", "{failed}");
    let why = failed["error"]["message"].as_str().unwrap();
    assert!(why.contains("storage_bytes"), "{failed}");
    // Room comes back with what is removed.
    bounded.purge(&small);
    bounded.purge(&failed);
    bounded.assert_over(bounded.upload("again"));
    let again = bounded.echo();
    assert_eq!(again["status"], "completed", "{again}");
    bounded.purge(&again);
    bounded.remove("/v1/modules/report");
    bounded.upload("again").expect(201);
}

#[test]
fn what_is_kept_for_a_tenant_is_bounded_on_sqlite() {
    what_is_kept_for_a_tenant_is_bounded(false);
}

#[test]
fn what_is_kept_for_a_tenant_is_bounded_on_postgres() {
    what_is_kept_for_a_tenant_is_bounded(true);
}

/// Runs a guest that computes until it is stopped.
fn spin(client: &Client, key: (&str, &str), cpu_ms: u64) -> Answer {
    let path = format!("/v1/run/spin?cpu_ms={cpu_ms}");
    client.send("POST", &path, &[key], b"")
}

fn a_day_of_cpu_time_is_used_up(hosts: &[Host]) {
    const QUOTA: u64 = 150;
    let client = &hosts[0].client;
    let json = [admin_key(), ("content-type", "application/json")];
    let send = |client: &Client, method: &str, path: &str, body: &Value| {
        client.send(method, path, &json, body.to_string().as_bytes())
    };
    let rules = |rules: &Value| send(client, "PUT", "/v1/tenants/team", rules);
    rules(&json!({"cpu_ms_per_day": QUOTA})).expect(201);
    let asked = json!({"tenant": "team", "name": "a", "scopes": ["run", "read", "modules"]});
    let made = send(client, "POST", "/v1/keys", &asked).expect(201).json();
    let key = ("x-api-key", made["key"].as_str().unwrap());
    for (whose, name) in [(key, "spin"), (key, "echo"), (admin_key(), "echo")] {
        let headers = [whose, ("content-type", "text/wat")];
        let path = format!("/v1/modules/{name}");
        client
            .send("PUT", &path, &headers, &guests::wat(&format!("{name}.wat")))
            .expect(201);
    }
    let of_team = [key, ("content-type", "application/json")];
    let submit = |client: &Client, task: &Value| {
        client.send("POST", "/v1/tasks", &of_team, task.to_string().as_bytes())
    };
    spin(client, key, 200).expect_problem(422, "cpu_exhausted");
    let refused = spin(client, key, 200);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    let used = refused.json()["used"].as_u64().unwrap();
    assert!(used >= QUOTA, "{used}");
    assert_over(refused, "cpu_ms_per_day", QUOTA, used);
    assert_over(submit(client, &later()), "cpu_ms_per_day", QUOTA, used);
    // The others hear of it with a heartbeat.
    for host in hosts {
        let deadline = Instant::now() + HEARD;
        while spin(&host.client, key, 1).status != 429 {
            assert!(Instant::now() < deadline, "a host has not heard");
        }
    }
    // What waits is held back: with a new quota there is time to submit, and with the old one none to run.
    rules(&json!({"cpu_ms_per_day": 600_000})).expect(200);
    let soon = json!({"module": "echo", "input": 7, "delay_ms": 3000});
    let submitted = || submit(client, &soon);
    let deadline = Instant::now() + HEARD;
    let mut waiting = submitted();
    while waiting.status != 202 {
        assert!(Instant::now() < deadline, "the new quota was not heard of");
        waiting = submitted();
    }
    let waiting = waiting.json();
    let waiting = format!("/v1/tasks/{}", waiting["task_id"].as_str().unwrap());
    rules(&json!({"cpu_ms_per_day": QUOTA})).expect(200);
    // Somebody else's task that is due later runs; the tenant's own waits for the next day, or a new quota.
    let others = json!({"module": "echo", "input": 7, "delay_ms": 6000});
    let others = send(client, "POST", "/v1/tasks?wait_ms=60000", &others)
        .expect(200)
        .json();
    assert_eq!(others["status"], "completed", "{others}");
    let held = client.send("GET", &waiting, &[key], b"").expect(200).json();
    assert_eq!(held["status"], "pending", "{held}");
    rules(&json!({"cpu_ms_per_day": 600_000})).expect(200);
    let path = format!("{waiting}?wait_ms=60000");
    let done = client.send("GET", &path, &[key], b"").expect(200).json();
    assert_eq!(done["status"], "completed", "{done}");
    let run = [key, ("content-type", "text/plain")];
    client.send("POST", "/v1/run/echo", &run, b"7").expect(200);
}

#[test]
fn a_day_of_cpu_time_is_used_up_on_sqlite() {
    a_day_of_cpu_time_is_used_up(&[host("[queue]\nheartbeat_interval_ms = 100\n")]);
}

#[test]
fn a_day_of_cpu_time_is_used_up_over_two_hosts() {
    let database = Database::fresh();
    let url = database.url();
    let config = format!("[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 100\n");
    a_day_of_cpu_time_is_used_up(&[host(&config), host(&config)]);
}
