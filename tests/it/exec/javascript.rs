//! Users' expectations of JavaScript: values, places of errors, and forms of source text.

use serde_json::{Value, json};

use super::{exec, javascript, ready};
use crate::support::host::Host;

/// Uploads a script and runs it on `{"n": 4}`.
fn script(host: &Host, source: &str) -> crate::support::http::Answer {
    let header = [("content-type", "text/javascript")];
    let put = host
        .client
        .send("PUT", "/v1/modules/script", &header, source.as_bytes());
    assert!(put.status < 300, "{source}: {}", put.text());
    host.client
        .run("script", "application/json", br#"{"n": 4}"#)
}

#[test]
fn a_value_that_json_cannot_represent_is_shown_whole() {
    let host = ready("");
    for (code, shown) in [
        ("({price: 10n})", "{ price: 10n }"),
        ("({a: [1, undefined]})", "{ a: [ 1, undefined ] }"),
        ("[1, , 2]", "[ 1, <1 empty item>, 2 ]"),
        ("({f() {}})", "{ f: [Function: f] }"),
        ("[Symbol('s')]", "[ Symbol(s) ]"),
        ("({m: new Map([[1, 2]])})", "{ m: Map(1) { 1 => 2 } }"),
        ("[new Set([1])]", "[ Set(1) { 1 } ]"),
        ("[NaN, -Infinity]", "[ NaN, -Infinity ]"),
        ("const a = {}; a.a = a; a", "<ref *1> { a: [Circular *1] }"),
        ("[new Date(NaN)]", "[ Invalid Date ]"),
        ("new Uint8Array(2)", "Uint8Array(2) [ 0, 0 ]"),
        ("({b: new Error('e').cause})", "{ b: undefined }"),
        ("'\\ud83d'", "'\\ud83d'"),
        ("({toJSON() { throw 1 }})", "{ toJSON: [Function: toJSON] }"),
        ("({get x() { throw 1 }})", "{ x: [Getter] }"),
        ("({p: Promise.resolve(1)})", "{ p: Promise { <pending> } }"),
        ("[/x/g]", "[ /x/g ]"),
    ] {
        let answer = javascript(&host, code);
        let told = (&answer["status"], &answer["result"], &answer["result_repr"]);
        let expected = (&json!("completed"), &Value::Null, &json!(shown));
        assert_eq!(told, expected, "{code}: {answer}");
    }
    for (code, said) in [
        (
            "({d: new Date(0)})",
            json!({"d": "1970-01-01T00:00:00.000Z"}),
        ),
        (
            "[new URL('http://a/b'), new String('s')]",
            json!(["http://a/b", "s"]),
        ),
        ("class P { x = 1 } new P()", json!({"x": 1})),
        (
            "BigInt.prototype.toJSON = function () { return `${this}` }; [5n]",
            json!(["5"]),
        ),
        ("'abc'.match(/b/)", json!(["b"])),
        (
            "[{}, [], Object.create(null), -0, 1e21, null]",
            json!([{}, [], {}, 0, 1e21, null]),
        ),
        ("new Proxy([1, {a: 2}], {})", json!([1, {"a": 2}])),
        ("undefined", Value::Null),
    ] {
        let answer = javascript(&host, code);
        assert_eq!(answer["result"], said, "{code}: {answer}");
        assert!(answer.get("result_repr").is_none(), "{code}: {answer}");
    }
}

#[test]
fn a_script_whose_value_json_cannot_represent_fails_with_the_place() {
    let host = ready("");
    for (source, says) in [
        (
            "export function run(input) { return {price: BigInt(input.n)} }",
            "result.price is a value of type bigint",
        ),
        (
            "export default (input) => ({a: [1, {'b c': new Map()}]})",
            "result.a[1][\"b c\"] is a value of type Map",
        ),
        (
            "exports.run = async () => [undefined]",
            "result[0] is undefined",
        ),
        ("function run() { return run }", "the result is a function"),
        (
            "function run() { return [{toJSON() { throw new RangeError('no') }}] }",
            "result[0] is a value whose toJSON threw RangeError: no",
        ),
        (
            "function run() { let a = []; for (let i = 0; i < 5000; i++) a = [a]; return a }",
            "more than 1000",
        ),
    ] {
        let problem = script(&host, source).expect_problem(422, "guest_error");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{source}: {problem}");
    }
    let source = "export function run(input) { return {at: new Date(0), n: input.n} }";
    let said = json!({"at": "1970-01-01T00:00:00.000Z", "n": 4});
    assert_eq!(script(&host, source).expect(200).json(), said);
}

#[test]
fn globals_of_a_script_do_not_affect_the_interpreter() {
    let host = ready("");
    let source =
        "export function Object() {}\nexport function run(input) { return [input, {a: 1}] }";
    let told = script(&host, source).expect(200).json();
    assert_eq!(told, json!([{"n": 4}, {"a": 1}]));
    let code = "function JSON() {} function Array() {} function Promise() {} function String() {}\n\
                function Error() {} function Map() {} function Symbol() {} function Reflect() {}\n\
                console.log([1], { a: 2 }, require('util').format('%s', 3));\n\
                await null; setTimeout(() => console.log('later'), 1); [{ b: 4 }]";
    let answer = javascript(&host, code);
    assert_eq!(answer["stdout"], "[ 1 ] { a: 2 } 3\nlater\n", "{answer}");
    assert_eq!(answer["result"], json!([{"b": 4}]));
}

#[test]
fn errors_name_the_users_own_lines_and_columns() {
    let host = ready("");
    for (code, place) in [
        ("import fs from \"fs\";\nlet a = ;", "main.js:2:9"),
        ("import fs from \"fs\";\nfunction f() {\n", "main.js:3:1"),
        ("import { a } from './a.mjs';\n", "main.js:1:1"),
        ("1;\nimport { a } from 'lodash';", "main.js:2:1"),
        ("import {\n  join\n} from 'path'; nope()", "main.js:3:16"),
        (
            "import fs from 'fs'; import os from 'os'; nope()",
            "main.js:1:43",
        ),
        ("export const x = 1; export default nope()", "main.js:1:36"),
        (
            "export class A { m() { nope() } } new A().m()",
            "main.js:1:24",
        ),
        ("with ({}) {}\nlet b = ;", "main.js:2:9"),
        ("await import('fs');\nlet b = ;", "main.js:2:9"),
        ("if (0) return 5;\nlet c = 1;\nlet d = ;", "main.js:3:9"),
        ("if (1) {\n  nope()\n}\nreturn 1", "main.js:2:3"),
        ("const s = '\u{2028}';\nnope()", "main.js:2:1"),
        ("let a = 1;\r\nnope()\r\n", "main.js:2:1"),
        ("\u{feff}let a = 1;\nnope()", "main.js:2:1"),
        ("```js\nlet a = 1;\nnope()\n```\n", "main.js:3:1"),
        (
            "#!/usr/bin/env node\nimport fs from 'fs'; nope()",
            "main.js:2:22",
        ),
        ("console.log(import.meta.url); nope()", "main.js:1:31"),
        ("eval('1 +')", "main.js:1:1"),
    ] {
        let answer = javascript(&host, code);
        let traceback = answer["error"]["traceback"].as_str().unwrap_or_default();
        assert!(traceback.contains(place), "{code:?}: {answer}");
        assert!(!traceback.contains("cofferdam"), "{code:?}: {traceback}");
    }
    let header = [("content-type", "text/javascript")];
    let source = b"import fs from 'fs';\nlet a = ;";
    let refused = host
        .client
        .send("PUT", "/v1/modules/bad", &header, source)
        .expect_problem(422, "module_refused");
    let traceback = refused["traceback"].as_str().unwrap();
    assert!(traceback.contains("main.js:2:9"), "{refused}");
}

#[test]
fn typescript_is_javascript_with_its_types_removed() {
    let host = ready("");
    let source = r#"import { join } from "path";
import type { Gone } from "./gone";
interface User { name: string; age?: number }
type Pair<T> = [T, T];
enum Color { Red, Green = 5 }
abstract class Base<T> { constructor(protected readonly items: T[]) {} abstract size(): number }
class Store extends Base<User> { size(): number { return this.items.length } }
function swap<T>([a, b]: Pair<T>): Pair<T> { return [b, a]; }
const x: number = 5;
[new Store([{ name: "a" }]).size(), Color.Green, swap<number>([1, x])!, join("a", "b") as string]
"#;
    for language in ["typescript", "ts", "TypeScript", "javascript"] {
        let answer = exec(&host, &json!({"language": language, "code": source}));
        assert_eq!(answer["result"], json!([1, 5, [5, 1], "a/b"]), "{answer}");
    }
    for (code, place) in [
        ("const a: number = 1;\nlet b: string = ;", "main.js:2:17"),
        (
            "interface A {\n  a: string\n}\nconst a: A = { a: '' };\nnope()",
            "main.js:5:1",
        ),
        ("const a = { b: c, d };\nlet e = ;", "main.js:2:9"),
    ] {
        let error = javascript(&host, code)["error"].clone();
        let traceback = error["traceback"].as_str().unwrap_or_default();
        assert!(traceback.contains(place), "{code}: {error}");
    }
    let header = [("content-type", "text/typescript")];
    let source = b"/** Adds. */\nconst INPUT_SCHEMA = { type: 'object' };\n\
        export function run(input: { n: number }): number { return input.n + 1 }";
    let put = host
        .client
        .send("PUT", "/v1/modules/typed", &header, source);
    assert_eq!(
        put.expect(201).json()["descriptor"]["input_schema"],
        json!({"type": "object"})
    );
    let ran = host.client.run("typed", "application/json", br#"{"n": 4}"#);
    assert_eq!(ran.expect(200).json(), 5);
}

#[test]
fn the_directories_that_code_expects_exist() {
    let host = ready("");
    let code = "const fs = require('fs'), os = require('os'), path = require('path');\n\
                fs.writeFileSync('/mnt/data/out.txt', 'kept');\n\
                const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'x-'));\n\
                fs.writeFileSync(path.join(folder, 'y'), 'scratch');\n\
                process.chdir('/tmp');\n\
                [fs.readFileSync('/work/out.txt', 'utf8'), fs.readdirSync('.').length, process.cwd(),\n\
                 ['mnt', 'tmp', 'work'].every((name) => fs.readdirSync('/').includes(name))]";
    let answer = javascript(&host, code);
    assert_eq!(
        answer["result"],
        json!(["kept", 1, "/tmp", true]),
        "{answer}"
    );
    let files: Vec<_> = answer["files"].as_object().unwrap().keys().collect();
    assert_eq!(files, ["out.txt"]);
}

#[test]
fn a_script_does_not_run_when_it_is_checked() {
    let host = ready("");
    let source = b"#!/usr/bin/env node\nfor (;;) {}";
    let header = [("content-type", "text/javascript")];
    host.client
        .send("PUT", "/v1/modules/endless", &header, source)
        .expect(201);
}

#[test]
fn sources_run_as_they_are_saved_and_quoted() {
    let host = ready("");
    for code in [
        "\u{feff}6 * 7",
        "```javascript\n6 * 7\n```",
        "\n```\n6 * 7\n```\n",
        "const x = 6;\nreturn x * 7;",
        "import os from 'os';\nexport default 6 * 7;",
        "#!/usr/bin/env node\n6 * 7",
        "const { answer = 42 } = {};\r\nanswer\r\n",
    ] {
        assert_eq!(javascript(&host, code)["result"], 42, "{code:?}");
    }
    let request = json!({
        "language": "javascript", "stdin": "a\r\nb\r\n",
        "code": "require('fs').readFileSync('/dev/stdin', 'utf8')",
    });
    assert_eq!(exec(&host, &request)["result"], "a\r\nb\r\n");
}
