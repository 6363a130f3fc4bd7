//! What of a filter an index does not answer by itself, as conditions in SQL.

use rusqlite::types::Value;

use crate::listing::{self, DEAD, FAILED_ONLY};
use crate::rows::state_numbers;
use crate::{Labelled, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;

/// A member of the metadata, if it is a text, a number, `true`, `false` or `null`. What is not JSON
/// has no members.
const MEMBER: &str = "EXISTS (
    SELECT 1 FROM task_spec s, json_each(iif(json_valid(s.metadata), s.metadata, '{}')) m
    WHERE s.seq = task.seq AND m.key = ? AND m.type NOT IN ('array', 'object')
        AND iif(m.type = 'text', m.value, s.metadata -> m.fullkey) = ?)";

/// Conditions, each with the values it is about.
#[derive(Default)]
pub(super) struct Rest {
    sql: String,
    values: Vec<Value>,
    reads_metadata: bool,
}

impl Rest {
    /// What a filter says of priority, labels and metadata. States, module and kinds of failure may
    /// be a path's own.
    pub(super) fn of(filter: &TaskFilter) -> Rest {
        let mut rest = Rest::default();
        if let Some(priority) = filter.priority {
            rest.and("priority = ?", [Value::Integer(priority.rank().into())]);
        }
        if let Some(labelled) = &filter.labels {
            rest.labels(labelled);
        }
        for (name, value) in &filter.metadata {
            let texts = [name, value].map(|text| Value::Text(text.clone()));
            rest.and(MEMBER, texts);
            rest.reads_metadata = true;
        }
        rest
    }

    /// Only what is as `condition` says.
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Only those in one of these states; all if empty.
    pub(super) fn states(&mut self, states: &[TaskState]) {
        if !states.is_empty() {
            self.and(&format!("state IN ({})", state_numbers(states)), []);
        }
    }

    /// Only those of the module whose name has this number.
    pub(super) fn name(&mut self, name: Option<i64>) {
        if let Some(name) = name {
            self.and("name = ?", [Value::Integer(name)]);
        }
    }

    /// Only those that show a failure of one of these kinds; all if empty.
    pub(super) fn error_kinds(&mut self, kinds: &[FailureKind]) {
        if !kinds.is_empty() {
            let words: Vec<String> = kinds
                .iter()
                .map(|kind| format!("'{}'", kind.as_str()))
                .collect();
            self.and(&format!("error_kind IN ({})", words.join(", ")), []);
        }
    }

    /// Labels that are their state alone were asked for as states.
    fn labels(&mut self, labelled: &Labelled) {
        let any: Vec<&str> = labelled.any.iter().map(|label| of_label(*label)).collect();
        if labelled.any.iter().all(|label| is_a_state(*label)) {
            return;
        }
        // The same value for each label that asks for the time.
        let now = Value::Integer(labelled.now.as_millis());
        let times = any.iter().filter(|condition| condition.contains('?'));
        let values: Vec<Value> = times.map(|_| now.clone()).collect();
        self.and(&format!("({})", any.join(" OR ")), values);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// How many tasks may be looked at for one page.
    pub(super) fn scan_max(&self) -> i64 {
        listing::scan_max(self.reads_metadata)
    }
}

/// What a row says of a task with this label.
fn of_label(label: Label) -> &'static str {
    match label {
        Label::Blocked => "state = 0",
        Label::Scheduled => "state = 1 AND run_at > ? AND attempt = 0",
        Label::Retrying => "state = 1 AND run_at > ? AND attempt > 0",
        Label::Pending => "state = 1 AND run_at <= ?",
        Label::Running => "state = 2 AND cancel_requested = 0",
        Label::Cancelling => "state = 2 AND cancel_requested = 1",
        Label::Completed => "state = 3",
        Label::Failed => FAILED_ONLY,
        Label::Dead => DEAD,
        Label::Cancelled => "state = 5 AND error_kind IS DISTINCT FROM 'skipped'",
        Label::Skipped => "state = 5 AND error_kind = 'skipped'",
    }
}

/// Whether every task of the label's state has it.
fn is_a_state(label: Label) -> bool {
    Label::ALL
        .into_iter()
        .filter(|other| other.state() == label.state())
        .count()
        == 1
}
