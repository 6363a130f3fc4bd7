//! What callers send, as nobody meant it: cursors, queries, paths and the bodies of requests.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used. What is tried is what each
//! handler does before it asks anybody: the modules that read are the ones the handlers use.

mod queries;
mod requests;

use std::path::{Component, Path};

use axum::http::Uri;

use crate::http::page::{TaskList, after_module, module_cursor};
use crate::http::path::PathParts;
use crate::intake::query::Query;
use crate::intake::words;
use cofferdam::interpreters::packages::Packages;
use cofferdam::interpreters::request::{FileContent, SessionSetup};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, Language, ModuleName, ModuleRef};

pub use self::queries::queries;
pub use self::requests::requests;

/// A cursor that a list takes is, letter by letter, one that it would give, and no other list takes
/// it.
///
/// # Panics
///
/// Where that is not so.
pub fn cursors(bytes: &[u8]) {
    let Some(uri) = uri(&[b"cursor=", bytes].concat()) else {
        return;
    };
    let Ok(Some(cursor)) = Query::of(uri.query()).and_then(|mut query| query.text("cursor")) else {
        return;
    };
    let place = |list: TaskList| {
        let mut query = Query::of(uri.query()).expect("it was read before");
        list.place(&mut query).ok().flatten()
    };
    let mut readings = 0;
    for list in [TaskList::Newest, TaskList::Changes] {
        if let Some(place) = place(list) {
            assert_eq!(list.cursor(place), cursor);
            readings += 1;
        }
    }
    let mut query = Query::of(uri.query()).expect("it was read before");
    if let Ok(Some(name)) = after_module(&mut query) {
        assert_eq!(module_cursor(&name), cursor);
        readings += 1;
    }
    assert!(readings <= 1, "two lists take one cursor");
}

/// What a path holds is refused, or is written as it was read; and no part of it leads upwards.
///
/// # Panics
///
/// Where that is not so.
pub fn paths(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(reference) = ModuleRef::parse(&text) {
        assert_eq!(reference.to_string(), text);
        assert!(is_below(reference.name.as_str()), "{text}");
    }
    if let Ok(name) = ModuleName::parse(&text) {
        assert!(is_below(name.as_str()) && name.as_str() == text);
    }
    if let Some(digest) = Digest::parse(&text) {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(tenant) = Tenant::parse(&text) {
        assert!(is_below(tenant.as_str()) && !tenant.as_str().contains('/'));
    }
    if let Some(id) = words::task_id(&text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    let parts = PathParts::of(vec![String::new(), text.clone().into_owned()]);
    if let Ok(artifact) = parts.artifact() {
        assert!(is_below(artifact) && artifact == text);
    }
    let file = (text.clone(), FileContent::Text("".into()));
    let (files, packages) = ([file].into(), Packages::default());
    if SessionSetup::prepare(Language::Python, &files, None, &packages).is_ok() {
        assert!(parts.artifact().is_ok(), "what is put in cannot be got out");
    }
}

fn is_below(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// An address with this query, if it can be one.
fn uri(query: &[u8]) -> Option<Uri> {
    Uri::try_from([b"/x?", query].concat()).ok()
}

#[cfg(test)]
mod tests {
    use cofferdam_fuzz::short_run;

    #[test]
    fn every_cursor_is_one_that_was_given_or_refused() {
        short_run("cursors", 20_000, super::cursors);
    }

    #[test]
    fn every_query_is_read_as_a_whole_or_refused() {
        short_run("queries", 20_000, super::queries);
    }

    #[test]
    fn every_request_is_read_as_a_whole_or_refused() {
        short_run("requests", 20_000, super::requests);
    }

    #[test]
    fn every_path_stays_below_its_root() {
        short_run("paths", 20_000, super::paths);
    }
}
