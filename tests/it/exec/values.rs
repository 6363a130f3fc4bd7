//! Values that JSON cannot represent are not lost and not silently replaced.

use serde_json::{Value, json};

use super::scripts::put;
use super::{exec, python, ready};
use crate::support::host::Host;

/// Python expressions, each with the parts of the message that say what is wrong and where.
const UNSAYABLE: [(&str, &[&str]); 14] = [
    (
        "{'price': __import__('decimal').Decimal('1.10')}",
        &["['price']", "Decimal"],
    ),
    ("{'a': [1, {'b': float('nan')}]}", &["['a'][1]['b']", "nan"]),
    ("float('-inf')", &["the result", "-inf"]),
    ("[b'raw']", &["[0]", "bytes"]),
    ("{'tags': {'x'}}", &["['tags']", "set"]),
    ("{(1, 2): 3}", &["key", "tuple"]),
    ("{1: 'a', '1': 'b'}", &["two keys", "'1'"]),
    ("[10 ** 5000]", &["[0]", "int"]),
    (
        "{'at': __import__('datetime').datetime(2026, 1, 2)}",
        &["['at']", "datetime.datetime", "isoformat"],
    ),
    ("['a', '\\ud800']", &["[1]", "surrogate"]),
    ("(lambda a: a.append(a) or a)([1])", &["[1]", "itself"]),
    (
        "__import__('functools').reduce(lambda a, _: [a], range(2000), 1)",
        &["more than 1000"],
    ),
    (
        "[__import__('dataclasses').make_dataclass('Row', ['n'])(1)]",
        &["[0]", "Row"],
    ),
    ("[x for x in (range(3),)]", &["[0]", "range"]),
];

#[test]
fn code_is_answered_with_the_repr_of_the_whole_value() {
    let host = ready("");
    for (expression, _) in UNSAYABLE {
        let answer = python(&host, expression);
        assert_eq!(answer["status"], "completed", "{expression}: {answer}");
        assert_eq!(answer["result"], Value::Null, "{expression}: {answer}");
        let shown = answer["result_repr"].as_str().expect("it is shown");
        assert!(!shown.is_empty() && shown.len() <= 4096, "{shown}");
    }
    let shown = |code: &str| python(&host, code)["result_repr"].clone();
    let price = "result = {'price': __import__('decimal').Decimal('1.10'), 'n': 1}";
    assert_eq!(shown(price), "{'price': Decimal('1.10'), 'n': 1}");
    assert_eq!(shown("[1, float('nan')]"), "[1, nan]");
    assert_eq!(shown("'\\ud800'"), "'\\ud800'");
    assert_eq!(shown("{1: (2,), None: True}"), Value::Null);
}

#[test]
fn a_script_fails_and_names_the_type_and_the_place() {
    let host = ready("");
    for (number, (expression, says)) in UNSAYABLE.iter().enumerate() {
        let source = format!("def run(input):\n    return {expression}\n");
        let name = format!("bad-{number}");
        put(&host, &name, "text/x-python", &source).expect(201);
        let problem = host
            .client
            .run(&name, "application/json", b"null")
            .expect_problem(422, "guest_error");
        let detail = problem["detail"].as_str().unwrap();
        for part in *says {
            assert!(detail.contains(part), "{expression}: {problem}");
        }
    }
    // As a task, and without a function.
    put(
        &host,
        "whole",
        "text/x-python",
        "{'price': __import__('decimal').Decimal('1.10')}",
    )
    .expect(201);
    let task = host
        .client
        .submit_and_wait(&json!({"module": "whole", "input": null}));
    assert_eq!(task["error"]["kind"], "guest_error", "{task}");
    let message = task["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("['price']") && message.contains("Decimal"),
        "{task}"
    );
}

#[test]
fn usual_values_become_json() {
    let host = ready("");
    let code = "import collections, enum\n\
        class Colour(str, enum.Enum): RED = 'red'\n\
        class Level(enum.IntEnum): HIGH = 3\n\
        Point = collections.namedtuple('Point', 'x y')\n\
        shared = [1]\n\
        [Colour.RED, Level.HIGH, Point(1, 2), (), {1: 2}, {None: True}, collections.Counter('aab'),\n\
         shared, shared, 'é\\u2028\\0', 2**100, -0.0, 1e300]";
    let answer = python(&host, code);
    assert_eq!(answer.get("result_repr"), None, "{answer}");
    let text = host
        .client
        .post("/v1/exec", &json!({"language": "python", "code": code}))
        .expect(200)
        .text();
    let said = r#""result":["red", 3, [1, 2], [], {"1": 2}, {"null": true}, {"a": 2, "b": 1}, [1], [1], "é"#;
    assert!(text.contains(said), "{text}");
    let rest = "\u{2028}\\u0000\", 1267650600228229401496703205376, -0.0, 1e+300],";
    assert!(text.contains(rest), "{text}");
}

/// One call of a new session.
fn in_session(host: &Host, code: &str) -> Value {
    let request = json!({"language": "python"});
    let made = host.client.post("/v1/sessions", &request).expect(201);
    let path = format!("{}/exec", made.header("location"));
    let answer = host.client.post(&path, &json!({"code": code}));
    answer.expect(200).json()
}

#[test]
fn sessions_and_tasks_answer_like_direct_execution() {
    let host = ready("");
    let code = "{'price': __import__('decimal').Decimal('1.10')}";
    let shown = json!("{'price': Decimal('1.10')}");
    let answer = in_session(&host, code);
    assert_eq!(
        (&answer["result"], &answer["result_repr"]),
        (&Value::Null, &shown)
    );
    let request = json!({"language": "python", "code": code});
    let accepted = host.client.post("/v1/exec?async=true", &request);
    let id = accepted.expect(202).json()["task_id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(host.client.final_task(id)["status"], "completed");
    let result = host.client.get(&format!("/v1/tasks/{id}/result"));
    let answer = result.expect(200).json();
    assert_eq!(
        (&answer["result"], &answer["result_repr"]),
        (&Value::Null, &shown)
    );
    let direct = exec(&host, &request);
    assert_eq!(direct["result_repr"], shown);
}
