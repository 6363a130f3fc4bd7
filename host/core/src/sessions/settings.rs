//! `[sessions]`: interpreters that callers keep. Their number is set with the pool's fields.

use std::time::Duration;

/// The section.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// How long an idle session is kept, unless its caller sets another time.
    pub idle_timeout: Duration,
    /// The longest time that a caller may set.
    pub idle_timeout_max: Duration,
    /// How long a session is kept at most, however often it is called.
    pub lifetime: Duration,
}

impl Default for SessionsConfig {
    fn default() -> SessionsConfig {
        SessionsConfig {
            idle_timeout: Duration::from_secs(10 * 60),
            idle_timeout_max: Duration::from_secs(60 * 60),
            lifetime: Duration::from_secs(24 * 60 * 60),
        }
    }
}
