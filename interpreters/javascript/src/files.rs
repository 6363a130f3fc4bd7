//! `host.file`: the file operations under the prelude's `fs`. Each answers `[code, value]`, where
//! the code is the name of the errno and empty for success. Every path is absolute by then.

use std::fs::{self, FileType, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rquickjs::{Array, Ctx, IntoJs, TypedArray, Value};

use crate::envelope::FileContent;
use crate::host;

const WORK: &str = "/work";

pub(crate) fn call<'js>(
    ctx: Ctx<'js>,
    operation: &str,
    path: &str,
    argument: Option<Value<'js>>,
) -> rquickjs::Result<Array<'js>> {
    let answer = Array::new(ctx.clone())?;
    match perform(&ctx, operation, path, argument)? {
        Ok(value) => {
            answer.set(0, "")?;
            answer.set(1, value)?;
        }
        Err(error) => answer.set(0, code(&error))?,
    }
    Ok(answer)
}

fn perform<'js>(
    ctx: &Ctx<'js>,
    operation: &str,
    path: &str,
    argument: Option<Value<'js>>,
) -> rquickjs::Result<io::Result<Value<'js>>> {
    let nothing = Value::new_undefined(ctx.clone());
    let done = match operation {
        "open" => {
            return fs::read(path)
                .map(|bytes| bytes_value(ctx, bytes))
                .map_or_else(|error| Ok(Err(error)), |value| value.map(Ok));
        }
        "stat" => return stat(ctx, fs::metadata(path)),
        "lstat" => return stat(ctx, fs::symlink_metadata(path)),
        "scandir" => return scan(ctx, path),
        "write" => with_bytes(argument, |bytes| fs::write(path, bytes))?,
        "append" => with_bytes(argument, |bytes| append(path, bytes))?,
        "rename" => fs::rename(path, text(argument)?),
        "copyfile" => fs::copy(path, text(argument)?).map(drop),
        "mkdir" => fs::create_dir(path),
        "mkdirp" => fs::create_dir_all(path),
        "rmdir" => fs::remove_dir(path),
        "unlink" => fs::remove_file(path),
        "rmtree" => remove(path),
        unknown => unreachable!("the prelude asks for no operation named {unknown}"),
    };
    Ok(done.map(|()| nothing))
}

/// Writes a file that a session's call brings, below the working directory.
pub(crate) fn put(name: &str, content: &FileContent) -> io::Result<()> {
    let path = Path::new(WORK).join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match content {
        FileContent::Text(text) => fs::write(path, text),
        FileContent::Base64 { base64 } => {
            let bytes = STANDARD.decode(base64).map_err(io::Error::other)?;
            fs::write(path, bytes)
        }
    }
}

fn bytes_value<'js>(ctx: &Ctx<'js>, bytes: Vec<u8>) -> rquickjs::Result<Value<'js>> {
    TypedArray::new(ctx.clone(), bytes).map(TypedArray::into_value)
}

fn with_bytes(
    argument: Option<Value<'_>>,
    write: impl FnOnce(&[u8]) -> io::Result<()>,
) -> rquickjs::Result<io::Result<()>> {
    let argument = argument.unwrap_or_else(|| unreachable!("the prelude passes the bytes"));
    let bytes = TypedArray::<u8>::from_value(argument)?;
    Ok(write(&host::copied(&bytes)))
}

fn text(argument: Option<Value<'_>>) -> rquickjs::Result<String> {
    argument
        .unwrap_or_else(|| unreachable!("the prelude passes the second path"))
        .get()
}

fn append(path: &str, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(bytes)
}

fn remove(path: &str) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn stat<'js>(
    ctx: &Ctx<'js>,
    metadata: io::Result<Metadata>,
) -> rquickjs::Result<io::Result<Value<'js>>> {
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Err(error)),
    };
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mtime_ms = modified.map_or(0.0, |since| since.as_secs_f64() * 1000.0);
    let fields = Array::new(ctx.clone())?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a file of 2^53 bytes fits no quota"
    )]
    fields.set(0, metadata.len() as f64)?;
    fields.set(1, mtime_ms.floor())?;
    fields.set(2, kind(metadata.file_type()))?;
    fields.into_js(ctx).map(Ok)
}

fn scan<'js>(ctx: &Ctx<'js>, path: &str) -> rquickjs::Result<io::Result<Value<'js>>> {
    let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return Ok(Err(error)),
    };
    let list = Array::new(ctx.clone())?;
    for (index, entry) in entries.iter().enumerate() {
        let pair = Array::new(ctx.clone())?;
        pair.set(0, entry.file_name().to_string_lossy().into_owned())?;
        pair.set(1, entry.file_type().map_or("unknown", kind))?;
        list.set(index, pair)?;
    }
    list.into_js(ctx).map(Ok)
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "directory"
    } else if file_type.is_symlink() {
        "symlink"
    } else {
        "file"
    }
}

fn code(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "ENOENT",
        io::ErrorKind::AlreadyExists => "EEXIST",
        io::ErrorKind::NotADirectory => "ENOTDIR",
        io::ErrorKind::IsADirectory => "EISDIR",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::ReadOnlyFilesystem => "EROFS",
        io::ErrorKind::DirectoryNotEmpty => "ENOTEMPTY",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "ENOSPC",
        io::ErrorKind::InvalidInput => "EINVAL",
        // WASI answers this for a path outside every directory the run was given.
        _ => "EIO",
    }
}
