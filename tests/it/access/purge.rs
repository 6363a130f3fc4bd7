//! Tenants that are removed with all that they have.

use serde_json::{Value, json};

use super::cli::done;
use super::site::{ADMIN, Site, admin_key};
use crate::support::guests;
use crate::support::http::Answer;

/// Removes a tenant, however many requests that takes.
fn purged(site: &Site, name: &str) {
    let path = format!("/v1/tenants/{name}?purge=true");
    while site.send(ADMIN, "DELETE", &path, &Value::Null).status != 204 {}
}

const SCOPES: [&str; 3] = ["run", "read", "modules"];

fn submit(site: &Site, key: &str, task: &Value) -> Value {
    let path = "/v1/tasks?wait_ms=60000";
    site.send(key, "POST", path, task).expect(200).json()
}

/// Modules, a task that left an artifact, one that waits and a batch of two more; gives the id of the first.
fn filled(site: &Site, key: &str) -> String {
    for name in ["echo", "sleep"] {
        site.put_module(key, name, &guests::wat(&format!("{name}.wat")));
    }
    let wasm = [("x-api-key", key), ("content-type", "application/wasm")];
    let report = guests::built("report");
    site.host
        .client
        .send("PUT", "/v1/modules/report", &wasm, &report)
        .expect(201);
    let report = json!({
        "module": "report", "args": ["Sales"], "content_type": "text/plain",
        "input_base64": "dGVhIDEK",
    });
    let report = submit(site, key, &report);
    let later = json!({"module": "echo", "input": 7, "delay_ms": 3_600_000});
    site.send(key, "POST", "/v1/tasks", &later).expect(202);
    let batch = json!({"tasks": [later, later], "parallelism": 1});
    site.send(key, "POST", "/v1/tasks/batch", &batch)
        .expect(202);
    report["task_id"].as_str().unwrap().to_owned()
}

fn what_a_tenant_has_goes_with_it(site: &Site) {
    let keys = ["a", "b"].map(|tenant| site.key(tenant, &SCOPES));
    let reports = keys.each_ref().map(|key| filled(site, key));
    let long = json!({"module": "sleep", "input": 7, "limits": {"timeout_ms": 60_000}});
    let running = site
        .send(&keys[0], "POST", "/v1/tasks", &long)
        .expect(202)
        .json();
    let running = format!("/v1/tasks/{}", running["task_id"].as_str().unwrap());
    while site.send(&keys[0], "GET", &running, &Value::Null).json()["status"] != "running" {}
    let tasks = |tenant: &str| {
        let path = format!("/v1/tasks?tenant={tenant}");
        let tasks = site
            .send(ADMIN, "GET", &path, &Value::Null)
            .expect(200)
            .json();
        tasks["items"].as_array().unwrap().len()
    };
    assert_eq!((tasks("a"), tasks("b")), (5, 4));
    let remove = |path: &str| site.send(ADMIN, "DELETE", path, &Value::Null);
    let problem = remove("/v1/tenants/a").expect_problem(409, "tenant_not_empty");
    assert_eq!(problem["modules"], 3, "{problem}");
    remove("/v1/tenants/default?purge=true").expect_problem(409, "tenant_default");
    remove("/v1/tenants/nobody?purge=true").expect_problem(404, "tenant_not_found");
    purged(site, "a");
    remove("/v1/tenants/a?purge=true").expect_problem(404, "tenant_not_found");
    let refused: Answer = site.send(&keys[0], "GET", "/v1/tasks", &Value::Null);
    refused.expect_problem(401, "key_revoked");
    // The other's are all there, and one of the same name begins with nothing.
    assert_eq!((tasks("a"), tasks("b")), (0, 4));
    let artifacts = |key: &str, task: &str| {
        let path = format!("/v1/tasks/{task}/artifacts");
        site.send(key, "GET", &path, &Value::Null)
    };
    let theirs = artifacts(&keys[1], &reports[1]).expect(200).json();
    assert_ne!(theirs["items"], json!([]), "{theirs}");
    site.send(&keys[1], "POST", "/v1/run/echo", &json!("a"))
        .expect(200);
    site.send(
        ADMIN,
        "PUT",
        "/v1/tenants/a",
        &json!({"storage_bytes": 10_000}),
    )
    .expect(201);
    let key = site.key("a", &SCOPES);
    assert_eq!(tasks("a"), 0);
    artifacts(&key, &reports[0]).expect(404);
    site.send(&key, "GET", "/v1/modules/echo", &Value::Null)
        .expect(404);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    let echo = submit(site, &key, &json!({"module": "echo", "input": 7}));
    assert_eq!(echo["status"], "completed", "{echo}");
}

#[test]
fn what_a_tenant_has_goes_with_it_on_sqlite() {
    let site = Site::start("");
    what_a_tenant_has_goes_with_it(&site);
    // From the command line too, and nothing is left beside the database.
    done(&site, &["tenant", "rm", "a", "--purge"]);
    done(&site, &["tenant", "rm", "b", "--purge"]);
    let artifacts = std::fs::read_dir(site.host.data().join("artifacts")).unwrap();
    assert_eq!(artifacts.count(), 0);
}

#[test]
fn what_a_tenant_has_goes_with_it_on_postgres() {
    what_a_tenant_has_goes_with_it(&Site::on_postgres(""));
}

/// Tasks of a tenant that is removed while its host is killed, over and over.
const MANY: usize = 2_500;

/// What a tenant is known to have at each of these moments when its host is killed.
const KILLED_AT: [usize; 3] = [2_200, 1_200, 700];

fn count(site: &Site, sql: &str) -> usize {
    let counted = match &site.database {
        Some(database) => database.run(sql).trim().to_owned(),
        None => {
            let sql = sql.replace("cofferdam.", "");
            let path = site.host.data().join("cofferdam.db");
            let conn = rusqlite::Connection::open(path).unwrap();
            let counted: i64 = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
            counted.to_string()
        }
    };
    counted
        .parse()
        .unwrap_or_else(|_| panic!("{sql}: {counted}"))
}

fn tasks_of(site: &Site, tenant: &str) -> usize {
    let sql = format!("SELECT count(*) FROM cofferdam.task WHERE tenant = '{tenant}'");
    count(site, &sql)
}

/// More of what a tenant may have: a workflow that waits with a signal, a schedule, a secret, a callback and a large
/// input.
fn filled_more(site: &Site, key: &str) {
    let workflow = json!({"nodes": [
        {"id": "a", "wait": {"signal": "go"}}, {"id": "b", "module": "echo", "input": {"$from": "a"}},
    ], "edges": [["a", "b"]]});
    let made = site
        .send(key, "POST", "/v1/workflows", &workflow)
        .expect(202);
    let id = made.json()["workflow_id"].as_str().unwrap().to_owned();
    let signal = format!("/v1/workflows/{id}/signals/later");
    site.send(key, "POST", &signal, &json!("kept")).expect(202);
    let schedule = json!({"every_ms": 3_600_000, "task": {"module": "echo"}});
    site.send(key, "PUT", "/v1/schedules/hourly", &schedule)
        .expect(201);
    let secret = json!({"value": "x"});
    site.send(key, "PUT", "/v1/secrets/token", &secret)
        .expect(201);
    let told = json!({
        "module": "echo", "input": 1, "delay_ms": 3_600_000,
        "callback": {"url": "https://unheard.example/"}, "dedup_key": "once",
    });
    site.send(key, "POST", "/v1/tasks", &told).expect(202);
    let headers = [("x-api-key", key), ("content-type", "text/plain")];
    let large = vec![b'x'; 100_000];
    let path = "/v1/tasks?module=echo&wait_ms=60000";
    site.host
        .client
        .send("POST", path, &headers, &large)
        .expect(200);
}

/// Rows that are a tenant's, or belong to a task or a workflow that is gone.
fn left_of(site: &Site, tenant: &str) -> Vec<String> {
    let mut left = Vec::new();
    let tables = [
        "task",
        "batch",
        "workflow",
        "workflow_spec",
        "schedule",
        "secret",
        "module_version",
        "counter",
        "kept",
        "dedup",
        "callback",
        "delivery",
    ];
    for table in tables {
        let sql = format!("SELECT count(*) FROM cofferdam.{table} WHERE tenant = '{tenant}'");
        left.extend((count(site, &sql) > 0).then(|| table.to_owned()));
    }
    let of_tasks = match &site.database {
        Some(_) => [("task_spec", "seq"), ("attempt", "seq"), ("output", "seq")],
        None => [
            ("task_spec", "seq"),
            ("attempt", "id / 1048576"),
            ("output", "attempt / 1048576"),
        ],
    };
    for (table, task) in of_tasks {
        let sql = format!(
            "SELECT count(*) FROM cofferdam.{table} WHERE {task} NOT IN (SELECT seq FROM cofferdam.task)"
        );
        left.extend((count(site, &sql) > 0).then(|| format!("{table} of no task")));
    }
    for table in ["node", "workflow_signal"] {
        let sql = format!(
            "SELECT count(*) FROM cofferdam.{table} WHERE workflow NOT IN (SELECT seq FROM cofferdam.workflow)"
        );
        left.extend((count(site, &sql) > 0).then(|| format!("{table} of no workflow")));
    }
    let sql = format!("SELECT count(*) FROM cofferdam.tenant WHERE name = '{tenant}'");
    left.extend((count(site, &sql) > 0).then(|| "tenant".to_owned()));
    left
}

/// A host that is killed while it removes a tenant goes on with that when it is asked again, and nothing is lost of
/// anybody else.
fn a_removal_survives_kills(mut site: Site) {
    let keys = ["a", "b"].map(|tenant| site.key(tenant, &SCOPES));
    let reports = keys.each_ref().map(|key| filled(&site, key));
    keys.iter().for_each(|key| filled_more(&site, key));
    let task = json!({"module": "echo", "input": 7, "delay_ms": 3_600_000});
    let batch = json!({"tasks": vec![task; MANY / 5]});
    for _ in 0..5 {
        site.send(&keys[0], "POST", "/v1/tasks/batch", &batch)
            .expect(202);
    }
    let of_b = tasks_of(&site, "b");
    for left in KILLED_AT {
        let client = site.host.client.clone();
        let removing = std::thread::spawn(move || {
            let path = "/v1/tenants/a?purge=true";
            // It is not answered before its host dies, or says that it has to be asked again.
            client
                .try_send("DELETE", path, &[admin_key()], &[])
                .map(|answer| answer.status)
        });
        while tasks_of(&site, "a") > left {
            assert!(
                !removing.is_finished(),
                "it ended with {} tasks left",
                tasks_of(&site, "a")
            );
        }
        site.host.kill();
        let _killed = removing.join().unwrap();
        site.host.restart();
        // Nobody is let in again meanwhile.
        let refused = site.send(&keys[0], "GET", "/v1/tasks", &Value::Null);
        refused.expect_problem(401, "key_revoked");
        assert!(tasks_of(&site, "a") > 0);
    }
    purged(&site, "a");
    assert_eq!(left_of(&site, "a"), [""; 0]);
    assert_eq!(tasks_of(&site, "b"), of_b);
    let path = format!("/v1/tasks/{}/artifacts", reports[1]);
    let theirs = site
        .send(&keys[1], "GET", &path, &Value::Null)
        .expect(200)
        .json();
    assert_ne!(theirs["items"], json!([]), "{theirs}");
    let echo = submit(&site, &keys[1], &json!({"module": "echo", "input": 7}));
    assert_eq!(echo["status"], "completed", "{echo}");
    if site.database.is_none() {
        // The files of tasks that were removed right before a kill went at the start after it.
        let folder = |name: &str| {
            std::fs::read_dir(site.host.data().join(name))
                .unwrap()
                .count()
        };
        assert_eq!((folder("artifacts"), folder("spool")), (1, 1));
    }
}

/// What both databases are started with.
const LARGE_IS_SPOOLED: &str = "[http]\ninline_body_bytes = 1024\n[callbacks]\nallow = [\"*\"]\n";

#[test]
fn a_removal_survives_kills_on_sqlite() {
    a_removal_survives_kills(Site::start(LARGE_IS_SPOOLED));
}

#[test]
fn a_removal_survives_kills_on_postgres() {
    a_removal_survives_kills(Site::on_postgres(LARGE_IS_SPOOLED));
}
