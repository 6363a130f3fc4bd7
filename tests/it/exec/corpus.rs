//! Small real programs print what the native interpreters print.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{exec, python, ready};
use crate::support::guests::root;
use crate::support::host::Host;

/// The programs of one language, in the order of their names.
pub(super) fn programs(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("interpreters/corpus").join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    found.sort();
    found
}

/// The output of a native interpreter for a file.
fn native(program: &str, file: &Path) -> String {
    let output = Command::new(program)
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for these tests: {error}"));
    assert!(
        output.status.success(),
        "{program} {}: {output:?}",
        file.display()
    );
    String::from_utf8(output.stdout).unwrap()
}

fn compare(host: &Host, language: &str, program: &str, files: &[PathBuf]) {
    let mut differ = Vec::new();
    for file in files {
        let code = std::fs::read_to_string(file).unwrap();
        let answer = exec(host, &json!({"language": language, "code": code}));
        let expected = native(program, file);
        if answer["status"] != "completed" || answer["stdout"] != expected {
            differ.push(format!(
                "{}: {}\n--- here\n{}--- native\n{expected}",
                file.display(),
                answer["error"],
                answer["stdout"].as_str().unwrap()
            ));
        }
    }
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
}

#[test]
fn python_programs_print_what_cpython_prints() {
    let files = programs("python", "py");
    assert!(files.len() >= 100, "{}", files.len());
    compare(&ready(""), "python", "python3", &files);
}

#[test]
fn javascript_programs_print_what_node_prints() {
    let files = programs("javascript", "js");
    assert!(files.len() >= 60, "{}", files.len());
    compare(&ready(""), "javascript", "node", &files);
}

#[test]
fn the_standard_library_is_there_and_works() {
    let host = ready("");
    let table = std::fs::read_to_string(root().join("interpreters/corpus/stdlib.txt")).unwrap();
    let lines: Vec<(&str, &str)> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    assert!(lines.len() >= 60, "{}", lines.len());
    for (module, code) in lines {
        let answer = python(&host, code);
        let native = Command::new("python3").args(["-c", code]).output();
        let native = native.expect("python3 is needed for this test");
        let expected = String::from_utf8_lossy(&native.stdout);
        assert!(native.status.success(), "{module}: {native:?}");
        assert_eq!(answer["stdout"], *expected, "{module}: {}", answer["error"]);
    }
}
