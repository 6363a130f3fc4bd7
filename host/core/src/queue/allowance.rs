//! What attempts may leave behind: no more than the quota `storage_bytes` of their tenant has room for.
//!
//! Attempts that end at the same moment do not see each other's bytes, so a tenant may have more than its
//! quota by what those leave; what is submitted afterwards is refused. Ends are not held to it in storage,
//! because an end that storage refused would have to be told again.

use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Streams};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::QuotaName;
use cofferdam_domain::said;
use cofferdam_sandbox::Report;

/// The report, or a failure that leaves nothing where there is no room for what the attempt left. A storage
/// that cannot tell lets it pass.
pub(super) async fn held_to_quota(shared: &Shared, tenant: &Tenant, report: Report) -> Report {
    let rules = shared.admission.rules_of(tenant);
    let Some(limit) = rules.and_then(|rules| rules.storage_bytes) else {
        return report;
    };
    let bytes = left_bytes(&report);
    if bytes == 0 {
        return report;
    }
    match shared.reads.holdings(tenant).await {
        Ok(has) if has.kept_bytes.saturating_add(bytes) > limit => {
            let why = format!(
                "the attempt left {bytes} bytes; the quota {} of this tenant is {limit}, and {} are kept already",
                QuotaName::Storage.as_str(),
                has.kept_bytes
            );
            without_what_it_left(report, why)
        }
        Ok(_) => report,
        Err(error) => {
            let cause = error.to_string();
            tracing::warn!(
                cause = said::for_log(&cause),
                "a tenant's bytes are not known"
            );
            report
        }
    }
}

fn left_bytes(report: &Report) -> u64 {
    let output = match &report.outcome {
        Outcome::Completed(output) => output.body.len(),
        Outcome::Failed(_) => 0,
    };
    let Streams {
        stdout,
        stderr,
        log,
    } = &report.streams;
    let streams = [stdout, stderr, log].map(|stream| stream.bytes.len());
    let inside = output + streams.iter().sum::<usize>();
    let files = report.files.iter().flat_map(|files| files.artifacts());
    files.fold(inside as u64, |sum, file| {
        sum.saturating_add(file.size_bytes)
    })
}

/// What a guest that failed by itself failed of stays what the task shows.
fn without_what_it_left(report: Report, why: String) -> Report {
    let outcome = match report.outcome {
        Outcome::Completed(_) => Outcome::Failed(Failure::new(FailureKind::DiskExceeded, why)),
        failed @ Outcome::Failed(_) => failed,
    };
    let cut = |stream: Captured| Captured {
        truncated: stream.truncated || !stream.bytes.is_empty(),
        bytes: Default::default(),
    };
    Report {
        outcome,
        streams: Streams {
            stdout: cut(report.streams.stdout),
            stderr: cut(report.streams.stderr),
            log: cut(report.streams.log),
        },
        files: None,
        ..report
    }
}
