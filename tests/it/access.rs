//! Who may ask: keys, scopes and tenants, at every entry point, on both databases.

mod audit;
mod cli;
mod hosts;
mod matrix;
mod purge;
mod quotas;
mod secrets;
mod sessions;
pub(crate) mod site;
mod strangers;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use self::site::{ADMIN, Site, admin_key};
use crate::mcp::{ACCEPT, JSON, initialize};
use crate::support::guests;
use crate::support::host::{Host, program};

/// What everybody is answered.
const PUBLIC: [&str; 5] = ["/livez", "/readyz", "/health", "/openapi.json", "/"];

#[test]
fn from_the_first_key_on_every_request_needs_one() {
    let mut host = Host::start();
    host.client.get("/v1/tasks").expect(200);
    let useless = json!({"name": "a", "scopes": ["run"]});
    let refused = host.client.post("/v1/keys", &useless);
    refused.expect_problem(409, "first_key");
    let first = json!({"name": "a", "scopes": ["admin", "read"]});
    let made = host.client.post("/v1/keys", &first).expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let key = made.json()["key"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let refused = host.client.get("/v1/tasks");
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer realm=\"cofferdam\""
        );
        refused.expect_problem(401, "key_missing");
        for (method, path) in [
            ("GET", "/nothing"),
            ("PATCH", "/v1/tasks"),
            ("GET", "/metrics"),
        ] {
            let refused = host.client.send(method, path, &[], &[]);
            refused.expect_problem(401, "key_missing");
        }
        for path in PUBLIC {
            host.client.get(path).expect(200);
        }
        let bearer = format!("Bearer {key}");
        for header in [("authorization", bearer.as_str()), ("x-api-key", &key)] {
            host.client
                .send("GET", "/v1/tasks", &[header], &[])
                .expect(200);
            host.client
                .send("GET", "/metrics", &[header], &[])
                .expect(200);
            host.client
                .send("GET", "/nothing", &[header], &[])
                .expect(404);
            // Whoever shows a key may come from anywhere, by any name.
            let named = [
                header,
                ("host", "tasks.example"),
                ("origin", "https://tasks.example"),
            ];
            host.client
                .send("GET", "/v1/tasks", &named, &[])
                .expect(200);
        }
        host.stop();
        host.restart();
    }
}

#[test]
fn what_is_shown_wrongly_is_refused() {
    let site = Site::start("");
    let key = site.key("default", &["read"]);
    let get = |headers: &[(&str, &str)]| site.host.client.send("GET", "/v1/tasks", headers, &[]);
    let (wrong, bearer) = (format!("{key}0"), format!("Bearer {key}"));
    get(&[("x-api-key", &wrong)]).expect_problem(401, "key_unknown");
    get(&[("x-api-key", "")]).expect_problem(401, "key_unknown");
    get(&[("authorization", "Basic YTpi")]).expect_problem(401, "key_missing");
    get(&[("authorization", "Bearer x"), ("x-api-key", &key)]).expect_problem(400, "keys_differ");
    get(&[("authorization", &bearer), ("x-api-key", &key)]).expect(200);
    for query in [
        format!("api_key={key}"),
        format!("module={key}"),
        "access_token=x".to_owned(),
    ] {
        let path = format!("/v1/tasks?{query}");
        let refused = site
            .host
            .client
            .send("GET", &path, &[("x-api-key", &key)], &[]);
        let problem = refused.expect_problem(400, "key_in_query");
        assert!(!problem.to_string().contains(&key), "{problem}");
    }
}

#[test]
fn a_key_is_shown_once_and_is_nowhere_else() {
    let site = Site::start("[log]\nlevel = \"trace\"\n");
    let key = site.key("default", &["read", "run", "admin"]);
    let client = &site.host.client;
    client
        .send("GET", "/v1/tasks", &[("x-api-key", &key)], &[])
        .expect(200);
    let query = format!("/v1/tasks?api_key={key}");
    client.send("GET", &query, &[], &[]).expect(400);
    client
        .send(
            "GET",
            "/v1/tasks",
            &[("x-api-key", &format!("{key}0"))],
            &[],
        )
        .expect(401);
    let id = &key[4..20];
    let rotated = site.send(&key, "POST", &format!("/v1/keys/{id}/rotate"), &json!({}));
    let next = rotated.expect(201).json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let listed = site
        .send(ADMIN, "GET", "/v1/keys", &Value::Null)
        .expect(200)
        .text();
    assert!(listed.contains(id), "{listed}");
    let secrets = [&key[21..], &next[21..], ADMIN];
    let mut said = vec![listed, site.host.log()];
    for file in std::fs::read_dir(site.host.data()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            said.push(String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        }
    }
    for secret in secrets {
        assert!(!said.iter().any(|text| text.contains(secret)), "{secret}");
    }
}

#[test]
fn keys_end_are_rotated_and_are_revoked() {
    let site = Site::start("");
    let works = |key: &str, status: u16| {
        site.send(key, "GET", "/v1/tasks", &Value::Null)
            .expect(status);
    };
    let past = json!({"name": "a", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"});
    let refused = site.send(ADMIN, "POST", "/v1/keys", &past);
    assert_eq!(
        refused.expect_problem(400, "invalid_field")["field"],
        "expires_at"
    );
    let key = site.key("default", &["read"]);
    let rotate = |key: &str, body: &Value| {
        site.send(
            ADMIN,
            "POST",
            &format!("/v1/keys/{}/rotate", &key[4..20]),
            body,
        )
    };
    let next = rotate(&key, &Value::Null).expect(201).json();
    let next = next["key"].as_str().unwrap().to_owned();
    works(&key, 200);
    works(&next, 200);
    rotate(&next, &json!({"overlap_ms": 0})).expect(201);
    let refused = site.send(&next, "GET", "/v1/tasks", &Value::Null);
    refused.expect_problem(401, "key_expired");
    rotate(&next, &Value::Null).expect_problem(404, "key_not_found");
    let revoke = |id: &str| site.send(ADMIN, "DELETE", &format!("/v1/keys/{id}"), &Value::Null);
    revoke(&key[4..20]).expect(204);
    let refused = site.send(&key, "GET", "/v1/tasks", &Value::Null);
    refused.expect_problem(401, "key_revoked");
    revoke("0123456789abcdef").expect_problem(404, "key_not_found");
    revoke("nothing").expect_problem(404, "key_not_found");
    let page = site
        .send(ADMIN, "GET", "/v1/keys?limit=2", &Value::Null)
        .expect(200)
        .json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
    let path = format!("/v1/keys?cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = site
        .send(ADMIN, "GET", &path, &Value::Null)
        .expect(200)
        .json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1, "{rest}");
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[test]
fn a_tenant_has_its_ceilings_and_directories_and_goes_when_it_has_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let dir = |name: &str| format!("[dirs.{name}]\npath = {:?}\n", folder.path());
    let site = Site::start(&format!("{}{}", dir("data"), dir("other")));
    let put = |body: &Value| site.send(ADMIN, "PUT", "/v1/tenants/team", body);
    let rules =
        json!({"ceilings": {"cpu_ms": 500}, "dirs": ["data"], "weight": 3, "running_max": 2});
    let made = put(&rules).expect(201).json();
    assert_eq!(made["ceilings"]["cpu_ms"], 500, "{made}");
    assert_eq!(
        (&made["dirs"], &made["weight"], &made["running_max"]),
        (&json!(["data"]), &json!(3), &json!(2))
    );
    put(&json!({"weight": 0})).expect_problem(400, "invalid_field");
    let key = site.key("team", &["run", "read", "modules"]);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    let submit = |more: &Value| {
        let mut task = json!({"module": "echo", "input": 7});
        task.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        site.send(&key, "POST", "/v1/tasks", &task)
    };
    let refused = submit(&json!({"limits": {"cpu_ms": 501}}));
    assert_eq!(
        refused.expect_problem(400, "limit_above_ceiling")["ceiling"],
        500
    );
    let run = site.send(&key, "POST", "/v1/run/echo?cpu_ms=501", &json!(7));
    run.expect_problem(400, "limit_above_ceiling");
    let grant = |name: &str| json!({"grants": {"dirs": [{"name": name, "at": "/data"}]}});
    submit(&grant("other")).expect_problem(400, "grant_refused");
    let id = submit(&grant("data")).expect(202).json()["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    // What is said anew holds from then on.
    put(&json!({})).expect(200);
    submit(&json!({"limits": {"cpu_ms": 501}})).expect(202);
    submit(&grant("other")).expect(202);
    let remove = || site.send(ADMIN, "DELETE", "/v1/tenants/team", &Value::Null);
    let problem = remove().expect_problem(409, "tenant_not_empty");
    assert_eq!(
        (&problem["keys"], &problem["tasks"]),
        (&json!(1), &json!(3)),
        "{problem}"
    );
    assert!(!id.is_empty());
    let stays = site.send(ADMIN, "DELETE", "/v1/tenants/default", &Value::Null);
    stays.expect_problem(409, "tenant_default");
    site.send(ADMIN, "PUT", "/v1/tenants/empty", &json!({}))
        .expect(201);
    site.send(ADMIN, "DELETE", "/v1/tenants/empty", &Value::Null)
        .expect(204);
    let gone = site.send(ADMIN, "GET", "/v1/tenants/empty", &Value::Null);
    gone.expect_problem(404, "tenant_not_found");
    let tenants = site
        .send(ADMIN, "GET", "/v1/tenants", &Value::Null)
        .expect(200)
        .json();
    let names = tenants["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| &tenant["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "default", "team"]);
}

#[test]
fn a_key_makes_as_many_requests_as_its_rate_allows() {
    let site = Site::start("");
    let asked = json!({"name": "a", "scopes": ["read"], "rate": "1/hour", "burst": 2});
    let made = site
        .send(ADMIN, "POST", "/v1/keys", &asked)
        .expect(201)
        .json();
    assert_eq!(
        (&made["rate"], &made["burst"]),
        (&json!("1/hour"), &json!(2))
    );
    let key = made["key"].as_str().unwrap();
    let get = || site.send(key, "GET", "/v1/tasks", &Value::Null);
    for left in [1, 0] {
        let answer = get().expect(200);
        assert_eq!(answer.header("ratelimit"), format!("\"key\";r={left}"));
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=1;w=3600");
    }
    let refused = get();
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), format!("\"key\";r=0;t={wait}"));
    refused.expect_problem(429, "rate_limited");
    // Everybody else goes on, and so does what needs no key.
    site.send(key, "GET", "/livez", &Value::Null).expect(200);
    site.send(ADMIN, "GET", "/v1/tasks", &Value::Null)
        .expect(200);
    let put = |rate: &Value| site.send(ADMIN, "PUT", "/v1/tenants/a", &json!({"rate": rate}));
    put(&json!("2/hour")).expect(200);
    let (one, other) = (site.key("a", &["read"]), site.key("a", &["read"]));
    for (key, status) in [(&one, 200), (&other, 200), (&one, 429), (&other, 429)] {
        site.send(key, "GET", "/v1/tasks", &Value::Null)
            .expect(status);
    }
    put(&Value::Null).expect(200);
    site.send(&one, "GET", "/v1/tasks", &Value::Null)
        .expect(200);
}

#[test]
fn an_agent_needs_a_key_and_its_session_is_its_tenants() {
    let site = Site::start("");
    let (mine, foreign) = (site.key("a", &["run"]), site.key("b", &["run"]));
    let send = |key: Option<&str>, session: Option<&str>, message: &Value| {
        let mut headers = vec![ACCEPT, JSON];
        headers.extend(key.map(|key| ("x-api-key", key)));
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        let body = message.to_string();
        site.host
            .client
            .send("POST", "/mcp", &headers, body.as_bytes())
    };
    send(None, None, &initialize()).expect_problem(401, "key_missing");
    let begun = send(Some(&mine), None, &initialize()).expect(200);
    let session = begun.header("mcp-session-id").to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    send(Some(&foreign), Some(&session), &ready).expect(404);
    send(None, Some(&session), &ready).expect(401);
    send(Some(&mine), Some(&session), &ready).expect(202);
    let end = |key: &str| {
        let headers = [("x-api-key", key), ("mcp-session-id", session.as_str())];
        site.host.client.send("DELETE", "/mcp", &headers, &[])
    };
    // Nobody is told whether it was there.
    end(&foreign).expect(204);
    send(Some(&mine), Some(&session), &ready).expect(202);
    end(&mine).expect(204);
    send(Some(&mine), Some(&session), &ready).expect(404);
}

#[test]
fn operators_of_this_machine_need_no_key_where_only_operations_are_answered() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let site = Site::start(&format!("[http]\noperations_listen = \"{address}\"\n"));
    site.host
        .client
        .get("/metrics")
        .expect_problem(401, "key_missing");
    let operations = crate::support::http::Client::new(format!("http://{address}"));
    operations.get("/metrics").expect(200);
    operations.get("/v1/tasks").expect(503);
}

/// How a host ends that cannot begin, and what it says.
fn refused(listen: &str, config: &str, environment: &[(&str, &str)]) -> String {
    let data = tempfile::TempDir::new().unwrap();
    std::fs::write(data.path().join("cofferdam.toml"), config).unwrap();
    let output = Command::new(program())
        .args(["serve", "--listen", listen, "--data"])
        .arg(data.path())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn other_machines_are_not_answered_without_keys_and_encryption() {
    let admin = [("COFFERDAM_ACCESS_ADMIN_KEY", ADMIN)];
    let said = refused("0.0.0.0:0", "[http]\nallow_plaintext = true\n", &[]);
    assert!(
        said.contains("without keys only a loopback address"),
        "{said}"
    );
    let said = refused("0.0.0.0:0", "", &admin);
    assert!(said.contains("http.allow_plaintext"), "{said}");
    let said = refused(
        "127.0.0.1:0",
        "",
        &[("COFFERDAM_ACCESS_ADMIN_KEY", "too short")],
    );
    assert!(
        said.contains("ADMIN_KEY") && !said.contains("too short"),
        "{said}"
    );
    // It answers where all of it is there.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{ADMIN}\n")).unwrap();
    let config = format!(
        "[http]\nallow_plaintext = true\n[access]\nadmin_key_file = {:?}\n",
        file.path()
    );
    let host = Host::listening("0.0.0.0:0", &config);
    host.client
        .get("/v1/tasks")
        .expect_problem(401, "key_missing");
    host.client
        .send("GET", "/v1/tasks", &[admin_key()], &[])
        .expect(200);
}
