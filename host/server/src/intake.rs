//! Intake: a request from any entry point becomes a [`Submission`](cofferdam::queue::Submission), a
//! [`CodeRequest`](cofferdam::runner::CodeRequest) or a session here, by one set of rules.
//!
//! The fields of a request, their ranges and the mistakes in them are the same whoever sends it: a
//! program, an agent, a pool or the command line, which uses the API's fields. An entry point reads
//! bytes and reports in its own form why they are [`Refused`](refused::Refused). Inner layers check
//! what depends on the host, such as ceilings, modules and schemas.

pub(crate) mod access;
#[cfg(test)]
mod arbitrary;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod cache;
pub(crate) mod callback;
pub(crate) mod code;
pub(crate) mod fingerprint;
pub(crate) mod grants;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod placement;
pub(crate) mod pool;
pub(crate) mod query;
pub(crate) mod refused;
pub(crate) mod retry;
pub(crate) mod schedule;
pub(crate) mod secrets;
pub(crate) mod session;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod words;
pub(crate) mod workflow;
