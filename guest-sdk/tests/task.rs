//! What a task's author relies on, tested from bytes to bytes.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use cofferdam_guest::testing::{self, Context};
use cofferdam_guest::{Failure, Json, OrFail, Payload, ResultExt, Task, context, task};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resize {
    sizes: Vec<Size>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Clone, Deserialize, Serialize, JsonSchema)]
struct Size {
    width: u32,
}

/// Doubles every size,
/// whatever its name.
///
/// This paragraph is not part of the summary.
#[task]
fn resize(input: Resize) -> Result<Vec<Size>, Failure> {
    input
        .name
        .as_deref()
        .unwrap_or("a")
        .chars()
        .next()
        .or_invalid_input("an empty name")?;
    Ok(input
        .sizes
        .iter()
        .map(|size| Size {
            width: size.width * 2,
        })
        .collect())
}

#[test]
fn json_goes_in_and_out() {
    let output = testing::run::<resize>(r#"{"sizes": [{"width": 3}]}"#).unwrap();
    assert_eq!(output, Payload::json(r#"[{"width":6}]"#));
}

#[test]
fn the_descriptor_has_the_first_paragraph_and_both_schemas() {
    let described = resize::describe();
    assert_eq!(described.summary, "Doubles every size, whatever its name.");
    let input: serde_json::Value = serde_json::from_str(&described.input_schema.unwrap()).unwrap();
    assert_eq!(input["required"], serde_json::json!(["sizes"]));
    assert_eq!(input["additionalProperties"], serde_json::json!(false));
    let output: serde_json::Value =
        serde_json::from_str(&described.output_schema.unwrap()).unwrap();
    assert_eq!(output["type"], "array");
}

#[test]
fn an_input_that_does_not_fit_is_refused_with_path_and_place() {
    let failure = testing::run::<resize>(r#"{"sizes": [{"width": 3}, {"width": "wide"}]}"#);
    assert_eq!(
        failure,
        Err(Failure::invalid_input(
            "the input does not fit at `sizes[1].width`: invalid type: string \"wide\", \
             expected u32 at line 1 column 41"
        ))
    );
}

#[test]
fn text_after_the_value_is_refused() {
    let failure = testing::run::<resize>(r#"{"sizes": []} {}"#).unwrap_err();
    assert!(
        failure.message().contains("trailing characters"),
        "{failure}"
    );
}

#[test]
fn an_empty_input_is_named_as_such() {
    let failure = testing::run::<resize>("").unwrap_err();
    assert!(
        failure.message().starts_with("the input is empty"),
        "{failure}"
    );
}

#[test]
fn another_content_type_is_named_where_the_text_is_not_json() {
    let failure = testing::run::<resize>(Payload::new("text/csv", "a,b")).unwrap_err();
    assert!(
        failure
            .message()
            .starts_with("the input (text/csv) is not JSON"),
        "{failure}"
    );
}

#[test]
fn the_function_stays_an_ordinary_function() {
    let sizes = resize(Resize {
        sizes: vec![Size { width: 1 }],
        name: None,
    })
    .unwrap();
    assert_eq!(sizes[0].width, 2);
}

mod raw {
    use super::*;

    #[task(summary = "Turns bytes around")]
    pub(super) fn reverse(mut input: Payload) -> Payload {
        input.body.reverse();
        input
    }
}

#[test]
fn raw_bytes_keep_their_content_type_and_have_no_schema() {
    let output = testing::run::<raw::reverse>(Payload::new("image/x", [1, 255])).unwrap();
    assert_eq!(output, Payload::new("image/x", [255, 1]));
    let described = raw::reverse::describe();
    assert_eq!(described.summary, "Turns bytes around");
    assert_eq!(
        (described.input_schema, described.output_schema),
        (None, None)
    );
}

mod unschemed {
    use super::*;

    #[derive(Deserialize, Serialize)]
    pub(super) struct Foreign {
        x: i32,
    }

    type Answer = Result<Json<Foreign>, Failure>;

    #[task]
    pub(super) fn negate(Json(input): Json<Foreign>) -> Answer {
        Ok(Json(Foreign { x: -input.x }))
    }
}

#[test]
fn json_without_a_schema_and_an_alias_of_result_work() {
    assert_eq!(
        testing::run::<unschemed::negate>(r#"{"x":1}"#),
        Ok(Payload::json(r#"{"x":-1}"#))
    );
    assert_eq!(unschemed::negate::describe().summary, "negate");
    assert_eq!(unschemed::negate::describe().output_schema, None);
}

mod nothing {
    use super::*;

    #[task]
    pub(super) fn nothing(_input: ()) {}
}

#[test]
fn a_task_may_take_and_return_nothing() {
    assert_eq!(
        testing::run::<nothing::nothing>(""),
        Ok(Payload::json("null"))
    );
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no width")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn parse(text: &str) -> Result<u8, Outer> {
    text.parse().map_err(Outer)
}

const CHAIN: &str = "no width: invalid digit found in string";

#[test]
fn errors_become_failures_of_the_chosen_kind_and_keep_their_sources() {
    let unclassified = || -> Result<u8, Failure> { Ok(parse("x")?) };
    assert_eq!(unclassified(), Err(Failure::permanent(CHAIN)));
    assert_eq!(parse("x").transient(), Err(Failure::transient(CHAIN)));
    assert_eq!(parse("x").permanent(), Err(Failure::permanent(CHAIN)));
    assert_eq!(
        parse("x").invalid_input(),
        Err(Failure::invalid_input(CHAIN))
    );
    let explained = format!("the header: {CHAIN}");
    assert_eq!(
        parse("x").or_transient("the header"),
        Err(Failure::Transient(explained))
    );
    assert_eq!(
        Err::<(), _>("busy").transient(),
        Err(Failure::transient("busy"))
    );
    assert_eq!(
        None::<()>.or_transient("not yet"),
        Err(Failure::transient("not yet"))
    );
}

mod own_error {
    use super::*;

    pub(super) struct Busy;

    impl From<Busy> for Failure {
        fn from(_: Busy) -> Self {
            Failure::transient("busy")
        }
    }

    #[task]
    pub(super) fn always_busy(_input: ()) -> Result<u8, Busy> {
        Err(Busy)
    }
}

#[test]
fn an_error_type_of_the_author_converts() {
    assert_eq!(
        testing::run::<own_error::always_busy>(""),
        Err(Failure::transient("busy"))
    );
}

mod patient {
    use super::*;

    #[task]
    pub(super) fn wait(rounds: u32) -> Result<(String, u32, u64), Failure> {
        for round in 0..rounds {
            if context::cancelled() {
                return Err(Failure::permanent(format!("cancelled in round {round}")));
            }
            context::progress(
                f64::from(round + 1) / f64::from(rounds),
                format!("round {round}"),
            );
        }
        Ok((
            context::task_id(),
            context::attempt(),
            context::remaining().as_secs(),
        ))
    }
}

#[test]
fn the_context_answers_and_keeps_progress() {
    let context = Context::new()
        .task_id("t-1")
        .attempt(3)
        .remaining(Duration::from_secs(9));
    assert_eq!(
        context.run::<patient::wait>("2"),
        Ok(Payload::json(r#"["t-1",3,9]"#))
    );
    let fractions: Vec<f64> = context
        .progress()
        .iter()
        .map(|report| report.fraction)
        .collect();
    assert_eq!(fractions, [0.5, 1.0]);
}

#[test]
fn a_cancel_reaches_the_task_where_the_test_says() {
    let context = Context::new().cancelled_after(2);
    let failure = context.run::<patient::wait>("5").unwrap_err();
    assert_eq!(failure.message(), "cancelled in round 2");
    assert_eq!(context.progress().len(), 2);
}

#[test]
fn outside_a_context_the_functions_still_answer() {
    assert_eq!(patient::wait(1).unwrap(), (String::new(), 1, 30));
}

mod keeping {
    use cofferdam_guest::{Failure, Payload, dirs, task};

    /// Counts the bytes of a text, keeps it, and leaves notes.
    #[task]
    pub(super) fn keep(input: Payload) -> Result<usize, Failure> {
        std::fs::write(dirs::work().join("draft"), "scratch")?;
        std::fs::create_dir_all(dirs::out().join("notes"))?;
        std::fs::write(dirs::out().join("notes/copy.txt"), &input.body)?;
        Ok(input.body.len())
    }
}

mod counting {
    use cofferdam_guest::{Failure, Unread, task};

    #[task]
    pub(super) fn count(input: Unread) -> Result<u64, Failure> {
        Ok(std::io::copy(&mut input.reader()?, &mut std::io::sink())?)
    }
}

#[test]
fn a_task_has_its_own_directories_in_a_test() {
    let large = "x".repeat(5 << 20);
    let context = Context::new().large_input(&large);
    // The host hands over an empty body then; the task sees all of it.
    let output = context.run::<keeping::keep>(Payload::bytes("")).unwrap();
    assert_eq!(output, Payload::json(large.len().to_string()));
    assert_eq!(context.output("notes/copy.txt").unwrap(), large.as_bytes());
    assert_eq!(context.output("draft"), None);
    let streamed = context.run::<counting::count>(Payload::bytes("")).unwrap();
    assert_eq!(streamed, Payload::json(large.len().to_string()));
    let small = Context::new();
    assert_eq!(
        small.run::<counting::count>("12345"),
        Ok(Payload::json("5"))
    );
    assert_eq!(small.output("notes/copy.txt"), None);
}
