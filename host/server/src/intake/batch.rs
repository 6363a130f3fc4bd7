//! A batch as a caller submits it: tasks that are each read by the rules of `task`.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::intake::callback::CallbackJson;
use crate::intake::fingerprint::fingerprint;
use crate::intake::json::{Whole, parse};
use crate::intake::refused::Refused;
use crate::intake::task::TaskRequest;
use cofferdam::queue::BatchSubmission;
use cofferdam_domain::batch::BATCH_TASKS_MAX;

/// The same as a number of the API.
const TASKS_MAX: u64 = BATCH_TASKS_MAX as u64;

/// The body of `POST /v1/tasks/batch`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest<'a> {
    /// The tasks, each with the fields of `POST /v1/tasks`.
    #[serde(borrow)]
    #[schema(value_type = Vec<TaskRequest>, min_items = 1, max_items = 10_000)]
    tasks: Tasks<'a>,
    /// How many of the tasks may be under way at once, over all hosts; any number if absent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 10_000)]
    parallelism: Option<Whole<1, TASKS_MAX>>,
    /// Whom the end of the batch is told: once, when its last task is final. `on` means how the worst of its tasks
    /// ended: `failed` if one of them failed, else `cancelled` if one was, else `completed`.
    callback: Option<CallbackJson>,
}

/// Why a batch is refused.
#[derive(Debug)]
pub(crate) enum BatchRefused {
    /// Because of its own fields.
    Itself(Refused),
    /// Because of the task at this place, from 0.
    Task(usize, Refused),
}

impl BatchSource {
    /// Reads a batch.
    pub(crate) fn read(&self) -> Result<BatchSubmission, BatchRefused> {
        let request: BatchRequest<'_> = parse(&self.body).map_err(BatchRefused::Itself)?;
        let callback = request.callback.map(CallbackJson::into_callback);
        let callback = callback.transpose().map_err(BatchRefused::Itself)?;
        let mut tasks = Vec::with_capacity(request.tasks.0.len());
        for (place, text) in request.tasks.0.into_iter().enumerate() {
            // A part of the whole body, so that its input is not copied.
            let text = self.body.slice_ref(text.get().as_bytes());
            let task = parse::<TaskRequest<'_>>(&text).and_then(|task| task.into_submission(&text));
            tasks.push(task.map_err(|refused| BatchRefused::Task(place, refused))?);
        }
        Ok(BatchSubmission {
            tasks,
            parallelism: request
                .parallelism
                .and_then(|most| u32::try_from(most.0).ok()),
            callback,
            idempotency_key: self.idempotency_key.clone(),
            fingerprint: fingerprint(&self.body),
        })
    }
}

/// What a batch is read from.
#[derive(Debug)]
pub(crate) struct BatchSource {
    /// The request's body.
    pub(crate) body: Bytes,
    /// The key that came with it.
    pub(crate) idempotency_key: Option<String>,
}

/// The texts of the tasks: at least one, and no more than a batch may have.
#[derive(Debug)]
struct Tasks<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Tasks<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Tasks<'a>, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Tasks<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of 1 to {BATCH_TASKS_MAX} tasks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tasks<'de>, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<&RawValue>()? {
                    if texts.len() == BATCH_TASKS_MAX {
                        return Err(de::Error::invalid_length(texts.len() + 1, &self));
                    }
                    texts.push(text);
                }
                match texts.is_empty() {
                    true => Err(de::Error::invalid_length(0, &self)),
                    false => Ok(Tasks(texts)),
                }
            }
        }
        input.deserialize_seq(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::refused::Kind;

    fn read(body: &str) -> Result<BatchSubmission, BatchRefused> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let idempotency_key = None;
        BatchSource {
            body,
            idempotency_key,
        }
        .read()
    }

    #[test]
    fn a_task_of_a_batch_is_the_same_as_one_alone() {
        let alone = r#"{"module":"m","input":[1, 2],"priority":"high"}"#;
        let batch = read(&format!(
            r#"{{"tasks":[{alone}, {alone}],"parallelism":2}}"#
        ))
        .unwrap();
        let body = Bytes::from_static(alone.as_bytes());
        let task = parse::<TaskRequest<'_>>(&body).unwrap();
        let task = task.into_submission(&body).unwrap();
        for other in &batch.tasks {
            assert_eq!(other.input, task.input);
            assert_eq!(other.priority, task.priority);
            assert_eq!(other.fingerprint, task.fingerprint);
        }
        assert_eq!((batch.tasks.len(), batch.parallelism), (2, Some(2)));
    }

    #[test]
    fn refusals_say_which_task() {
        let body = r#"{"tasks":[{"module":"m"},{"module":"m","limits":{"timeout_ms":0}}]}"#;
        let Err(BatchRefused::Task(1, refused)) = read(body) else {
            panic!("the second is refused");
        };
        let mistake = refused.expect_mistake();
        assert_eq!(mistake.field.as_deref(), Some("limits.timeout_ms"));
        let many = vec![r#"{"module":"m"}"#; BATCH_TASKS_MAX + 1].join(",");
        let many = format!(r#"{{"tasks":[{many}]}}"#);
        for (body, kind, mentions) in [
            (r#"{"tasks":[]}"#, Kind::Field, "1 to 10000"),
            (many.as_str(), Kind::Field, "1 to 10000"),
            (r#"{"tasks":{}}"#, Kind::Field, "1 to 10000"),
            (
                r#"{"tasks":[{"module":"m"}],"parallelism":0}"#,
                Kind::Field,
                "from 1 to 10000",
            ),
            (
                r#"{"tasks":[{"module":"m"}],"callback":{"url":"ftp://a.example/"}}"#,
                Kind::Field,
                "http://",
            ),
            (
                r#"{"tasks":[{"module":"m"}],"paralelism":1}"#,
                Kind::Field,
                "did you mean",
            ),
        ] {
            let Err(BatchRefused::Itself(refused)) = read(body) else {
                panic!("{} is refused", &body[..20]);
            };
            let mistake = refused.expect_mistake();
            assert_eq!(mistake.kind, kind, "{mistake}");
            assert!(mistake.detail.contains(mentions), "{mistake}");
        }
    }
}
