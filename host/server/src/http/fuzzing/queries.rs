//! Queries: those of lists, of runs and of raw tasks.
//!
//! The second opinion writes down what was read as the query that says just that. It has as many
//! parameters as the caller's: none was left unread, and none counts twice.

use axum::http::{HeaderMap, Uri};
use form_urlencoded::Serializer;

use super::uri;
use crate::http::error::ApiError;
use crate::http::page::{self, Place};
use crate::http::run;
use crate::http::tasks::list::{filter, since_text};
use crate::intake::query::Query;
use crate::intake::task::raw::submission;
use crate::intake::time::Time;
use crate::intake::words::pairs;
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::Since;

/// Reads a query string as each of those who take one.
///
/// # Panics
///
/// Where it is read in part, or what was read cannot be said again.
pub fn queries(bytes: &[u8]) {
    let Some(uri) = uri(bytes) else { return };
    if Query::of(uri.query()).is_ok() {
        let query = uri.query().unwrap_or_default();
        assert!(
            String::from_utf8(decoded(query)).is_ok(),
            "{query:?} is not text"
        );
    }
    if let Ok(written) = list(&uri) {
        same(&uri, &written, list);
    }
    if let Ok(written) = limits_of_a_run(&uri) {
        same(&uri, &written, limits_of_a_run);
    }
    if let Ok(written) = raw_task(&uri) {
        same(&uri, &written, raw_task);
    }
}

/// A query without its percent signs.
fn decoded(query: &str) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), query);
    while let Some(first) = rest.chars().next() {
        let digits = rest.get(1..3).filter(|_| first == '%');
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let taken = match byte {
            Some(byte) => {
                decoded.push(byte);
                3
            }
            None => {
                decoded.extend(first.to_string().bytes());
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    decoded
}

/// Holds a query against what was read of it, written down.
fn same(asked: &Uri, written: &str, read: fn(&Uri) -> Result<String, ApiError>) {
    let count = |query: &str| form_urlencoded::parse(query.as_bytes()).count();
    let asked = asked.query().unwrap_or_default();
    assert_eq!(count(asked), count(written), "{asked:?} and {written:?}");
    let again = uri(written.as_bytes()).expect("it is made of plain letters");
    match read(&again) {
        Ok(again) => assert_eq!(again, written),
        Err(error) => panic!("{written:?} is refused: {}", error.detail()),
    }
}

/// The query of a list of tasks.
fn list(uri: &Uri) -> Result<String, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = query.text("limit")?.map(|_| ()).is_some();
    let mut query = Query::of(uri.query())?;
    let items = page::limit(&mut query)?;
    let (filter, order, as_of) = filter(&mut query, Timestamp::EPOCH)?;
    query.done()?;
    let mut written = Serializer::new(String::new());
    if limit {
        written.append_pair("limit", &items.to_string());
    }
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        written.append_pair("status", &states.join(","));
    }
    if let Some(module) = &filter.module {
        written.append_pair("module", module.as_str());
    }
    if let Some(priority) = filter.priority {
        written.append_pair("priority", priority.as_str());
    }
    if let Some(labels) = &filter.labels {
        let labels: Vec<&str> = labels.any.iter().map(|label| label.as_str()).collect();
        written.append_pair("label", &labels.join(","));
    }
    if !filter.error_kinds.is_empty() {
        let kinds: Vec<&str> = filter.error_kinds.iter().map(|it| it.as_str()).collect();
        written.append_pair("error_kind", &kinds.join(","));
    }
    for (name, value) in &filter.metadata {
        written.append_pair(&format!("metadata.{name}"), value);
    }
    match filter.since {
        None => {}
        Some(Since::Change(change)) => {
            written.append_pair("since", &since_text(change));
        }
        Some(Since::Time(time)) => {
            written.append_pair("since", &Time(time).to_string());
        }
    }
    if let (Some(position), Some(as_of)) = (filter.after, as_of) {
        written.append_pair("cursor", &order.cursor(Place { position, as_of }));
    }
    Ok(written.finish())
}

/// The query of a run.
fn limits_of_a_run(uri: &Uri) -> Result<String, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limits = run::limits(&mut query, &HeaderMap::new())?;
    let isolation = run::isolation(&mut query, &HeaderMap::new())?;
    let args = query.list("arg");
    let env = pairs(query.list("env"))?;
    query.done()?;
    let mut written = Serializer::new(String::new());
    write_limits(&mut written, &limits);
    if let Some(isolation) = isolation {
        written.append_pair("isolation", isolation.as_str());
    }
    write_words(&mut written, &args, &env);
    Ok(written.finish())
}

/// The query of a task whose input is the body.
fn raw_task(uri: &Uri) -> Result<String, ApiError> {
    let task = submission(Query::of(uri.query())?, "m")?;
    let mut query = Query::of(uri.query())?;
    let named = |name: &'static str, query: &mut Query<'_>| query.text(name).map(|it| it.is_some());
    let mut written = Serializer::new(String::new());
    if let Some(id) = task.task_id {
        written.append_pair("task_id", &id.to_string());
    }
    write_words(&mut written, &task.args, &task.env);
    // What is required is kept in order and once, however often it is said.
    for capability in query.list("requires") {
        written.append_pair("requires", &capability);
    }
    if let Some(preferred) = task.placement.preferred() {
        written.append_pair("preferred_worker", preferred.as_str());
    }
    if let Some(isolation) = task.isolation {
        written.append_pair("isolation", isolation.as_str());
    }
    if named("priority", &mut query)? {
        written.append_pair("priority", task.priority.as_str());
    }
    if named("delay_ms", &mut query)? {
        written.append_pair("delay_ms", &task.delay.as_millis().to_string());
    }
    if let Some(time) = task.run_at {
        written.append_pair("run_at", &Time(time).to_string());
    }
    if let Some(key) = &task.dedup_key {
        written.append_pair("dedup_key", key);
    }
    write_limits(&mut written, &task.limits);
    if named("max_attempts", &mut query)? {
        written.append_pair("max_attempts", &task.retry.max_attempts.to_string());
    }
    Ok(written.finish())
}

fn write_words(written: &mut Serializer<'_, String>, args: &[String], env: &[(String, String)]) {
    for arg in args {
        written.append_pair("arg", arg);
    }
    for (name, value) in env {
        written.append_pair("env", &format!("{name}={value}"));
    }
}

fn write_limits(written: &mut Serializer<'_, String>, limits: &LimitRequest) {
    let millis = |time: Option<std::time::Duration>| time.map(|time| time.as_millis());
    let numbers = [
        ("timeout_ms", millis(limits.timeout)),
        ("cpu_ms", millis(limits.cpu)),
        ("fuel", limits.fuel.map(u128::from)),
        ("memory_bytes", limits.memory_bytes.map(u128::from)),
        ("table_elements", limits.table_elements.map(u128::from)),
        ("disk_bytes", limits.disk_bytes.map(u128::from)),
        ("disk_files", limits.disk_files.map(u128::from)),
        ("output_bytes", limits.output_bytes.map(u128::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            written.append_pair(name, &number.to_string());
        }
    }
}
