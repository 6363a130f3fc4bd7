//! The plan of a node: what is kept beside its task, for whoever claims it.
//!
//! It is JSON that storage does not look into. What a caller wrote (`when`, `over`) is in it as it came and is read
//! by the same code at the door and at the claim.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map as Members, Value};
use uuid::Uuid;

use super::condition::{BadCondition, Condition, reference};
use super::template::{Reference, Source};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::workflow::graph::NODES_MAX;

/// The most instances of one `map`.
pub const INSTANCES_MAX: u64 = NODES_MAX as u64;
/// The longest name of a signal, in bytes.
pub const SIGNAL_BYTES_MAX: usize = 128;
/// The longest time for a signal: a year.
pub const WAIT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What a node does when it is claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It runs its module, as any task.
    #[default]
    Module,
    /// It runs source text that its input has beside what the text works on.
    Script,
    /// Its input is its output: what comes into a nested workflow.
    Pass,
    /// It ends a nested workflow: its input is made of the outputs of the last nodes.
    End,
    /// It waits for a signal, whose content is its output.
    Wait,
}

/// A plan in the form in which it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanText {
    /// What it does.
    pub work: Work,
    /// Its condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Box<RawValue>>,
    /// What it runs for each of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapText>,
    /// The signal it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether it runs whatever became of the nodes before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub runs_after_failure: bool,
    /// What stands before the names in its references: the nested workflow that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub within: String,
    /// The `map` whose instance it is, whose references are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Uuid>,
}

/// `map` in the form in which a caller says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapText {
    /// A reference to a list.
    pub over: Box<RawValue>,
    /// The most elements that it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// How many instances may be under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

/// A plan that was read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it does.
    pub work: Work,
    /// Its condition.
    pub when: Option<Condition>,
    /// What it runs for each of.
    pub map: Option<Map>,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Whether it runs whatever became of the nodes before it.
    pub runs_after_failure: bool,
    /// What stands before the names in its references.
    pub within: String,
    /// The `map` whose instance it is.
    pub of: Option<TaskId>,
}

/// What a node runs for each of.
#[derive(Clone, Debug)]
pub struct Map {
    /// Where the list is.
    pub over: Reference,
    /// The most elements that it may have.
    pub max: usize,
    /// How many instances may be under way at once; any number if absent.
    pub concurrency: Option<u32>,
}

/// What a node waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The name of the signal.
    pub signal: String,
    /// How long; for ever if absent.
    pub timeout: Option<Duration>,
}

/// Why a plan cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// Its condition is none.
    #[error("when: {0}")]
    When(BadCondition),
    /// What it is to run for each of is none.
    #[error("map.over: {0}")]
    Over(BadCondition),
    /// A number is out of range.
    #[error("{0} must be from 1 to {1}")]
    Range(&'static str, u64),
    /// It waits for no signal.
    #[error("wait.signal: 1 to {SIGNAL_BYTES_MAX} of A-Z a-z 0-9 _ . - :")]
    Signal,
    /// Outside a `map` there is no item.
    #[error("{0}: only the input of a node with map has $item and $index")]
    NoItem(&'static str),
    /// It is not in the form in which it is kept.
    #[error("it cannot be read: {0}")]
    Form(String),
}

/// Whether a text is the name of a signal.
pub fn is_signal(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
    (1..=SIGNAL_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl PlanText {
    /// As storage keeps it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a plan is plain JSON")
    }

    /// Reads what it says.
    pub fn plan(&self) -> Result<Plan, BadPlan> {
        let when = self.when.as_deref().map(Condition::read).transpose();
        let when = when.map_err(BadPlan::When)?;
        if let Some(when) = &when {
            no_item("when", &when.of.source)?;
        }
        let wait = self
            .signal
            .as_ref()
            .map(|signal| wait(signal, self.timeout_ms));
        Ok(Plan {
            work: self.work,
            when,
            map: self.map.as_ref().map(MapText::map).transpose()?,
            wait: wait.transpose()?,
            runs_after_failure: self.runs_after_failure,
            within: self.within.clone(),
            of: self.of.map(TaskId),
        })
    }
}

impl Plan {
    /// Reads what storage kept.
    pub fn read(text: Option<&str>) -> Result<Plan, BadPlan> {
        let text = match text {
            None => PlanText::default(),
            Some(text) => {
                serde_json::from_str(text).map_err(|error| BadPlan::Form(error.to_string()))?
            }
        };
        text.plan()
    }

    /// The plan of an instance of it, where it has the task `map`.
    pub fn of_instance(&self, map: TaskId) -> PlanText {
        PlanText {
            work: self.work,
            within: self.within.clone(),
            of: Some(map.0),
            ..PlanText::default()
        }
    }

    /// The name of the node that a source is about, among all nodes of the workflow; none for its input.
    pub fn node_of(&self, source: &Source) -> Option<String> {
        let inside = |name: &str| match self.within.as_str() {
            "" => name.to_owned(),
            within => format!("{within}/{name}"),
        };
        match source {
            Source::Output(name) | Source::Failure(name) => Some(inside(name.as_str())),
            Source::Input if self.within.is_empty() => None,
            Source::Input => Some(entry(&self.within)),
            Source::Item | Source::Index => None,
        }
    }
}

/// The node that has the input of the nested workflow of that name.
pub fn entry(nested: &str) -> String {
    format!("{nested}/$input")
}

fn no_item(field: &'static str, source: &Source) -> Result<(), BadPlan> {
    match source {
        Source::Item | Source::Index => Err(BadPlan::NoItem(field)),
        Source::Input | Source::Output(_) | Source::Failure(_) => Ok(()),
    }
}

fn wait(signal: &str, timeout_ms: Option<u64>) -> Result<Wait, BadPlan> {
    let most = u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
    match timeout_ms {
        _ if !is_signal(signal) => Err(BadPlan::Signal),
        Some(0) => Err(BadPlan::Range("wait.timeout_ms", most)),
        Some(timeout_ms) if timeout_ms > most => Err(BadPlan::Range("wait.timeout_ms", most)),
        timeout_ms => Ok(Wait {
            signal: signal.to_owned(),
            timeout: timeout_ms.map(Duration::from_millis),
        }),
    }
}

impl MapText {
    fn map(&self) -> Result<Map, BadPlan> {
        let members: Members<String, Value> = serde_json::from_str(self.over.get())
            .map_err(|error| BadPlan::Over(BadCondition::NotAnObject(error.to_string())))?;
        let over = reference(members).map_err(BadPlan::Over)?;
        no_item("map.over", &over.source)?;
        let within = |name, number: Option<u64>| match number {
            Some(number) if !(1..=INSTANCES_MAX).contains(&number) => {
                Err(BadPlan::Range(name, INSTANCES_MAX))
            }
            number => Ok(number),
        };
        let max = within("map.max", self.max)?.unwrap_or(INSTANCES_MAX);
        let concurrency = within("map.concurrency", self.concurrency)?;
        Ok(Map {
            over,
            max: usize::try_from(max).unwrap_or(usize::MAX),
            concurrency: concurrency.and_then(|most| u32::try_from(most).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let text = PlanText {
            work: Work::Script,
            when: Some(raw(&json!({"$from": "a", "gt": 3}))),
            map: Some(MapText {
                over: raw(&json!({"$from": "a", "pointer": "/items"})),
                max: Some(7),
                concurrency: Some(2),
            }),
            runs_after_failure: true,
            within: "sub".to_owned(),
            of: Some(Uuid::nil()),
            ..PlanText::default()
        };
        let plan = Plan::read(Some(&text.text())).unwrap();
        let map = plan.map.as_ref().unwrap();
        assert_eq!(
            (map.max, map.concurrency, plan.work),
            (7, Some(2), Work::Script)
        );
        assert_eq!(plan.node_of(&map.over.source).as_deref(), Some("sub/a"));
        assert_eq!(plan.node_of(&Source::Input).as_deref(), Some("sub/$input"));
        assert!(plan.runs_after_failure && plan.when.is_some());
        assert_eq!(plan.of, Some(TaskId(Uuid::nil())));
        let plain = Plan::read(None).unwrap();
        assert_eq!(
            (plain.work, plain.node_of(&Source::Input)),
            (Work::Module, None)
        );
        let waits = PlanText {
            signal: Some("go:1".to_owned()),
            timeout_ms: Some(5),
            ..PlanText::default()
        };
        let waits = Plan::read(Some(&waits.text())).unwrap().wait.unwrap();
        assert_eq!(
            (&*waits.signal, waits.timeout),
            ("go:1", Some(Duration::from_millis(5)))
        );
    }

    #[test]
    fn what_is_no_plan_is_refused_by_its_field() {
        let refused = |text: PlanText| text.plan().unwrap_err().to_string();
        let map = |over: Value, max: Option<u64>, concurrency: Option<u64>| PlanText {
            map: Some(MapText {
                over: raw(&over),
                max,
                concurrency,
            }),
            ..PlanText::default()
        };
        let list = json!({"$from": "a"});
        assert!(refused(map(json!([1]), None, None)).starts_with("map.over: "));
        assert!(refused(map(json!({"a": 1}), None, None)).starts_with("map.over: "));
        assert!(refused(map(json!({"$item": ""}), None, None)).starts_with("map.over: "));
        assert!(refused(map(list.clone(), Some(0), None)).starts_with("map.max must"));
        assert!(refused(map(list.clone(), Some(1001), None)).starts_with("map.max must"));
        assert!(refused(map(list, None, Some(0))).starts_with("map.concurrency must"));
        let when = |condition: Value| PlanText {
            when: Some(raw(&condition)),
            ..PlanText::default()
        };
        assert!(refused(when(json!({"$from": "a"}))).starts_with("when: "));
        assert!(refused(when(json!({"$item": "", "gt": 1}))).starts_with("when: "));
        let wait = |signal: &str, timeout_ms| PlanText {
            signal: Some(signal.to_owned()),
            timeout_ms,
            ..PlanText::default()
        };
        assert!(refused(wait("", None)).starts_with("wait.signal"));
        assert!(refused(wait("a b", None)).starts_with("wait.signal"));
        assert!(refused(wait("a", Some(0))).starts_with("wait.timeout_ms"));
        assert!(refused(wait("a", Some(u64::MAX))).starts_with("wait.timeout_ms"));
        assert!(Plan::read(Some("{}")).is_err() && Plan::read(Some("x")).is_err());
    }
}
