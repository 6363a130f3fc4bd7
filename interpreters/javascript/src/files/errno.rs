//! System errors by their Node names.

use std::io::{Error, ErrorKind};

/// WASI's numbers; Rust knows only some of them.
#[cfg(target_os = "wasi")]
const NUMBERED: &[(i32, &str)] = &[
    (2, "EACCES"),
    (8, "EBADF"),
    (10, "EBUSY"),
    (19, "EDQUOT"),
    (20, "EEXIST"),
    (22, "EFBIG"),
    (25, "EILSEQ"),
    (28, "EINVAL"),
    (31, "EISDIR"),
    (32, "ELOOP"),
    (33, "EMFILE"),
    (34, "EMLINK"),
    (37, "ENAMETOOLONG"),
    (44, "ENOENT"),
    (51, "ENOSPC"),
    (52, "ENOSYS"),
    (54, "ENOTDIR"),
    (55, "ENOTEMPTY"),
    (58, "ENOTSUP"),
    (63, "EPERM"),
    (69, "EROFS"),
    (70, "ESPIPE"),
    (75, "EXDEV"),
    (76, "EACCES"),
];
#[cfg(not(target_os = "wasi"))]
const NUMBERED: &[(i32, &str)] = &[];

pub(super) fn name(error: &Error) -> &'static str {
    let number = error.raw_os_error();
    if let Some((_, name)) = NUMBERED.iter().find(|(known, _)| Some(*known) == number) {
        return name;
    }
    match error.kind() {
        ErrorKind::NotFound => "ENOENT",
        ErrorKind::AlreadyExists => "EEXIST",
        ErrorKind::NotADirectory => "ENOTDIR",
        ErrorKind::IsADirectory => "EISDIR",
        ErrorKind::PermissionDenied => "EACCES",
        ErrorKind::ReadOnlyFilesystem => "EROFS",
        ErrorKind::DirectoryNotEmpty => "ENOTEMPTY",
        ErrorKind::StorageFull => "ENOSPC",
        ErrorKind::QuotaExceeded => "EDQUOT",
        ErrorKind::InvalidInput => "EINVAL",
        ErrorKind::CrossesDevices => "EXDEV",
        ErrorKind::NotSeekable => "ESPIPE",
        ErrorKind::FileTooLarge => "EFBIG",
        ErrorKind::InvalidFilename => "ENAMETOOLONG",
        ErrorKind::TooManyLinks => "EMLINK",
        ErrorKind::ResourceBusy => "EBUSY",
        ErrorKind::Unsupported => "ENOTSUP",
        // The path leads out of every directory that the run was given.
        _ if number.is_none() => "ENOENT",
        _ => "EIO",
    }
}
