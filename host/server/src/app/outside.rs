//! What the process says to whoever started it, and how it is asked to end.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

/// Writes one line to standard output, for people and for programs that use any free port.
pub(super) fn announce(base: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {base}")?;
    stdout.flush()?;
    tracing::info!(address = base, "listening");
    Ok(())
}

/// Waits for SIGTERM or SIGINT. The next one after that ends the process at once.
pub(super) async fn asks_to_end() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process and only ends it"
    )]
    let _never_joined = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal arrived; ending at once");
        std::process::exit(1);
    });
    Ok(())
}
