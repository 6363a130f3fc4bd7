//! Nodes that are source text, by the real interpreters.

use serde_json::{Value, json};

use super::stage::{Stage, node};
use crate::exec::ready;

#[test]
fn source_text_is_a_node_and_reads_long_outputs_as_files() {
    let stage = Stage::of(ready(""), None);
    let long = "x".repeat(3 << 20);
    let python = "def run(input):\n    return {'sum': sum(input['numbers']), 'n': input['n']}";
    let reads = "import os\nsize = os.path.getsize(input['b']['file'])\nresult = {'a': len(input['a']), 'b': size}";
    let nodes = json!([
        {"id": "a", "module": "echo", "input": {"n": 4}},
        {"id": "py", "script": {"language": "python", "code": python},
         "input": {"numbers": [1, 2, 3], "n": {"$from": "a", "pointer": "/n"}}},
        {"id": "js", "script": {"language": "typescript", "code": "export function run(input: any) { return input.x * 2 }"},
         "input": {"x": {"$from": "py", "pointer": "/sum"}}},
        {"id": "each", "script": {"language": "javascript", "code": "function run(input) { return input + 1 }"},
         "map": {"over": {"$input": "/list"}}},
        {"id": "big-a", "module": "echo", "input": long},
        {"id": "big-b", "module": "echo", "input": long},
        {"id": "reads", "script": {"language": "python", "code": reads},
         "input": {"a": {"$from": "big-a"}, "b": {"$from": "big-b"}}},
        {"id": "raises", "script": {"language": "python", "code": "def run(input):\n    raise ValueError('no')"}},
    ]);
    let edges = json!([
        ["a", "py"],
        ["py", "js"],
        ["big-a", "reads"],
        ["big-b", "reads"]
    ]);
    let workflow = json!({"on_failure": "continue", "input": {"list": [1, 2]}, "nodes": nodes, "edges": edges});
    let done = stage.finished(&workflow);
    let result = |id: &str| -> Value { serde_json::from_str(&stage.result(&done, id)).unwrap() };
    assert_eq!(result("py"), json!({"sum": 6, "n": 4}));
    assert_eq!(result("js"), json!(12));
    assert_eq!(result("each"), json!([2, 3]));
    assert_eq!(
        result("reads"),
        json!({"a": long.len(), "b": long.len() + 2})
    );
    let raised = node(&done, "raises");
    assert_eq!(raised["error"]["kind"], "guest_error", "{raised}");
    assert_eq!(done["status"], "failed", "{done}");
}
