//! Requests that need an interpreter, which a host may still be compiling.

use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use serde_json::Value;

use crate::cli::client::{Client, ClientError};
use crate::cli::output;

/// How long an interpreter may take to be compiled before the command gives up.
const WARM_UP_MAX: Duration = Duration::from_secs(600);
/// How often a host is asked whether its interpreter is ready; one that was compiled earlier is ready
/// in a fraction of a second.
const WARM_UP_POLL: Duration = Duration::from_millis(20);
/// A wait that is longer than this is explained.
const EXPLAINED_AFTER: Duration = Duration::from_secs(1);

/// POSTs code whose answer is wanted as it is.
pub(super) fn post(client: &Client, path: &str, body: &Value) -> anyhow::Result<String> {
    let answer = when_ready(body, || client.post(path, &[], body))?.body;
    String::from_utf8(answer).context("the server's answer is not text")
}

/// Makes a request that needs an interpreter, and waits while the host compiles that.
pub(super) fn when_ready<T>(
    body: &Value,
    ask: impl Fn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut shown: Option<ProgressBar> = None;
    let answer = loop {
        match ask() {
            Err(error) if is_warming_up(&error) && started.elapsed() < WARM_UP_MAX => {
                if started.elapsed() > EXPLAINED_AFTER {
                    shown.get_or_insert_with(|| waiting(body));
                }
                std::thread::sleep(WARM_UP_POLL);
            }
            answered => break answered,
        }
    };
    if let Some(shown) = shown {
        shown.finish_and_clear();
    }
    answer
}

fn is_warming_up(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClientError::Refused { code, .. }) if code == "interpreter_warming_up"
    )
}

fn waiting(body: &Value) -> ProgressBar {
    let language = body["language"].as_str().unwrap_or_default();
    let message = format!("the {language} interpreter is being compiled; this happens once");
    let spinner = output::spinner(&message);
    if spinner.is_hidden() {
        output::error_bytes(format!("cofferdam: {message}\n").as_bytes());
    }
    spinner
}
