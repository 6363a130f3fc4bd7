//! A change of many tasks as a caller requests it.

use serde::Deserialize;

use crate::intake::json::{UniqueMap, Whole};
use crate::intake::query::Query;
use cofferdam::queue::BULK_TASKS_MAX;

/// The body of `POST /v1/tasks/cancel` and `POST /v1/tasks/retry`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    /// Which tasks: the query of `GET /v1/tasks` as an object of strings, without `since`, `limit` and
    /// `cursor`. `{}` is every task that can be changed so.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    filter: UniqueMap,
    /// Change them, if they are not more than this. Without it they are only counted.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 1_000_000)]
    expect: Option<Whole<0, BULK_TASKS_MAX>>,
}

impl BulkRequest {
    /// The filter as the list reads it, and the most tasks that may match.
    pub(crate) fn into_parts(self) -> (Query<'static>, Option<u64>) {
        let expect = self.expect.map(|expect| expect.0);
        (Query::of_pairs(self.filter.0), expect)
    }
}
