//! Intake: what came in over any door becomes a [`Submission`](cofferdam::queue::Submission), a
//! [`CodeRequest`](cofferdam::runner::CodeRequest) or a session here, by one set of rules.
//!
//! The fields of a request, their ranges and what is wrong with them are the same whoever sends it:
//! a program, an agent, a pool or the command line, which says what it wants in the API's words. A
//! door reads bytes and says in its own form why they are [`Refused`](refused::Refused). What only
//! the host can know, as ceilings, modules and schemas, is checked further in.

pub(crate) mod code;
pub(crate) mod fingerprint;
pub(crate) mod grants;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod pool;
pub(crate) mod query;
pub(crate) mod refused;
pub(crate) mod retry;
pub(crate) mod session;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod words;
