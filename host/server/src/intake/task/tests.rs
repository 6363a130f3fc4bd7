//! Invalid submissions.

use super::*;
use crate::intake::json;
use crate::intake::refused::Kind;
use cofferdam_domain::callback::Ends;
use cofferdam_domain::grants::Access;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Priority;

fn read(text: &'static str) -> Result<Submission, Refused> {
    let body = Bytes::from_static(text.as_bytes());
    json::parse::<TaskRequest<'_>>(&body)?.into_submission(&body)
}

fn inline(text: &'static str) -> (String, String) {
    let Input::Inline(input) = read(text).unwrap().input else {
        panic!("inline")
    };
    (
        input.content_type.to_string(),
        String::from_utf8(input.body.to_vec()).unwrap(),
    )
}

#[test]
fn every_field_reaches_the_queue() {
    let task = read(
        r#"{"module": "team/resize", "input": {"a": [1,  2]}, "args": ["x"], "env": {"K": "V"},
            "priority": "high", "delay_ms": 5, "run_at": "2030-01-01T00:00:00Z", "dedup_key": "d",
            "task_id": "0190f0c2-7a3b-7def-8123-456789abcdef",
            "limits": {"timeout_ms": 7, "cpu_ms": 8, "fuel": null, "memory_bytes": 9},
            "retry": {"max_attempts": 4, "base_ms": 10, "factor": 1.5, "max_ms": 20, "jitter": false},
            "grants": {"dirs": [{"name": "dataset", "at": "/data", "access": "read"}],
                "http": ["API.example", {"host": "*.b.example:81", "methods": ["GET"],
                    "headers": {"X-Key": {"secret": "s", "prefix": "p "}}}]},
            "isolation": "process", "requires": ["gpu", "group:eu", "gpu"], "preferred_worker": "Big-1", "cache": {"ttl_ms": 60000},
            "callback": {"url": "https://a.example/x", "on": ["failed"], "secret_name": "hook"},
            "metadata": {"who": "me"}}"#,
    )
    .unwrap();
    assert_eq!(task.module.to_string(), "team/resize");
    assert_eq!(
        task.task_id.unwrap().to_string(),
        "0190f0c2-7a3b-7def-8123-456789abcdef"
    );
    assert_eq!(
        (task.args, task.env),
        (vec!["x".into()], vec![("K".into(), "V".into())])
    );
    assert_eq!(
        (task.priority, task.delay),
        (Priority::High, Duration::from_millis(5))
    );
    assert_eq!(task.run_at.unwrap().as_millis(), 1_893_456_000_000);
    let callback = task.callback.unwrap();
    assert_eq!(callback.url.as_str(), "https://a.example/x");
    assert_eq!(callback.secret.unwrap().as_str(), "hook");
    assert_eq!(callback.on, Ends::of(&[TaskState::Failed]).unwrap());
    assert_eq!(task.limits.cpu, Some(Duration::from_millis(8)));
    assert_eq!(
        (task.limits.fuel, task.limits.memory_bytes),
        (None, Some(9))
    );
    assert_eq!((task.retry.max_attempts, task.retry.jitter), (4, false));
    assert_eq!(task.cache_ttl, Some(Duration::from_secs(60)));
    assert_eq!(task.grants.dirs[0].access, Some(Access::Read));
    let http = task.grants.http.iter();
    let http = http.map(|grant| (grant.hosts().to_string(), grant.methods().len()));
    let expected = [
        ("api.example".to_owned(), 0),
        ("*.b.example:81".to_owned(), 1),
    ];
    assert_eq!(http.collect::<Vec<_>>(), expected);
    let header = &task.grants.http[1].headers()[0];
    assert_eq!(
        (header.name(), header.secret().as_str(), header.prefix()),
        ("x-key", "s", "p ")
    );
    assert_eq!(task.metadata, r#"{"who": "me"}"#);
    assert_eq!(task.dedup_key.as_deref(), Some("d"));
    assert_eq!(task.isolation, Some(Isolation::Process));
    let requires = task.placement.requires().iter();
    let requires: Vec<&str> = requires.map(|capability| capability.as_str()).collect();
    assert_eq!(requires, ["gpu", "group:eu"]);
    let preferred = task.placement.preferred();
    assert_eq!(preferred.map(|preferred| preferred.as_str()), Some("Big-1"));
}

#[test]
fn inputs_are_kept_byte_for_byte() {
    let (json, octets) = ("application/json".to_owned(), OCTET_STREAM.to_owned());
    assert_eq!(
        inline(r#"{"module":"m","input":{"a" : 1e3}}"#),
        (json.clone(), r#"{"a" : 1e3}"#.into())
    );
    assert_eq!(
        inline(r#"{"module":"m","input":null}"#),
        (json, "null".into())
    );
    assert_eq!(inline(r#"{"module":"m"}"#), (octets.clone(), String::new()));
    assert_eq!(
        inline(r#"{"module":"m","input_base64":"aGk="}"#),
        (octets, "hi".into())
    );
    let text = inline(r#"{"module":"m","input":"a\nb","content_type":"text/plain"}"#);
    assert_eq!(text, ("text/plain".into(), "a\nb".into()));
}

#[expect(
    clippy::too_many_lines,
    reason = "a table of mistakes, not a procedure"
)]
#[test]
fn mistakes_are_refused_with_the_name_of_the_field() {
    for (body, kind, mentions) in [
        (r#" ["m"]"#, Kind::Field, "must be a JSON object"),
        (r#""m""#, Kind::Field, "must be a JSON object"),
        (r#"["m""#, Kind::Field, "must be a JSON object"),
        (r#"{"module":"m","limit":{}}"#, Kind::Field, "`limits`"),
        (
            r#"{"module":"m","limits":{"timeout":1}}"#,
            Kind::Field,
            "`timeout_ms`",
        ),
        (
            r#"{"module":"m","limits":{"timeout_ms":0}}"#,
            Kind::Field,
            "limits.timeout_ms",
        ),
        (
            r#"{"module":"m","limits":{"memory_bytes":-1}}"#,
            Kind::Field,
            "limits.memory_bytes",
        ),
        (
            r#"{"module":"m","retry":{"max_attempts":101}}"#,
            Kind::Field,
            "from 1 to 100",
        ),
        (
            r#"{"module":"m","retry":{"factor":0.5}}"#,
            Kind::Field,
            "retry.factor",
        ),
        (
            r#"{"module":"m","grants":{"http":["http://a"]}}"#,
            Kind::Field,
            "grants.http",
        ),
        (
            r#"{"module":"m","grants":{"http":[{"host":"a","methods":["get"]}]}}"#,
            Kind::Field,
            "grants.http",
        ),
        (
            r#"{"module":"m","grants":{"http":[{"host":"a","method":["GET"]}]}}"#,
            Kind::Field,
            "`methods`",
        ),
        (
            r#"{"module":"m","grants":{"http":[{"host":"a","headers":{"Authorization":{"secret":""}}}]}}"#,
            Kind::Field,
            "grants.http",
        ),
        (
            r#"{"module":"m","callback":{"url":"http://a/#b"}}"#,
            Kind::Field,
            "callback.url",
        ),
        (
            r#"{"module":"m","cache":{"ttl_ms":0}}"#,
            Kind::Field,
            "cache.ttl_ms",
        ),
        (
            r#"{"module":"m","env":{"A":"1","A":"2"}}"#,
            Kind::Field,
            "env",
        ),
        (r#"{"module":"m","env":{"A=B":"1"}}"#, Kind::Field, "env"),
        (r#"{"module":"m","args":["a\u0000"]}"#, Kind::Field, "args"),
        (
            r#"{"module":"m","requires":["CUDA"]}"#,
            Kind::Field,
            "requires",
        ),
        (
            r#"{"module":"m","requires":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]}"#,
            Kind::Field,
            "requires",
        ),
        (
            r#"{"module":"m","preferred_worker":"a b"}"#,
            Kind::Field,
            "preferred_worker",
        ),
        (r#"{"module":"m","metadata":[1]}"#, Kind::Field, "metadata"),
        (
            r#"{"module":"m","input":1,"input_base64":""}"#,
            Kind::Field,
            "input_base64",
        ),
        (
            r#"{"module":"m","input":1,"content_type":"text/plain"}"#,
            Kind::Field,
            "input",
        ),
        (
            r#"{"module":"m","input_base64":"%"}"#,
            Kind::Field,
            "input_base64",
        ),
        (r#"{"module":"m","task_id":"7"}"#, Kind::Field, "task_id"),
        (
            r#"{"module":"m","priority":"urgent"}"#,
            Kind::Field,
            "priority",
        ),
        (
            r#"{"module":"m","isolation":"container"}"#,
            Kind::Field,
            "isolation",
        ),
        (r#"{"module":"m","run_at":"soon"}"#, Kind::Field, "run_at"),
        (r#"{"module":"m","dedup_key":""}"#, Kind::Field, "dedup_key"),
        (r#"{"input":1}"#, Kind::Field, "`module`"),
        (r#"{"module":"m","module":"n"}"#, Kind::Field, "duplicate"),
        (r#"{"module":"m"} trailing"#, Kind::NotJson, "trailing"),
        ("\u{feff}{}", Kind::NotJson, ""),
    ] {
        let mistake = read(body).unwrap_err().expect_mistake();
        assert_eq!(mistake.kind, kind, "{body}: {mistake}");
        assert!(mistake.detail.contains(mentions), "{body}: {mistake}");
    }
    let path = read(r#"{"module":"../etc/passwd"}"#).unwrap_err();
    assert!(matches!(path, Refused::Module(_)), "{path}");
}
