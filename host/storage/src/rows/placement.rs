//! Which workers a task is for, as JSON.

use serde::{Deserialize, Serialize};

use crate::StorageError;
use cofferdam_domain::placement::{Placement, Preferred};
use cofferdam_domain::worker::Capability;

/// A placement.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct PlacementRow {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requires: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preferred: Option<String>,
}

impl PlacementRow {
    pub(crate) fn is_empty(&self) -> bool {
        self.requires.is_empty() && self.preferred.is_none()
    }
}

impl From<&Placement> for PlacementRow {
    fn from(placement: &Placement) -> PlacementRow {
        let requires = placement.requires().iter();
        let requires = requires.map(|capability| capability.as_str().to_owned());
        let preferred = placement.preferred();
        PlacementRow {
            requires: requires.collect(),
            preferred: preferred.map(|preferred| preferred.as_str().to_owned()),
        }
    }
}

impl TryFrom<PlacementRow> for Placement {
    type Error = StorageError;

    fn try_from(row: PlacementRow) -> Result<Placement, StorageError> {
        let requires = row.requires.iter().map(|name| Capability::parse(name));
        let requires: Result<_, _> = requires.collect();
        let preferred = row.preferred.as_deref().map(Preferred::parse).transpose();
        Ok(Placement::new(
            requires.map_err(StorageError::corrupt)?,
            preferred.map_err(StorageError::corrupt)?,
        ))
    }
}
