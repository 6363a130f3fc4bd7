//! What the host needs of the machine, as its configuration names it, and how far the kernel holds it to
//! that.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::config::Config;
use crate::http::settings::Confined;
use cofferdam_domain::grants::Access;
use cofferdam_sandbox::confinement::{self, Confinement, Reach};

/// Where so much is that has nothing to do with a file in it that only the file is read.
const OF_EVERYBODY: [&str; 6] = ["/", "/etc", "/home", "/root", "/tmp", "/var"];

/// The mode of the data directory.
const PRIVATE: u32 = 0o700;

/// Confines this process, which must not have a second thread yet.
pub(super) fn confine(config: &Config) -> anyhow::Result<Confined> {
    // Landlock's rules are about what exists.
    let data = &config.storage.data;
    let mut made = DirBuilder::new();
    let made = made.recursive(true).mode(PRIVATE).create(data);
    made.with_context(|| data.display().to_string())?;
    let confinement = confinement::confine(&reach(config)).context("confining this process")?;
    let Confinement { landlock, seccomp } = confinement;
    if !confinement.is_whole() {
        tracing::warn!(
            landlock,
            seccomp,
            "the kernel does not confine this process fully"
        );
    }
    ensure!(
        confinement.is_whole() || !config.sandbox.confinement_required,
        "confinement.required: the kernel does not confine this process fully (landlock: {landlock}, \
         seccomp: {seccomp})"
    );
    Ok(Confined { landlock, seccomp })
}

fn reach(config: &Config) -> Reach {
    let mut reach = Reach {
        written: vec![config.storage.data.clone()],
        read: Vec::new(),
        calls_out: calls_out(config),
    };
    for dir in config.dirs.values() {
        if !dir.path.exists() {
            let path = dir.path.display();
            tracing::warn!(%path, "a directory is not there; once it is, it can be used after a restart");
        }
        match dir.access {
            Access::Read => reach.read.push(dir.path.clone()),
            Access::Write => reach.written.push(dir.path.clone()),
        }
    }
    let interpreters = &config.interpreters;
    let folders = [&interpreters.dir, &interpreters.packages];
    reach.read.extend(folders.map(PathBuf::clone));
    if let Ok(program) = std::env::current_exe() {
        reach.read.push(program.with_file_name("interpreters"));
    }
    let http = &config.http;
    let files = [&http.tls_certificate, &http.tls_key, &http.peers_ca];
    let files = files
        .into_iter()
        .filter(|file| !file.as_os_str().is_empty());
    reach.read.extend(files.flat_map(|file| around(file)));
    let of_storage = cofferdam_storage::files_read(&config.storage);
    reach
        .read
        .extend(of_storage.iter().flat_map(|file| around(file)));
    reach
}

/// A file with its directory, and with that of what it leads to if it is a link: what is renewed is found
/// under the same name and is another file.
fn around(file: &Path) -> Vec<PathBuf> {
    let own = std::path::absolute(file).ok();
    let all = own.into_iter().chain(std::fs::canonicalize(file));
    let folder_of = |file: PathBuf| match file.parent() {
        Some(folder) if OF_EVERYBODY.iter().all(|it| folder != Path::new(it)) => folder.to_owned(),
        Some(_) | None => file,
    };
    all.map(folder_of).collect()
}

/// Whether anything that the host uses is reached over the network: a shared database, its bucket and the
/// other hosts, what its guests may be granted, and who is told of ended tasks and of alerts. Whatever else calls out must be named here.
fn calls_out(config: &Config) -> bool {
    config.storage.url.is_some()
        || !config.sandbox.egress.allow.is_empty()
        || !config.callbacks.allow.is_empty()
        || config.alerts.url.is_some()
}
