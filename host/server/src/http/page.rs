//! Lists in pages: `?limit=` and an opaque `?cursor=`.
//!
//! A cursor is the position where a page ended, so that nothing is skipped or repeated when items
//! come and go in between. It contains the kind of its list; a cursor of another kind, or a changed
//! one, is refused.

use std::fmt::Display;

use crate::http::error::ApiError;
use crate::intake::query::Query;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::KeyId;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::schedule::ScheduleName;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::workflow::definition::DefinitionName;
use cofferdam_storage::trail::Order;
use cofferdam_storage::{ChangeNumber, ListPosition};
use serde::Serialize;
use uuid::Uuid;

/// The default number of items of a page.
const LIMIT_DEFAULT: u32 = 100;
/// The most items of a page.
const LIMIT_MAX: u64 = 1000;

/// A page ends early at this much text of callers and guests: 2 MiB. The batch that exceeds it is
/// the last.
const TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Items read at once, which bounds the excess.
const BATCH: u32 = 50;

/// The part of a page that is still to be filled.
pub(crate) struct Rest {
    items: u32,
    text_bytes: usize,
}

impl Rest {
    /// A whole page of up to `limit` items.
    pub(crate) fn of_page(limit: u32) -> Rest {
        Rest {
            items: limit,
            text_bytes: TEXT_BYTES_MAX,
        }
    }

    /// How many items to read next; `None` once the page is full.
    pub(crate) fn batch(&self) -> Option<u32> {
        let is_full = self.items == 0 || self.text_bytes == 0;
        (!is_full).then_some(self.items.min(BATCH))
    }

    /// Records an added item with this much text.
    pub(crate) fn add(&mut self, text_bytes: usize) {
        self.items = self.items.saturating_sub(1);
        self.text_bytes = self.text_bytes.saturating_sub(text_bytes);
    }
}

/// Cuts off what was read beyond `wanted` items, to see whether more follow; whether none do.
pub(crate) fn cut<T>(found: &mut Vec<T>, wanted: u32) -> bool {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let is_last = found.len() <= wanted;
    found.truncate(wanted);
    is_last
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The `cursor` of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of those that were found, as they are shown. `cursor` says where a page ends.
    pub(crate) fn of<F>(
        mut found: Vec<F>,
        limit: u32,
        cursor: impl FnOnce(&F) -> String,
        shown: impl FnMut(F) -> T,
    ) -> Page<T> {
        let is_last = cut(&mut found, limit);
        Page::ending(found, is_last, cursor, shown)
    }

    /// All of those that were found; `is_last` says that none follow.
    pub(crate) fn ending<F>(
        found: Vec<F>,
        is_last: bool,
        cursor: impl FnOnce(&F) -> String,
        shown: impl FnMut(F) -> T,
    ) -> Page<T> {
        let next_cursor = found.last().filter(|_| !is_last).map(cursor);
        Page {
            next_cursor,
            items: found.into_iter().map(shown).collect(),
        }
    }
}

/// Reads what follows `after`, batch by batch, until the page is full by its items or by their text; whether
/// none follow. `read` gives the first so many items behind a name.
pub(crate) async fn filled<F, N, R>(
    limit: u32,
    after: Option<N>,
    name: impl Fn(&F) -> N,
    text_bytes: impl Fn(&F) -> usize,
    read: impl Fn(Option<N>, u32) -> R,
) -> Result<(Vec<F>, bool), ApiError>
where
    R: Future<Output = Result<Vec<F>, ApiError>>,
{
    let (mut rest, mut found, mut from) = (Rest::of_page(limit), Vec::new(), after);
    while let Some(batch) = rest.batch() {
        let mut more = read(from.take(), batch + 1).await?;
        let is_last = cut(&mut more, batch);
        more.iter().for_each(|item| rest.add(text_bytes(item)));
        from = more.last().map(&name);
        found.extend(more);
        if is_last {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// Reads `limit`.
pub(crate) fn limit(query: &mut Query<'_>) -> Result<u32, ApiError> {
    let limit = query.number("limit", 1..=LIMIT_MAX)?;
    Ok(limit.map_or(LIMIT_DEFAULT, |limit| {
        u32::try_from(limit).unwrap_or(LIMIT_DEFAULT)
    }))
}

/// The list of tasks that a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskList {
    /// Newest first.
    Newest,
    /// Oldest change first.
    Changes,
}

impl TaskList {
    const fn tag(self) -> u8 {
        match self {
            TaskList::Newest => b'n',
            TaskList::Changes => b'c',
        }
    }

    /// The cursor of a place in this list.
    pub(crate) fn cursor(self, place: Place) -> String {
        let mut bytes = [0_u8; 17];
        bytes[0] = self.tag();
        bytes[1..9].copy_from_slice(&place.position.0.to_be_bytes());
        bytes[9..].copy_from_slice(&place.as_of.0.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor of this list.
    pub(crate) fn place(self, query: &mut Query<'_>) -> Result<Option<Place>, ApiError> {
        let Some(cursor) = query.text("cursor")? else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).map_err(|_| bad_cursor())?;
        let bytes: [u8; 17] = bytes.try_into().map_err(|_| bad_cursor())?;
        if bytes[0] != self.tag() {
            return Err(bad_cursor());
        }
        let (mut position, mut as_of) = ([0; 8], [0; 8]);
        position.copy_from_slice(&bytes[1..9]);
        as_of.copy_from_slice(&bytes[9..]);
        Ok(Some(Place {
            position: ListPosition(i64::from_be_bytes(position)),
            as_of: ChangeNumber(i64::from_be_bytes(as_of)),
        }))
    }
}

/// Where a list of tasks continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the previous page ended.
    pub(crate) position: ListPosition,
    /// The `as_of` of the first page.
    pub(crate) as_of: ChangeNumber,
}

/// A list whose cursors are the names of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Modules,
    Attempts,
    Workers,
    Keys,
    Tenants,
    Secrets,
    Schedules,
    Workflows,
    Definitions,
    Newest,
    Oldest,
}

impl Named {
    const fn tag(self) -> char {
        match self {
            Named::Modules => 'm',
            Named::Attempts => 'a',
            Named::Workers => 'w',
            Named::Keys => 'k',
            Named::Tenants => 't',
            Named::Secrets => 's',
            Named::Schedules => 'c',
            Named::Workflows => 'f',
            Named::Definitions => 'd',
            Named::Newest => 'u',
            Named::Oldest => 'v',
        }
    }

    /// The cursor after the item of that name.
    fn cursor(self, name: impl Display) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}{name}", self.tag()))
    }

    /// The item that a cursor of this list means. Each has one cursor only.
    fn after<T>(
        self,
        query: &mut Query<'_>,
        read: impl FnOnce(&str) -> Option<T>,
        cursor_of: impl FnOnce(&T) -> String,
    ) -> Result<Option<T>, ApiError> {
        let Some(cursor) = query.text("cursor")? else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).map_err(|_| bad_cursor())?;
        let text = String::from_utf8(bytes).map_err(|_| bad_cursor())?;
        let name = text.strip_prefix(self.tag()).ok_or_else(bad_cursor)?;
        let item = read(name).ok_or_else(bad_cursor)?;
        match cursor_of(&item) == cursor {
            true => Ok(Some(item)),
            false => Err(bad_cursor()),
        }
    }
}

/// The cursor after `name` in the list of modules.
pub(crate) fn module_cursor(name: &ModuleName) -> String {
    Named::Modules.cursor(name)
}

/// The name in a cursor of the list of modules.
pub(crate) fn after_module(query: &mut Query<'_>) -> Result<Option<ModuleName>, ApiError> {
    let read = |name: &str| ModuleName::parse(name).ok();
    Named::Modules.after(query, read, module_cursor)
}

/// The cursor after an attempt in the list of a task's attempts.
pub(crate) fn attempt_cursor(number: u32) -> String {
    Named::Attempts.cursor(number)
}

/// The number of the attempt that a cursor of that list means.
pub(crate) fn after_attempt(query: &mut Query<'_>) -> Result<Option<u32>, ApiError> {
    let read = |name: &str| name.parse().ok();
    Named::Attempts.after(query, read, |number| attempt_cursor(*number))
}

/// The cursor after a worker in their list.
pub(crate) fn worker_cursor(id: WorkerId) -> String {
    Named::Workers.cursor(id.0.simple())
}

/// The worker that a cursor of their list means.
pub(crate) fn after_worker(query: &mut Query<'_>) -> Result<Option<WorkerId>, ApiError> {
    let read = |name: &str| Uuid::try_parse(name).ok().map(WorkerId);
    Named::Workers.after(query, read, |id| worker_cursor(*id))
}

/// The cursor after a key in their list.
pub(crate) fn key_cursor(id: KeyId) -> String {
    Named::Keys.cursor(id)
}

/// The key that a cursor of their list means.
pub(crate) fn after_key(query: &mut Query<'_>) -> Result<Option<KeyId>, ApiError> {
    Named::Keys.after(query, KeyId::parse, |id| key_cursor(*id))
}

/// The cursor after a tenant in their list.
pub(crate) fn tenant_cursor(name: &Tenant) -> String {
    Named::Tenants.cursor(name)
}

/// The cursor after a secret in their list.
pub(crate) fn secret_cursor(name: &SecretName) -> String {
    Named::Secrets.cursor(name)
}

/// The secret that a cursor of their list means.
pub(crate) fn after_secret(query: &mut Query<'_>) -> Result<Option<SecretName>, ApiError> {
    let read = |name: &str| SecretName::parse(name).ok();
    Named::Secrets.after(query, read, secret_cursor)
}

/// The tenant that a cursor of their list means.
pub(crate) fn after_tenant(query: &mut Query<'_>) -> Result<Option<Tenant>, ApiError> {
    let read = |name: &str| Tenant::parse(name).ok();
    Named::Tenants.after(query, read, tenant_cursor)
}

/// The cursor after a schedule in their list.
pub(crate) fn schedule_cursor(name: &ScheduleName) -> String {
    Named::Schedules.cursor(name.as_str())
}

/// The schedule that a cursor of their list means.
pub(crate) fn after_schedule(query: &mut Query<'_>) -> Result<Option<ScheduleName>, ApiError> {
    let read = |name: &str| ScheduleName::parse(name).ok();
    Named::Schedules.after(query, read, schedule_cursor)
}

/// The cursor after a definition of workflows in their list.
pub(crate) fn definition_cursor(name: &DefinitionName) -> String {
    Named::Definitions.cursor(name)
}

/// The definition that a cursor of their list means.
pub(crate) fn after_definition(query: &mut Query<'_>) -> Result<Option<DefinitionName>, ApiError> {
    let read = |name: &str| DefinitionName::parse(name).ok();
    Named::Definitions.after(query, read, definition_cursor)
}

/// The cursor of a place in the list of workflows.
pub(crate) fn workflow_cursor(place: ListPosition) -> String {
    Named::Workflows.cursor(place.0)
}

/// The place that a cursor of that list means.
pub(crate) fn after_workflow(query: &mut Query<'_>) -> Result<Option<ListPosition>, ApiError> {
    let read = |name: &str| name.parse().ok().map(ListPosition);
    Named::Workflows.after(query, read, |place| workflow_cursor(*place))
}

/// The cursor after an entry of the audit trail in that order.
pub(crate) fn entry_cursor(order: Order, seq: u64) -> String {
    entries(order).cursor(seq)
}

/// The number of the entry that a cursor of that list means.
pub(crate) fn after_entry(query: &mut Query<'_>, order: Order) -> Result<Option<u64>, ApiError> {
    let read = |name: &str| name.parse().ok();
    entries(order).after(query, read, |seq| entry_cursor(order, *seq))
}

const fn entries(order: Order) -> Named {
    match order {
        Order::Newest => Named::Newest,
        Order::Oldest => Named::Oldest,
    }
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("invalid_cursor", "cursor: not a cursor of this list")
        .with("field", "cursor")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_place_has_a_cursor_that_leads_back(position: i64, as_of: i64) {
            let place = Place { position: ListPosition(position), as_of: ChangeNumber(as_of) };
            for list in [TaskList::Newest, TaskList::Changes] {
                prop_assert_eq!(read(list, &list.cursor(place)).unwrap(), Some(place));
            }
        }

        #[test]
        fn no_text_is_a_cursor_that_was_not_given_out(text in "[A-Za-z0-9_-]{0,30}") {
            for list in [TaskList::Newest, TaskList::Changes] {
                match read(list, &text) {
                    Ok(place) => prop_assert_eq!(list.cursor(place.unwrap()), text.clone()),
                    Err(error) => prop_assert_eq!(error.code(), "invalid_cursor"),
                }
            }
        }

        #[test]
        fn every_attempt_has_a_cursor_and_no_other_text_is_one(number: u32, text in "[A-Za-z0-9_-]{0,12}") {
            let after = |cursor: &str| {
                let query = format!("cursor={cursor}");
                after_attempt(&mut Query::of(Some(&query))?)
            };
            prop_assert_eq!(after(&attempt_cursor(number)).unwrap(), Some(number));
            match after(&text) {
                Ok(number) => prop_assert_eq!(attempt_cursor(number.unwrap()), text),
                Err(error) => prop_assert_eq!(error.code(), "invalid_cursor"),
            }
        }

        #[test]
        fn every_worker_has_a_cursor_and_no_other_text_is_one(id: u128, text in "[A-Za-z0-9_-]{0,44}") {
            let after = |cursor: &str| {
                let query = format!("cursor={cursor}");
                after_worker(&mut Query::of(Some(&query))?)
            };
            let id = WorkerId(Uuid::from_u128(id));
            prop_assert_eq!(after(&worker_cursor(id)).unwrap(), Some(id));
            match after(&text) {
                Ok(id) => prop_assert_eq!(worker_cursor(id.unwrap()), text),
                Err(error) => prop_assert_eq!(error.code(), "invalid_cursor"),
            }
        }

        #[test]
        fn every_module_has_a_cursor_and_no_other_text_is_one(name in "[a-z0-9][a-z0-9._/-]{0,127}", text in "[A-Za-z0-9_-]{0,30}") {
            let after = |cursor: &str| {
                let query = format!("cursor={cursor}");
                after_module(&mut Query::of(Some(&query))?)
            };
            if let Ok(name) = ModuleName::parse(&name) {
                prop_assert_eq!(after(&module_cursor(&name)).unwrap(), Some(name));
            }
            match after(&text) {
                Ok(name) => prop_assert_eq!(module_cursor(&name.unwrap()), text),
                Err(error) => prop_assert_eq!(error.code(), "invalid_cursor"),
            }
        }
    }

    const PLACE: Place = Place {
        position: ListPosition(0x0123_4567_89ab_cdef),
        as_of: ChangeNumber(-3),
    };

    fn read(list: TaskList, cursor: &str) -> Result<Option<Place>, ApiError> {
        let query = format!("cursor={cursor}");
        list.place(&mut Query::of(Some(&query))?)
    }

    #[test]
    fn cursors_round_trip_in_their_own_list_only() {
        let cursor = TaskList::Newest.cursor(PLACE);
        assert_eq!(read(TaskList::Newest, &cursor).unwrap(), Some(PLACE));
        assert_eq!(
            read(TaskList::Changes, &cursor).unwrap_err().code(),
            "invalid_cursor"
        );
    }

    #[test]
    fn tampered_cursors_are_refused() {
        let cursor = TaskList::Newest.cursor(PLACE);
        for bad in ["", "x", "%00", &cursor[1..], &cursor[..20], "bmFtZQ"] {
            assert_eq!(
                read(TaskList::Newest, bad).unwrap_err().code(),
                "invalid_cursor",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_page_is_full_by_items_or_by_text() {
        let mut rest = Rest::of_page(60);
        assert_eq!(rest.batch(), Some(50));
        (0..50).for_each(|_| rest.add(100));
        assert_eq!(rest.batch(), Some(10));
        (0..10).for_each(|_| rest.add(100));
        assert_eq!(rest.batch(), None);
        let mut rest = Rest::of_page(1000);
        (0..50).for_each(|_| rest.add(50 * 1024));
        assert_eq!(rest.batch(), None);
    }
}
