//! The other side of the contract: the host's imports in a guest, the test harness natively. Both
//! have the same functions; nothing else in the crate knows which one it talks to.

#[cfg(target_arch = "wasm32")]
pub(crate) mod component;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(all(feature = "http", target_arch = "wasm32"))]
pub(crate) use component::http::send;
#[cfg(target_arch = "wasm32")]
pub(crate) use component::{attempt, cancelled, dir, log, progress, remaining_ms, task_id};
#[cfg(all(feature = "http", not(target_arch = "wasm32")))]
pub(crate) use native::send;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{attempt, cancelled, dir, log, progress, remaining_ms, task_id};
