//! Every limit means the same in a process: the same kind, and the same message with the same figures.

use serde_json::Value;

use crate::limits::{CASES, host};

/// Figures that differ from run to run, how much a guest wrote until it was stopped, and where it was.
const VARIES: [&str; 5] = ["usage", "stdout", "backtrace", "detail", "isolation"];

#[test]
fn a_limit_is_told_alike_in_a_process_and_in_the_host() {
    let host = host();
    for case in CASES {
        let run = |isolation| case.run_in(isolation, &host.client);
        let here = run("shared");
        for there in ["process", "dedicated"].map(run) {
            assert_eq!(message(&here), message(&there), "{}", case.guest);
            assert_eq!(rest(here.clone()), rest(there), "{}", case.guest);
        }
    }
}

/// The message with every number alike: how long a run took is another one each time.
fn message(problem: &Value) -> String {
    let detail = problem["detail"].as_str().expect("a message");
    let mut message = String::new();
    for letter in detail.chars() {
        match letter {
            '0'..='9' if message.ends_with('#') => {}
            '0'..='9' => message.push('#'),
            other => message.push(other),
        }
    }
    message
}

/// What remains of a problem, such as standard error and an exit code.
fn rest(mut problem: Value) -> Value {
    let members = problem.as_object_mut().expect("an object");
    for name in VARIES {
        members.remove(name);
    }
    problem
}
