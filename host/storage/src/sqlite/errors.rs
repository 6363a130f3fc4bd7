//! Translates SQLite's errors into those of storage.

use rusqlite::ErrorCode;

use crate::StorageError;

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> StorageError {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::OutOfMemory) => StorageError::Full(text),
            Some(ErrorCode::OperationInterrupted) => StorageError::TooSlow,
            Some(ErrorCode::TooBig) => StorageError::TooLarge(text),
            Some(ErrorCode::ConstraintViolation) => StorageError::Refused(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StorageError::Corrupt(text)
            }
            Some(_) => StorageError::Unavailable(text),
            // This is not from SQLite itself: a row does not have the shape that it was written in.
            None => StorageError::Corrupt(text),
        }
    }
}

impl StorageError {
    /// The same for an error of COMMIT: after a failed write or sync of the log it is unknown
    /// whether the commit would survive a crash.
    pub(super) fn of_commit(error: rusqlite::Error) -> StorageError {
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => StorageError::Unknown(error.to_string()),
            Some(_) | None => StorageError::from(error),
        }
    }
}
