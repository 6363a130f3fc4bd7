//! A task whose input is the body as it comes: any content type, any size up to the spool's
//! limit, in constant memory.
//!
//! The body stays in memory up to the inline limit. Beyond it everything goes to the spool, which
//! is committed before the task that refers to it is submitted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::http::body::{BodyLimit, BodyReader};
use crate::http::error::ApiError;
use crate::http::json::{EXACT_MAX, Time};
use crate::http::path::parse_task_id;
use crate::http::query::Query;
use crate::http::run::pairs;
use crate::http::tasks::submission::{DELAY_MS_MAX, check_words, dedup_key, priority};
use crate::http::tasks::{one, shorten};
use crate::http::{Services, guest};
use cofferdam::queue::{QueueError, Submission, Submitted};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::Input;
use cofferdam_storage::StorageError;
use cofferdam_storage::files::Spooled;

/// Reads the rest of the query and the body, and submits the task.
pub(super) async fn submit(
    services: &Services,
    caller: Caller,
    parts: &Parts,
    query: Query<'_>,
    module: &str,
    idempotency_key: Option<String>,
    body: Body,
) -> Result<Submitted, ApiError> {
    let mut submission = from_query(query, module)?;
    submission.idempotency_key = idempotency_key;
    let content_type = guest::content_type(&parts.headers);
    let mut hasher = blake3::Hasher::new();
    hash_query(&mut hasher, parts.uri.query().unwrap_or_default());
    hasher.update(content_type.as_bytes()).update(b"\0");
    let bytes = services.config.spooled_body_bytes;
    let limit = BodyLimit::new(services, bytes, "body_too_large", "the input");
    let mut reader = BodyReader::new(&parts.headers, body, limit)?;
    let stored = read(services, &mut reader, &mut hasher).await?;
    submission.fingerprint = shorten(hasher.finalize());
    match stored {
        Stored::Memory(body) => {
            submission.input = Input::Inline(Payload {
                content_type: content_type.into(),
                body,
            });
            one(services.queue.submit(&caller, vec![submission]).await?)
        }
        Stored::Spool(spooled) => {
            submission.input = Input::Spooled {
                content_type: content_type.to_owned(),
                blob: spooled.blob(),
                size_bytes: spooled.size_bytes(),
            };
            submit_spooled(services, caller, submission, spooled).await
        }
    }
}

/// Submits a task with a spooled input. This goes to its end even where the caller goes away,
/// because only the answer tells whether anything refers to the blob.
async fn submit_spooled(
    services: &Services,
    caller: Caller,
    submission: Submission,
    spooled: Spooled,
) -> Result<Submitted, ApiError> {
    let queue = Arc::clone(&services.queue);
    let (reply, answer) = oneshot::channel();
    services.shutdown.spawn("submission", async move {
        let submitted = queue.submit(&caller, vec![submission]).await;
        match &submitted {
            // Nothing refers to the blob of a task whose place an earlier one takes.
            Ok(submitted) if !submitted.iter().all(|one| matches!(one, Submitted::New(_))) => {}
            // Whether a lost commit refers to it is unknown; the sweep at the next start decides.
            Ok(_) | Err(QueueError::Storage(StorageError::Unknown(_))) => spooled.stay(),
            Err(_) => {}
        }
        // Whoever asked may have gone away.
        let _unheard = reply.send(submitted);
    });
    let submitted = answer.await.map_err(ApiError::internal)?;
    one(submitted?)
}

/// Where a body ended up.
enum Stored {
    Memory(Bytes),
    Spool(Spooled),
}

async fn read(
    services: &Services,
    reader: &mut BodyReader,
    hasher: &mut blake3::Hasher,
) -> Result<Stored, ApiError> {
    let inline = services.config.inline_body_bytes;
    let mut head = BytesMut::new();
    let mut held = services.room.none();
    if reader.announced_bytes().is_none_or(|bytes| bytes <= inline) {
        loop {
            let Some(chunk) = reader.chunk().await? else {
                return Ok(Stored::Memory(held.keep(head.freeze())));
            };
            hasher.update(&chunk);
            // What the buffer may double to.
            held.grow_to((head.len() + chunk.len()) as u64 * 2).await?;
            head.extend_from_slice(&chunk);
            if head.len() as u64 > inline {
                break;
            }
        }
    }
    let mut writer = services.files.spool().await?;
    if !head.is_empty() {
        writer.write(head.freeze()).await?;
    }
    drop(held);
    while let Some(chunk) = reader.chunk().await? {
        hasher.update(&chunk);
        writer.write(chunk).await?;
    }
    Ok(Stored::Spool(writer.commit().await?))
}

fn from_query(mut query: Query<'_>, module: &str) -> Result<Submission, ApiError> {
    let task_id = query.parsed("task_id", "a UUID", parse_task_id)?;
    let args = query.list("arg");
    let env = pairs(query.list("env"))?;
    check_words(&args, &env)?;
    let priority = priority(query.text("priority")?.as_deref())?;
    let delay = query.number("delay_ms", 0..=DELAY_MS_MAX)?;
    let run_at = query.parsed("run_at", "a time in RFC 3339", |text| {
        Time::parse(text).ok()
    })?;
    let dedup_key = query.text("dedup_key")?.map(dedup_key).transpose()?;
    let limits = LimitRequest {
        timeout: query
            .number("timeout_ms", 1..=EXACT_MAX)?
            .map(Duration::from_millis),
        cpu: query
            .number("cpu_ms", 1..=EXACT_MAX)?
            .map(Duration::from_millis),
        fuel: query.number("fuel", 1..=EXACT_MAX)?,
        memory_bytes: query.number("memory_bytes", 1..=EXACT_MAX)?,
        table_elements: query.number("table_elements", 0..=EXACT_MAX)?,
        disk_bytes: query.number("disk_bytes", 0..=EXACT_MAX)?,
        disk_files: query.number("disk_files", 0..=EXACT_MAX)?,
        output_bytes: query.number("output_bytes", 0..=EXACT_MAX)?,
    };
    let mut retry = RetryPolicy::default();
    let attempts = query.number("max_attempts", 1..=u64::from(RetryPolicy::ATTEMPTS_CEILING))?;
    if let Some(attempts) = attempts.and_then(|attempts| u32::try_from(attempts).ok()) {
        retry.max_attempts = attempts;
    }
    query.done()?;
    Ok(Submission {
        task_id,
        module: ModuleRef::parse(module)?,
        input: Input::empty(),
        args,
        env,
        priority,
        delay: Duration::from_millis(delay.unwrap_or(0)),
        run_at: run_at.map(|time| time.0),
        limits,
        retry,
        grants: Grants::none(),
        idempotency_key: None,
        dedup_key,
        metadata: "{}".to_owned(),
        fingerprint: [0; 16],
    })
}

/// Everything in the query but how long the caller waits for the answer.
fn hash_query(hasher: &mut blake3::Hasher, query: &str) {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "wait_ms" {
            hasher
                .update(name.as_bytes())
                .update(b"=")
                .update(value.as_bytes())
                .update(b"\0");
        }
    }
}
