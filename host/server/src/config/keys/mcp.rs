//! The keys of `[mcp]`.

use super::{Key, Kind};

pub(super) fn keys() -> Vec<Key> {
    vec![
        number!("mcp", "sessions_max", 1..=100_000, "Sessions of agents at once; one more takes the place of the one that has been unused for longest, or is refused where a call runs in each.", mcp.sessions_max: usize),
    ]
}
