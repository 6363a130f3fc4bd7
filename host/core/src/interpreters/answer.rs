//! The result of code: the guest's answer and the sandbox's observations, as the one JSON object
//! that callers, tasks and streams get.
//!
//! The guest's answer is untrusted: it is believed about the script, never about the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use cofferdam_domain::attempt::{
    Artifact, Failure, FailureKind, LeftOut, Outcome, Payload, Streams, Usage,
};
use cofferdam_domain::said;
use cofferdam_sandbox::OutputFiles;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// `completed` or `failed`.
    pub status: &'static str,
    /// The value, as JSON.
    pub result: Box<RawValue>,
    /// The language's rendering of the value, if JSON cannot represent all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_repr: Option<String>,
    /// What was written to standard output.
    pub stdout: String,
    /// What was written to standard error.
    pub stderr: String,
    /// The exit code; `None` for code that was stopped.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub error: Option<ExecError>,
    /// Files it wrote, by their path below the working directory.
    pub files: BTreeMap<String, WrittenFile>,
    /// How many other entries are not kept, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files_left_out: BTreeMap<&'static str, u64>,
    /// What it used.
    pub usage: ExecUsage,
    /// Which streams are truncated.
    pub truncated: Truncated,
}

/// Why code failed.
#[derive(Debug, Serialize)]
pub struct ExecError {
    /// The failure kind.
    pub kind: &'static str,
    /// The exception's type, if there was one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// One or two sentences.
    pub message: String,
    /// The script's own frames.
    pub traceback: Option<String>,
}

/// A file that was written.
#[derive(Debug, Serialize)]
pub struct WrittenFile {
    /// Its length.
    pub size_bytes: u64,
    /// Where to get it.
    pub url: String,
}

/// The files that code left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// Those that are kept.
    pub kept: &'a [Artifact],
    /// The others.
    pub left_out: LeftOut,
}

impl<'a> Written<'a> {
    /// The files that a run left; empty if it used no file.
    pub fn of(files: Option<&'a OutputFiles>) -> Written<'a> {
        files.map_or_else(Written::default, |files| Written {
            kept: files.artifacts(),
            left_out: files.left_out(),
        })
    }
}

/// What was used.
#[derive(Debug, Serialize)]
pub struct ExecUsage {
    /// Wall-clock time.
    pub duration_us: u64,
    /// CPU time.
    pub cpu_us: u64,
    /// The most memory at once.
    pub peak_memory_bytes: u64,
    /// The most that files held at once.
    pub disk_bytes: u64,
    /// Requests to other machines, refused ones among them.
    pub egress_requests: u64,
    /// Bytes that came from there.
    pub egress_in_bytes: u64,
    /// Bytes that went there.
    pub egress_out_bytes: u64,
}

/// Which streams are truncated.
#[derive(Debug, Serialize)]
pub struct Truncated {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// The guest's answer.
#[derive(Deserialize)]
struct GuestAnswer<'a> {
    status: &'a str,
    #[serde(borrow)]
    result: &'a RawValue,
    result_repr: Option<String>,
    exit_code: i32,
    error: Option<GuestError>,
}

#[derive(Deserialize)]
struct GuestError {
    kind: String,
    #[serde(rename = "type")]
    class: Option<String>,
    message: String,
    traceback: Option<String>,
}

/// How code ended, before the answer is written.
#[derive(Debug)]
pub struct Verdict {
    /// The value.
    pub result: Box<RawValue>,
    result_repr: Option<String>,
    exit_code: Option<i32>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    class: Option<String>,
}

impl Verdict {
    /// The result of code by its sandbox's outcome.
    pub fn of(outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::Completed(output) => Verdict::answered(&output),
            Outcome::Failed(Failure {
                kind: FailureKind::Exit,
                exit_code: Some(code),
                ..
            }) => Verdict::exited(code),
            // Frames of the interpreter's machine code say nothing about the script.
            Outcome::Failed(failure) => Verdict::failed(Failure {
                backtrace: None,
                ..failure
            }),
        }
    }

    /// The code ended its process, without an answer.
    fn exited(code: i32) -> Verdict {
        if code == 0 {
            return Verdict {
                result: RawValue::NULL.to_owned(),
                result_repr: None,
                exit_code: Some(0),
                failure: None,
                class: None,
            };
        }
        let message = format!("the script exited with code {code}");
        Verdict::failed(Failure {
            exit_code: Some(code),
            ..Failure::new(FailureKind::Exit, message)
        })
    }

    fn answered(output: &Payload) -> Verdict {
        let Ok(answer) = serde_json::from_slice::<GuestAnswer<'_>>(&output.body) else {
            let message = "the code damaged its interpreter, which gave no readable answer";
            return Verdict::failed(Failure::new(FailureKind::GuestError, message));
        };
        match answer.error {
            None if answer.status == "completed" => Verdict {
                result: answer.result.to_owned(),
                result_repr: answer.result_repr,
                exit_code: Some(answer.exit_code),
                failure: None,
                class: None,
            },
            None => Verdict::failed(Failure::new(FailureKind::GuestError, "the code failed")),
            Some(error) => Verdict {
                exit_code: Some(answer.exit_code),
                class: error
                    .class
                    .clone()
                    .map(|class| said::cut(class, said::CLASS_BYTES_MAX)),
                ..Verdict::failed(failure(error, answer.exit_code))
            },
        }
    }

    fn failed(failure: Failure) -> Verdict {
        Verdict {
            result: RawValue::NULL.to_owned(),
            result_repr: None,
            exit_code: failure.exit_code,
            failure: Some(failure),
            class: None,
        }
    }

    /// The answer. The files are served below `url`, which ends in a slash.
    pub fn into_answer(
        self,
        streams: &Streams,
        usage: &Usage,
        files: Written<'_>,
        url: &str,
    ) -> Answer {
        let class = self.class;
        let error = self.failure.map(|failure| ExecError {
            kind: failure.kind.as_str(),
            class,
            message: failure.message,
            traceback: failure.backtrace,
        });
        Answer {
            status: if error.is_some() {
                "failed"
            } else {
                "completed"
            },
            result: self.result,
            result_repr: self.result_repr,
            stdout: streams.stdout.text(),
            stderr: streams.stderr.text(),
            exit_code: self.exit_code,
            error,
            files: written(files.kept, url),
            files_left_out: files.left_out.reasons().collect(),
            usage: ExecUsage {
                duration_us: usage.duration_us(),
                cpu_us: usage.cpu_us(),
                peak_memory_bytes: usage.peak_memory_bytes,
                disk_bytes: usage.disk_bytes,
                egress_requests: usage.egress.requests,
                egress_in_bytes: usage.egress.in_bytes,
                egress_out_bytes: usage.egress.out_bytes,
            },
            truncated: Truncated {
                stdout: streams.stdout.truncated,
                stderr: streams.stderr.truncated,
            },
        }
    }
}

fn failure(error: GuestError, exit_code: i32) -> Failure {
    // A script may catch the exception for a lack of memory; if it did not, the limit ended it.
    let out_of_memory = error.class.as_deref() == Some("MemoryError")
        || error.class.as_deref() == Some("InternalError") && error.message == "out of memory";
    let kind = match error.kind.as_str() {
        "exit" => FailureKind::Exit,
        _ if out_of_memory => FailureKind::MemoryExceeded,
        _ => FailureKind::GuestError,
    };
    let message = match &error.class {
        Some(class) if kind == FailureKind::GuestError && !error.message.is_empty() => {
            format!("{class}: {}", error.message)
        }
        Some(class) if error.message.is_empty() => class.clone(),
        Some(_) | None => error.message,
    };
    let traceback = error.traceback;
    Failure {
        // Its last lines say what happened, and its first ones where.
        backtrace: traceback.map(|text| said::cut_middle(text, said::BACKTRACE_BYTES_MAX)),
        exit_code: (kind == FailureKind::Exit).then_some(exit_code),
        ..Failure::new(kind, message)
    }
}

/// Files by their paths, as in answers. They are served below `url`.
pub fn written(files: &[Artifact], url: &str) -> BTreeMap<String, WrittenFile> {
    let written = files.iter().map(|file| {
        let written = WrittenFile {
            size_bytes: file.size_bytes,
            url: format!("{url}{}", encoded(&file.path)),
        };
        (file.path.clone(), written)
    });
    written.collect()
}

/// A path as a part of a URL.
pub fn encoded(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(body: &'static str) -> Verdict {
        Verdict::of(Outcome::Completed(Payload {
            content_type: "application/json".into(),
            body: body.into(),
        }))
    }

    #[test]
    fn a_guest_that_answers_nonsense_has_failed() {
        for body in ["", "[]", r#"{"status":"completed"}"#, "\u{0}"] {
            let failure = verdict(body).failure.unwrap();
            assert_eq!(failure.kind, FailureKind::GuestError, "{body}");
        }
        let odd = r#"{"status":"odd","result":1,"exit_code":0,"error":null}"#;
        assert!(verdict(odd).failure.is_some());
    }

    #[test]
    fn running_out_of_memory_is_its_own_kind() {
        let body = r#"{"status":"failed","result":null,"exit_code":1,"error":{"kind":"guest_error","type":"MemoryError","message":"","traceback":"T"}}"#;
        let failure = verdict(body).failure.unwrap();
        assert_eq!(failure.kind, FailureKind::MemoryExceeded);
        assert_eq!(failure.backtrace.as_deref(), Some("T"));
    }

    #[test]
    fn paths_are_encoded_in_urls() {
        assert_eq!(encoded("a b/é?.txt"), "a%20b/%C3%A9%3F.txt");
    }
}
