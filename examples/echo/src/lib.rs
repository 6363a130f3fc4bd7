//! Returns its input: the smallest guest.

use cofferdam_guest::Payload;

/// Returns its input unchanged.
#[cofferdam_guest::task]
fn echo(input: Payload) -> Payload {
    input
}
