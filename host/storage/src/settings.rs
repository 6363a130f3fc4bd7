//! `[storage]`: where things are kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::seal::EncryptionKeys;

/// The section.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The data directory; created if absent, owned by one host at a time.
    pub data: PathBuf,
    /// The database that hosts share; the one in the data directory if absent.
    pub url: Option<String>,
    /// The bucket for large bytes of a shared database.
    pub bucket: BucketConfig,
    /// The keys with which things are sealed: the first seals, all of them open.
    pub encryption_keys: EncryptionKeys,
    /// A file that has them; none if empty.
    pub encryption_keys_file: PathBuf,
    /// Bytes of spooled inputs and artifacts; above this new ones are refused.
    pub files_budget_bytes: u64,
    /// Bytes of this host's copies of shared inputs and artifacts; the least recently used go.
    pub cache_bytes: u64,
    /// Above this many bytes in the database no task is accepted; above a quarter more none is
    /// claimed. Ends of attempts are always recorded.
    pub database_budget_bytes: u64,
    /// With less than this free on the disk the host is not ready.
    pub disk_free_min_bytes: u64,
    /// How long one read of the database may take.
    pub read_timeout: Duration,
    /// Which tasks a claim may take, and when it is whose turn.
    pub claims: ClaimRules,
}

/// What an operator decides about claims. The hosts of a database should agree in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules {
    /// Attempts of the tasks of one module that may be under way, over all hosts; 0 for any number.
    pub running_per_module_max: u32,
    /// The same for the tasks of one tenant for whom nothing else was said.
    pub running_per_tenant_max: u32,
    /// After how long a task of low priority no longer waits for every task of a higher one; zero for
    /// never.
    pub ageing: Duration,
    /// How long a task waits for the worker that it prefers before any other takes it.
    pub preferred_grace: Duration,
}

impl Default for ClaimRules {
    fn default() -> ClaimRules {
        ClaimRules {
            running_per_module_max: 0,
            running_per_tenant_max: 0,
            ageing: Duration::from_secs(60),
            preferred_grace: Duration::from_secs(5),
        }
    }
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig {
            data: PathBuf::from("cofferdam-data"),
            url: None,
            bucket: BucketConfig::default(),
            encryption_keys: EncryptionKeys::default(),
            encryption_keys_file: PathBuf::new(),
            files_budget_bytes: 10 * 1024 * 1024 * 1024,
            cache_bytes: 4 * 1024 * 1024 * 1024,
            database_budget_bytes: 10 * 1024 * 1024 * 1024,
            disk_free_min_bytes: 8 * 1024 * 1024,
            read_timeout: Duration::from_secs(5),
            claims: ClaimRules::default(),
        }
    }
}

/// A bucket that speaks S3's protocol, and the right to use it.
#[derive(Clone, Debug, Default)]
pub struct BucketConfig {
    /// Which bucket; large bytes are in the database if absent.
    pub place: Option<BucketPlace>,
    /// Where the service answers; Amazon's own if absent.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// The name of a key.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<Secret>,
    /// Variables of the environment whose names begin with `AWS_`. What is set above wins.
    pub environment: Vec<(String, Secret)>,
}

/// The name of a bucket, and what the name of every object in it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    name: String,
    prefix: String,
}

impl BucketPlace {
    /// Reads `s3://NAME` or `s3://NAME/PREFIX`.
    pub fn parse(url: &str) -> Option<BucketPlace> {
        let rest = url.strip_prefix("s3://")?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = (3..=63).contains(&name.len()) && name.bytes().all(is_plain);
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain);
        let is_prefix =
            prefix.is_empty() || (prefix.len() <= 512 && prefix.split('/').all(is_part));
        (is_name && is_prefix).then(|| BucketPlace {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// The bucket.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The beginning of its objects' names; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.name, self.prefix)
    }
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for whoever has to send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_a_url() {
        for url in ["s3://bucket", "s3://bucket/a", "s3://my.bucket-1/a/b_c"] {
            assert_eq!(BucketPlace::parse(url).unwrap().to_string(), url);
        }
        let slash = BucketPlace::parse("s3://bucket/").unwrap();
        assert_eq!((slash.name(), slash.prefix()), ("bucket", ""));
        for bad in [
            "",
            "bucket",
            "s3://",
            "s3://b",
            "s3://bucket/../x",
            "s3://bucket//x",
            "s3://a b c",
            "gs://bucket",
        ] {
            assert_eq!(BucketPlace::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = StorageConfig {
            bucket: BucketConfig {
                secret_access_key: Some(Secret::new("hunter2")),
                environment: vec![("AWS_SESSION_TOKEN".to_owned(), Secret::new("hunter2"))],
                ..BucketConfig::default()
            },
            ..StorageConfig::default()
        };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
