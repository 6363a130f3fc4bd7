//! A task whose input is the raw body: any content type, any size up to the spool's limit, in
//! constant memory.
//!
//! The body stays in memory up to the inline limit. Above it the whole body goes to the spool,
//! which is committed before the task that refers to it is submitted.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::http::body::{BodyLimit, BodyReader};
use crate::http::error::ApiError;
use crate::http::tasks::one;
use crate::http::{Services, guest};
use crate::intake::fingerprint::Fingerprint;
use crate::intake::query::Query;
use crate::intake::task::raw as intake;
use cofferdam::queue::{QueueError, Submission, Submitted};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName};
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
    let mut submission = intake::submission(query, module)?;
    submission.idempotency_key = idempotency_key;
    let content_type = guest::content_type(&parts.headers);
    let mut fingerprint = Fingerprint::default();
    fingerprint.add_query(parts.uri.query().unwrap_or_default());
    fingerprint.add(content_type.as_bytes());
    fingerprint.add(b"\0");
    let bytes = services.config.spooled_body_bytes;
    let limit = BodyLimit::new(services, bytes, "body_too_large", "the input");
    let mut reader = BodyReader::new(&parts.headers, body, limit)?;
    room_for(services, &caller, reader.announced_bytes()).await?;
    let stored = read(services, &mut reader, &mut fingerprint).await?;
    submission.fingerprint = fingerprint.finish();
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

/// Submits a task with a spooled input. It continues even if the caller goes away, because only the
/// answer tells whether anything refers to the blob.
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
            // If an earlier task is the answer, nothing refers to this blob.
            Ok(submitted) if !submitted.iter().all(|one| matches!(one, Submitted::New(_))) => {}
            // It is unknown whether a lost commit refers to it; the sweep at the next start
            // decides.
            Ok(_) | Err(QueueError::Storage(StorageError::Unknown(_))) => spooled.stay(),
            Err(_) => {}
        }
        // The caller may have gone away.
        let _unheard = reply.send(submitted);
    });
    let submitted = answer.await.map_err(ApiError::internal)?;
    one(submitted?)
}

/// Refuses a body before it is written if the caller's tenant has no room for it. Storage decides once more when
/// the task is stored.
async fn room_for(
    services: &Services,
    caller: &Caller,
    announced_bytes: Option<u64>,
) -> Result<(), ApiError> {
    let Some(limit) = caller.task_quotas().storage_bytes else {
        return Ok(());
    };
    let has = services.storage.holdings(caller.tenant()).await?;
    let then = has
        .kept_bytes
        .saturating_add(announced_bytes.unwrap_or_default());
    match then > limit {
        true => Err(OverQuota::of(QuotaName::Storage, limit, has.kept_bytes).into()),
        false => Ok(()),
    }
}

/// Where a body ended up.
enum Stored {
    Memory(Bytes),
    Spool(Spooled),
}

async fn read(
    services: &Services,
    reader: &mut BodyReader,
    fingerprint: &mut Fingerprint,
) -> Result<Stored, ApiError> {
    let inline = services.config.inline_body_bytes;
    let mut head = BytesMut::new();
    let mut held = services.room.none();
    if reader.announced_bytes().is_none_or(|bytes| bytes <= inline) {
        loop {
            let Some(chunk) = reader.chunk().await? else {
                return Ok(Stored::Memory(held.keep(head.freeze())));
            };
            fingerprint.add(&chunk);
            // The buffer may double to this.
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
        fingerprint.add(&chunk);
        writer.write(chunk).await?;
    }
    Ok(Stored::Spool(writer.commit().await?))
}
