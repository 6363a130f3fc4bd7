//! What is sealed of each thing, and at which place.

use bytes::Bytes;

use crate::StorageError;
use crate::rows::{FailureRow, from_json, to_json};
use crate::seal::{Place, Sealer, is_sealed_text};
use cofferdam_domain::attempt::{Captured, Failure, Outcome, Stream, Streams};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{Input, TaskId, TaskSpec};
use cofferdam_domain::workflow::WorkflowId;

/// The row that values are in.
pub(super) struct Row<'a> {
    sealer: &'a Sealer,
    tenant: &'a str,
    table: &'static str,
    name: String,
}

impl<'a> Row<'a> {
    /// What was submitted of a task.
    pub(super) fn spec(sealer: &'a Sealer, tenant: &'a Tenant, id: TaskId) -> Row<'a> {
        let name = format!("task {id}");
        Row {
            sealer,
            tenant: tenant.as_str(),
            table: "task_spec",
            name,
        }
    }

    /// A task's own row.
    pub(super) fn task(sealer: &'a Sealer, tenant: &'a Tenant, id: TaskId) -> Row<'a> {
        let table = "task";
        Row {
            table,
            ..Row::spec(sealer, tenant, id)
        }
    }

    /// An attempt that has ended.
    pub(super) fn attempt(
        sealer: &'a Sealer,
        tenant: &'a Tenant,
        id: TaskId,
        number: u32,
    ) -> Row<'a> {
        Row {
            sealer,
            tenant: tenant.as_str(),
            table: "attempt",
            name: format!("attempt {number} of task {id}"),
        }
    }

    /// A workflow, and the signals that it is given.
    pub(super) fn workflow(sealer: &'a Sealer, tenant: &'a Tenant, id: WorkflowId) -> Row<'a> {
        Row {
            sealer,
            tenant: tenant.as_str(),
            table: "workflow",
            name: format!("workflow {id}"),
        }
    }

    /// The node that a task is.
    pub(super) fn node(sealer: &'a Sealer, tenant: &'a Tenant, id: TaskId) -> Row<'a> {
        let table = "node";
        Row {
            table,
            ..Row::spec(sealer, tenant, id)
        }
    }

    fn at(&self, column: &'static str) -> Place<'_> {
        Place {
            tenant: self.tenant,
            column: (self.table, column),
            row: &self.name,
        }
    }

    /// Seals what was submitted.
    pub(super) fn keep_spec(&self, spec: &mut TaskSpec) -> Result<(), StorageError> {
        if let Input::Inline(payload) = &mut spec.input {
            payload.body = self.keep("body", &payload.body);
        }
        self.keep_args(&mut spec.args)?;
        self.keep_env(&mut spec.env)
    }

    fn keep_args(&self, args: &mut Vec<String>) -> Result<(), StorageError> {
        if self.sealer.seals() && !args.is_empty() {
            *args = vec![self.keep_text("args", &to_json(args)?)];
        } else if let [only] = &mut args[..] {
            *only = self.keep_text("args", only);
        }
        Ok(())
    }

    fn keep_env(&self, env: &mut Vec<(String, String)>) -> Result<(), StorageError> {
        if self.sealer.seals() && !env.is_empty() {
            // No variable that is submitted has no name.
            *env = vec![(String::new(), self.keep_text("env", &to_json(env)?))];
        }
        Ok(())
    }

    /// Opens what was submitted.
    pub(super) fn open_spec(&self, spec: &mut TaskSpec) -> Result<(), StorageError> {
        if let Input::Inline(payload) = &mut spec.input {
            payload.body = self.open("body", &payload.body)?;
        }
        self.open_args(&mut spec.args)?;
        self.open_env(&mut spec.env)
    }

    fn open_args(&self, args: &mut Vec<String>) -> Result<(), StorageError> {
        if let [only] = &mut args[..] {
            let is_sealed = is_sealed_text(only);
            let opened = self.open_text("args", only)?;
            match is_sealed {
                true => *args = from_json(&opened)?,
                false => *only = opened,
            }
        }
        Ok(())
    }

    fn open_env(&self, env: &mut Vec<(String, String)>) -> Result<(), StorageError> {
        if let [(name, sealed)] = &env[..]
            && name.is_empty()
        {
            *env = from_json(&self.open_text("env", sealed)?)?;
        }
        Ok(())
    }

    /// Kept arguments, sealed with the first key.
    pub(super) fn args_anew(&self, kept: &str) -> Result<String, StorageError> {
        let mut args = from_json(kept)?;
        self.open_args(&mut args)?;
        self.keep_args(&mut args)?;
        to_json(&args)
    }

    /// The same with an environment.
    pub(super) fn env_anew(&self, kept: &str) -> Result<String, StorageError> {
        let mut env = from_json(kept)?;
        self.open_env(&mut env)?;
        self.keep_env(&mut env)?;
        to_json(&env)
    }

    /// The same with a failure.
    pub(super) fn failure_anew(&self, kept: &str) -> Result<String, StorageError> {
        let mut failure = Failure::try_from(from_json::<FailureRow>(kept)?)?;
        self.open_failure(&mut failure)?;
        self.keep_failure(&mut failure);
        to_json(&FailureRow::from(&failure))
    }

    /// The same with a value of bytes.
    pub(super) fn anew(&self, column: &'static str, kept: &[u8]) -> Result<Vec<u8>, StorageError> {
        let plain = self.open(column, &Bytes::copy_from_slice(kept))?;
        Ok(self.keep(column, &plain).into())
    }

    /// Seals what an attempt gave.
    pub(super) fn keep_end(&self, outcome: &mut Outcome, streams: &mut Streams) {
        match outcome {
            Outcome::Completed(payload) => payload.body = self.keep("output", &payload.body),
            Outcome::Failed(failure) => self.keep_failure(failure),
        }
        for (stream, captured) in [
            (Stream::Stdout, &mut streams.stdout),
            (Stream::Stderr, &mut streams.stderr),
            (Stream::Log, &mut streams.log),
        ] {
            // An empty one is not kept at all.
            if !captured.bytes.is_empty() {
                captured.bytes = self.keep(stream.as_str(), &captured.bytes);
            }
        }
    }

    fn keep_failure(&self, failure: &mut Failure) {
        failure.message = self.keep_text("failure", &failure.message);
        let backtrace = failure.backtrace.as_deref();
        failure.backtrace = backtrace.map(|text| self.keep_text("backtrace", text));
    }

    /// Opens an output.
    pub(super) fn open_output(&self, body: &Bytes) -> Result<Bytes, StorageError> {
        self.open("output", body)
    }

    /// Opens a stream.
    pub(super) fn open_stream(
        &self,
        stream: Stream,
        captured: Captured,
    ) -> Result<Captured, StorageError> {
        let bytes = self.open(stream.as_str(), &captured.bytes)?;
        Ok(Captured { bytes, ..captured })
    }

    /// Opens a failure's words.
    pub(super) fn open_failure(&self, failure: &mut Failure) -> Result<(), StorageError> {
        failure.message = self.open_text("failure", &failure.message)?;
        if let Some(backtrace) = &mut failure.backtrace {
            *backtrace = self.open_text("backtrace", backtrace)?;
        }
        Ok(())
    }

    /// Seals a note on progress.
    pub(super) fn keep_note(&self, note: &str) -> String {
        match note.is_empty() {
            true => String::new(),
            false => self.keep_text("progress_note", note),
        }
    }

    /// Opens such a note.
    pub(super) fn open_note(&self, note: &str) -> Result<String, StorageError> {
        self.open_text("progress_note", note)
    }

    /// Seals what a workflow was made of, or what is told of a node.
    pub(super) fn keep_words(&self, words: &str) -> String {
        self.keep_text("words", words)
    }

    /// Opens the same.
    pub(super) fn open_words(&self, words: &str) -> Result<String, StorageError> {
        self.open_text("words", words)
    }

    /// Seals what comes with a signal.
    pub(super) fn keep_signal(&self, body: &Bytes) -> Bytes {
        self.keep("signal", body)
    }

    /// Opens the same.
    pub(super) fn open_signal(&self, body: &Bytes) -> Result<Bytes, StorageError> {
        self.open("signal", body)
    }

    fn keep(&self, column: &'static str, bytes: &Bytes) -> Bytes {
        self.sealer.keep(&self.at(column), bytes.clone())
    }

    fn open(&self, column: &'static str, bytes: &Bytes) -> Result<Bytes, StorageError> {
        self.sealer.open(&self.at(column), bytes.clone())
    }

    fn keep_text(&self, column: &'static str, text: &str) -> String {
        self.sealer.keep_text(&self.at(column), text)
    }

    fn open_text(&self, column: &'static str, text: &str) -> Result<String, StorageError> {
        self.sealer.open_text(&self.at(column), text)
    }
}
