//! What is kept at rest: with keys nothing that callers or guests said is legible in any file or row, and what
//! was changed there is an error. Each mark is found without keys, so that its absence says something.

mod dropped;

use std::path::{Path, PathBuf};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::exec::ready;
use crate::support::guests::wat;
use crate::support::host::Host;
use crate::support::http::Answer;

const KEYS: [&str; 2] = [
    "0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000",
    "1f1e1d1c1b1a19181716151413121110f1e1d1c1b1a191817161514131211101",
];

/// What is said, each where its name says.
const MARKS: [&str; 12] = [
    "input", "result", "stdout", "stderr", "error", "argument", "variable", "artifact", "file",
    "spooled", "stdin", "large",
];

fn mark(what: &str) -> String {
    // Often enough that one of them is on one page.
    format!("mark-of-the-{what}-at-rest ").repeat(4)
}

/// A host whose storage is sealed with `keys`.
struct Site {
    host: Host,
    database: Option<Database>,
}

fn config(keys: &[&str], database: Option<&Database>) -> String {
    let url = database.map(|database| format!("url = {:?}\n", database.url()));
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!(
        "[log]\nlevel = \"trace\"\n[storage]\nencryption_keys = [{}]\n{}",
        keys.join(", "),
        url.unwrap_or_default()
    )
}

impl Site {
    fn start(keys: &[&str], database: Option<Database>) -> Site {
        let host = ready(&config(keys, database.as_ref()));
        Site { host, database }
    }

    /// The same storage with other keys, after a stop.
    fn start_again_with(&mut self, keys: &[&str]) {
        let config = config(keys, self.database.as_ref());
        self.host.restart_with(&config);
        crate::exec::wait_until_ready(&self.host);
    }

    /// Everything that is kept, as text.
    fn kept(&self) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        collect(self.host.data(), &mut files);
        let as_text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let files = files
            .into_iter()
            .map(|(path, bytes)| (path, as_text(bytes)));
        let mut all: Vec<_> = files.collect();
        if let Some(database) = &self.database {
            let tables = "SELECT table_name FROM information_schema.tables
                WHERE table_schema = 'cofferdam' AND table_type = 'BASE TABLE'";
            for table in database.run(tables).lines() {
                let rows = database.run(&format!("SELECT t::text FROM cofferdam.{table} t"));
                all.push((table.into(), rows));
            }
        }
        all
    }

    /// The marks that are legible somewhere, and where. Rows show bytes in hexadecimal.
    fn legible(&self) -> Vec<(&'static str, PathBuf)> {
        let kept = self.kept();
        let mut found = Vec::new();
        for what in MARKS {
            let mark = format!("mark-of-the-{what}-at-rest");
            let in_hex: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
            let shows = |text: &String| text.contains(&mark) || text.contains(&in_hex);
            let place = kept.iter().find(|(_, text)| shows(text));
            found.extend(place.map(|(place, _)| (what, place.clone())));
        }
        found
    }
}

/// The search is the standard library's, which is optimised in tests, too.
fn has(bytes: &[u8], wanted: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(wanted)
}

/// Files below a directory, but for compiled code, which has nothing of callers in it.
fn collect(directory: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("compiled") {
            collect(&path, all);
        } else if path.is_file() {
            all.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
}

/// Ids of what was made.
struct Made {
    said: String,
    failed: String,
    spooled: String,
    large: String,
    command: String,
    execution: String,
}

/// Says everything.
fn say(host: &Host) -> Made {
    for name in ["echo", "command"] {
        host.client
            .put_module(name, &wat(&format!("{name}.wat")))
            .expect(201);
    }
    let run = |code: &str| {
        let request = json!({"language": "python", "code": code, "stdin": mark("stdin")});
        let task = host
            .client
            .post("/v1/exec?async=true", &request)
            .expect(202)
            .json();
        let id = task["task_id"].as_str().unwrap().to_owned();
        host.client.final_task(&id);
        id
    };
    // What is said is put together there, so that it is not in the code.
    let said = run(&format!(
        "import sys\ndef mark(what): return ('mark-of-' + 'the-' + what + '-at-rest ') * 4\n\
         print(mark('stdout'))\nprint(mark('stderr'), file=sys.stderr)\n\
         open('left.txt', 'w').write(mark('artifact') * 3000)\n# {}\nmark('result')",
        mark("input")
    ));
    let failed = run("raise ValueError(('mark-of-' + 'the-error-at-rest ') * 4)");
    let spooled = {
        let body = mark("spooled").repeat(30_000);
        let headers = [("content-type", "text/plain")];
        let path = "/v1/tasks?module=echo";
        let task = host
            .client
            .send("POST", path, &headers, body.as_bytes())
            .expect(202)
            .json();
        let id = task["task_id"].as_str().unwrap().to_owned();
        host.client.final_task(&id);
        id
    };
    let large = run("(('mark-of-' + 'the-large-at-rest ') * 4) * 20000");
    let command = host.client.submit(&json!({
        "module": "command", "args": [mark("argument")], "env": {"K": mark("variable")},
        "delay_ms": 3_600_000,
    }));
    let execution = {
        let code = "open('left.txt', 'w').write(('mark-of-' + 'the-file-at-rest ') * 9000)";
        let request = json!({"language": "python", "code": code});
        let done = host.client.post("/v1/exec", &request).expect(200).json();
        done["files"]["left.txt"]["url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    Made {
        said,
        failed,
        spooled,
        large,
        command,
        execution,
    }
}

fn of(host: &Host, id: &str, rest: &str) -> Answer {
    host.client.get(&format!("/v1/tasks/{id}{rest}"))
}

/// Everything that was said is told again.
fn all_is_told(host: &Host, made: &Made) {
    let result = of(host, &made.said, "/result").expect(200).json();
    assert_eq!(result["result"], mark("result"), "{result}");
    assert_eq!(result["stdout"], format!("{}\n", mark("stdout")));
    let listed = of(host, &made.said, "").expect(200).json();
    let length = of(host, &made.said, "/result").body.len();
    assert_eq!(listed["result_bytes"], length, "{listed}");
    let left = of(host, &made.said, "/artifacts/left.txt").expect(200);
    assert_eq!(left.text(), mark("artifact").repeat(3000));
    let failed = of(host, &made.failed, "/result").text();
    assert!(failed.contains("mark-of-the-error-at-rest"), "{failed}");
    let spooled = of(host, &made.spooled, "/result");
    let listed = of(host, &made.spooled, "").expect(200).json();
    assert_eq!(listed["status"], "completed", "{listed}");
    assert_eq!(listed["result_bytes"], spooled.body.len());
    // It is above every bound for rows.
    let large = of(host, &made.large, "/result").expect(200);
    let listed = of(host, &made.large, "").expect(200).json();
    assert_eq!(listed["result_bytes"], large.body.len());
    assert_eq!(large.json()["result"], mark("large").repeat(20_000));
    assert_eq!(
        of(host, &made.command, "").expect(200).json()["status"],
        "pending"
    );
    let file = host.client.get(&made.execution).expect(200).text();
    assert_eq!(file, "mark-of-the-file-at-rest ".repeat(9000));
}

fn nothing_is_legible_with_keys(database: fn() -> Option<Database>) {
    let mut plain = Site::start(&[], database());
    say(&plain.host);
    plain.host.stop();
    let legible: Vec<_> = plain.legible().into_iter().map(|(what, _)| what).collect();
    assert_eq!(legible, MARKS);

    let mut sealed = Site::start(&KEYS[..1], database());
    let made = say(&sealed.host);
    all_is_told(&sealed.host, &made);
    sealed.host.stop();
    let legible = sealed.legible();
    assert!(legible.is_empty(), "{legible:?}");
    let log = sealed.host.log();
    assert!(log.contains("TRACE"));
    let is_said = |what: &&&str| log.contains(&format!("mark-of-the-{what}-at-rest"));
    let said: Vec<_> = MARKS.iter().filter(is_said).collect();
    assert!(
        said.is_empty() && !log.contains(KEYS[0]),
        "the log has {said:?}"
    );
    // Another key in place of the first one, and then in front of it.
    sealed.start_again_with(&KEYS[1..]);
    let lost = of(&sealed.host, &made.said, "/result");
    lost.expect_problem(500, "encryption_key_missing");
    let lost = of(&sealed.host, &made.said, "/artifacts/left.txt");
    lost.expect_problem(500, "encryption_key_missing");
    let log = sealed.host.log();
    assert!(
        log.contains(&format!("output of attempt 1 of task {}", made.said)),
        "{log}"
    );
    sealed.host.stop();
    sealed.start_again_with(&[KEYS[1], KEYS[0]]);
    all_is_told(&sealed.host, &made);
}

#[test]
fn nothing_is_legible_with_keys_on_sqlite() {
    nothing_is_legible_with_keys(|| None);
}

#[test]
fn nothing_is_legible_with_keys_on_postgres() {
    nothing_is_legible_with_keys(|| Some(Database::fresh()));
}

/// Changes the last byte of every output.
fn change_outputs(database: &rusqlite::Connection) {
    let mut outputs = database
        .prepare("SELECT rowid, output FROM attempt WHERE length(output) > 0")
        .unwrap();
    let outputs = outputs.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let outputs: Vec<(i64, Vec<u8>)> = outputs.unwrap().map(Result::unwrap).collect();
    assert!(!outputs.is_empty());
    for (row, mut output) in outputs {
        *output.last_mut().unwrap() ^= 1;
        let change = "UPDATE attempt SET output = ?2 WHERE rowid = ?1";
        database
            .execute(change, rusqlite::params![row, output])
            .unwrap();
    }
}

#[test]
fn a_byte_that_was_changed_is_an_error_that_names_its_place() {
    let mut site = Site::start(&KEYS[..1], None);
    let made = say(&site.host);
    site.host.stop();
    let data = site.host.data().to_owned();
    change_outputs(&rusqlite::Connection::open(data.join("cofferdam.db")).unwrap());
    let mut files = Vec::new();
    collect(&data.join("artifacts"), &mut files);
    collect(&data.join("executions"), &mut files);
    assert!(files.len() >= 2, "{}", files.len());
    for (path, mut bytes) in files {
        bytes[40] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    site.host.restart();
    let broken = |path: &str| {
        let answer = site.host.client.get(path);
        answer.expect_problem(500, "storage_corrupt");
    };
    broken(&format!("/v1/tasks/{}/result", made.said));
    broken(&format!("/v1/tasks/{}/artifacts/left.txt", made.said));
    broken(&made.execution);
    let log = site.host.log();
    for place in [
        format!("output of attempt 1 of task {}", made.said),
        format!("\"left.txt\" of attempt 1 of task {}", made.said),
    ] {
        assert!(
            log.contains(&place.replace('"', "\\\"")) || log.contains(&place),
            "{place}: {log}"
        );
    }
    of(&site.host, &made.said, "").expect(200);
}

/// A task whose input cannot be read does not run, and nothing else is held up by it.
#[test]
fn a_task_waits_for_the_key_that_it_is_sealed_with() {
    let mut site = Site::start(&KEYS[..1], None);
    site.host
        .client
        .put_module("echo", &wat("echo.wat"))
        .expect(201);
    let waits = json!({"module": "echo", "input": 7, "delay_ms": 3000});
    let id = site.host.client.submit(&waits);
    site.host.stop();
    site.start_again_with(&KEYS[1..]);
    site.host.await_log("a claimed task cannot be read", 1);
    let other = site
        .host
        .client
        .submit_and_wait(&json!({"module": "echo", "input": 8}));
    assert_eq!(other["status"], "completed", "{other}");
    let task: Value = site.host.client.task(&id);
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("pending"), &json!(0)),
        "{task}"
    );
}

/// A task with a spooled input that fails each time because its output is too long.
fn too_long(host: &Host) -> String {
    let body = mark("spooled").repeat(30_000);
    let headers = [("content-type", "text/plain")];
    let path = "/v1/tasks?module=echo&output_bytes=100";
    let task = host.client.send("POST", path, &headers, body.as_bytes());
    let id = task.expect(202).json()["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        host.client.final_task(&id)["error"]["kind"],
        "output_exceeded"
    );
    id
}

fn the_old_key_can_be_dropped(database: Option<Database>) {
    let mut site = Site::start(&KEYS[..1], database);
    let made = say(&site.host);
    let again = too_long(&site.host);
    site.host.stop();
    site.start_again_with(&[KEYS[1], KEYS[0]]);
    site.host
        .await_log("files are sealed with the first key", 1);
    all_is_told(&site.host, &made);
    let figures = site.host.client.get("/metrics").expect(200).text();
    for figure in [
        "cofferdam_sealing_left{what=\"values\"} 0",
        "cofferdam_sealing_left{what=\"files\"} 0",
    ] {
        assert!(figures.contains(figure), "{figure}: {figures}");
    }
    site.host.stop();
    site.start_again_with(&KEYS[1..]);
    all_is_told(&site.host, &made);
    let request = of(&site.host, &made.command, "/request").expect(200).json();
    assert_eq!(request["request"]["args"], json!([mark("argument")]));
    assert_eq!(request["request"]["env"], json!({"K": mark("variable")}));
    let retry = format!("/v1/tasks/{again}/retry");
    site.host.client.post(&retry, &Value::Null).expect(202);
    let task = site.host.client.final_task(&again);
    assert_eq!(task["error"]["kind"], "output_exceeded", "{task}");
    site.host
        .await_log("files are sealed with the first key", 1);
    let log = site.host.log();
    assert!(!log.contains("cannot be sealed anew"), "{log}");
    assert_eq!(site.legible(), []);
}

#[test]
fn the_old_key_can_be_dropped_on_sqlite() {
    the_old_key_can_be_dropped(None);
}

#[test]
fn the_old_key_can_be_dropped_on_postgres() {
    the_old_key_can_be_dropped(Some(Database::fresh()));
}

fn secrets_are_sealed_anew(database: Option<Database>) {
    let start = |keys: &[&str]| config(keys, database.as_ref());
    let mut host = Host::with_config(&start(&KEYS[..1]));
    let json = [("content-type", "application/json")];
    for number in 0..120 {
        let path = format!("/v1/secrets/s{number}");
        host.client
            .send("PUT", &path, &json, br#"{"value": "x"}"#)
            .expect(201);
    }
    let mut told = |keys: &[&str]| {
        host.stop();
        host.restart_with(&start(keys));
        host.await_log("secrets are sealed with the first key", 1);
        host.log()
    };
    let log = told(&[KEYS[1], KEYS[0]]);
    assert!(
        log.contains("resealed=120") && log.contains("unreadable=0"),
        "{log}"
    );
    // Now the old one can go.
    let log = told(&KEYS[1..]);
    assert!(
        log.contains("resealed=0") && log.contains("unreadable=0"),
        "{log}"
    );
    let log = told(&KEYS[..1]);
    assert!(
        log.contains("resealed=0") && log.contains("unreadable=120"),
        "{log}"
    );
}

#[test]
fn secrets_are_sealed_anew_on_sqlite() {
    secrets_are_sealed_anew(None);
}

#[test]
fn secrets_are_sealed_anew_on_postgres() {
    secrets_are_sealed_anew(Some(Database::fresh()));
}
