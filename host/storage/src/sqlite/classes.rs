//! Classes: what tasks ask of workers, as numbers. Tasks that ask the same are of one class; a claim looks
//! into the classes that its worker serves, and not at all into the others.

use rusqlite::{Connection, OptionalExtension};

use crate::StorageError;
use crate::rows::{CLASSES_MAX, Class, OPEN, class_text};
use cofferdam_domain::placement::Placement;

/// The class of tasks of that placement, which is written if it is absent.
pub(super) fn of_placement(conn: &Connection, placement: &Placement) -> Result<i64, StorageError> {
    let Some(asked) = class_text(placement)? else {
        return Ok(OPEN);
    };
    let known: Option<i64> = conn
        .prepare_cached("SELECT id FROM class WHERE asked = ?1")?
        .query_row([&asked], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let there_are: i64 = conn
        .prepare_cached("SELECT count(*) FROM class")?
        .query_row([], |row| row.get(0))?;
    if there_are >= CLASSES_MAX {
        return Err(StorageError::TooManyPlacements(CLASSES_MAX));
    }
    Ok(conn
        .prepare_cached("INSERT INTO class (asked) VALUES (?1)")?
        .insert([asked])?)
}

/// The class of that number.
pub(super) fn class(conn: &Connection, id: i64) -> Result<Class, StorageError> {
    let asked: String = conn
        .prepare_cached("SELECT asked FROM class WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    Class::read(id, &asked)
}

/// The index of templates' classes has only those that have one.
pub(super) const UNUSED: &str = "
    DELETE FROM class WHERE NOT EXISTS
        (SELECT 1 FROM template p WHERE p.class <> 0 AND p.class = class.id)";

/// Removes those that no template has.
pub(super) fn remove_unused(conn: &Connection) -> Result<(), StorageError> {
    conn.prepare_cached(UNUSED)?.execute([])?;
    Ok(())
}
