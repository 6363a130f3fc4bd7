//! Which workers a task is for, as a caller says it.

use crate::intake::refused::Refused;
use cofferdam_domain::placement::{Placement, Preferred, REQUIRES_MAX};
use cofferdam_domain::worker::Capability;

/// Reads `requires` and `preferred_worker`, which are named by `refused` if they make no sense.
pub(crate) fn placement(
    requires: Vec<String>,
    preferred: Option<String>,
    refused: impl Fn(&'static str, String) -> Refused,
) -> Result<Placement, Refused> {
    if requires.len() > REQUIRES_MAX {
        let detail = format!(
            "at most {REQUIRES_MAX} capabilities, not {}",
            requires.len()
        );
        return Err(refused("requires", detail));
    }
    let read = |name: &String| {
        Capability::parse(name).map_err(|bad| {
            let detail = format!("{name:?}: {bad}; a group is written group:NAME");
            refused("requires", detail)
        })
    };
    let requires: Vec<Capability> = requires.iter().map(read).collect::<Result<_, _>>()?;
    let preferred = preferred.map(|text| {
        Preferred::parse(&text).map_err(|_bad| {
            let detail = "the id or the name of a worker: 1 to 64 of A-Z a-z 0-9 . _ -";
            refused("preferred_worker", detail.to_owned())
        })
    });
    Ok(Placement::new(requires, preferred.transpose()?))
}
