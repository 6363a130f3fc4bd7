//! `host.file`: the file operations under the prelude's `fs`. Each answers `[code, value]`, where
//! the code is the name of the errno and empty for success. Every path is absolute here; the
//! prelude handles the options.

mod errno;
mod open;

use std::fs::{self, FileTimes, FileType, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rquickjs::{Array, Ctx, FromJs, IntoJs, TypedArray, Value};

use crate::envelope::FileContent;
use crate::host;

const WORK: &str = "/work";

pub(crate) fn call<'js>(
    ctx: &Ctx<'js>,
    operation: &str,
    arguments: Vec<Value<'js>>,
) -> rquickjs::Result<Array<'js>> {
    let answer = Array::new(ctx.clone())?;
    match perform(ctx, operation, &Arguments(arguments))? {
        Ok(value) => {
            answer.set(0, "")?;
            answer.set(1, value)?;
        }
        Err(error) => answer.set(0, errno::name(&error))?,
    }
    Ok(answer)
}

/// The arguments from the prelude, which knows what each operation takes.
struct Arguments<'js>(Vec<Value<'js>>);

impl<'js> Arguments<'js> {
    fn get<T: FromJs<'js>>(&self, index: usize) -> rquickjs::Result<T> {
        let value = self.0.get(index).expect("the prelude passes it");
        T::from_js(value.ctx(), value.clone())
    }

    fn path(&self, index: usize) -> rquickjs::Result<String> {
        self.get(index)
    }

    fn bytes(&self, index: usize) -> rquickjs::Result<Vec<u8>> {
        Ok(host::copied(&self.get::<TypedArray<'js, u8>>(index)?))
    }
}

type Done<'js> = rquickjs::Result<io::Result<Value<'js>>>;

fn perform<'js>(ctx: &Ctx<'js>, operation: &str, arguments: &Arguments<'js>) -> Done<'js> {
    match operation {
        "open" | "read" | "write" | "close" | "fstat" | "ftruncate" | "fsync" | "futimes" => {
            return open::perform(ctx, operation, arguments);
        }
        "stat" => return stat(ctx, fs::metadata(arguments.path(0)?)),
        "lstat" => return stat(ctx, fs::symlink_metadata(arguments.path(0)?)),
        "scandir" => return scan(ctx, &arguments.path(0)?),
        "readlink" => {
            let target = fs::read_link(arguments.path(0)?);
            let target = target.map(|path| path.to_string_lossy().into_owned());
            return given(ctx, target);
        }
        _ => {}
    }
    let path = arguments.path(0)?;
    let done = match operation {
        "rename" => fs::rename(path, arguments.path(1)?),
        "link" => fs::hard_link(path, arguments.path(1)?),
        "symlink" => symlink(&arguments.path(1)?, &path),
        "copyfile" => copy(&path, &arguments.path(1)?, arguments.get(2)?),
        "mkdir" => fs::create_dir(path),
        "rmdir" => fs::remove_dir(path),
        "unlink" => fs::remove_file(path),
        "rmtree" => fs::remove_dir_all(path),
        "utimes" => {
            let times = times(arguments)?;
            fs::File::open(path).and_then(|file| file.set_times(times))
        }
        unknown => unreachable!("the prelude asks for no operation named {unknown}"),
    };
    given(ctx, done)
}

fn given<'js, T: IntoJs<'js>>(ctx: &Ctx<'js>, done: io::Result<T>) -> Done<'js> {
    match done {
        Ok(value) => value.into_js(ctx).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Writes a file of a session's call below the working directory.
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

/// The one symlink function that is not bound to another platform.
#[expect(deprecated, reason = "the others do not exist on WASI")]
fn symlink(target: &str, path: &str) -> io::Result<()> {
    fs::soft_link(target, path)
}

fn copy(from: &str, to: &str, exclusive: bool) -> io::Result<()> {
    if fs::metadata(from)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut source = fs::File::open(from)?;
    let mut options = OpenOptions::new();
    options.write(true);
    if exclusive {
        options.create_new(true);
    } else {
        options.create(true).truncate(true);
    }
    io::copy(&mut source, &mut options.open(to)?).map(drop)
}

/// Times of access and of change, as the second and the third argument, in seconds.
fn times(arguments: &Arguments<'_>) -> rquickjs::Result<FileTimes> {
    let (accessed, modified) = (time(arguments.get(1)?), time(arguments.get(2)?));
    Ok(FileTimes::new()
        .set_accessed(accessed)
        .set_modified(modified))
}

fn time(seconds: f64) -> SystemTime {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or(UNIX_EPOCH)
}

fn stat<'js>(ctx: &Ctx<'js>, metadata: io::Result<Metadata>) -> Done<'js> {
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Err(error)),
    };
    let fields = Array::new(ctx.clone())?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a file of 2^53 bytes fits no quota"
    )]
    fields.set(0, metadata.len() as f64)?;
    fields.set(1, milliseconds(metadata.modified()))?;
    fields.set(2, kind(metadata.file_type()))?;
    fields.set(3, milliseconds(metadata.accessed()))?;
    fields.set(4, 0)?;
    fields.into_js(ctx).map(Ok)
}

fn milliseconds(time: io::Result<SystemTime>) -> f64 {
    let since = time
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0.0, |since| (since.as_secs_f64() * 1000.0).floor())
}

fn scan<'js>(ctx: &Ctx<'js>, path: &str) -> Done<'js> {
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
