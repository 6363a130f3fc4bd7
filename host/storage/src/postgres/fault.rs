//! What an error of PostgreSQL means, by its SQLSTATE and never by its text.

use tokio_postgres::Row;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::FromSql;

use crate::StorageError;

/// Why one try of a call gave nothing.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: StorageError,
    pub(super) kind: Kind,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing happened, and nothing will if it is tried again.
    Final,
    /// The same: a value is taken already, or one that is needed is not there.
    Taken,
    /// Nothing happened; it may succeed if it is tried again.
    Again,
    /// Nothing happened, and the connection is of no use any more.
    Broken,
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Fault {
        Fault {
            error,
            kind: Kind::Final,
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        match error.as_db_error() {
            Some(told) => of_server(told),
            // The connection's own: closed, cut, refused, or not what was asked for.
            None => Fault {
                kind: match is_of_network(&error) {
                    true => Kind::Broken,
                    false => Kind::Final,
                },
                error: StorageError::Unavailable(with_causes(&error)),
            },
        }
    }
}

/// Whether another connection may do better: no other has TLS where this has none.
fn is_of_network(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error);
    let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match io {
        Some(io) => io.kind() != std::io::ErrorKind::InvalidData,
        None => error.is_closed(),
    }
}

impl Fault {
    /// Nothing happened, and it may succeed if it is tried again.
    pub(super) fn again(why: &str) -> Fault {
        Fault {
            error: StorageError::Unavailable(why.to_owned()),
            kind: Kind::Again,
        }
    }

    /// Whether it may concern one of several rows, so that the others could be written without it.
    pub(super) fn may_concern_one(&self) -> bool {
        matches!(
            self.error,
            StorageError::Refused(_)
                | StorageError::TooLarge(_)
                | StorageError::Corrupt(_)
                | StorageError::TooManyPlacements(_)
        )
    }
}

fn of_server(told: &DbError) -> Fault {
    let text = format!("{} (SQLSTATE {})", told.message(), told.code().code());
    let fault = |error: fn(String) -> StorageError, kind| Fault {
        error: error(text.clone()),
        kind,
    };
    let unavailable: fn(String) -> StorageError = StorageError::Unavailable;
    let is_fatal = matches!(
        told.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    // The wrong user, password, database or schema stays wrong; whatever else ends a connection may
    // be gone with the next.
    let stays_wrong =
        ["28", "3D", "3F", "42"].contains(&told.code().code().get(..2).unwrap_or_default());
    if is_fatal && !stays_wrong {
        return fault(unavailable, Kind::Broken);
    }
    match told.code().code() {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => fault(unavailable, Kind::Again),
        // Only a primary takes changes; another connection may lead to it.
        "25006" => fault(unavailable, Kind::Broken),
        // The statement's own time is over.
        "57014" => Fault {
            error: StorageError::TooSlow,
            kind: Kind::Final,
        },
        // A unique index, or a NULL where none may be.
        "23505" | "23502" => fault(StorageError::Refused, Kind::Taken),
        "53100" | "53200" => fault(StorageError::Full, Kind::Final),
        "53300" => fault(unavailable, Kind::Broken),
        "XX001" | "XX002" => fault(StorageError::Corrupt, Kind::Final),
        code => match code.get(..2).unwrap_or_default() {
            "08" | "57" => fault(unavailable, Kind::Broken),
            "22" | "23" => fault(StorageError::Refused, Kind::Final),
            "54" => fault(StorageError::TooLarge, Kind::Final),
            _ => fault(unavailable, Kind::Final),
        },
    }
}

/// An error and what caused it: this client's own errors say little without.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// A column of a row.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, StorageError> {
    row.try_get(place)
        .map_err(|error| StorageError::corrupt(with_causes(&error)))
}

/// A column that holds a number which is never negative.
pub(super) fn get_u32(row: &Row, place: usize) -> Result<u32, StorageError> {
    u32::try_from(get::<i32>(row, place)?).map_err(StorageError::corrupt)
}

/// A column that holds a small number which is never negative.
pub(super) fn get_u8(row: &Row, place: usize) -> Result<u8, StorageError> {
    u8::try_from(get::<i16>(row, place)?).map_err(StorageError::corrupt)
}

/// A column that holds the 32 bytes of a hash.
pub(super) fn get_hash(row: &Row, place: usize) -> Result<[u8; 32], StorageError> {
    <[u8; 32]>::try_from(get::<&[u8]>(row, place)?).map_err(StorageError::corrupt)
}
