//! The kinds of work: what is sent, and what must come back.

use std::ops::RangeInclusive;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::place::Place;
use crate::sieve::sieve;

/// The sentence about them in the report.
pub(super) const ABOUT: &str = "Python: `print(1)`, JavaScript: `console.log(1)`, through `/v1/exec`; SDK: the \
    example `transform` makes JSON of 64 KiB of CSV, for which it uses more than a mebibyte of memory; kernel: a sieve \
    without imports, some milliseconds. The last two are run by `/v1/run` with `isolation=process`.";

/// How much of a table the example gets.
const TABLE_BYTES: usize = 64 * 1024;

/// A kind of work.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) body: String,
    does: Does,
}

enum Does {
    /// Code, and what it prints.
    Code(&'static str),
    /// A module.
    Module(Module),
}

/// A module to upload.
pub(super) struct Module {
    pub(super) name: &'static str,
    text: Option<String>,
    /// How long its answer is.
    answer_bytes: RangeInclusive<usize>,
}

/// All kinds of work.
pub(super) fn all() -> Vec<Work> {
    let code = |name, language: &str, code: &str| Work {
        name,
        path: "/v1/exec",
        body: json!({"language": language, "code": code}).to_string(),
        does: Does::Code("1\n"),
    };
    vec![
        code("Python", "python", "print(1)"),
        code("JavaScript", "javascript", "console.log(1)"),
        Work {
            name: "SDK",
            path: "/v1/run/transform",
            body: json!({"from": "csv", "to": "json", "text": table()}).to_string(),
            does: Does::Module(Module {
                name: "transform",
                text: None,
                answer_bytes: TABLE_BYTES..=usize::MAX,
            }),
        },
        Work {
            name: "kernel",
            path: "/v1/run/kernel",
            body: String::new(),
            does: Does::Module(Module {
                name: "kernel",
                text: Some(sieve(131_072)),
                answer_bytes: 0..=0,
            }),
        },
    ]
}

/// Rows of a table, as CSV.
fn table() -> String {
    let mut table = "city,people,area\n".to_owned();
    let mut row = 0;
    while table.len() < TABLE_BYTES {
        table.push_str(&format!("city number {row},{},{}\n", row * 37, row % 89));
        row += 1;
    }
    table
}

impl Work {
    /// What must be uploaded for it.
    pub(super) fn module(&self) -> Option<&Module> {
        match &self.does {
            Does::Code(_) => None,
            Does::Module(module) => Some(module),
        }
    }

    /// Checks an answer.
    pub(super) fn check(&self, answer: &[u8]) -> anyhow::Result<()> {
        let is_right = match &self.does {
            Does::Code(prints) => {
                let answer: Value = serde_json::from_slice(answer)?;
                answer["stdout"] == *prints
            }
            Does::Module(module) => module.answer_bytes.contains(&answer.len()),
        };
        ensure!(
            is_right,
            "{} was answered with {}",
            self.name,
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
        Ok(())
    }
}

impl Module {
    /// Its media type and its bytes.
    pub(super) fn bytes(&self, place: &Place) -> anyhow::Result<(&'static str, Vec<u8>)> {
        Ok(match &self.text {
            Some(text) => ("text/wat", text.as_bytes().to_vec()),
            None => ("application/wasm", std::fs::read(place.guest(self.name)?)?),
        })
    }
}
