//! The spans of a run and which of them are entered. A guest has one thread; natively each test has
//! its own, so this state is kept per thread.

use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static SPANS: RefCell<Spans> = RefCell::new(Spans::default());
}

/// Names and values of a span's or an event's fields.
pub(super) type Fields = Vec<(String, String)>;

#[derive(Default)]
struct Spans {
    last_id: u64,
    open: HashMap<u64, Span>,
    entered: Vec<u64>,
}

struct Span {
    name: &'static str,
    fields: Fields,
    handles: usize,
}

/// Opens a span with one handle and returns its id, which is never zero.
pub(super) fn open(name: &'static str, fields: Fields) -> u64 {
    SPANS.with_borrow_mut(|spans| {
        spans.last_id += 1;
        spans.open.insert(
            spans.last_id,
            Span {
                name,
                fields,
                handles: 1,
            },
        );
        spans.last_id
    })
}

/// Adds fields to an open span.
pub(super) fn record(id: u64, fields: Fields) {
    SPANS.with_borrow_mut(|spans| {
        if let Some(span) = spans.open.get_mut(&id) {
            span.fields.extend(fields);
        }
    });
}

/// Counts one more handle to the span.
pub(super) fn retain(id: u64) {
    SPANS.with_borrow_mut(|spans| {
        if let Some(span) = spans.open.get_mut(&id) {
            span.handles += 1;
        }
    });
}

/// Counts one handle less; true if it was the last, so that the span is gone.
pub(super) fn release(id: u64) -> bool {
    SPANS.with_borrow_mut(|spans| {
        let Some(span) = spans.open.get_mut(&id) else {
            return false;
        };
        span.handles -= 1;
        let last = span.handles == 0;
        if last {
            spans.open.remove(&id);
        }
        last
    })
}

/// Enters a span.
pub(super) fn enter(id: u64) {
    SPANS.with_borrow_mut(|spans| spans.entered.push(id));
}

/// Leaves a span, the innermost first if it was entered more than once.
pub(super) fn exit(id: u64) {
    SPANS.with_borrow_mut(|spans| {
        if let Some(at) = spans.entered.iter().rposition(|entered| *entered == id) {
            spans.entered.remove(at);
        }
    });
}

/// The entered spans as fields: `span` with their names from the outside in, then their fields.
pub(super) fn entered_fields() -> Fields {
    SPANS.with_borrow(|spans| {
        let entered: Vec<&Span> = spans
            .entered
            .iter()
            .filter_map(|id| spans.open.get(id))
            .collect();
        if entered.is_empty() {
            return Fields::new();
        }
        let names: Vec<&str> = entered.iter().map(|span| span.name).collect();
        let mut fields = vec![("span".to_owned(), names.join(":"))];
        fields.extend(entered.iter().flat_map(|span| span.fields.iter().cloned()));
        fields
    })
}
