//! A bucket that speaks S3's protocol: large bytes as objects.
//!
//! An object's name is random and is never used again, so that a late removal cannot hit bytes that were
//! put anew. Which bytes an object has is told by the database alone (`blobs`), and so is which objects
//! are to be removed. All traffic is on a thread of its own: encryption and signatures of long bytes
//! would hold up the database's. Every request has a time-out and is repeated a few times.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, MultipartUpload, ObjectStoreExt, RetryConfig};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::engine::Engine;
use super::fault::with_causes;
use crate::StorageError;
use crate::blobs::content::{Content, PIECE_BYTES, Pieces};
use crate::settings::BucketConfig;

/// Bytes put or fetched at once; further callers wait. Each holds a piece or two in memory.
const TRANSFERS_MAX: usize = 16;
/// How long one request may take; it moves a piece at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is repeated, and for how long.
const RETRIES_MAX: usize = 4;
const RETRIES_TIMEOUT: Duration = Duration::from_secs(15);
/// How long all of one object may take. It is shorter than bytes stay that nothing refers to, so nobody
/// removes an object while it is being put.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// What a bucket says of an error, in the log.
const CAUSE_CHARS_MAX: usize = 500;

/// The bucket.
pub(super) struct Bucket {
    objects: Arc<Objects>,
    engine: Engine,
}

struct Objects {
    store: AmazonS3,
    prefix: String,
    transfers: Semaphore,
}

impl Bucket {
    /// The bucket that the settings name, if they name one. Nothing is sent yet.
    pub(super) fn open(config: &BucketConfig) -> Result<Option<Bucket>, StorageError> {
        let Some(place) = &config.place else {
            return Ok(None);
        };
        // The client asks for the process's own; another part of it may have set it.
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES_MAX,
            retry_timeout: RETRIES_TIMEOUT,
        };
        let store = builder(config)
            .with_bucket_name(place.name())
            // Not every service has a request that removes several.
            .with_disable_bulk_delete(true)
            .with_retry(retry)
            .build()
            .map_err(|error| {
                let why = format!("the bucket {place} cannot be used: {}", told(&error));
                StorageError::Unavailable(why)
            })?;
        Ok(Some(Bucket {
            objects: Arc::new(Objects {
                store,
                prefix: place.prefix().to_owned(),
                transfers: Semaphore::new(TRANSFERS_MAX),
            }),
            engine: Engine::start("storage-bucket")?,
        }))
    }

    /// Puts bytes as an object.
    pub(super) async fn put(&self, object: Uuid, content: &Content) -> Result<(), StorageError> {
        let (objects, content) = (Arc::clone(&self.objects), content.clone());
        self.engine
            .run(async move { objects.put(object, &content).await })
            .await
    }

    /// Some bytes of an object.
    pub(super) async fn get(&self, object: Uuid, range: Range<u64>) -> Result<Bytes, StorageError> {
        let objects = Arc::clone(&self.objects);
        self.engine
            .run(async move { objects.get(object, range).await })
            .await
    }

    /// Removes an object. An absent one is not an error.
    pub(super) async fn remove(&self, object: Uuid) -> Result<(), StorageError> {
        let objects = Arc::clone(&self.objects);
        self.engine
            .run(async move { objects.remove(object).await })
            .await
    }

    /// Lets what goes on end. Blocks.
    pub(super) fn close(&self) {
        self.engine.stop();
    }
}

/// The settings win over the environment. Only an endpoint that is named as `http://` is spoken to
/// without encryption.
fn builder(config: &BucketConfig) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &config.environment {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value.reveal());
        }
    }
    let options = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT);
    builder = builder.with_client_options(options);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(id) = &config.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &config.secret_access_key {
        builder = builder.with_secret_access_key(secret.reveal());
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    builder.with_allow_http(is_plain)
}

impl Objects {
    fn path(&self, object: Uuid) -> Path {
        let name = object.simple().to_string();
        // Many beginnings of names spread the load over a service's parts.
        let (fan, _) = name.split_at(2);
        Path::from(match self.prefix.as_str() {
            "" => format!("{fan}/{name}"),
            prefix => format!("{prefix}/{fan}/{name}"),
        })
    }

    async fn put(&self, object: Uuid, content: &Content) -> Result<(), StorageError> {
        let _place = self.place().await?;
        let path = self.path(object);
        let mut pieces = content.pieces().await?;
        if content.size_bytes() <= PIECE_BYTES as u64 {
            let whole = pieces.next().await?.unwrap_or_default();
            let put = self.store.put(&path, whole.into()).await;
            return put.map(|_put| ()).map_err(|error| failed(&error));
        }
        let begun = self.store.put_multipart(&path).await;
        let mut upload = begun.map_err(|error| failed(&error))?;
        let sending = send(&mut *upload, pieces);
        let sent = tokio::time::timeout(TRANSFER_TIMEOUT, sending).await;
        let sent = sent.unwrap_or_else(|_elapsed| {
            let why = "an upload took too long".to_owned();
            Err(StorageError::BlobsUnavailable(why))
        });
        if sent.is_err()
            && let Err(error) = upload.abort().await
        {
            let cause = told(&error);
            tracing::warn!(cause, "parts of an upload were left in the bucket");
        }
        sent
    }

    async fn get(&self, object: Uuid, range: Range<u64>) -> Result<Bytes, StorageError> {
        let _place = self.place().await?;
        let got = self.store.get_range(&self.path(object), range).await;
        got.map_err(|error| {
            if matches!(error, object_store::Error::NotFound { .. }) {
                let hint = "an object is not in the bucket (do all hosts name the same one?)";
                return StorageError::Corrupt(format!("{hint}: {}", told(&error)));
            }
            failed(&error)
        })
    }

    async fn remove(&self, object: Uuid) -> Result<(), StorageError> {
        match self.store.delete(&self.path(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, StorageError> {
        let place = self.transfers.acquire().await;
        place.map_err(|_closed| StorageError::closed())
    }
}

async fn send(upload: &mut dyn MultipartUpload, mut pieces: Pieces) -> Result<(), StorageError> {
    while let Some(piece) = pieces.next().await? {
        let part = upload.put_part(piece.into());
        part.await.map_err(|error| failed(&error))?;
    }
    let completed = upload.complete().await;
    completed.map(|_put| ()).map_err(|error| failed(&error))
}

fn failed(error: &object_store::Error) -> StorageError {
    StorageError::BlobsUnavailable(told(error))
}

/// What the client says of an error; it names no secrets.
fn told(error: &object_store::Error) -> String {
    with_causes(error).chars().take(CAUSE_CHARS_MAX).collect()
}
