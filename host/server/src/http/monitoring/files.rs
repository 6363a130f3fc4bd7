//! The files of the page, as they are in the program.

use std::io::Write;
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::http::compress::Coding;
use crate::http::monitoring::join::join;

/// The file that a browser loads first.
pub(super) const INDEX: &str = "index.html";
/// What stands in it for the digest of all files.
const VERSION: &str = "{version}";
/// As small as zstd makes them; it is done once.
const ZSTD_LEVEL: i32 = 22;
/// How much of the digest is in paths, in bytes.
const VERSION_BYTES: usize = 8;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../monitoring/", $name)))),*]
    };
}

/// The files that are served as they are.
const APART: &[(&str, &str)] = &files![
    "index.html",
    "icon.svg",
    "style.css",
    "lib/htm.js",
    "lib/hooks.js",
    "lib/preact.js",
    "ui.js",
];

/// The page's own scripts, each behind those that it needs. They are served as one, by the name of the last.
pub(super) const MODULES: &[(&str, &str)] = &files![
    "format.js",
    "api.js",
    "live.js",
    "metrics.js",
    "parts.js",
    "chart.js",
    "address.js",
    "schema.js",
    "edit.js",
    "graph.js",
    "tasklist.js",
    "pages/overview.js",
    "pages/alerts.js",
    "pages/tasks.js",
    "pages/task.js",
    "pages/dead.js",
    "pages/batches.js",
    "pages/workflows.js",
    "pages/workflow.js",
    "pages/try.js",
    "pages/submit.js",
    "pages/modules.js",
    "pages/module.js",
    "pages/schedules.js",
    "pages/sessions.js",
    "pages/host.js",
    "pages/workers.js",
    "pages/tenants.js",
    "pages/keys.js",
    "pages/secrets.js",
    "pages/audit.js",
    "pages.js",
    "app.js",
];
/// What they are served as.
const JOINED: &str = "app.js";

/// All files and what they are called.
pub(super) struct Site {
    /// The digest of all files, or so much of it that no two versions have the same.
    pub(super) version: String,
    files: Vec<File>,
}

/// One file.
pub(super) struct File {
    name: &'static str,
    plain: Bytes,
    zstd: OnceLock<Bytes>,
    gzip: OnceLock<Bytes>,
    /// A tag of its contents, with its quotation marks.
    pub(super) tag: String,
}

/// The files of this program.
pub(super) static SITE: LazyLock<Site> = LazyLock::new(|| {
    let modules: Vec<&str> = MODULES.iter().map(|(_, text)| *text).collect();
    let joined = join(&modules);
    let served = || APART.iter().copied().chain([(JOINED, joined.as_str())]);
    let mut all = Sha256::new();
    for (name, text) in served() {
        all.update(name);
        all.update(text);
    }
    let version: String = all.finalize()[..VERSION_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = |(name, text): (&'static str, &str)| File {
        name,
        plain: match name == INDEX {
            true => Bytes::from(text.replace(VERSION, &version)),
            false => Bytes::copy_from_slice(text.as_bytes()),
        },
        zstd: OnceLock::new(),
        gzip: OnceLock::new(),
        tag: format!("\"{version}\""),
    };
    let files = served().map(file).collect();
    Site { version, files }
});

impl Site {
    /// The file of that name.
    pub(super) fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl File {
    /// Its bytes.
    pub(super) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Its bytes in that coding, which are made once: the largest file takes some milliseconds.
    pub(super) fn packed(&self, coding: Coding) -> Bytes {
        let packed = match coding {
            Coding::Zstd => self.zstd.get_or_init(|| {
                zstd::bulk::compress(&self.plain, ZSTD_LEVEL)
                    .expect("memory takes what is written to it")
                    .into()
            }),
            Coding::Gzip => self.gzip.get_or_init(|| {
                let mut packed = GzEncoder::new(Vec::new(), Compression::best());
                let written = packed.write_all(&self.plain);
                let packed = written.and_then(|()| packed.finish());
                packed.expect("memory takes what is written to it").into()
            }),
        };
        packed.clone()
    }

    /// Its media type, which its name tells.
    pub(super) fn media_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(_) | None => "text/javascript; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// The most that a browser loads in all: 45 KiB, and a little more if it is too old for zstd.
    const PACKED_BYTES_MAX: [(Coding, usize); 2] =
        [(Coding::Zstd, 45 * 1024), (Coding::Gzip, 48 * 1024)];
    /// The most lines of one of our scripts.
    const LINES_MAX: usize = 300;
    const COLUMNS_MAX: usize = 160;
    /// What the page may not do: its policy would forbid it, and text of guests could become markup.
    const BANNED: [&str; 9] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "dangerouslySetInnerHTML",
        "document.write",
        "eval(",
        "new Function",
        "http://",
        "https://",
    ];

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
    }

    fn names_below(folder: &Path, prefix: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                names.append(&mut names_below(&entry.path(), &format!("{name}/")));
            } else {
                names.insert(name);
            }
        }
        names
    }

    /// Our own files. The library's are in `lib`.
    fn ours() -> impl Iterator<Item = (&'static str, &'static str)> {
        let files = APART.iter().chain(MODULES).copied();
        files.filter(|(name, _)| !name.starts_with("lib/"))
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let files = APART.iter().chain(MODULES);
        let files = files.map(|(name, _)| (*name).to_owned());
        let mut kept = names_below(&folder(), "");
        // They go with the sources.
        kept.retain(|name| !name.starts_with("lib/LICENSE") && name != "lib/README.md");
        assert_eq!(files.collect::<BTreeSet<_>>(), kept);
    }

    #[test]
    fn everything_together_is_small() {
        for (coding, most) in PACKED_BYTES_MAX {
            let packed = SITE.files.iter().map(|file| file.packed(coding).len());
            let packed: usize = packed.sum();
            assert!(packed <= most, "{packed} as {coding:?}");
        }
    }

    #[test]
    fn every_page_has_a_path_and_a_key_of_its_own() {
        for member in [" path: '", " go: '"] {
            let mut taken = BTreeSet::new();
            let pages = ours().filter(|(name, _)| name.starts_with("pages/"));
            for (name, text) in pages {
                let row = text.lines().find(|line| line.starts_with("export const "));
                let row = row.unwrap_or_else(|| panic!("{name} exports no page"));
                if let Some((_, rest)) = row.split_once(member) {
                    let value = rest.split('\'').next().unwrap_or_default();
                    assert!(
                        taken.insert(value),
                        "{name} is the second with {member}{value}'"
                    );
                }
            }
        }
    }

    #[test]
    fn our_scripts_are_short_begin_with_their_purpose_and_make_no_markup_of_text() {
        for (name, text) in ours() {
            // The namespace of a picture is a name that nothing loads.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for banned in BANNED {
                assert!(!text.contains(banned), "{name} says {banned}");
            }
            if name.ends_with(".js") {
                assert!(text.starts_with("// "), "{name}");
                assert!(text.lines().count() <= LINES_MAX, "{name}");
                let longest = text.lines().map(|line| line.chars().count()).max();
                assert!(longest <= Some(COLUMNS_MAX), "{name} {longest:?}");
            }
        }
    }

    #[test]
    fn vendored_code_is_what_its_table_says() {
        let table = std::fs::read_to_string(folder().join("lib/README.md")).unwrap();
        let vendored = APART.iter().filter(|(name, _)| name.starts_with("lib/"));
        for (name, text) in vendored {
            let original = text.replace("from\"./preact.js\"", "from\"preact\"");
            let sum = Sha256::digest(original);
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = name.trim_start_matches("lib/");
            let line = table
                .lines()
                .find(|line| line.contains(&format!("`{name}`")));
            assert!(line.is_some_and(|line| line.contains(&sum)), "{name} {sum}");
        }
        for licence in ["LICENSE-htm", "LICENSE-preact"] {
            assert!(folder().join("lib").join(licence).exists(), "{licence}");
        }
    }
}
