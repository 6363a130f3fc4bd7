//! Memory for what waits for a client that reads it slowly or not at all.
//!
//! How much there is for all of them, and how long one waits for it, is the business of `http`, which
//! has the bodies. Here is what a result needs of it: a part for as long as its answer lasts.

use std::any::Any;
use std::io::{self, Write};

use async_trait::async_trait;
use serde::Serialize;

/// The memory.
#[async_trait]
pub trait Readers: Send + Sync {
    /// A part for `bytes`, which ends with what is returned; none if there is no room in time.
    async fn take(&self, bytes: u64) -> Option<Part>;
}

/// A part, given back when it is dropped.
pub type Part = Box<dyn Any + Send>;

/// The length of a message's result as it is sent.
pub(super) fn length(result: &impl Serialize) -> u64 {
    let mut length = Length(0);
    // Nothing that is counted is refused.
    let _counted = serde_json::to_writer(&mut length, result);
    length.0
}

struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
