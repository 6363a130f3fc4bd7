//! What the tests stand on: a real host on a free port, a client, and the guests.

pub mod guests;
pub mod host;
pub mod http;
