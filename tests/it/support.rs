//! Shared parts of the tests: a real host on a free port, a client, and the guests.

pub(crate) mod disk;
pub(crate) mod faketime;
pub(crate) mod guests;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod storm;
