//! Names that are declared again in JavaScript sessions.

use serde_json::{Value, json};

use super::ready;
use super::sessions::Session;

#[test]
fn javascript_can_declare_again_as_in_a_console() {
    let host = ready("");
    let session = Session::javascript(&host);
    let best =
        "let best; const before = best; best = (best ?? 0) + 1; [before === undefined, best]";
    for (code, value) in [
        (best, json!([true, 1])),
        (best, json!([true, 1])),
        ("var kept = 1; var kept; kept", json!(1)),
        ("var kept; kept", json!(1)),
        (
            "const c = 1; let { a, b: [d] } = { a: 2, b: [3] }; [a, d]",
            json!([2, 3]),
        ),
        (
            "const c = 4, d = 5; let a; [a === undefined, c, d]",
            json!([true, 4, 5]),
        ),
        ("let c = 6; c++; c", json!(7)),
        ("class K { v() { return 1 } } new K().v()", json!(1)),
        ("class K { v() { return 2 } }\nnew K().v()", json!(2)),
        ("function f() { return 1 }", Value::Null),
        ("function f() { return 2 } f()", json!(2)),
        ("const f = () => 3; f()", json!(3)),
        ("import { join } from 'path'; join('x', 'y')", json!("x/y")),
        ("import { join } from 'path'; join('y', 'z')", json!("y/z")),
    ] {
        assert_eq!(session.run(code)["result"], value, "{code}");
    }
}

#[test]
fn javascript_respects_declarations_as_in_a_console() {
    let host = ready("");
    let session = Session::javascript(&host);
    session.run("const fixed = 1");
    for (code, name, says, place) in [
        (
            "fixed = 2",
            "TypeError",
            "Assignment to constant variable.",
            ":1:1",
        ),
        (
            "const own = 1;\n own++",
            "TypeError",
            "Assignment to constant variable.",
            ":2:2",
        ),
        (
            "early; let early = 1",
            "ReferenceError",
            "before initialization",
            ":1:1",
        ),
        (
            "let good = 1;\nlet bad = ;",
            "SyntaxError",
            "unexpected token",
            ":2:11",
        ),
        ("good", "ReferenceError", "good is not defined", ":1:1"),
        (
            "let one, two; class L {}; nope()",
            "ReferenceError",
            "nope",
            ":1:27",
        ),
    ] {
        let error = session.run(code)["error"].clone();
        assert_eq!(error["type"], name, "{code}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{code}: {error}"
        );
        assert!(
            error["traceback"].as_str().unwrap().contains(place),
            "{code}: {error}"
        );
    }
    assert_eq!(session.run("fixed")["result"], 1);
    assert_eq!(session.run("({lost: 1n})")["result_repr"], "{ lost: 1n }");
}
