//! The worker API's answers, in the field names of existing pools.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::tasks::wire::FailureJson;
use crate::intake::time::Time;

/// What became of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Accepted {
    pub(super) task_id: String,
    /// `accepted`.
    pub(super) status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    pub(super) estimated_completion: Time,
    pub(super) worker_id: String,
}

/// How far a task has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolStatus {
    pub(super) task_id: String,
    pub(super) status: &'static str,
    pub(super) progress: f64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) started_at: Option<Time>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) estimated_completion: Option<Time>,
}

/// What a task gave.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolResult {
    pub(super) task_id: String,
    pub(super) status: &'static str,
    /// JSON as it is, other text as a string, other bytes as `{"base64": …}`; null until then.
    #[schema(value_type = Value)]
    pub(super) result: Box<RawValue>,
    pub(super) execution_time_seconds: Option<f64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) completed_at: Option<Time>,
    pub(super) error: Option<FailureJson>,
}

/// Whether a task was cancelled.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolCancelled {
    pub(super) task_id: String,
    /// `cancelled`, or `cancelling` while it still runs.
    pub(super) status: &'static str,
}

/// How the worker is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `healthy`, or `draining` if it ends or was asked to take no more tasks.
    pub(super) status: &'static str,
    pub(super) worker_id: String,
    pub(super) version: &'static str,
    pub(super) capabilities: Vec<String>,
    pub(super) active_tasks: u64,
    pub(super) queue_depth: u64,
    pub(super) uptime_seconds: f64,
}

/// The figures of this worker since its start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PoolMetrics {
    pub(super) tasks_completed: u64,
    pub(super) tasks_failed: u64,
    /// 0 to 1; 1 before the first task.
    pub(super) success_rate: f64,
    pub(super) avg_execution_time_seconds: f64,
    pub(super) active_tasks: u64,
    pub(super) queue_depth: u64,
    /// The share of one core since the last request.
    pub(super) cpu_usage_percent: f64,
    pub(super) memory_usage_gb: f64,
    pub(super) uptime_hours: f64,
}
