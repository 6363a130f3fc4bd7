//! Requests of code: `fetch` in JavaScript, `urllib.request` and `http.client` in Python.

use serde_json::{Value, json};

use super::allowing;
use super::server::Server;
use crate::cli::code::User;
use crate::cli::text;
use crate::exec::ready;
use crate::support::host::Host;

/// Runs code with a grant for the server; `SERVER` in it is the server's.
fn exec(host: &Host, server: &Server, language: &str, code: &str) -> Value {
    let port = server.port();
    let code = code
        .replace("SERVER", &server.url(""))
        .replace("PORT", &port.to_string());
    let grants = json!({"http": [server.place(), format!("127.0.0.3:{port}")]});
    let request = json!({"language": language, "code": code, "grants": grants});
    host.client.post("/v1/exec", &request).expect(200).json()
}

/// Code, and what it comes to.
fn of_javascript() -> Vec<(&'static str, Value)> {
    vec![
        (
            "const r = await fetch('SERVER/hello'); [r.status, r.ok, await r.text(), r.bodyUsed]",
            json!([200, true, "hello", true]),
        ),
        (
            "await (await fetch('SERVER/json')).json()",
            json!({"a": [1, 2]}),
        ),
        (
            "const r = await fetch('SERVER/missing'); [r.status, r.ok]",
            json!([404, false]),
        ),
        (
            "new Uint8Array(await (await fetch('SERVER/chunked')).arrayBuffer()).length",
            json!(3),
        ),
        (
            "const r = await fetch('SERVER/redirect'); [r.redirected, r.url.endsWith('/hello'), await r.text()]",
            json!([true, true, "hello"]),
        ),
        (
            "const r = await fetch('SERVER/redirect', {redirect: 'manual'}); [r.status, r.headers.has('location')]",
            json!([302, true]),
        ),
        (
            "const r = await fetch('SERVER/echo', {method: 'POST', headers: {'X-A': 'b'}, body: JSON.stringify({c: 1})});\n\
             const t = await r.text();\n[t.startsWith('POST /echo HTTP/1.1'), /x-a: b/.test(t), t.endsWith('{\"c\":1}'), /content-type: text.plain/.test(t)]",
            json!([true, true, true, true]),
        ),
        (
            "const all = await Promise.all(Array.from({length: 40}, async () => (await fetch('SERVER/hello')).text()));\nall.length + all[39]",
            json!("40hello"),
        ),
        (
            "let e; try { await fetch('SERVER/never', {signal: AbortSignal.timeout(50)}) } catch (error) { e = error }\ne.name",
            json!("TimeoutError"),
        ),
        (
            "const seen = []; const timer = setInterval(() => seen.push(1), 5);\n\
             try { await fetch('SERVER/never') } catch (error) { seen.push(error.message) }\nclearInterval(timer);\n\
             [seen.length > 10, seen.at(-1).includes('in time')]",
            json!([true, true]),
        ),
        (
            "let e; try { await (await fetch('SERVER/half')).text() } catch (error) { e = error }\ne.cause.code",
            json!("ECONNRESET"),
        ),
        (
            "let e; try { await fetch('http://127.0.0.1:1/') } catch (error) { e = error }\n[e.name, e.cause.code, /grants.http/.test(e.message)]",
            json!(["TypeError", "EACCES", true]),
        ),
        (
            "let e; try { await fetch('SERVER/redirect-elsewhere') } catch (error) { e = error }\ne.message.includes('127.0.0.3:PORT is at an address')",
            json!(true),
        ),
        (
            "const h = new Headers({A: ' 1 '}); h.append('a', '2'); [...h, h.get('A')]",
            json!([["a", "1, 2"], "1, 2"]),
        ),
        (
            "let e; try { new Headers({a: 'b\\r\\nc: d'}) } catch (error) { e = error }\ne.name",
            json!("TypeError"),
        ),
        ("await Response.json({a: 1}).json()", json!({"a": 1})),
        (
            "await new Request('http://a.example/', {method: 'post', body: new URLSearchParams({a: 'b c'})}).text()",
            json!("a=b+c"),
        ),
    ]
}

#[test]
fn javascript_fetches() {
    let server = Server::start();
    let host = ready(&allowing(&server, "request_timeout_ms = 2000"));
    for (code, expected) in of_javascript() {
        let answer = exec(&host, &server, "javascript", code);
        assert_eq!(answer["result"], expected, "{code}: {answer}");
    }
    // Whoever wants only the head leaves no connection behind that others wait for.
    let code = "for (let i = 0; i < 30; i++) await fetch('SERVER/hello'); 'done'";
    let answer = exec(&host, &server, "javascript", code);
    assert_eq!(answer["result"], "done", "{answer}");
    assert_eq!(answer["usage"]["egress_requests"], 30, "{answer}");
}

/// Those within what a run may send wait for a few connections, and those beyond it are refused. Ten thousand at once
/// are more than a run may hold, and end it alone.
#[test]
fn many_requests_at_once_are_as_many_as_a_run_may_send() {
    let server = Server::start();
    let host = ready(&allowing(&server, "requests = 200"));
    let code = "const all = await Promise.allSettled(Array.from({length: 300}, async () => (await fetch('SERVER/hello')).text()));\n\
                const refused = all.filter((one) => one.reason).map((one) => one.reason.message);\n\
                [all.filter((one) => one.value === 'hello').length, refused.length, [...new Set(refused)]]";
    let answer = exec(&host, &server, "javascript", code);
    let result = &answer["result"];
    assert_eq!(
        (&result[0], &result[1]),
        (&json!(200), &json!(100)),
        "{answer}"
    );
    let reason = result[2][0].as_str().unwrap();
    assert!(reason.ends_with("ConnectionLimitReached"), "{answer}");
    assert_eq!(answer["usage"]["egress_requests"], 200, "{answer}");
    let sent = server.connections();
    assert!(sent <= 200, "{sent}");

    let answer = exec(&host, &server, "javascript", &code.replace("300", "10_000"));
    assert_eq!(
        answer["error"]["kind"], "host_resources_exceeded",
        "{answer}"
    );
    assert!(server.connections() <= sent + 200);
    assert_eq!(exec(&host, &server, "python", "6 * 7")["result"], 42);
}

#[test]
fn python_opens_urls() {
    let server = Server::start();
    let host = ready(&allowing(&server, "request_timeout_ms = 2000"));
    let lines = "import http.client, json, socket, urllib.error, urllib.request\nfrom urllib.request import urlopen\n";
    for (code, expected) in [
        (
            "r = urlopen('SERVER/hello')\n[r.status, r.read().decode(), r.headers['content-length']]",
            json!([200, "hello", "5"]),
        ),
        ("json.load(urlopen('SERVER/json'))", json!({"a": [1, 2]})),
        ("urlopen('SERVER/chunked').read().decode()", json!("abc")),
        (
            "r = urlopen('SERVER/redirect')\n[r.url[-6:], r.read().decode()]",
            json!(["/hello", "hello"]),
        ),
        (
            "try:\n    urlopen('SERVER/missing')\nexcept urllib.error.HTTPError as error:\n    result = [error.code, error.read().decode()]",
            json!([404, "none"]),
        ),
        (
            "q = urllib.request.Request('SERVER/echo', b'data', {'X-A': 'b'})\nt = urlopen(q).read().decode()\n\
             [t.startswith('POST /echo HTTP/1.1'), 'x-a: b' in t, t.endswith('\\n\\ndata')]",
            json!([true, true, true]),
        ),
        (
            "c = http.client.HTTPConnection('127.0.0.1', PORT)\nc.request('PUT', '/echo', iter([b'ab', b'c']), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})\n\
             t = c.getresponse().read().decode()\nc.request('GET', '/hello')\n[t.split('\\n')[0], t[-3:], c.getresponse().read().decode()]",
            json!(["PUT /echo HTTP/1.1", "abc", "hello"]),
        ),
        (
            "try:\n    urlopen('SERVER/never', timeout=0.05)\nexcept (TimeoutError, urllib.error.URLError) as error:\n    result = 'in time' in str(error)",
            json!(true),
        ),
        (
            "try:\n    urlopen('SERVER/half').read()\nexcept (http.client.IncompleteRead, ConnectionError, urllib.error.URLError) as error:\n    result = True",
            json!(true),
        ),
        (
            "try:\n    urlopen('http://127.0.0.1:1/')\nexcept urllib.error.URLError as error:\n    result = [type(error.reason).__name__, 'grants.http' in str(error)]",
            json!(["PermissionError", true]),
        ),
        (
            "try:\n    urlopen('SERVER/redirect-elsewhere')\nexcept urllib.error.URLError as error:\n    result = '127.0.0.3:PORT is at an address' in str(error)",
            json!(true),
        ),
        (
            "try:\n    socket.create_connection(('127.0.0.1', PORT)).sendall(b'\\x16\\x03')\nexcept PermissionError as error:\n    result = 'only HTTP' in str(error)",
            json!(true),
        ),
    ] {
        let answer = exec(&host, &server, "python", &format!("{lines}{code}"));
        assert_eq!(answer["result"], expected, "{code}: {answer}");
    }
}

/// What code writes by hand leaves the host as a plain request to the server that was granted, or not at all.
#[test]
fn a_request_that_is_written_by_hand_goes_nowhere_else() {
    let server = Server::start();
    let host = ready(&allowing(&server, "request_timeout_ms = 1000"));
    let python = "import http.client\ndef ask(path, *headers):\n    c = http.client.HTTPConnection('127.0.0.1', PORT)\n    \
        try:\n        c.putrequest('GET', path, skip_host=bool(headers))\n        for header in headers: c.putheader(*header)\n        \
        c.endheaders()\n        return c.getresponse().read().decode()\n    \
        except Exception as error:\n        return type(error).__name__ + ': ' + str(error)\n";
    let javascript = "const ask = async (path, ...headers) => {\n  \
        try { return await (await fetch('SERVER' + path, {headers})).text() }\n  \
        catch (error) { return error.name + ': ' + error.message }\n};\n";
    for (language, ask, call) in [
        ("python", python, "ask('http://127.0.0.3:PORT/echo')"),
        ("python", python, "ask('//127.0.0.3:PORT/echo')"),
        ("python", python, "ask('*')"),
        ("python", python, "ask('/echo', ('Host', 'other.example'))"),
        (
            "python",
            python,
            "ask('/echo', ('Transfer-Encoding', 'chunked'), ('Trailer', 'A'))",
        ),
        (
            "python",
            python,
            "ask('/echo', ('Connection', 'Upgrade'), ('Upgrade', 'websocket'))",
        ),
        ("python", python, "ask('/echo', ('Content-Length', '5'))"),
        (
            "javascript",
            javascript,
            "await ask('/echo', ['Host', 'other.example'])",
        ),
        (
            "javascript",
            javascript,
            "await ask('/echo', ['Transfer-Encoding', 'chunked'])",
        ),
        (
            "javascript",
            javascript,
            "await ask('/echo', ['Connection', 'Upgrade'], ['Upgrade', 'websocket'])",
        ),
        (
            "javascript",
            javascript,
            "await ask('@127.0.0.3:PORT/echo')",
        ),
    ] {
        let answer = exec(&host, &server, language, &format!("{ask}{call}"));
        assert!(answer["result"].is_string(), "{call}: {answer}");
        // That of the last request that arrived, if any has.
        let head = server.last_head().to_lowercase();
        let path = head.split(' ').nth(1).unwrap_or("/");
        assert!(path.starts_with('/'), "{call}: {head}");
        let hosts = head.lines().filter(|line| line.starts_with("host:"));
        let place = format!("host: {}", server.place());
        assert!(
            hosts.eq((!head.is_empty()).then_some(place.as_str())),
            "{call}: {head}"
        );
        for other in ["transfer-encoding:", "upgrade:", "trailer:"] {
            assert!(!head.contains(other), "{call}: {head}");
        }
    }
    let elsewhere = |at: &String| at != "127.0.0.1";
    assert!(
        !server.reached().iter().any(elsewhere),
        "{:?}",
        server.reached()
    );
}

#[test]
fn code_without_a_grant_is_told_which_one_is_missing() {
    let server = Server::start();
    let host = ready(&allowing(&server, ""));
    let url = server.url("/hello");
    for (language, code) in [
        ("javascript", format!("await fetch('{url}')")),
        (
            "python",
            format!("from urllib.request import urlopen\nurlopen('{url}')"),
        ),
    ] {
        let answer = host
            .client
            .post("/v1/exec", &json!({"language": language, "code": code}));
        let answer = answer.expect(200).json();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("grants.http"), "{message}");
        assert!(
            message.contains(&format!("127.0.0.1:{}", server.port())),
            "{message}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn each_call_of_a_session_has_what_one_run_may_send() {
    let server = Server::start();
    let host = ready(&allowing(&server, "requests = 2"));
    for (language, get) in [
        ("javascript", "(await (await fetch('SERVER')).text())"),
        (
            "python",
            "__import__('urllib.request').request.urlopen('SERVER').read().decode()",
        ),
    ] {
        let request = json!({"language": language, "grants": {"http": [server.place()]}});
        let made = host.client.post("/v1/sessions", &request).expect(201);
        let path = format!("{}/exec", made.header("location"));
        let get = get.replace("SERVER", &server.url("/hello"));
        for _ in 0..3 {
            let code = json!({"code": format!("{get} + {get}")});
            let answer = host.client.post(&path, &code).expect(200).json();
            assert_eq!(answer["result"], "hellohello", "{answer}");
            assert_eq!(answer["usage"]["egress_requests"], 2, "{answer}");
        }
        let code = json!({"code": format!("{get} + {get} + {get}")});
        let answer = host.client.post(&path, &code).expect(200).json();
        assert_eq!(answer["status"], "failed", "{answer}");
    }
}

/// Code is held to its tenant's hosts and directories however it comes.
#[test]
fn code_is_granted_no_more_than_its_tenant() {
    let server = Server::start();
    let folder = tempfile::TempDir::new().unwrap();
    let dir = |name: &str| format!("[dirs.{name}]\npath = {:?}\n", folder.path());
    let host = ready(&allowing(
        &server,
        &format!("{}{}", dir("data"), dir("other")),
    ));
    let rules = json!({"egress": [server.place()], "dirs": ["data"]});
    let headers = [("content-type", "application/json")];
    let put = host.client.send(
        "PUT",
        "/v1/tenants/default",
        &headers,
        rules.to_string().as_bytes(),
    );
    put.expect(200);
    let dir = |name: &str| json!({"dirs": [{"name": name, "at": "/data"}]});
    let own = json!({"http": [server.place()], "dirs": [{"name": "data", "at": "/data"}]});
    let foreign = [
        json!({"http": [format!("localhost:{}", server.port())]}),
        dir("other"),
    ];
    for path in ["/v1/exec", "/v1/exec?async=true", "/v1/sessions"] {
        let ask = |grants: &Value| {
            let mut request = json!({"language": "javascript", "grants": grants});
            if path != "/v1/sessions" {
                request["code"] = json!("1");
            }
            host.client.post(path, &request)
        };
        for grants in &foreign {
            ask(grants).expect_problem(400, "grant_refused");
        }
        let answer = ask(&own);
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {}",
            answer.text()
        );
    }
    let code = format!("await (await fetch('{}')).text()", server.url("/hello"));
    let request = json!({"language": "javascript", "code": code, "grants": own});
    let answer = host.client.post("/v1/exec", &request).expect(200).json();
    assert_eq!(answer["result"], "hello", "{answer}");
}

#[test]
fn exec_grants_hosts_without_a_server() {
    let server = Server::start();
    let user = User::new();
    let fetch = format!(
        "console.log(await (await fetch('{}')).text())",
        server.url("/hello")
    );
    let granted = user.exec(&["--http", &server.place(), "--javascript", &fetch]);
    assert_eq!(
        text(&granted.stdout).trim(),
        "hello",
        "{}",
        text(&granted.stderr)
    );
    let refused = user.exec(&["--javascript", &fetch]);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("grants.http"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(server.connections(), 1);
}
