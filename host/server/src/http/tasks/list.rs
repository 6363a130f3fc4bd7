//! `GET /v1/tasks`: lists of tasks, page by page.
//!
//! What a query asks for is parsed here. Which tasks these are is storage's to find, so many a page.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page, Place, Rest, TaskList};
use crate::http::tasks::waiting::Workers;
use crate::http::tasks::wire::TaskJson;
use crate::http::{AppState, json};
use crate::intake::query::{self, Query};
use crate::intake::time::Time;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::caller::{Caller, Scope, Tenant};
use cofferdam_domain::label::Label;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task};
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::{ChangeNumber, Labelled, Since, TaskFilter};

/// The most members of the metadata that one list asks for.
const METADATA_FILTERS_MAX: usize = 8;

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
/// Newest first; with `since`, oldest change first and only what changed since then. A page may
/// have fewer items than asked for, or none, and a next one all the same: go on until `next_cursor`
/// is null. `metadata.KEY=VALUE` in the query, up to eight times, gives tasks whose metadata has that
/// member: a text as it is, a number, `true`, `false` or `null` as JSON writes it.
#[utoipa::path(
    get, path = "/v1/tasks", operation_id = "list_tasks", tag = "Tasks",
    params(
        ("status" = Option<String>, Query, description = "States, separated by commas"),
        ("label" = Option<String>, Query, description = "Labels, separated by commas: also scheduled, retrying, cancelling and dead"),
        ("error_kind" = Option<String>, Query, description = "Kinds of the failure that a task shows, separated by commas"),
        ("module" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "A module's name"),
        ("priority" = Option<String>, Query, pattern = "^(critical|high|normal|medium|low)$", description = "critical, high, normal or low"),
        ("since" = Option<String>, Query, description = "An earlier answer's as_of; or an RFC 3339 time, for changes dated at that time or later"),
        ("tenant" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", description = "Another tenant's tasks; for administrators"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page", body = TaskPage)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let tenant = tenant(&mut query, &caller)?;
    let (mut filter, order, as_of) = filter(&mut query, services.clock.now())?;
    query.done()?;
    let mut rest = Rest::of_page(limit);
    let first = rest.batch().unwrap_or(1);
    let mut found = services.storage.tasks(&tenant, &filter, first).await?;
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
        let more = services.storage.tasks(&tenant, &filter, batch).await?;
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
    let workers = Workers::for_tasks(&services, &found.tasks).await?;
    let items = found.tasks.into_iter();
    let page = Page {
        items: items.map(|task| workers.view(&services, task)).collect(),
        next_cursor,
    };
    let as_of = since_text(as_of);
    Ok(json::answer(StatusCode::OK, &TaskPage { page, as_of }))
}

/// Whose tasks are asked for: the caller's own, or those of another tenant if the caller may see all.
fn tenant(query: &mut Query<'_>, caller: &Caller) -> Result<Tenant, ApiError> {
    let asked = query.parsed("tenant", "a tenant's name", |text| Tenant::parse(text).ok())?;
    match asked {
        Some(other) if other != *caller.tenant() => {
            caller.may(Scope::Admin)?;
            Ok(other)
        }
        Some(_) | None => Ok(caller.tenant().clone()),
    }
}

/// The length of callers' and guests' texts of a task in a list.
fn text_bytes(task: &Task) -> usize {
    let failure = task.failure.as_ref().map_or(0, |failure| {
        failure.message.len() + failure.backtrace.as_ref().map_or(0, String::len)
    });
    task.metadata.len() + task.progress_note.len() + failure
}

/// What is asked for at `now`, in which order, and what the first page was as of if this is another.
pub(crate) fn filter(
    query: &mut Query<'_>,
    now: Timestamp,
) -> Result<(TaskFilter, TaskList, Option<ChangeNumber>), ApiError> {
    let known = TaskState::ALL.map(TaskState::as_str);
    let states = words(query, "status", "a status", &known, TaskState::parse)?;
    let known = Label::ALL.map(Label::as_str);
    let labels = words(query, "label", "a label", &known, Label::parse)?;
    let known = FailureKind::ALL.map(FailureKind::as_str);
    let kinds = words(
        query,
        "error_kind",
        "a kind of failure",
        &known,
        FailureKind::parse,
    )?;
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
    let metadata = query.members("metadata.", "metadata.KEY")?;
    if metadata.len() > METADATA_FILTERS_MAX {
        let detail = format!("at most {METADATA_FILTERS_MAX} members can be asked for");
        return Err(ApiError::parameter("metadata.KEY", detail));
    }
    let filter = TaskFilter {
        states: states.unwrap_or_default(),
        module,
        priority,
        labels: labels.map(|any| Labelled { any, now }),
        error_kinds: kinds.unwrap_or_default(),
        metadata,
        since,
        after: place.map(|place| place.position),
    };
    Ok((filter, order, place.map(|place| place.as_of)))
}

/// Words separated by commas, each one of `known`.
pub(crate) fn words<T>(
    query: &mut Query<'_>,
    name: &'static str,
    what: &str,
    known: &[&str],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, ApiError> {
    let expected = format!(
        "{what}, or several separated by commas: {}",
        known.join(", ")
    );
    let words = query.parsed(name, &expected, |text| {
        let words = text.split(',').take(known.len() + 1);
        let words: Option<Vec<T>> = words.map(|word| parse(word.trim())).collect();
        // Each once is enough to ask for all of them.
        words.filter(|words| words.len() <= known.len())
    })?;
    Ok(words)
}

/// What begins a change's number in a `since`, so that it is no time.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> Result<TaskFilter, ApiError> {
        let mut query = Query::of(Some(query))?;
        let (filter, _, _) = filter(&mut query, Timestamp::EPOCH)?;
        query.done()?;
        Ok(filter)
    }

    #[test]
    fn words_are_read_in_any_number_and_order() {
        let filter = read("status=failed,%20running&label=retrying&error_kind=trap,trap").unwrap();
        assert_eq!(filter.states, [TaskState::Failed, TaskState::Running]);
        assert_eq!(filter.labels.unwrap().any, [Label::Retrying]);
        assert_eq!(filter.error_kinds, [FailureKind::Trap; 2]);
        for bad in [
            "status=",
            "label=,",
            "error_kind=trap,",
            "label=failed&label=failed",
        ] {
            assert_eq!(read(bad).unwrap_err().code(), "invalid_parameter", "{bad}");
        }
        let many = ["failed"; 7].join(",");
        assert!(read(&format!("status={many}")).is_err());
    }

    proptest! {
        #[test]
        fn any_value_of_any_filter_is_taken_or_refused_by_name(
            name in prop::sample::select(vec![
                "status", "label", "error_kind", "module", "priority", "since", "cursor",
                "metadata.a", "limt",
            ]),
            value in "[a-z_,.0-9:TZ+-]{0,24}|\\PC{0,12}",
        ) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Err(error) = read(&query.append_pair(name, &value).finish()) {
                prop_assert!(error.detail().contains(name), "{}", error.detail());
                let codes = ["invalid_parameter", "invalid_cursor", "unknown_parameter"];
                prop_assert!(codes.contains(&error.code()));
            }
        }

        #[test]
        fn the_number_of_a_change_is_read_as_it_is_written(number in 0..i64::MAX) {
            let change = ChangeNumber(number);
            prop_assert_eq!(since(&since_text(change)), Some(Since::Change(change)));
        }
    }
}
