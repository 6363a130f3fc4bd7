//! Files that another of the operator's keys has sealed, or none, are sealed with the first key: those of one owner
//! after the other. A file is replaced by a whole new one of the same name, so whoever reads it has the old one or
//! the new one.
//!
//! Whether a long file that hosts share is sealed, and with which key, is known only once it is
//! read; so long files are looked at only while there is another key, and without one those that are plain stay
//! plain.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_trees::occupied;
use tempfile::NamedTempFile;

use super::artifacts;
use super::budget::Room;
use super::cache::Address;
use super::owner::{Name, Owner};
use super::sealing::{self, Opened, UNFINISHED, of_piece};
use super::shared::{Found, NewContent, Shared, Which};
use super::{FileStorage, absent_is_fine, spool};
use crate::StorageError;
use crate::blobs::content::Content;
use crate::blocking::blocking;
use crate::error::Remedy;
use crate::seal::pieces::FILE_HEAD_BYTES;
use cofferdam_domain::task::{BlobId, TaskId};

/// Bytes that are read at once.
const STEP_BYTES: usize = 64 << 10;

/// Owners, and files of one, that are looked for together where hosts share them.
const SHARED_MAX: u32 = 100;

/// Somebody who has files here.
#[derive(Clone, Debug)]
pub struct Holder(Held);

#[derive(Clone, Debug)]
enum Held {
    Input(BlobId),
    Task(TaskId),
    Execution(PathBuf),
    SharedInput(BlobId),
    Shared(Owner),
}

/// What became of the files of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesAnew {
    /// Files that are sealed with the first key now and were not before.
    pub resealed: u64,
    /// Those that no key of this host opens, or that cannot be replaced.
    pub unreadable: u64,
}

impl FilesAnew {
    /// Counts a file. What went wrong with one is no reason to leave the others, unless storage cannot be reached.
    fn note(
        &mut self,
        name: &Name<'_>,
        sealed: Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        match sealed {
            Err(error) if error.remedy() == Remedy::Time => Err(error),
            sealed => {
                self.count(name, sealed);
                Ok(())
            }
        }
    }

    fn count(&mut self, name: &Name<'_>, sealed: Result<bool, StorageError>) {
        match sealed {
            Ok(true) => self.resealed += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(file = name.row(), %error, "a file cannot be sealed anew");
                self.unreadable += 1;
            }
        }
    }
}

/// A sealed copy, which goes with this.
struct SealedCopy {
    copy: NamedTempFile,
    _room: Room,
}

impl SealedCopy {
    fn path(&self) -> &Path {
        self.copy.path()
    }
}

impl FileStorage {
    /// Some of those who have files here, behind one of them; nobody behind the last.
    pub async fn holders(&self, after: Option<&Holder>) -> Result<Vec<Holder>, StorageError> {
        match (&self.shared, after) {
            (Some(shared), after) => self.shared_holders(shared, after).await,
            (None, None) => self.local_holders().await,
            // They were all told at once.
            (None, Some(_)) => Ok(Vec::new()),
        }
    }

    async fn shared_holders(
        &self,
        shared: &Shared,
        after: Option<&Holder>,
    ) -> Result<Vec<Holder>, StorageError> {
        let Some(which) = self.which() else {
            return Ok(Vec::new());
        };
        let input = match after.map(|holder| &holder.0) {
            None => None,
            Some(Held::SharedInput(last)) => Some(*last),
            Some(Held::Shared(last)) => {
                let owners = shared
                    .rows()
                    .owners_after(Some(last.clone()), which, SHARED_MAX);
                return Ok(owners
                    .await?
                    .into_iter()
                    .map(Held::Shared)
                    .map(Holder)
                    .collect());
            }
            Some(Held::Input(_) | Held::Task(_) | Held::Execution(_)) => return Ok(Vec::new()),
        };
        let mut found = Vec::new();
        if which.long_too {
            let inputs = shared.rows().inputs_after(input, SHARED_MAX).await?;
            found.extend(inputs.into_iter().map(Held::SharedInput).map(Holder));
        }
        if found.is_empty() {
            let owners = shared.rows().owners_after(None, which, SHARED_MAX).await?;
            found.extend(owners.into_iter().map(Held::Shared).map(Holder));
        }
        Ok(found)
    }

    fn which(&self) -> Option<Which> {
        Some(Which {
            begins: self.sealer.file_begins()?.into(),
            long_too: self.sealer.has_others(),
        })
    }

    fn is_newest(&self, head: &[u8]) -> bool {
        let begins = self.sealer.file_begins();
        begins.is_some_and(|begins| head.starts_with(&begins))
    }

    async fn local_holders(&self) -> Result<Vec<Holder>, StorageError> {
        let files = self.clone();
        blocking(move || {
            let inputs = spool::list(&files.spool)?.into_iter().map(Held::Input);
            let tasks = artifacts::list(&files.artifacts)?.into_iter();
            let tasks = tasks.map(|id| Held::Task(TaskId(id)));
            let executions = artifacts::executions(&files.executions)?.into_iter();
            let executions = executions.map(|(_, dir)| Held::Execution(dir));
            Ok(inputs.chain(tasks).chain(executions).map(Holder).collect())
        })
        .await
    }

    /// Seals the files of one with the first key, as far as they are still there.
    pub async fn seal_anew(&self, holder: Holder) -> Result<FilesAnew, StorageError> {
        let mut done = FilesAnew::default();
        match (&self.shared, holder.0) {
            (Some(shared), Held::SharedInput(id)) => {
                let sealed = self.input_anew(shared, id).await;
                done.note(&Name::Input(id), sealed)?;
            }
            (Some(shared), Held::Shared(owner)) => {
                self.shared_anew(shared, owner, &mut done).await?;
            }
            (_, held) => return self.held_anew(held).await,
        }
        Ok(done)
    }

    /// An input that hosts share; false if it is as it should be, or gone.
    async fn input_anew(&self, shared: &Shared, id: BlobId) -> Result<bool, StorageError> {
        let Some(address) = shared.rows().find_input(id).await? else {
            return Ok(false);
        };
        let Some(copy) = self.fetched(shared, Name::Input(id), address).await? else {
            return Ok(false);
        };
        let content = Content::of_file(copy.path().to_owned()).await?;
        shared.rows().change_input(id, address, content).await?;
        Ok(true)
    }

    /// Bytes that hosts share, sealed with the first key in a file; none if they are so already.
    async fn fetched(
        &self,
        shared: &Shared,
        name: Name<'_>,
        address: Address,
    ) -> Result<Option<SealedCopy>, StorageError> {
        let space = occupied(address.size_bytes).saturating_mul(2);
        let room = Room::take(&self.budget, space)?;
        let fetched = tempfile::Builder::new().tempfile_in(&self.opened)?;
        shared.rows().fetch(address, fetched.reopen()?).await?;
        let mut head = Vec::with_capacity(FILE_HEAD_BYTES);
        fetched
            .reopen()?
            .take(FILE_HEAD_BYTES as u64)
            .read_to_end(&mut head)?;
        if self.is_newest(&head) {
            return Ok(None);
        }
        let (files, row) = (self.clone(), name.row());
        let copy = blocking(move || files.anew(&row, fetched.reopen()?)).await?;
        Ok(Some(SealedCopy { copy, _room: room }))
    }

    async fn shared_anew(
        &self,
        shared: &Shared,
        owner: Owner,
        done: &mut FilesAnew,
    ) -> Result<(), StorageError> {
        let Some(which) = self.which() else {
            return Ok(());
        };
        let mut after = String::new();
        loop {
            let rows = shared.rows();
            let found = rows.files_after(owner.clone(), &after, which.clone(), SHARED_MAX);
            let found = found.await?;
            let Some((last, _)) = found.last() else {
                return Ok(());
            };
            after.clone_from(last);
            for (path, found) in found {
                let sealed = self.shared_file_anew(shared, &owner, &path, found).await;
                done.note(&Name::Of(&owner, &path), sealed)?;
            }
        }
    }

    async fn shared_file_anew(
        &self,
        shared: &Shared,
        owner: &Owner,
        path: &str,
        found: Found,
    ) -> Result<bool, StorageError> {
        let name = Name::Of(owner, path);
        let (new, _copy) = match &found {
            Found::Short(kept) => {
                let plain = sealing::open_bytes(&self.sealer, &name, kept.clone())?;
                let Some((mut sealed, mut pieces)) = sealing::begin(&self.sealer, &name) else {
                    return Ok(false);
                };
                sealed.extend(pieces.push(&plain));
                sealed.extend(pieces.finish());
                (NewContent::Short(sealed.into()), None)
            }
            Found::Long(address) => match self.fetched(shared, name, *address).await? {
                None => return Ok(false),
                Some(copy) => {
                    let content = Content::of_file(copy.path().to_owned()).await?;
                    (NewContent::Long(content), Some(copy))
                }
            },
        };
        let rows = shared.rows();
        rows.change_file(owner.clone(), path, found, new).await?;
        Ok(true)
    }

    async fn held_anew(&self, held: Held) -> Result<FilesAnew, StorageError> {
        let files = self.clone();
        blocking(move || {
            let mut done = FilesAnew::default();
            match held {
                Held::Input(blob) => {
                    let at = files.spool_path(blob);
                    files.file_anew(&Name::Input(blob), &at, &mut done);
                    files.sync.dir(&files.spool)?;
                }
                Held::Task(task) => {
                    for number in artifacts::attempts(&files.task_dir(task))? {
                        let dir = files.artifacts_dir(task, number);
                        files.dir_anew(&dir, &Owner::Attempt(task, number), &mut done)?;
                    }
                }
                Held::Execution(dir) => {
                    if let Some((tenant, id)) = artifacts::execution_of(&dir) {
                        files.dir_anew(&dir, &Owner::Execution(tenant, id), &mut done)?;
                    }
                }
                // There are none.
                Held::SharedInput(_) | Held::Shared(_) => {}
            }
            Ok(done)
        })
        .await
    }

    fn dir_anew(
        &self,
        dir: &Path,
        owner: &Owner,
        done: &mut FilesAnew,
    ) -> Result<(), StorageError> {
        for (path, at) in artifacts::files_below(dir)?.unwrap_or_default() {
            let before = done.resealed;
            self.file_anew(&Name::Of(owner, &path), &at, done);
            if let (true, Some(parent)) = (done.resealed > before, at.parent()) {
                // It may be gone by now, with all that was in it.
                let _whatever_is_there = self.sync.dir(parent);
            }
        }
        Ok(())
    }

    fn file_anew(&self, name: &Name<'_>, at: &Path, done: &mut FilesAnew) {
        let replaced = self.replaced(name, at);
        done.count(name, replaced);
    }

    /// Replaces a file; false if it is as it should be, or gone.
    fn replaced(&self, name: &Name<'_>, at: &Path) -> Result<bool, StorageError> {
        let Some(mut file) = absent_is_fine(File::open(at))? else {
            return Ok(false);
        };
        let mut head = Vec::with_capacity(FILE_HEAD_BYTES);
        Read::by_ref(&mut file)
            .take(FILE_HEAD_BYTES as u64)
            .read_to_end(&mut head)?;
        if self.is_newest(&head) {
            return Ok(false);
        }
        let size_bytes = occupied(file.metadata()?.len());
        let mut room = Room::take(&self.budget, size_bytes)?;
        let copy = self.anew(&name.row(), File::open(at)?)?;
        room.resize(occupied(copy.as_file().metadata()?.len()))?;
        if absent_is_fine(at.symlink_metadata())?.is_none() {
            return Ok(false);
        }
        copy.persist(at).map_err(|refused| refused.error)?;
        room.leave();
        self.budget.give(size_bytes);
        Ok(true)
    }

    /// What is in a file, sealed with the first key.
    fn anew(&self, row: &str, file: File) -> Result<NamedTempFile, StorageError> {
        let sealer = Arc::clone(&self.sealer);
        let Some((head, mut pieces)) = sealing::begin_row(&sealer, row) else {
            return Err(StorageError::Refused("there is no key".to_owned()));
        };
        let ending = format!(".{UNFINISHED}");
        let mut to = tempfile::Builder::new()
            .suffix(&ending)
            .tempfile_in(&self.spool)?;
        to.write_all(&head)?;
        match sealing::open_row(&sealer, row, file)? {
            Opened::Plain(mut plain) => {
                let mut step = vec![0; STEP_BYTES];
                loop {
                    match plain.read(&mut step) {
                        Ok(0) => break,
                        Ok(read) => to.write_all(&pieces.push(&step[..read]))?,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Opened::Sealed(mut sealed, _) => loop {
                let piece = sealed.next_piece().map_err(of_piece)?;
                if piece.is_empty() {
                    break;
                }
                to.write_all(&pieces.push(&piece))?;
            },
        }
        to.write_all(&pieces.finish())?;
        to.as_file().sync_all()?;
        Ok(to)
    }
}
