//! The output during a run: a command's streams unchanged, and a task's progress.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output;
use cofferdam_domain::attempt::Stream;
use cofferdam_domain::module::ModuleKind;
use cofferdam_sandbox::control::Observer;

/// Shows the guest's output and progress.
pub(super) struct Watcher {
    kind: ModuleKind,
    quiet: bool,
    bar: ProgressBar,
}

impl Watcher {
    /// A watcher for a guest of this kind, which shows nothing if JSON is wanted.
    pub(super) fn new(kind: ModuleKind, quiet: bool) -> Arc<Watcher> {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}")
            .expect("the template is valid");
        Arc::new(Watcher {
            kind,
            quiet,
            bar: ProgressBar::new(100).with_style(style),
        })
    }

    /// Removes the progress bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Watcher {
    fn progress(&self, fraction: f64, note: &str) {
        if !self.quiet {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is 0 to 100"
            )]
            self.bar.set_position((fraction * 100.0) as u64);
            self.bar.set_message(output::printable(note));
        }
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        if self.quiet {
            return;
        }
        match (self.kind, stream) {
            (ModuleKind::Command | ModuleKind::CoreCommand, Stream::Stdout) => output::bytes(bytes),
            // A task's standard output is kept apart from its result.
            (_, Stream::Stdout | Stream::Stderr | Stream::Log) => {
                output::error_bytes(bytes);
            }
        }
    }
}
