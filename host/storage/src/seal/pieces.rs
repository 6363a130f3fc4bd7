//! Sealed files: pieces of 64 KiB, each sealed by itself under a key that the file alone has.
//!
//! A piece's number, and whether it is the last, are its nonce (the STREAM construction): a file that was cut
//! short, or whose pieces were exchanged, is noticed where it is read. So a file is sealed while it comes, and
//! read from its beginning without having all of it in memory. Which files are sealed is not known here.

use std::io::{self, Read};

use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, Nonce, Tag};
use rand::RngCore;

use super::keys::KeyId;
use super::{ID_BYTES, MARK, Place, Sealer, TAG_BYTES, associated, missing, spoilt};
use crate::StorageError;

/// Behind the mark: a file in pieces.
const PIECES: u8 = 2;
const SALT_BYTES: usize = 16;
/// The mark, the version, the key's id, and what the file's own key is derived with.
pub(crate) const FILE_HEAD_BYTES: usize = MARK.len() + 1 + ID_BYTES + SALT_BYTES;
/// Bytes of a file that are sealed together.
const PIECE_BYTES: usize = 64 << 10;
const SEALED_PIECE_BYTES: usize = PIECE_BYTES + TAG_BYTES;

/// Seals a file that comes piece by piece.
pub(crate) struct FileSealer {
    pieces: Pieces,
    /// What was not sealed yet: the last piece is not known before the end.
    rest: Vec<u8>,
}

/// The key of a file, and the next piece's number.
struct Pieces {
    cipher: Aes256GcmSiv,
    associated: Vec<u8>,
    number: u64,
}

impl Pieces {
    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.number.to_be_bytes());
        nonce[8] = u8::from(is_last);
        self.number += 1;
        Nonce::from(nonce)
    }
}

impl Sealer {
    /// Begins to seal a file; gives its head. `None` without keys.
    pub(crate) fn begin_file(&self, place: &Place<'_>) -> Option<(Vec<u8>, FileSealer)> {
        let (id, key) = self.keys.first()?;
        let mut salt = [0; SALT_BYTES];
        self.random().fill_bytes(&mut salt);
        let head = [MARK.as_slice(), &[PIECES], &id.0, &salt].concat();
        let pieces = Pieces {
            cipher: key.cipher_of_file(&salt),
            associated: associated(place, &head),
            number: 0,
        };
        let rest = Vec::with_capacity(PIECE_BYTES);
        Some((head, FileSealer { pieces, rest }))
    }

    /// How a file begins that is sealed with the first key; `None` without keys.
    pub(crate) fn file_begins(&self) -> Option<Vec<u8>> {
        let (id, _) = self.keys.first()?;
        Some([MARK.as_slice(), &[PIECES], &id.0].concat())
    }

    /// The content of a file whose first bytes, up to [`FILE_HEAD_BYTES`], are `head`, and the others come from
    /// `from`. `None` if it is not sealed.
    pub(crate) fn open_file<R: Read>(
        &self,
        place: &Place<'_>,
        head: &[u8],
        from: R,
    ) -> Result<Option<OpenFile<R>>, StorageError> {
        let Some(rest) = head
            .strip_prefix(MARK)
            .and_then(|it| it.strip_prefix(&[PIECES]))
        else {
            return Ok(None);
        };
        let parts = rest.split_first_chunk::<ID_BYTES>();
        let (id, salt) = parts
            .and_then(|(id, salt)| Some((KeyId(*id), <[u8; SALT_BYTES]>::try_from(salt).ok()?)))
            .ok_or_else(|| spoilt(place))?;
        let known = self.keys.iter().find(|(known, _)| *known == id);
        let (_, key) = known.ok_or_else(|| missing(place, id))?;
        let pieces = Pieces {
            cipher: key.cipher_of_file(&salt),
            associated: associated(place, head),
            number: 0,
        };
        let mut file = OpenFile {
            pieces,
            from,
            next: Vec::new(),
            is_over: false,
            place: place.to_string(),
        };
        file.next = file.read_sealed()?;
        Ok(Some(file))
    }
}

/// The length of a file whose sealed form has `sealed_bytes`.
pub(crate) fn file_bytes(sealed_bytes: u64) -> u64 {
    let (head, piece) = (FILE_HEAD_BYTES as u64, SEALED_PIECE_BYTES as u64);
    let body = sealed_bytes.saturating_sub(head);
    body.saturating_sub(body.div_ceil(piece) * TAG_BYTES as u64)
}

impl FileSealer {
    /// Takes more of the file; gives what is sealed of it by now.
    pub(crate) fn push(&mut self, mut plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + SEALED_PIECE_BYTES);
        while !plain.is_empty() {
            if self.rest.len() == PIECE_BYTES {
                self.seal(&mut sealed, false);
            }
            let (some, others) = plain.split_at(plain.len().min(PIECE_BYTES - self.rest.len()));
            self.rest.extend_from_slice(some);
            plain = others;
        }
        sealed
    }

    /// The last piece.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(SEALED_PIECE_BYTES);
        self.seal(&mut sealed, true);
        sealed
    }

    fn seal(&mut self, into: &mut Vec<u8>, is_last: bool) {
        let nonce = self.pieces.nonce(is_last);
        let begin = into.len();
        into.append(&mut self.rest);
        let (cipher, with) = (&self.pieces.cipher, &self.pieces.associated);
        let tag = cipher
            .encrypt_inout_detached(&nonce, with, (&mut into[begin..]).into())
            .expect("no piece comes near 64 GiB");
        into.extend_from_slice(&tag);
    }
}

/// A sealed file that is read from its beginning.
pub(crate) struct OpenFile<R> {
    pieces: Pieces,
    from: R,
    /// The next piece as it is kept; whether it is the last shows when nothing comes behind it.
    next: Vec<u8>,
    is_over: bool,
    place: String,
}

impl<R: Read> OpenFile<R> {
    /// The next bytes; none at the end. Blocks as its source does.
    pub(crate) fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        if self.is_over {
            return Ok(Vec::new());
        }
        let following = self.read_sealed()?;
        self.is_over = following.is_empty();
        let mut piece = std::mem::replace(&mut self.next, following);
        let nonce = self.pieces.nonce(self.is_over);
        let opened = piece.len().checked_sub(TAG_BYTES).and_then(|length| {
            let (body, tag) = piece.split_at_mut(length);
            let tag = Tag::try_from(&*tag).ok()?;
            let (cipher, with) = (&self.pieces.cipher, &self.pieces.associated);
            let opened = cipher.decrypt_inout_detached(&nonce, with, body.into(), &tag);
            opened.ok().map(|()| length)
        });
        match opened {
            Some(length) => {
                piece.truncate(length);
                Ok(piece)
            }
            None => {
                self.is_over = true;
                let place = &self.place;
                let why = format!("{place} was changed since it was sealed, or belongs elsewhere");
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    fn read_sealed(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        let most = SEALED_PIECE_BYTES as u64;
        self.from.by_ref().take(most).read_to_end(&mut piece)?;
        Ok(piece)
    }
}
