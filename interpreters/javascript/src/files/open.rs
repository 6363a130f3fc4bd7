//! Files that a script has open, by their descriptors.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use rquickjs::{Ctx, TypedArray};

use super::{Arguments, Done, given, stat, times};

/// The first number; those before are the standard streams.
const FIRST: i32 = 3;
/// The most files open at once; a script that opens more gets an error.
const OPEN_MAX: usize = 1024;
/// The most that one read makes room for; a longer file takes several.
const READ_MAX: usize = 1 << 20;

/// Linux's numbers for the flags, which are Node's.
mod flag {
    pub(super) const WRITE_ONLY: u32 = 1;
    pub(super) const READ_WRITE: u32 = 2;
    pub(super) const CREATE: u32 = 64;
    pub(super) const EXCLUSIVE: u32 = 128;
    pub(super) const TRUNCATE: u32 = 512;
    pub(super) const APPEND: u32 = 1024;
    pub(super) const DIRECTORY: u32 = 65536;
}

thread_local! {
    static OPEN: RefCell<BTreeMap<i32, File>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn perform<'js>(
    ctx: &Ctx<'js>,
    operation: &str,
    arguments: &Arguments<'js>,
) -> Done<'js> {
    if operation == "open" {
        return given(ctx, open(&arguments.path(0)?, arguments.get(1)?));
    }
    let number: i32 = arguments.get(0)?;
    if operation == "close" {
        let closed = OPEN.with_borrow_mut(|files| files.remove(&number).map(drop));
        return given(ctx, closed.ok_or_else(bad));
    }
    OPEN.with_borrow_mut(|files| match files.get_mut(&number) {
        None => Ok(Err(bad())),
        Some(file) => on(ctx, file, operation, arguments),
    })
}

fn on<'js>(
    ctx: &Ctx<'js>,
    file: &mut File,
    operation: &str,
    arguments: &Arguments<'js>,
) -> Done<'js> {
    match operation {
        "read" => {
            let length: f64 = arguments.get(1)?;
            let bytes = at(file, arguments.get(2)?, |file| read(file, length));
            match bytes {
                Ok(bytes) => Ok(Ok(TypedArray::new(ctx.clone(), bytes)?.into_value())),
                Err(error) => Ok(Err(error)),
            }
        }
        "write" => {
            let bytes = arguments.bytes(1)?;
            let written = at(file, arguments.get(2)?, |file| {
                file.write_all(&bytes).map(|()| bytes.len())
            });
            given(ctx, written)
        }
        "fstat" => stat(ctx, file.metadata()),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the prelude passes whole numbers from 0"
        )]
        "ftruncate" => given(ctx, file.set_len(arguments.get::<f64>(1)? as u64)),
        "fsync" => given(ctx, file.sync_all()),
        "futimes" => given(ctx, file.set_times(times(arguments)?)),
        unknown => unreachable!("the prelude asks for no operation named {unknown}"),
    }
}

fn open(path: &str, flags: u32) -> io::Result<i32> {
    let has = |flag| flags & flag != 0;
    let mut options = OpenOptions::new();
    let writes = has(flag::WRITE_ONLY | flag::READ_WRITE);
    options
        .read(!has(flag::WRITE_ONLY))
        .write(writes && !has(flag::APPEND))
        .append(writes && has(flag::APPEND));
    let exists = std::fs::metadata(path);
    if exists.as_ref().is_ok_and(std::fs::Metadata::is_dir) && (writes || has(flag::CREATE)) {
        let exclusive = has(flag::CREATE) && has(flag::EXCLUSIVE);
        return Err(match exclusive {
            true => io::ErrorKind::AlreadyExists.into(),
            false => io::ErrorKind::IsADirectory.into(),
        });
    }
    if has(flag::DIRECTORY) && exists.is_ok_and(|about| !about.is_dir()) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if has(flag::CREATE) && has(flag::EXCLUSIVE) {
        options.create_new(true);
    } else if writes {
        options.create(has(flag::CREATE));
    }
    let file = options.open(path)?;
    // This also holds for appending, which Rust's own options refuse.
    if writes && has(flag::TRUNCATE) {
        file.set_len(0)?;
    }
    OPEN.with_borrow_mut(|files| {
        if files.len() >= OPEN_MAX {
            return Err(too_many());
        }
        let number = (FIRST..)
            .find(|number| !files.contains_key(number))
            .expect("fewer are open than there are numbers");
        files.insert(number, file);
        Ok(number)
    })
}

/// Does something at a position of the file, or at the current position if it is negative; an
/// operation at a given position does not move the current one.
fn at<T>(
    file: &mut File,
    position: f64,
    work: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    if position < 0.0 {
        return work(file);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the prelude passes whole numbers"
    )]
    let place = position as u64;
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(place))?;
    let done = work(file);
    file.seek(SeekFrom::Start(before))?;
    done
}

fn read(file: &mut File, length: f64) -> io::Result<Vec<u8>> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the prelude passes whole numbers from 0"
    )]
    let length = (length as usize).min(READ_MAX);
    let mut bytes = Vec::with_capacity(length.min(64 * 1024));
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// EBADF.
fn bad() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(target_os = "wasi") { 8 } else { 9 })
}

/// EMFILE.
fn too_many() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(target_os = "wasi") { 33 } else { 24 })
}
