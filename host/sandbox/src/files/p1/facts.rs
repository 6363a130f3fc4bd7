//! Reads directories and metadata in WASI 0.1, and writes its structures to the guest's memory.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::types::{Errno, Error};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, HostDescriptor as _, MetadataHashValue, NewTimestamp,
};
use wiggle::{GuestMemory, GuestPtr};

use super::call::{Call, put_u32, succeeded};
use super::original;
use crate::files::charge::charge_read;

/// Entries before those of the directory itself: `.` and `..`.
const OWN_ENTRIES: usize = 2;

/// The head of an entry: the next cookie, the inode, the length of the name and the kind.
const DIRENT_BYTES: usize = 24;

/// The numbers of `filetype`.
const DIRECTORY: u8 = 3;

impl Call<'_> {
    /// Charges a read whose length the original wrote to `out`.
    pub(super) fn charge_read(&mut self, memory: &GuestMemory<'_>, out: i32) -> Result<(), Error> {
        let bytes = memory.read(GuestPtr::<u32>::new(out.cast_unsigned()))?;
        charge_read(&self.files.meter, bytes.into());
        Ok(())
    }

    /// A descriptor that is counted here, of any kind.
    pub(super) fn file_or_dir(&mut self, fd: i32) -> Result<Resource<Descriptor>, Error> {
        match self.file(fd)? {
            Some((file, _)) => Ok(file),
            None => self.dir(fd),
        }
    }

    pub(super) async fn fd_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: i32,
        out: i32,
    ) -> Result<(), Error> {
        let Ok(found) = self.file_or_dir(fd) else {
            // It is a standard stream, or does not exist.
            return succeeded(original::fd_filestat_get(self.wasi, memory, fd, out).await);
        };
        let stat = self.files().stat(borrowed(&found)).await?;
        let hash = self.files().metadata_hash(found).await?;
        put_filestat(memory, out, &stat, &hash)
    }

    pub(super) async fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: i32,
        (buf, len): (i32, i32),
        cookie: i64,
        out: i32,
    ) -> Result<(), Error> {
        let dir = self.dir(fd)?;
        let cookie = usize::try_from(cookie.cast_unsigned()).map_err(|_| Errno::Overflow)?;
        let own_hash = self.files().metadata_hash(borrowed(&dir)).await?.lower;
        self.keep_listing(&dir, cookie).await?;
        let room = usize::try_from(len.cast_unsigned())?;
        let mut bytes = Vec::new();
        for number in cookie.. {
            if bytes.len() >= room {
                break;
            }
            let listed = self.files.p1_listings.get(&dir.rep());
            let entry = number
                .checked_sub(OWN_ENTRIES)
                .map(|index| listed.and_then(|listing| listing.entries.get(index)));
            match entry {
                None => push_entry(&mut bytes, number, own_hash, DIRECTORY, own_name(number))?,
                Some(None) => break,
                Some(Some(entry)) => {
                    let name = entry.name.as_deref().map_err(|code| Error::from(*code))?;
                    push_entry(&mut bytes, number, entry.hash, file_type(entry.kind), name)?;
                }
            }
        }
        put_bytes(memory, (buf, len), &bytes, out)
    }

    /// Keeps the listing that a guest goes on reading; a read from the start makes it again.
    async fn keep_listing(
        &mut self,
        dir: &Resource<Descriptor>,
        cookie: usize,
    ) -> Result<(), Error> {
        let rep = dir.rep();
        if cookie >= OWN_ENTRIES && self.files.p1_listings.contains_key(&rep) {
            return Ok(());
        }
        self.files.forget_listing(rep);
        let listing = match self.files().list(dir).await {
            Ok(listing) => listing,
            // The guest may have finished with the others, but there is no call that says so.
            Err(_full) if !self.files.p1_listings.is_empty() => {
                let kept: Vec<u32> = self.files.p1_listings.keys().copied().collect();
                for rep in kept {
                    self.files.forget_listing(rep);
                }
                self.files().list(dir).await?
            }
            Err(error) => return Err(error.into()),
        };
        self.files.p1_listings.insert(rep, listing);
        Ok(())
    }

    /// Whether a number is one of the directories that every run has.
    pub(super) fn is_preopen(&mut self, fd: i32) -> bool {
        let count = u32::try_from(self.files.preopen_count()).unwrap_or(u32::MAX);
        let first = super::FIRST_PREOPEN;
        let is_one = (first..first.saturating_add(count)).contains(&fd.cast_unsigned());
        let Some(known) = self.files.fds.known.get(&fd.cast_unsigned()).copied() else {
            return false;
        };
        let key = Resource::<Descriptor>::new_borrow(known.rep);
        let table = self.wasi.ctx().table;
        is_one && matches!(table.get(&key), Ok(Descriptor::Dir(_)))
    }
}

pub(super) fn borrowed(fd: &Resource<Descriptor>) -> Resource<Descriptor> {
    Resource::new_borrow(fd.rep())
}

fn own_name(number: usize) -> &'static str {
    match number {
        0 => ".",
        _ => "..",
    }
}

fn push_entry(
    bytes: &mut Vec<u8>,
    number: usize,
    inode: u64,
    kind: u8,
    name: &str,
) -> Result<(), Error> {
    let mut head = [0; DIRENT_BYTES];
    head[0..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    head[8..16].copy_from_slice(&inode.to_le_bytes());
    head[16..20].copy_from_slice(&u32::try_from(name.len())?.to_le_bytes());
    head[20] = kind;
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Writes as many of `bytes` as fit, and their number.
pub(super) fn put_bytes(
    memory: &mut GuestMemory<'_>,
    (at, room): (i32, i32),
    bytes: &[u8],
    out: i32,
) -> Result<(), Error> {
    let room = usize::try_from(room.cast_unsigned())?;
    let bytes = bytes.get(..room).unwrap_or(bytes);
    let length = u32::try_from(bytes.len())?;
    memory.copy_from_slice(bytes, GuestPtr::<[u8]>::new((at.cast_unsigned(), length)))?;
    put_u32(memory, out, length.into())
}

/// Writes a `filestat`.
pub(super) fn put_filestat(
    memory: &mut GuestMemory<'_>,
    out: i32,
    stat: &DescriptorStat,
    hash: &MetadataHashValue,
) -> Result<(), Error> {
    let mut filestat = [0; 64];
    // There is one device number for everything, as in wasmtime-wasi.
    filestat[0..8].copy_from_slice(&1u64.to_le_bytes());
    filestat[8..16].copy_from_slice(&hash.lower.to_le_bytes());
    filestat[16] = file_type(stat.type_);
    filestat[24..32].copy_from_slice(&stat.link_count.to_le_bytes());
    filestat[32..40].copy_from_slice(&stat.size.to_le_bytes());
    let times = [
        stat.data_access_timestamp,
        stat.data_modification_timestamp,
        stat.status_change_timestamp,
    ];
    for (place, time) in filestat[40..].chunks_exact_mut(8).zip(times) {
        place.copy_from_slice(&nanoseconds(time)?.to_le_bytes());
    }
    Ok(memory.copy_from_slice(&filestat, GuestPtr::<[u8]>::new((out.cast_unsigned(), 64)))?)
}

fn nanoseconds(time: Option<Datetime>) -> Result<u64, Error> {
    let Some(time) = time else { return Ok(0) };
    let seconds = time.seconds.checked_mul(1_000_000_000);
    let sum = seconds.and_then(|seconds| seconds.checked_add(time.nanoseconds.into()));
    Ok(sum.ok_or(Errno::Overflow)?)
}

fn file_type(kind: DescriptorType) -> u8 {
    match kind {
        DescriptorType::Unknown | DescriptorType::Fifo => 0,
        DescriptorType::BlockDevice => 1,
        DescriptorType::CharacterDevice => 2,
        DescriptorType::Directory => DIRECTORY,
        DescriptorType::RegularFile => 4,
        DescriptorType::Socket => 6,
        DescriptorType::SymbolicLink => 7,
    }
}

/// The new times by `fstflags`: each of the two is unchanged, the given one, or now.
pub(super) fn new_times(
    accessed: i64,
    modified: i64,
    flags: i32,
) -> Result<(NewTimestamp, NewTimestamp), Error> {
    let one = |time: i64, given: i32, now: i32| {
        let time = time.cast_unsigned();
        match (flags & given != 0, flags & now != 0) {
            (true, true) => Err(Error::from(Errno::Inval)),
            (true, false) => Ok(NewTimestamp::Timestamp(Datetime {
                seconds: time / 1_000_000_000,
                nanoseconds: u32::try_from(time % 1_000_000_000)?,
            })),
            (false, true) => Ok(NewTimestamp::Now),
            (false, false) => Ok(NewTimestamp::NoChange),
        }
    };
    if !(0..16).contains(&flags) {
        return Err(Errno::Inval.into());
    }
    Ok((one(accessed, 1, 2)?, one(modified, 4, 8)?))
}
