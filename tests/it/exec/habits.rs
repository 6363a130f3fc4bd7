//! Code as models write it: it works if it can, else one sentence says what to do.

use serde_json::{Value, json};

use super::{exec, javascript, python, ready};

#[test]
fn a_machine_has_a_root_a_tmp_and_mnt_data() {
    let host = ready("");
    let code = "import os\nsorted(os.listdir('/'))";
    assert_eq!(
        python(&host, code)["result"],
        json!(["mnt", "out", "tmp", "work"])
    );
    let code = "import os, tempfile, shutil\n\
        os.makedirs('/mnt/data/deep', exist_ok=True)\nos.makedirs('/tmp/a/b', exist_ok=True)\n\
        open('/mnt/data/deep/x.csv', 'w').write(open('/mnt/data/in.txt').read())\n\
        open('/tmp/a/b/y', 'w').write('scratch')\nshutil.copy('/tmp/a/b/y', 'copied')\n\
        [tempfile.gettempdir(), os.path.exists('/mnt'), os.getcwd(), open('deep/x.csv').read(), \
         [folder for folder, _, _ in os.walk('/')].count('/tmp/a/b')]";
    let request = json!({"language": "python", "code": code, "files": {"in.txt": "1,2"}});
    let answer = exec(&host, &request);
    assert_eq!(
        answer["result"],
        json!(["/tmp", true, "/work", "1,2", 1]),
        "{answer}"
    );
    let files: Vec<_> = answer["files"].as_object().unwrap().keys().collect();
    assert_eq!(files, ["copied", "deep/x.csv"], "{answer}");
    let answer = javascript(
        &host,
        "const fs = require('fs'); fs.writeFileSync('/tmp/x', '1'); fs.writeFileSync('/mnt/data/y', '2'); fs.readFileSync('/tmp/x', 'utf8') + fs.readFileSync('y', 'utf8')",
    );
    assert_eq!(answer["result"], "12", "{answer}");
    for path in ["/x.txt", "/in/x", "/etc/x"] {
        let answer = python(&host, &format!("open('{path}', 'w')"));
        assert_eq!(answer["error"]["kind"], "guest_error", "{path}: {answer}");
    }
    let message = python(&host, "open('/x.txt', 'w')")["error"]["message"].to_string();
    assert!(message.contains("/mnt/data"), "{message}");
    // Files in /tmp count like any others.
    let request = json!({"language": "python", "code": "open('/tmp/x', 'wb').write(bytes(10**6))", "disk_bytes": 65536});
    let session = json!({"language": "python", "disk_bytes": 65536});
    let made = host.client.post("/v1/sessions", &session).expect(201);
    let path = format!("{}/exec", made.header("location"));
    let full = host.client.post(&path, &json!({"code": request["code"]}));
    assert_eq!(full.expect(200).json()["error"]["type"], "OSError");
}

#[test]
fn await_works_at_the_top_level() {
    let host = ready("");
    for (code, value) in [
        ("import asyncio\nawait asyncio.sleep(0.01, 5)", json!(5)),
        (
            "import asyncio\nx = await asyncio.sleep(0, 5)\nx + await asyncio.sleep(0, 1)",
            json!(6),
        ),
        ("async def f():\n    return 7\nresult = await f()", json!(7)),
        ("async def f():\n    return 8\nf()", json!(8)),
        (
            "import asyncio\nasync def f():\n    return 9\nasyncio.run(f())",
            json!(9),
        ),
        (
            "import asyncio\nawait asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3)))",
            json!([0, 1, 2]),
        ),
        (
            "async def g():\n    yield 1\n    yield 2\n[n async for n in g()]",
            json!([1, 2]),
        ),
        (
            "import asyncio\nt = asyncio.create_task(asyncio.sleep(0, 3)) if await asyncio.sleep(0, 1) else None\nawait t",
            json!(3),
        ),
    ] {
        let answer = python(&host, code);
        assert_eq!(answer["result"], value, "{code}: {answer}");
    }
    let answer = python(&host, "import asyncio\nawait asyncio.sleep(0)\n1 / 0");
    let traceback = answer["error"]["traceback"].as_str().unwrap();
    assert!(traceback.contains("line 3, in <module>"), "{traceback}");
    assert_eq!(traceback.matches("File ").count(), 1, "{traceback}");
}

#[test]
fn languages_go_by_their_other_names() {
    let host = ready("");
    for language in ["py", "python3", "Python", "PYTHON"] {
        let answer = exec(&host, &json!({"language": language, "code": "3 // 2"}));
        assert_eq!(answer["result"], 1, "{language}: {answer}");
    }
    for language in ["js", "node", "JavaScript"] {
        let answer = exec(&host, &json!({"language": language, "code": "3 / 2"}));
        assert_eq!(answer["result"], 1.5, "{language}: {answer}");
    }
    let session = host.client.post("/v1/sessions", &json!({"language": "py"}));
    assert_eq!(session.expect(201).json()["language"], "python");
}

#[test]
fn pools_do_their_work_at_once() {
    let host = ready("");
    let code = "from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor, as_completed\n\
        with ThreadPoolExecutor(4) as pool:\n    waiting = [pool.submit(pow, 2, n) for n in range(4)]\n\
        \x20   powers = sorted(done.result() for done in as_completed(waiting))\n\
        \x20   bad = pool.submit(int, 'x').exception()\n\
        with ProcessPoolExecutor() as pool:\n    sizes = list(pool.map(abs, [-1, -2]))\n\
        import multiprocessing\nwith multiprocessing.Pool(2) as pool:\n\
        \x20   more = pool.map(abs, [-3]) + pool.starmap(pow, [(2, 3)]) + [pool.apply_async(abs, (-4,)).get()]\n\
        [powers, type(bad).__name__, sizes, more, multiprocessing.cpu_count()]";
    assert_eq!(
        python(&host, code)["result"],
        json!([[1, 2, 4, 8], "ValueError", [1, 2], [3, 8, 4], 1])
    );
}

/// Code that cannot work here, and a part of the sentence that says so.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "import threading\nthreading.Thread(target=print).start()",
        "asyncio",
    ),
    (
        "import threading\nthreading.Timer(1, print).start()",
        "asyncio",
    ),
    (
        "import queue\nqueue.Queue().get()",
        "waits for another thread",
    ),
    (
        "import threading\nthreading.Event().wait()",
        "waits for another thread",
    ),
    ("import getpass\ngetpass.getpass()", "`stdin`"),
    (
        "import asyncio\nawait asyncio.create_subprocess_shell('ls')",
        "in Python",
    ),
    (
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "processes cannot be started",
    ),
    (
        "import multiprocessing\nmultiprocessing.Queue()",
        "processes cannot be started",
    ),
    ("import subprocess\nsubprocess.run(['ls'])", "in Python"),
    ("import os\nos.system('ls')", "in Python"),
    (
        "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'numpy'])",
        "packages cannot be installed",
    ),
    (
        "import os\nos.system('pip install numpy')",
        "packages cannot be installed",
    ),
    ("!pip install numpy", "packages cannot be installed"),
    ("import pip", "packages cannot be installed"),
    (
        "import urllib.request\nurllib.request.urlopen('https://example.com/a')",
        "no grant to reach example.com",
    ),
    (
        "import urllib.request\nurllib.request.urlopen('http://example.com:81/')",
        "example.com:81",
    ),
    (
        "import http.client\nhttp.client.HTTPSConnection('example.com').request('GET', '/')",
        "give it the data in `files`",
    ),
    (
        "import socket\nsocket.create_connection(('1.2.3.4', 80))",
        "give it the data in `files`",
    ),
    (
        "import socket\nsocket.socket().connect(('1.2.3.4', 80))",
        "give it the data in `files`",
    ),
    (
        "import socket\nsocket.getaddrinfo('example.com', 80)",
        "give it the data in `files`",
    ),
    ("import requests", "give it the data in `files`"),
    ("import bz2", "gzip"),
    ("import ssl", "give it the data in `files`"),
    ("import tkinter", "tkinter is not available here"),
    ("import hashlib\nhashlib.scrypt", "pbkdf2_hmac"),
];

#[test]
fn impossible_operations_say_what_to_do_instead() {
    let host = ready("");
    for (code, says) in IMPOSSIBLE {
        let answer = python(&host, code);
        assert_eq!(answer["error"]["kind"], "guest_error", "{code}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{code}: {message}");
    }
}

#[test]
fn the_library_is_whole() {
    let host = ready("");
    let value = |code: &str| {
        let answer = python(&host, code);
        assert_eq!(answer["error"], Value::Null, "{code}: {answer}");
        answer["result"].clone()
    };
    let code = "from zoneinfo import ZoneInfo, available_timezones\nfrom datetime import datetime\n\
        [str(ZoneInfo('UTC')), datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Berlin')).isoformat(),\n\
         datetime(2026, 1, 1, 12, tzinfo=ZoneInfo('America/New_York')).astimezone(ZoneInfo('Asia/Tokyo')).isoformat(),\n\
         len(available_timezones()) > 500]";
    assert_eq!(
        value(code),
        json!([
            "UTC",
            "2026-07-01T00:00:00+02:00",
            "2026-01-02T02:00:00+09:00",
            true
        ])
    );
    let message = python(
        &host,
        "from zoneinfo import ZoneInfo\nZoneInfo('Mars/Olympus')",
    );
    assert_eq!(message["error"]["type"], "ZoneInfoNotFoundError");
    for module in ["logging", "json", "os", "collections", "re"] {
        let code = format!("import importlib, {module}\nimportlib.reload({module}).__name__");
        assert_eq!(value(&code), module);
    }
    let zen = python(&host, "import this")["stdout"].to_string();
    assert!(zen.contains("Beautiful is better than ugly."), "{zen}");
    let code = "import hashlib\n[hashlib.pbkdf2_hmac('sha256', b'password', b'salt', 2).hex(), \
                hashlib.pbkdf2_hmac('sha1', b'password', b'salt', 4096, 25).hex()]";
    assert_eq!(
        value(code),
        json!([
            "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43",
            "4b007901b765489abead49d926f721d065a429c12e463f6c4c"
        ])
    );
    assert_eq!(
        value("import inspect, textwrap\ninspect.getsource(textwrap.dedent)[:10]"),
        "def dedent"
    );
    let devices = "import os, contextlib\nwith contextlib.redirect_stdout(open(os.devnull, 'w')):\n    print('no')\n\
                   [open('/dev/null').read(), len(open('/dev/urandom', 'rb').read(4)), os.path.expanduser('~'), os.path.exists(os.devnull)]";
    assert_eq!(value(devices), json!(["", 4, "/work", true]));
}
