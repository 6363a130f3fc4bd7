//! The files of `queue/events` with the locks of this test.

#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../../events/channel.rs"]
mod channel;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../../events/hub.rs"]
mod hub;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../../events/subscription.rs"]
mod subscription;

pub(super) use self::hub::Hub;
pub(super) use self::subscription::Heard;
pub(super) use crate::queue::events::EventKind;
use crate::queue::events::{Event, Piece};
