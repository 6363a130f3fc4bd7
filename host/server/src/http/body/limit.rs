//! The limits on a body's size and time.

use std::time::Duration;

use crate::http::Services;
use crate::http::error::ApiError;
use crate::http::room::Room;

/// A limit on a body, and its refusal.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimit {
    /// The most bytes, decoded.
    pub(crate) bytes: u64,
    /// The code of the refusal.
    pub(crate) code: &'static str,
    /// The name of what is too large.
    pub(crate) what: &'static str,
    /// How long it may take.
    pub(crate) pace: BodyPace,
    /// The room for it in memory.
    pub(crate) room: Room,
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyPace {
    /// For each piece.
    pub(crate) idle: Duration,
    /// In all, beside the time it needs at …
    pub(crate) total: Duration,
    /// … this pace.
    pub(crate) bytes_per_second_min: u64,
}

impl BodyLimit {
    /// The limit of `bytes` on `what`, with the refusal's `code`.
    pub(crate) fn new(
        services: &Services,
        bytes: u64,
        code: &'static str,
        what: &'static str,
    ) -> BodyLimit {
        let config = &services.config;
        BodyLimit {
            bytes,
            code,
            what,
            pace: BodyPace {
                idle: config.body_idle_timeout,
                total: config.body_timeout,
                bytes_per_second_min: config.bytes_per_second_min,
            },
            room: services.room.clone(),
        }
    }

    /// The refusal.
    pub(super) fn exceeded(&self) -> ApiError {
        ApiError::too_large(self.code, self.what, self.bytes)
    }
}

impl BodyPace {
    /// How long the next piece may take, after `read_bytes` in `elapsed`.
    pub(super) fn next(&self, elapsed: Duration, read_bytes: u64) -> Duration {
        let millis = read_bytes.saturating_mul(1000) / self.bytes_per_second_min.max(1);
        let in_all = self.total.saturating_add(Duration::from_millis(millis));
        self.idle.min(in_all.saturating_sub(elapsed))
    }
}
