//! Schedules as columns, which every database keeps.
//!
//! What a tenant says is one JSON text, because no statement asks for a part of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{from_json, millis, to_json};
use crate::StorageError;
use cofferdam_domain::schedule::{
    CatchUp, Fired, Firing, Overlap, Plan, Scheduled, Timetable, Work,
};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowId;

#[derive(Serialize, Deserialize)]
struct PlanText {
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    catch_up: String,
    overlap: String,
    paused: bool,
}

#[derive(Serialize, Deserialize)]
struct FiringText {
    at: i64,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<uuid::Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<uuid::Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What was said of a schedule, as text.
pub(crate) fn plan_text(plan: &Plan) -> Result<String, StorageError> {
    let (cron, time_zone, every_ms) = match &plan.timetable {
        Timetable::Cron { pattern, time_zone } => {
            (Some(pattern.clone()), Some(time_zone.clone()), None)
        }
        Timetable::Every(interval) => (None, None, Some(millis(*interval))),
    };
    let (task, workflow) = match &plan.what {
        Scheduled::Task(text) => (Some(text.clone()), None),
        Scheduled::Workflow(text) => (None, Some(text.clone())),
    };
    let text = PlanText {
        cron,
        time_zone,
        every_ms,
        task,
        workflow,
        catch_up: plan.catch_up.as_str().to_owned(),
        overlap: plan.overlap.as_str().to_owned(),
        paused: plan.paused,
    };
    to_json(&text)
}

/// What that text says.
pub(crate) fn plan_of(text: &str) -> Result<Plan, StorageError> {
    let text: PlanText = from_json(text)?;
    let timetable = match (text.cron, text.time_zone, text.every_ms) {
        (Some(pattern), Some(time_zone), None) => Timetable::Cron { pattern, time_zone },
        (None, None, Some(every_ms)) => Timetable::Every(Duration::from_millis(every_ms)),
        _ => return Err(StorageError::corrupt("a schedule has no timetable")),
    };
    let what = match (text.task, text.workflow) {
        (Some(text), None) => Scheduled::Task(text),
        (None, Some(text)) => Scheduled::Workflow(text),
        _ => return Err(StorageError::corrupt("a schedule submits nothing")),
    };
    let unknown = || StorageError::corrupt("a schedule has an unknown word");
    Ok(Plan {
        timetable,
        what,
        catch_up: CatchUp::parse(&text.catch_up).ok_or_else(unknown)?,
        overlap: Overlap::parse(&text.overlap).ok_or_else(unknown)?,
        paused: text.paused,
    })
}

/// What came of an instant, as text.
pub(crate) fn firing_text(firing: &Firing) -> Result<String, StorageError> {
    let why = match &firing.outcome {
        Fired::Refused(why) => Some(why.clone()),
        Fired::Submitted(_) | Fired::Skipped(_) => None,
    };
    let (task, workflow) = match firing.outcome.work() {
        Some(Work::Task(task)) => (Some(task.0), None),
        Some(Work::Workflow(workflow)) => (None, Some(workflow.0)),
        None => (None, None),
    };
    let text = FiringText {
        at: firing.at.as_millis(),
        outcome: firing.outcome.as_str().to_owned(),
        task,
        workflow,
        why,
    };
    to_json(&text)
}

/// What that text says.
pub(crate) fn firing_of(text: &str) -> Result<Firing, StorageError> {
    let text: FiringText = from_json(text)?;
    let work = match (text.task, text.workflow) {
        (Some(task), None) => Some(Work::Task(TaskId(task))),
        (None, Some(workflow)) => Some(Work::Workflow(WorkflowId(workflow))),
        (_, _) => None,
    };
    let outcome = match (text.outcome.as_str(), work, text.why) {
        ("submitted", Some(work), None) => Fired::Submitted(work),
        ("skipped", Some(work), None) => Fired::Skipped(work),
        ("refused", None, Some(why)) => Fired::Refused(why),
        _ => {
            return Err(StorageError::corrupt(
                "a schedule's last firing has no outcome",
            ));
        }
    };
    Ok(Firing {
        at: Timestamp::from_millis(text.at),
        outcome,
    })
}
