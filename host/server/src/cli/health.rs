//! `cofferdam health`: tells people and probes whether the server takes work.

use std::process::ExitCode;

use crate::cli::client::Client;
use crate::cli::output;

pub(super) fn run(client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    // A server that is not ready refuses, which ends with code 1 and its reason.
    let readiness = client.get("/readyz")?.json()?;
    if json {
        output::json(&readiness);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(readiness["status"].as_str().unwrap_or_default());
    for (language, state) in readiness["interpreters"].as_object().into_iter().flatten() {
        output::line(&format!(
            "{language:<12} {}",
            state.as_str().unwrap_or_default()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
