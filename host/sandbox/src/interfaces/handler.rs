//! `cofferdam:task/handler`: calling a task module.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::InstancePre;

pub(crate) use super::generated::Task;
use super::generated::TaskPre;
use super::generated::exports::cofferdam::task::handler;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::module::Descriptor;
use cofferdam_domain::said;

/// A task module, linked and its exports found.
pub(crate) struct Handler<T: 'static>(TaskPre<T>);

/// The failure that the module itself reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The input can never be processed.
    InvalidInput(String),
    /// The work would fail again.
    Permanent(String),
    /// The work may succeed another time.
    Transient(String),
}

impl<T: Send> Handler<T> {
    /// Checks that the component exports the interface.
    pub(crate) fn new(pre: InstancePre<T>) -> wasmtime::Result<Handler<T>> {
        Ok(Handler(TaskPre::new(pre)?))
    }

    /// A fresh instance.
    pub(crate) async fn instantiate(&self, store: &mut Store<T>) -> wasmtime::Result<Task> {
        self.0.instantiate_async(store).await
    }
}

/// Calls `run`.
pub(crate) async fn run<T: Send>(
    task: &Task,
    store: &mut Store<T>,
    input: &Payload,
) -> wasmtime::Result<Result<Payload, Refusal>> {
    let given = handler::PayloadParam {
        content_type: &input.content_type,
        body: &input.body,
    };
    let answer = task.cofferdam_task_handler().call_run(store, given).await?;
    Ok(match answer {
        Ok(output) => Ok(Payload {
            content_type: share(output.content_type, &input.content_type),
            body: Bytes::from(output.body),
        }),
        Err(handler::Failure::InvalidInput(why)) => Err(Refusal::InvalidInput(why)),
        Err(handler::Failure::Permanent(why)) => Err(Refusal::Permanent(why)),
        Err(handler::Failure::Transient(why)) => Err(Refusal::Transient(why)),
    })
}

/// Calls `describe`.
pub(crate) async fn describe<T: Send>(
    task: &Task,
    store: &mut Store<T>,
) -> wasmtime::Result<Descriptor> {
    let told = task.cofferdam_task_handler().call_describe(store).await?;
    Ok(Descriptor {
        summary: said::cut(told.summary, said::SUMMARY_BYTES_MAX),
        input_schema: told.input_schema,
        output_schema: told.output_schema,
    })
}

/// Most outputs have the media type of their input and share its text. A text that is not a media
/// type counts as an unknown type.
fn share(content_type: String, known: &Arc<str>) -> Arc<str> {
    if *content_type == **known {
        return Arc::clone(known);
    }
    match said::media_type(&content_type) {
        Some(media_type) => media_type.into(),
        None => said::OCTET_STREAM.into(),
    }
}
