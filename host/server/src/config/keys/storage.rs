//! The keys of `[storage]`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Key, Kind, TIB, millis, shown};
use cofferdam_storage::settings::{BucketPlace, EncryptionKeys, Secret};

pub(super) fn keys() -> Vec<Key> {
    let mut keys = places();
    keys.extend(bucket());
    keys.extend(key_of_bucket());
    keys.extend(encryption());
    keys.extend(bounds());
    keys
}

/// The form of each key.
pub(crate) const ENCRYPTION_KEYS_FORM: &str =
    "at most 16 different keys, each of 32 bytes in base64 or as 64 hexadecimal digits";

fn encryption() -> Vec<Key> {
    vec![
        Key {
            section: "storage",
            name: "encryption_keys",
            doc: "Keys with which what is kept is sealed: the first seals, all of them open. They are never shown. Without a key nothing is sealed, and no secrets are kept.",
            kind: Kind::Secrets {
                form: ENCRYPTION_KEYS_FORM,
                count: |config| config.storage.encryption_keys.len(),
                set: |config, words| {
                    let keys = EncryptionKeys::parse(words.iter().copied());
                    keys.map(|keys| config.storage.encryption_keys = keys)
                        .is_some()
                },
            },
        },
        path!(
            "storage",
            "encryption_keys_file",
            "A file that has those keys in place of encryption_keys, one a line; none if empty.",
            storage.encryption_keys_file
        ),
    ]
}

fn places() -> Vec<Key> {
    vec![
        Key {
            section: "storage",
            name: "data",
            doc: "The data directory; created if absent, owned by one host at a time.",
            kind: Kind::Text {
                form: "a path",
                get: |config| config.storage.data.display().to_string(),
                set: |config, text| {
                    config.storage.data = PathBuf::from(text);
                    !text.is_empty()
                },
            },
        },
        Key {
            section: "storage",
            name: "url",
            doc: "The PostgreSQL database that hosts share, as postgres://user:password@host:port/name; the one in the data directory if empty. sslmode=require encrypts and checks the server's certificate, against sslrootcert=FILE if that is there.",
            kind: Kind::Text {
                form: "a URL",
                get: |config| {
                    let url = config.storage.url.as_deref().unwrap_or_default();
                    without_password(url)
                },
                set: |config, text| {
                    config.storage.url = (!text.is_empty()).then(|| text.to_owned());
                    text.is_empty() || is_postgres(text)
                },
            },
        },
    ]
}

fn bucket() -> Vec<Key> {
    vec![
        Key {
            section: "storage",
            name: "blobs",
            doc: "The bucket for large bytes of a shared database, as s3://bucket/prefix; in the database if empty. All hosts of a database name the same one.",
            kind: Kind::Text {
                form: "s3://bucket or s3://bucket/prefix",
                get: |config| shown(config.storage.bucket.place.as_ref()),
                set: |config, text| {
                    config.storage.bucket.place = BucketPlace::parse(text);
                    text.is_empty() || config.storage.bucket.place.is_some()
                },
            },
        },
        Key {
            section: "storage",
            name: "blobs_endpoint",
            doc: "Where the bucket's service answers; AWS_ENDPOINT_URL or Amazon's own if empty. One that begins with http:// is spoken to without encryption.",
            kind: Kind::Text {
                form: "a URL",
                get: |config| shown(config.storage.bucket.endpoint.as_ref()),
                set: |config, text| {
                    config.storage.bucket.endpoint = unless_empty(text);
                    text.is_empty() || text.starts_with("http://") || text.starts_with("https://")
                },
            },
        },
        Key {
            section: "storage",
            name: "blobs_region",
            doc: "The bucket's region; AWS_REGION or us-east-1 if empty.",
            kind: Kind::Text {
                form: "a name",
                get: |config| shown(config.storage.bucket.region.as_ref()),
                set: |config, text| {
                    config.storage.bucket.region = unless_empty(text);
                    true
                },
            },
        },
    ]
}

fn key_of_bucket() -> Vec<Key> {
    vec![
        Key {
            section: "storage",
            name: "blobs_access_key_id",
            doc: "The name of a key for the bucket; AWS_ACCESS_KEY_ID, or whatever else the AWS_ variables or the machine's role give, if empty.",
            kind: Kind::Text {
                form: "a text",
                get: |config| shown(config.storage.bucket.access_key_id.as_ref()),
                set: |config, text| {
                    config.storage.bucket.access_key_id = unless_empty(text);
                    true
                },
            },
        },
        Key {
            section: "storage",
            name: "blobs_secret_access_key",
            doc: "That key; AWS_SECRET_ACCESS_KEY if empty. It is never shown.",
            kind: Kind::Text {
                form: "a text",
                get: |config| {
                    let secret = config.storage.bucket.secret_access_key.as_ref();
                    shown(secret.map(|_| "***").as_ref())
                },
                set: |config, text| {
                    config.storage.bucket.secret_access_key = unless_empty(text).map(Secret::new);
                    true
                },
            },
        },
    ]
}

fn bounds() -> Vec<Key> {
    vec![
        number!("storage", "files_budget_bytes", (1 << 20)..=(1024 * TIB), "Space for spooled inputs, artifacts and files of code; on the disk each file and folder counts in whole blocks of 4096 bytes. Where hosts share a database, it is for all large bytes of all hosts. Above it new ones are refused.", storage.files_budget_bytes: u64),
        number!("storage", "cache_bytes", (64 << 20)..=(1024 * TIB), "Disk space for this host's copies of inputs, artifacts and files of code where hosts share a database; the least recently used go. A larger input is refused.", storage.cache_bytes: u64),
        number!("storage", "database_budget_bytes", (16 << 20)..=(1024 * TIB), "Bytes of the database, which has tasks and their results. Above it no task is accepted, and at a quarter more none begins.", storage.database_budget_bytes: u64),
        number!("storage", "disk_free_min_bytes", 0..=TIB, "With less than this free on the disk, `/readyz` reports that it is full.", storage.disk_free_min_bytes: u64),
        millis!(
            "storage",
            "read_timeout_ms",
            10..=600_000,
            "How long one read of the database may take.",
            storage.read_timeout
        ),
    ]
}

/// Whether a text is the URL of a PostgreSQL database.
fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// A URL that may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _password)) => format!("{user}:***@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    format!("{scheme}://{shown}{path}")
}

fn unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
