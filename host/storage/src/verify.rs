//! Verifying the audit trail of a database, whether a host is using it or not. Nothing is written.

use crate::settings::StorageConfig;
use crate::trail::{Link, Order, Verified, Wanted, walk};
use crate::{StorageError, postgres, sqlite};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// Walks over the trail. `noted` is an entry as somebody noted it elsewhere. Blocks.
pub fn verify(config: &StorageConfig, noted: Option<Link>) -> Result<Verified, StorageError> {
    let wanted = |after| Wanted {
        order: Order::Oldest,
        after,
        ..Wanted::default()
    };
    match &config.url {
        None => {
            let reader = sqlite::TrailReader::open(&config.data)?;
            walk(noted, |after| reader.entries(&wanted(after), PAGE))
        }
        Some(url) => {
            let reader = postgres::TrailReader::open(url, config)?;
            walk(noted, |after| reader.entries(wanted(after), PAGE))
        }
    }
}
