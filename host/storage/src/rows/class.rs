//! Classes: what tasks ask of workers, without what every worker has.

use super::placement::PlacementRow;
use super::template::OPEN;
use super::{from_json, to_json};
use crate::StorageError;
use cofferdam_domain::placement::Placement;

/// The most classes that there may be at once: a claim may have to look into each.
pub(crate) const CLASSES_MAX: i64 = 1000;

/// A class.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) id: i64,
    pub(crate) asked: Placement,
}

impl Class {
    /// The class in a row.
    pub(crate) fn read(id: i64, asked: &str) -> Result<Class, StorageError> {
        let asked = from_json::<PlacementRow>(asked)?.try_into()?;
        match id == OPEN {
            true => Err(StorageError::corrupt("a class has the number of none")),
            false => Ok(Class { id, asked }),
        }
    }
}

/// What a row says of the class of that placement; `None` if any worker may take such tasks.
pub(crate) fn class_text(placement: &Placement) -> Result<Option<String>, StorageError> {
    let asked = placement.distinctive();
    (!asked.is_open())
        .then(|| to_json(&PlacementRow::from(&asked)))
        .transpose()
}
