//! Which data directory this is, among all whose hosts share a database.
//!
//! A spooled input is in the data directory of the host that took it, and nowhere else: so its task is
//! for that host, whichever incarnation of it. The name is made at the first start and stays with the
//! directory, wherever that is moved.

use std::io::Write;
use std::path::Path;

use rand::RngCore;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::StorageError;
use crate::lock::private_file;

/// The name in the data directory, which is made if there is none.
pub(super) fn of(data: &Path, random: &mut StdRng) -> Result<Uuid, StorageError> {
    let path = data.join("home");
    let failed = |error: &dyn std::fmt::Display| {
        StorageError::Unavailable(format!("{}: {error}", path.display()))
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => return Uuid::parse_str(text.trim()).map_err(|error| failed(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    let home = uuid::Builder::from_random_bytes(bytes).into_uuid();
    // Under another name until it is whole.
    let draft = data.join("home.partial");
    let written = private_file(&draft)
        .and_then(|mut file| {
            file.set_len(0)?;
            writeln!(file, "{home}")?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&draft, &path))
        .and_then(|()| std::fs::File::open(data)?.sync_all());
    written.map_err(|error| failed(&error))?;
    Ok(home)
}
