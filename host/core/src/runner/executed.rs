//! The result of code.

use crate::interpreters::answer::{Answer, Verdict, Written};
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Streams, Usage};
use cofferdam_domain::cache::CacheUse;
use cofferdam_domain::module::Language;
use cofferdam_sandbox::OutputFiles;

/// How code ended, with its output and files.
#[derive(Debug)]
pub struct Executed {
    /// How it ended.
    pub verdict: Verdict,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub streams: Streams,
    /// The files that are kept.
    pub files: Option<OutputFiles>,
    /// Where the result came from, if it asked the cache.
    pub cache: Option<CacheUse>,
}

impl Executed {
    /// Counts it as a run of the language's interpreter.
    pub(super) fn count(&self, metrics: &Metrics, language: Language) {
        let failure = self.verdict.failure.as_ref().map(|failure| failure.kind);
        metrics.run_finished(language.module().as_str(), failure, self.usage.duration);
    }

    /// The answer. The files are served below `url`, which ends in a slash.
    pub fn into_answer(self, url: &str) -> Answer {
        let (streams, usage) = (&self.streams, &self.usage);
        let files = Written::of(self.files.as_ref());
        self.verdict.into_answer(streams, usage, files, url)
    }
}
