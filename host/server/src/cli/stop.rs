//! Ctrl-C for commands that run a guest themselves: they end in order, so that no directory of the
//! guest is left behind. The signal itself ends every other command.

use std::future::Future;

use crate::app::Interrupted;

/// Returns the result of `work`, or an error if Ctrl-C comes first; then `work` is dropped.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::select! {
        done = work => Ok(done),
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    }
}
