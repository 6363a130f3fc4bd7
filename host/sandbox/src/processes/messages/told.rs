//! What a process says of a run that ended. The host holds it to the run's limits.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Report;
use crate::files::Left;
use crate::local::Ended;
use crate::witness::Spent;
use cofferdam_domain::attempt::{
    Captured, EgressUsage, Failure, FailureKind, Outcome, Payload, Streams, Usage,
};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::Descriptor;
use cofferdam_domain::said;

/// A report, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::processes) struct Told {
    /// The output's media type.
    completed: Option<String>,
    failed: Option<ToldFailure>,
    duration: Duration,
    cpu: Duration,
    fuel: Option<u64>,
    peak_memory_bytes: u64,
    disk_bytes: u64,
    truncated: [bool; 3],
    pub(in crate::processes) dir: Option<u64>,
    pub(in crate::processes) starved: bool,
    /// Whether the guest still computes: the process is to be killed with it.
    pub(in crate::processes) spent: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ToldFailure {
    kind: String,
    message: String,
    backtrace: Option<String>,
    transient: bool,
    exit_code: Option<i32>,
}

impl Told {
    /// A run that ended, as it is sent, and its pieces. Its directory stays for the host to take.
    pub(in crate::processes) fn of(ended: Ended) -> (Told, Vec<Bytes>) {
        let Ended {
            report,
            left,
            starved,
            long: _,
            unread: _,
        } = ended;
        let dir = left.and_then(Left::leave);
        let (completed, failed, output) = match report.outcome {
            Outcome::Completed(output) => {
                let content_type = output.content_type.as_ref().to_owned();
                (Some(content_type), None, output.body)
            }
            Outcome::Failed(failure) => (None, Some(ToldFailure::of(failure)), Bytes::new()),
        };
        let Streams {
            stdout,
            stderr,
            log,
        } = report.streams;
        let usage = report.usage;
        let told = Told {
            completed,
            failed,
            duration: usage.duration,
            cpu: usage.cpu,
            fuel: usage.fuel,
            peak_memory_bytes: usage.peak_memory_bytes,
            disk_bytes: usage.disk_bytes,
            truncated: [stdout.truncated, stderr.truncated, log.truncated],
            dir,
            starved,
            spent: false,
        };
        (told, vec![output, stdout.bytes, stderr.bytes, log.bytes])
    }

    /// The end of a guest that was stopped where it is.
    pub(in crate::processes) fn of_spent(spent: Spent) -> (Told, Vec<Bytes>) {
        let (told, pieces) = Told::of(Ended {
            report: spent.report,
            left: None,
            starved: spent.starved,
            long: true,
            unread: false,
        });
        let told = Told {
            dir: spent.dir,
            spent: true,
            ..told
        };
        (told, pieces)
    }

    /// The report under these limits; `None` if it says what no run under them could say. It took no longer
    /// than `took`, and the process used no more than `cpu_most` meanwhile.
    pub(in crate::processes) fn into_report(
        self,
        pieces: Vec<Bytes>,
        limits: &Limits,
        took: Duration,
        cpu_most: Duration,
    ) -> Option<Report> {
        let [output, stdout, stderr, log] = <[Bytes; 4]>::try_from(pieces).ok()?;
        let within = |bytes: &Bytes, most: u64| bytes.len() as u64 <= most;
        let fits = within(&output, limits.output_bytes)
            && within(&stdout, limits.stdout_bytes.max(limits.output_bytes))
            && within(&stderr, limits.stderr_bytes)
            && within(&log, limits.log_bytes);
        if !fits {
            return None;
        }
        let outcome = match (self.completed, self.failed) {
            (Some(content_type), None) => Outcome::Completed(Payload {
                content_type: said::media_type(&content_type)
                    .unwrap_or(said::OCTET_STREAM)
                    .into(),
                body: output,
            }),
            (None, Some(failed)) => Outcome::Failed(failed.into_failure()?),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let [out, err, of_log] = self.truncated;
        let captured = |bytes, truncated| Captured { bytes, truncated };
        Some(Report {
            outcome,
            usage: Usage {
                duration: self.duration.min(took),
                cpu: self.cpu.min(cpu_most),
                fuel: self.fuel.map(|fuel| fuel.min(limits.fuel.unwrap_or(0))),
                peak_memory_bytes: self.peak_memory_bytes.min(limits.memory_bytes),
                disk_bytes: self.disk_bytes,
                // The host counted it.
                egress: EgressUsage::default(),
            },
            streams: Streams {
                stdout: captured(stdout, out),
                stderr: captured(stderr, err),
                log: captured(log, of_log),
            },
            files: None,
            isolation: None,
        })
    }
}

/// A module's description of itself, as it is sent; a command has none.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::processes) struct ToldDescription(Option<(String, Option<String>, Option<String>)>);

impl From<Option<Descriptor>> for ToldDescription {
    fn from(descriptor: Option<Descriptor>) -> ToldDescription {
        ToldDescription(
            descriptor.map(|told| (told.summary, told.input_schema, told.output_schema)),
        )
    }
}

impl From<ToldDescription> for Option<Descriptor> {
    fn from(told: ToldDescription) -> Option<Descriptor> {
        let (summary, input_schema, output_schema) = told.0?;
        Some(Descriptor {
            summary: said::cut(summary, said::SUMMARY_BYTES_MAX),
            input_schema,
            output_schema,
        })
    }
}

impl ToldFailure {
    fn of(failure: Failure) -> ToldFailure {
        ToldFailure {
            kind: failure.kind.as_str().to_owned(),
            message: failure.message,
            backtrace: failure.backtrace,
            transient: failure.transient,
            exit_code: failure.exit_code,
        }
    }

    fn into_failure(self) -> Option<Failure> {
        Some(Failure {
            backtrace: self
                .backtrace
                .map(|text| said::cut(text, said::BACKTRACE_BYTES_MAX)),
            transient: self.transient,
            exit_code: self.exit_code,
            ..Failure::new(FailureKind::parse(&self.kind)?, self.message)
        })
    }
}
