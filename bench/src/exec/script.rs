//! The scripts, and what they must print: a contestant that prints something else is not measured.

use anyhow::ensure;
use serde_json::json;

/// A small program.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) code: &'static str,
    prints: &'static str,
}

impl Script {
    /// The body of `/v1/exec`.
    pub(super) fn request(&self) -> String {
        json!({"language": self.language, "code": self.code}).to_string()
    }

    /// Checks that the script prints this; sandboxes differ in the last line's end.
    pub(super) fn check(&self, stdout: &str) -> anyhow::Result<()> {
        ensure!(
            stdout.trim_end() == self.prints,
            "{} printed {stdout:?} instead of {:?}",
            self.code,
            self.prints
        );
        Ok(())
    }
}

/// All scripts; the goals of a language are about its first one.
pub(super) const SCRIPTS: &[Script] = &[
    Script {
        name: "print(1)",
        language: "python",
        code: "print(1)",
        prints: "1",
    },
    Script {
        name: "JSON",
        language: "python",
        code: r#"import json
rows = json.loads('[{"n": 1, "k": "a"}, {"n": 2, "k": "b"}, {"n": 7, "k": "a"}]')
totals = {}
for row in rows:
    totals[row["k"]] = totals.get(row["k"], 0) + row["n"]
print(json.dumps(totals))"#,
        prints: r#"{"a": 8, "b": 2}"#,
    },
    Script {
        name: "console.log(1)",
        language: "javascript",
        code: "console.log(1)",
        prints: "1",
    },
    Script {
        name: "JSON",
        language: "javascript",
        code: r#"const rows = JSON.parse('[{"n": 1, "k": "a"}, {"n": 2, "k": "b"}, {"n": 7, "k": "a"}]');
const totals = {};
for (const row of rows) totals[row.k] = (totals[row.k] ?? 0) + row.n;
console.log(JSON.stringify(totals));"#,
        prints: r#"{"a":8,"b":2}"#,
    },
];
