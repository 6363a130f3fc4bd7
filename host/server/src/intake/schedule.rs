//! A schedule as a tenant says it, and its task or workflow as it is submitted at each of its instants.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::intake::json::{Whole, parse};
use crate::intake::refused::Refused;
use crate::intake::task::TaskRequest;
use crate::intake::time::Time;
use crate::intake::workflow::{WorkflowRequest, WorkflowSource};
use cofferdam::queue::Submission;
use cofferdam::runner::Runner;
use cofferdam::schedules::{Reader, Submitting};
use cofferdam::workflows::definitions::Definition;
use cofferdam_domain::schedule::{CatchUp, Overlap, Plan, ScheduleName, Scheduled, Timetable};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::DefinitionRef;

/// The largest task or workflow of a schedule, as JSON text.
const TASK_BYTES_MAX: usize = 256 * 1024;
/// The interval's bounds as the API's number type: [`cofferdam::schedules::timetable::EVERY`].
const EVERY_MS_MIN: u64 = 1000;
const EVERY_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

/// What is said of a schedule.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleRequest<'a> {
    /// A cron pattern of five fields, or of six with seconds first; or `@daily` and the like.
    #[schema(min_length = 1, max_length = 256)]
    cron: Option<String>,
    /// The interval, instead of `cron`.
    #[schema(value_type = Option<u64>, minimum = 1000, maximum = 31_622_400_000_u64)]
    every_ms: Option<Whole<EVERY_MS_MIN, EVERY_MS_MAX>>,
    /// The IANA name of the time zone whose clock `cron` goes by; `UTC` if absent.
    time_zone: Option<String>,
    /// The task, as `POST /v1/tasks` takes it, without `task_id` and `run_at`.
    #[serde(default, borrow)]
    #[schema(value_type = Option<TaskRequest>)]
    task: Option<&'a RawValue>,
    /// The workflow, instead of `task`, as `POST /v1/workflows` takes it, without `workflow_id`.
    #[serde(default, borrow)]
    #[schema(value_type = Option<WorkflowRequest>)]
    workflow: Option<&'a RawValue>,
    /// What becomes of instants at which no host was there: `none` (they are passed over), `one` (the last of
    /// them is made up for) or `all`.
    #[schema(pattern = "^(none|one|all)$")]
    catch_up: Option<String>,
    /// What becomes of an instant while the last task is not final: `allow` (both go on), `skip` (it submits
    /// none) or `cancel` (the last task is cancelled).
    #[schema(pattern = "^(allow|skip|cancel)$")]
    overlap: Option<String>,
    /// Whether it fires at all; false if absent.
    #[serde(default)]
    paused: bool,
}

/// The fields of what is submitted that a schedule decides.
#[derive(Deserialize)]
struct Decided {
    task_id: Option<Value>,
    run_at: Option<Value>,
    workflow_id: Option<Value>,
}

/// Reads a schedule's name.
pub(crate) fn name(text: &str) -> Result<ScheduleName, Refused> {
    ScheduleName::parse(text).map_err(|error| Refused::field("name", error))
}

/// Reads what is said of a schedule.
pub(crate) fn plan(body: &[u8]) -> Result<Plan, Refused> {
    let asked: ScheduleRequest<'_> = parse(body)?;
    let timetable = match (asked.cron, asked.every_ms, asked.time_zone) {
        (Some(_), Some(_), _) => {
            return Err(Refused::field("every_ms", "given together with cron"));
        }
        (None, None, _) => return Err(Refused::field("cron", "neither it nor every_ms is given")),
        (None, Some(_), Some(_)) => {
            return Err(Refused::field("time_zone", "an interval has none"));
        }
        (None, Some(every_ms), None) => Timetable::Every(Duration::from_millis(every_ms.0)),
        (Some(pattern), None, time_zone) => Timetable::Cron {
            pattern,
            time_zone: time_zone.unwrap_or_else(|| "UTC".to_owned()),
        },
    };
    let what = match (asked.task, asked.workflow) {
        (Some(task), None) => Scheduled::Task(submitted("task", task)?),
        (None, Some(workflow)) => Scheduled::Workflow(submitted("workflow", workflow)?),
        (Some(_), Some(_)) => return Err(Refused::field("workflow", "given together with task")),
        (None, None) => {
            return Err(Refused::field("task", "neither it nor workflow is given"));
        }
    };
    Ok(Plan {
        timetable,
        what,
        catch_up: word("catch_up", asked.catch_up, CatchUp::parse)?,
        overlap: word("overlap", asked.overlap, Overlap::parse)?,
        paused: asked.paused,
    })
}

/// The text of what is submitted.
fn submitted(field: &str, text: &RawValue) -> Result<String, Refused> {
    let text = text.get();
    if text.len() > TASK_BYTES_MAX {
        let detail = format!("has {} bytes; the most is {TASK_BYTES_MAX}", text.len());
        return Err(Refused::field(field, detail));
    }
    let decided: Decided =
        serde_json::from_str(text).map_err(|error| Refused::field(field, error))?;
    let is_decided = [decided.task_id, decided.run_at, decided.workflow_id];
    if is_decided.iter().any(Option::is_some) {
        let detail = "a schedule decides its task_id, workflow_id and run_at";
        return Err(Refused::field(field, detail));
    }
    Ok(text.to_owned())
}

fn word<T: Default>(
    field: &str,
    word: Option<String>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Refused> {
    match word {
        None => Ok(T::default()),
        Some(word) => read(&word).ok_or_else(|| Refused::field(field, "an unknown word")),
    }
}

/// Reads the tasks and workflows of schedules as those of callers are read.
pub(crate) struct ScheduledWork(pub(crate) Arc<Runner>);

impl Reader for ScheduledWork {
    fn definition(&self, what: &Scheduled) -> Result<Option<DefinitionRef>, String> {
        match what {
            Scheduled::Task(_) => Ok(None),
            Scheduled::Workflow(text) => {
                let source = source(text);
                let request = source.request().map_err(|refused| refused.to_string())?;
                request.definition().map_err(|refused| refused.to_string())
            }
        }
    }

    fn submission(
        &self,
        what: &Scheduled,
        definition: Option<&Definition>,
        schedule: &ScheduleName,
        at: Timestamp,
    ) -> Result<Submitting, String> {
        match what {
            Scheduled::Task(text) => {
                let body = Bytes::copy_from_slice(text.as_bytes());
                let task = task(&body, schedule, at).map_err(|refused| refused.to_string())?;
                Ok(Submitting::Task(Box::new(task)))
            }
            Scheduled::Workflow(text) => {
                let source = source(text);
                let request = source.request().map_err(|refused| refused.to_string())?;
                let workflow = source
                    .read(request, definition, &self.0)
                    .map_err(|refused| refused.to_string())?;
                Ok(Submitting::Workflow(Box::new(workflow)))
            }
        }
    }
}

fn source(workflow: &str) -> WorkflowSource {
    WorkflowSource {
        body: Bytes::copy_from_slice(workflow.as_bytes()),
        idempotency_key: None,
    }
}

fn task(body: &Bytes, schedule: &ScheduleName, at: Timestamp) -> Result<Submission, Refused> {
    let submission = parse::<TaskRequest<'_>>(body)?.into_submission(body)?;
    Ok(Submission {
        metadata: with_origin(&submission.metadata, schedule, at),
        ..submission
    })
}

/// Metadata that says where a task comes from, unless it says so itself.
fn with_origin(metadata: &str, schedule: &ScheduleName, at: Timestamp) -> String {
    // It was read as an object before.
    let mut object: Map<String, Value> = serde_json::from_str(metadata).unwrap_or_default();
    let origin = [
        ("schedule", json!(schedule.as_str())),
        ("scheduled_for", json!(Time(at).to_string())),
    ];
    for (name, value) in origin {
        object.entry(name).or_insert(value);
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &Value) -> String {
        plan(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let body = json!({"cron": "0 3 * * *", "task": {"module": "echo"}}).to_string();
        let read = plan(body.as_bytes()).unwrap();
        let timetable = Timetable::Cron {
            pattern: "0 3 * * *".to_owned(),
            time_zone: "UTC".to_owned(),
        };
        assert_eq!(read.timetable, timetable);
        assert_eq!(
            (read.catch_up, read.overlap),
            (CatchUp::None, Overlap::Allow)
        );
        assert!(!read.paused);
        assert_eq!(
            read.what,
            Scheduled::Task(r#"{"module":"echo"}"#.to_owned())
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_field() {
        let task = json!({"module": "echo"});
        let table = [
            (json!({"task": task}), "cron: "),
            (
                json!({"cron": "* * * * *", "every_ms": 1000, "task": task}),
                "every_ms: ",
            ),
            (json!({"every_ms": 999, "task": task}), "every_ms: "),
            (
                json!({"every_ms": 1000, "time_zone": "UTC", "task": task}),
                "time_zone: ",
            ),
            (
                json!({"every_ms": 1000, "task": task, "overlap": "both"}),
                "overlap: ",
            ),
            (
                json!({"every_ms": 1000, "task": task, "catch_up": ""}),
                "catch_up: ",
            ),
            (json!({"every_ms": 1000, "task": "echo"}), "task: "),
            (
                json!({"every_ms": 1000, "task": {"module": "a", "run_at": "x"}}),
                "task: ",
            ),
            (
                json!({"every_ms": 1000, "task": task, "workflow": {}}),
                "workflow: ",
            ),
            (json!({"every_ms": 1000}), "task: "),
            (
                json!({"every_ms": 1000, "workflow": {"workflow_id": "x"}}),
                "workflow: ",
            ),
            (
                json!({"every_ms": 1000, "task": {"a": "b".repeat(TASK_BYTES_MAX)}}),
                "task: ",
            ),
        ];
        for (body, beginning) in table {
            let told = refusal(&body);
            assert!(told.starts_with(beginning), "{told}");
        }
    }

    #[test]
    fn a_task_says_what_it_comes_from_unless_it_says_something_else() {
        let name = name("nightly").unwrap();
        let at = Timestamp::from_millis(1_000);
        let read = |text: &str| task(&Bytes::copy_from_slice(text.as_bytes()), &name, at);
        let metadata = |task: &Value| {
            let read = read(&task.to_string()).unwrap();
            serde_json::from_str::<Value>(&read.metadata).unwrap()
        };
        let told = metadata(&json!({"module": "echo", "metadata": {"schedule": 1, "own": 2}}));
        let origin = "1970-01-01T00:00:01.000Z";
        assert_eq!(
            told,
            json!({"schedule": 1, "own": 2, "scheduled_for": origin})
        );
        let told = metadata(&json!({"module": "echo"}));
        assert_eq!(
            told,
            json!({"schedule": "nightly", "scheduled_for": origin})
        );
        assert!(read(r#"{"modul": 1}"#).is_err());
    }
}
