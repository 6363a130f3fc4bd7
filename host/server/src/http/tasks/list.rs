//! `GET /v1/tasks`: tasks newest first, or changes since an earlier answer.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::page::{self, Page, Place, Rest, TaskList};
use crate::http::tasks::wire::TaskJson;
use crate::http::{AppState, json};
use crate::intake::query::{self, Query};
use crate::intake::time::Time;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task};
use cofferdam_storage::{ChangeNumber, Since, TaskFilter};

/// A page of tasks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskPage {
    #[serde(flatten)]
    page: Page<TaskJson>,
    /// The next `since`, an opaque text. A change may be listed twice, and none is left out.
    as_of: String,
}

/// List tasks
///
/// Newest first; with `since`, oldest change first and only tasks that changed since then. A page
/// may have fewer items than requested, or none, and still have a next one: continue until
/// `next_cursor` is null.
#[utoipa::path(
    get, path = "/v1/tasks", operation_id = "list_tasks", tag = "Tasks",
    params(
        ("status" = Option<String>, Query, description = "States, separated by commas"),
        ("module" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "A module's name"),
        ("priority" = Option<String>, Query, pattern = "^(critical|high|normal|medium|low)$", description = "critical, high, normal or low"),
        ("since" = Option<String>, Query, description = "An earlier answer's as_of; or an RFC 3339 time, for changes dated at that time or later"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page", body = TaskPage)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let (mut filter, order, as_of) = filter(&mut query)?;
    query.done()?;
    let mut rest = Rest::of_page(limit);
    let first = rest.batch().unwrap_or(1);
    let mut found = services.storage.tasks(&filter, first).await?;
    if let Some(Since::Change(since)) = filter.since
        && since > found.newest
    {
        return Err(ApiError::parameter(
            "since",
            "this host does not have that change; start again without since",
        ));
    }
    // This is the first page's value if there are several: a task on that page may have changed
    // since.
    let as_of = match order {
        TaskList::Newest => as_of.unwrap_or(found.as_of),
        TaskList::Changes => found.as_of,
    };
    found
        .tasks
        .iter()
        .for_each(|task| rest.add(text_bytes(task)));
    while let (Some(next), Some(batch)) = (found.next, rest.batch()) {
        filter.after = Some(next);
        let more = services.storage.tasks(&filter, batch).await?;
        more.tasks
            .iter()
            .for_each(|task| rest.add(text_bytes(task)));
        let is_idle = more.tasks.is_empty();
        found.tasks.extend(more.tasks);
        found.next = more.next;
        // Storage has searched for long enough; the next request continues.
        if is_idle {
            break;
        }
    }
    let next_cursor = found
        .next
        .map(|position| order.cursor(Place { position, as_of }));
    let now = services.clock.now();
    let wait = services.queue.estimated_wait();
    let items = found.tasks.into_iter();
    let page = Page {
        items: items.map(|task| TaskJson::new(task, now, wait)).collect(),
        next_cursor,
    };
    let as_of = since_text(as_of);
    Ok(json::answer(StatusCode::OK, &TaskPage { page, as_of }))
}

/// The length of callers' and guests' texts of a task in a list.
fn text_bytes(task: &Task) -> usize {
    let failure = task.failure.as_ref().map_or(0, |failure| {
        failure.message.len() + failure.backtrace.as_ref().map_or(0, String::len)
    });
    task.metadata.len() + task.progress_note.len() + failure
}

/// The filter, the order, and the first page's `as_of` if this is a later page.
pub(crate) fn filter(
    query: &mut Query<'_>,
) -> Result<(TaskFilter, TaskList, Option<ChangeNumber>), ApiError> {
    let expected = "a status, or several separated by commas: blocked, pending, running, completed, \
                    failed, cancelled";
    let states = query.parsed("status", expected, |text| {
        text.split(',')
            .map(|word| TaskState::parse(word.trim()))
            .collect::<Option<Vec<_>>>()
    })?;
    let module = query.parsed("module", "a module's name", |text| {
        ModuleName::parse(text).ok()
    })?;
    let priority = query.parsed("priority", "critical, high, normal or low", Priority::parse)?;
    let expected = "an earlier answer's as_of or a time in RFC 3339";
    let since = query.parsed("since", expected, since)?;
    let order = if since.is_some() {
        TaskList::Changes
    } else {
        TaskList::Newest
    };
    let place = order.place(query)?;
    let filter = TaskFilter {
        states: states.unwrap_or_default(),
        module,
        priority,
        since,
        after: place.map(|place| place.position),
    };
    Ok((filter, order, place.map(|place| place.as_of)))
}

/// The prefix of a change's number in a `since`, which distinguishes it from a time.
const CHANGE_PREFIX: &str = "c";

fn since(text: &str) -> Option<Since> {
    match text.strip_prefix(CHANGE_PREFIX) {
        Some(number) => {
            let number = query::number(number, &(0..=i64::MAX.cast_unsigned())).ok()?;
            Some(Since::Change(ChangeNumber(number.cast_signed())))
        }
        None => Time::parse(text).ok().map(|time| Since::Time(time.0)),
    }
}

pub(crate) fn since_text(ChangeNumber(number): ChangeNumber) -> String {
    format!("{CHANGE_PREFIX}{number}")
}
