//! The lines that reach the task's log: directly, from the `log` crate, and from `tracing`.
//! It is one test, because the level that it sets holds for the whole process.

use cofferdam_guest::log::{Level, emit, set_level};
use cofferdam_guest::testing::{Context, Line};

fn line(level: Level, message: &str, fields: &[(&str, &str)]) -> Line {
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    Line {
        level,
        message: message.into(),
        fields,
    }
}

#[test]
fn lines_and_fields_arrive_and_the_level_holds_for_all_three() {
    let context = Context::new();
    context.enter(|| {
        emit(Level::Warn, "direct", &[("row", "7")]);
        emit(Level::Debug, "not sent", &[]);
        log::warn!(row = 8, name:? = "x"; "from {}", "log");
        log::debug!("not sent");
        let span = tracing::info_span!("import", file = "a.csv");
        span.in_scope(|| {
            tracing::info_span!("row", number = 9).in_scope(|| {
                tracing::error!(reason = %"no price", "skipped {}", "it");
            });
        });
        tracing::debug!("not sent");
    });
    assert_eq!(
        context.log(),
        [
            line(Level::Warn, "direct", &[("row", "7")]),
            line(Level::Warn, "from log", &[("row", "8"), ("name", "\"x\"")]),
            line(
                Level::Error,
                "skipped it",
                &[
                    ("span", "import:row"),
                    ("file", "a.csv"),
                    ("number", "9"),
                    ("reason", "no price")
                ]
            ),
        ]
    );

    set_level(Level::Trace);
    let context = Context::new();
    context.enter(|| {
        emit(Level::Trace, "a", &[]);
        log::trace!("b");
        tracing::trace!("c");
    });
    let messages: Vec<String> = context.log().into_iter().map(|line| line.message).collect();
    assert_eq!(messages, ["a", "b", "c"]);
}
