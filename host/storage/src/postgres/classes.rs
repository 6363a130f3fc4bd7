//! Classes: what tasks ask of workers, as numbers. Tasks that ask the same are of one class; a claim looks
//! into the classes that its worker serves, and not at all into the others.

use tokio_postgres::Row;

use super::fault::{Fault, get};
use super::params::params;
use super::tx::Tx;
use crate::StorageError;
use crate::rows::{CLASSES_MAX, Class, OPEN, class_text};
use cofferdam_domain::placement::Placement;

const FIND: &str = "SELECT id FROM cofferdam.class WHERE asked = $1";
const COUNT: &str = "SELECT count(*) FROM cofferdam.class";
// Writing over what is there gives the row back whoever wrote it.
const WRITE: &str = "
    INSERT INTO cofferdam.class AS c (asked) VALUES ($1)
    ON CONFLICT (asked, tenant) DO UPDATE SET asked = c.asked RETURNING id";
const SOME: &str = "SELECT id, asked FROM cofferdam.class WHERE id = ANY($1::int8[])";
/// Those that no template has.
pub(super) const REMOVE_UNUSED: &str = "
    DELETE FROM cofferdam.class c
    WHERE NOT EXISTS (SELECT 1 FROM cofferdam.template p WHERE p.class = c.id)";

/// The class of tasks of that placement, which is written if it is absent. Where several hosts write at
/// once there may be a few more than the most.
pub(super) async fn of_placement(tx: &mut Tx, placement: &Placement) -> Result<i64, Fault> {
    let Some(asked) = class_text(placement)? else {
        return Ok(OPEN);
    };
    if let Some(row) = tx.query_opt(FIND, params![asked.clone()]).await? {
        return Ok(get(&row, 0)?);
    }
    let there_are: i64 = number(tx.query_opt(COUNT, params![]).await?)?;
    if there_are >= CLASSES_MAX {
        return Err(StorageError::TooManyPlacements(CLASSES_MAX).into());
    }
    Ok(number(tx.query_opt(WRITE, params![asked]).await?)?)
}

/// The classes of these numbers.
pub(super) async fn some(tx: &mut Tx, ids: Vec<i64>) -> Result<Vec<Class>, Fault> {
    let rows = tx.query(SOME, params![ids]).await?;
    let read = |row: &Row| Class::read(get(row, 0)?, get(row, 1)?);
    let classes: Result<_, StorageError> = rows.iter().map(read).collect();
    Ok(classes?)
}

fn number(row: Option<Row>) -> Result<i64, StorageError> {
    let row = row.ok_or_else(|| StorageError::corrupt("what was written is not there"))?;
    get(&row, 0)
}
