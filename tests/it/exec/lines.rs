//! Everything that quotes source quotes the user's own lines, under their own numbers.

use serde_json::{Value, json};

use super::{exec, python, ready};

fn traceback(answer: &Value) -> &str {
    answer["error"]["traceback"].as_str().expect("a traceback")
}

#[test]
fn a_line_ends_where_python_ends_it() {
    let host = ready("");
    for odd in ["\u{2028}", "\u{2029}", "\u{c}", "\u{b}", "\u{85}", "\u{1c}"] {
        let code = format!("a = 1  # {odd} and so on\nb = 2\nraise ValueError('here')\nc = 3\n");
        let answer = python(&host, &code);
        let text = traceback(&answer);
        assert!(text.contains("line 3, in <module>"), "{odd:?}: {text}");
        assert!(
            text.contains("    raise ValueError('here')\n"),
            "{odd:?}: {text}"
        );
    }
    for end in ["\r\n", "\r"] {
        let code = ["a = 1", "b = 2", "raise ValueError('here')"].join(end);
        let answer = python(&host, &code);
        assert!(
            traceback(&answer).contains("line 3, in <module>\n    raise ValueError('here')\n"),
            "{answer}"
        );
    }
}

#[test]
fn warnings_and_the_modules_that_look_at_source_see_it() {
    let host = ready("");
    let answer = python(&host, "import warnings\nwarnings.warn('old')");
    assert_eq!(
        answer["stderr"],
        "main.py:2: UserWarning: old\n  warnings.warn('old')\n"
    );
    // A level beyond the script names no file, as natively.
    let code = "import warnings\ndef f(level):\n    warnings.warn(str(level), stacklevel=level)\n\
                for level in range(5): f(level)\nwarnings.warn('top', stacklevel=2)";
    let answer = python(&host, code);
    let said = answer["stderr"].as_str().unwrap();
    let places: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("Warning"))
        .collect();
    let expected = [
        "main.py:3: UserWarning: 0",
        "main.py:3: UserWarning: 1",
        "main.py:4: UserWarning: 2",
        "<sys>:0: UserWarning: 3",
        "<sys>:0: UserWarning: 4",
        "<sys>:0: UserWarning: top",
    ];
    assert_eq!(places, expected, "{said}");
    let code = "import warnings\ntry:\n    warnings.warn('x', int)\nexcept TypeError as e:\n    \
                said = str(e)\nwarnings.simplefilter('error')\ntry:\n    \
                warnings.warn(ResourceWarning('y'), stacklevel=2)\nexcept ResourceWarning as e:\n    \
                said += str(e)\nsaid";
    let said = "category must be a Warning subclass, not 'type'y";
    assert_eq!(python(&host, code)["result"], said);
    let answer = python(&host, "x = 1\ny = '\\d'");
    let said = answer["stderr"].as_str().unwrap();
    assert!(
        said.contains("main.py:2") && said.contains("  y = '\\d'"),
        "{said}"
    );

    let code = "import traceback\ndef f():\n    return 1 / 0\ntry:\n    f()\nexcept ZeroDivisionError:\n    told = traceback.format_exc()\ntold";
    let told = python(&host, code)["result"].to_string();
    for line in [
        "line 5, in <module>",
        "    f()",
        "line 3, in f",
        "    return 1 / 0",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let code = "import inspect\ndef f(n):\n    # Twice.\n    return 2 * n\nclass C:\n    x = 1\n[inspect.getsource(f), inspect.getsource(C), inspect.getcomments(f)]";
    assert_eq!(
        python(&host, code)["result"],
        json!([
            "def f(n):\n    # Twice.\n    return 2 * n\n",
            "class C:\n    x = 1\n",
            null
        ])
    );
    let code = "import inspect, traceback\ndef f():\n    traceback.print_stack()\n    return [frame.function for frame in inspect.stack()]\nf()";
    let answer = python(&host, code);
    assert_eq!(answer["result"], json!(["f", "<module>"]), "{answer}");
    assert!(!answer["stderr"].as_str().unwrap().contains("interpreter"));
    // The library's own lines are quoted as well.
    let answer = python(&host, "import json\njson.loads('{')");
    assert!(
        traceback(&answer).contains("obj, end = self.raw_decode("),
        "{answer}"
    );
}

#[test]
fn late_errors_of_the_compiler_quote_the_source_too() {
    let host = ready("");
    let request = json!({
        "language": "python",
        "code": "x = 1\ndef f():\n    nonlocal y\n",
        "files": {"main.py": "not\nthis\nline\n"},
    });
    let answer = exec(&host, &request);
    let text = traceback(&answer);
    assert!(text.contains("line 3\n    nonlocal y\n"), "{text}");
}

#[test]
fn source_runs_as_editors_and_models_write_it() {
    let host = ready("");
    for code in [
        "\u{feff}6 * 7",
        "\u{feff}x = 6\r\nx * 7\r\n",
        "```python\nx = 6\nx * 7\n```",
        "```\n6 * 7\n```\n",
        "\n  ```py\n6 * 7\n```",
        "~~~python\n6 * 7\n~~~",
        "\u{feff}```python\r\n6 * 7\r\n```\r\n",
        "```python\n6 * 7",
        "```python\ns = '''\n```\n'''\n6 * 7\n```",
    ] {
        let answer = python(&host, code);
        assert_eq!(answer["result"], 42, "{code:?}: {answer}");
    }
    let answer = python(&host, "```python\nx = 1\n1 / 0\n```");
    assert!(
        traceback(&answer).contains("line 3, in <module>\n    1 / 0\n"),
        "{answer}"
    );
}
