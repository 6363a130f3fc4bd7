//! The part of a filter that the index does not answer: conditions in SQL, and members of the metadata.
//!
//! Metadata is a caller's JSON, and what is valid JSON need not be a valid text for PostgreSQL. So it is
//! compared here, where a text that cannot be read concerns its own task alone.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::listing::{self, DEAD, FAILED_ONLY};
use crate::rows::{NO_METADATA, state_numbers};
use crate::{Labelled, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// Conditions. No text of a caller is in the SQL.
#[derive(Default)]
pub(super) struct Rest {
    sql: String,
    members: Vec<(String, String)>,
}

impl Rest {
    /// What a filter says of priority, labels and metadata. States, module and kinds of failure may
    /// be a path's own.
    pub(super) fn of(filter: &TaskFilter) -> Rest {
        let mut rest = Rest {
            members: filter.metadata.clone(),
            ..Rest::default()
        };
        if let Some(priority) = filter.priority {
            rest.and(&format!("t.priority = {}", priority.rank()));
        }
        if let Some(labelled) = &filter.labels {
            rest.labels(labelled);
        }
        rest
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    /// Only those in one of these states; all if empty.
    pub(super) fn states(&mut self, states: &[TaskState]) {
        if !states.is_empty() {
            self.and(&format!("t.state IN ({})", state_numbers(states)));
        }
    }

    /// Only those of the module whose name has this number.
    pub(super) fn name(&mut self, name: Option<i64>) {
        if let Some(name) = name {
            self.and(&format!(
                "EXISTS (SELECT 1 FROM cofferdam.task_spec n WHERE n.seq = t.seq AND n.name = {name})"
            ));
        }
    }

    /// Only those that show a failure of one of these kinds; all if empty.
    pub(super) fn error_kinds(&mut self, kinds: &[FailureKind]) {
        if !kinds.is_empty() {
            let words: Vec<String> = kinds
                .iter()
                .map(|kind| format!("'{}'", kind.as_str()))
                .collect();
            self.and(&format!("t.error_kind IN ({})", words.join(", ")));
        }
    }

    /// Only those whose newest change is dated so.
    pub(super) fn changed_at_or_after(&mut self, time: Timestamp) {
        self.and(&format!("t.updated_at >= {}", time.as_millis()));
    }

    /// Labels that are their state alone were asked for as states.
    fn labels(&mut self, labelled: &Labelled) {
        if labelled.any.iter().all(|label| is_a_state(*label)) {
            return;
        }
        let any: Vec<String> = labelled
            .any
            .iter()
            .map(|label| of_label(*label, labelled.now))
            .collect();
        self.and(&format!("({})", any.join(" OR ")));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sql.is_empty() && self.members.is_empty()
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn reads_metadata(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether this metadata has every member that is asked for. What is not JSON has none.
    pub(super) fn has_members(&self, metadata: Option<&str>) -> bool {
        if self.members.is_empty() {
            return true;
        }
        let text = metadata.unwrap_or(NO_METADATA);
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
            return false;
        };
        let has = |(name, value): &(String, String)| {
            members.get(name).is_some_and(|member| is(member, value))
        };
        self.members.iter().all(has)
    }

    /// How many tasks may be examined for one page.
    pub(super) fn scan_max(&self) -> i64 {
        listing::scan_max(self.reads_metadata())
    }
}

/// Whether a member is this text, or what JSON writes so.
fn is(member: &RawValue, value: &str) -> bool {
    match member.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(member.get()).is_ok_and(|text| text == value),
        Some(b'{' | b'[') | None => false,
        Some(_) => member.get() == value,
    }
}

/// What a row says of a task with this label.
fn of_label(label: Label, now: Timestamp) -> String {
    let now = now.as_millis();
    match label {
        Label::Blocked => "t.state = 0".to_owned(),
        Label::Scheduled => format!("t.state = 1 AND t.run_at > {now} AND t.attempt = 0"),
        Label::Retrying => format!("t.state = 1 AND t.run_at > {now} AND t.attempt > 0"),
        Label::Pending => format!("t.state = 1 AND t.run_at <= {now}"),
        Label::Running => "t.state = 2 AND NOT t.cancel_requested".to_owned(),
        Label::Cancelling => "t.state = 2 AND t.cancel_requested".to_owned(),
        Label::Completed => "t.state = 3".to_owned(),
        Label::Failed => FAILED_ONLY.to_owned(),
        Label::Dead => DEAD.to_owned(),
        Label::Cancelled => "t.state = 5 AND t.error_kind IS DISTINCT FROM 'skipped'".to_owned(),
        Label::Skipped => "t.state = 5 AND t.error_kind = 'skipped'".to_owned(),
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
