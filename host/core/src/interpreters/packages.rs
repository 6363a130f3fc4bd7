//! The wheels of pure Python code that the operator offers.
//!
//! They are looked up once, at start. A run sees their directory read-only at [`AT`], and its
//! interpreter imports directly from the archives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cofferdam_domain::grants::Access;
use cofferdam_sandbox::Mount;

/// The path of the packages in a run.
pub const AT: &str = "/packages";

/// The most wheels; a directory with more offers only the first ones.
const WHEELS_MAX: usize = 1024;

/// The packages on offer.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    dir: PathBuf,
    /// The wheel's file by the package's name, as [`normal`] writes it.
    wheels: BTreeMap<String, String>,
}

impl Packages {
    /// The packages in `dir`; none if the path is empty.
    pub(crate) fn of(dir: &Path) -> Packages {
        let mut wheels = BTreeMap::new();
        if dir.as_os_str().is_empty() {
            return Packages::default();
        }
        match std::fs::read_dir(dir) {
            Ok(entries) => {
                let files = entries.flatten().take(WHEELS_MAX);
                for file in files.filter_map(|entry| entry.file_name().into_string().ok()) {
                    if let Some((name, _)) =
                        file.strip_suffix(".whl").and_then(|it| it.split_once('-'))
                    {
                        wheels.insert(normal(name), file.clone());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "the packages cannot be read");
            }
        }
        Packages {
            dir: dir.to_owned(),
            wheels,
        }
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.wheels.keys().map(String::as_str)
    }

    /// The files of the named packages, or of all; a name that is not on offer is the error.
    pub(crate) fn files<'a>(
        &'a self,
        named: Option<&'a [String]>,
    ) -> Result<Vec<&'a str>, &'a str> {
        let Some(named) = named else {
            return Ok(self.wheels.values().map(String::as_str).collect());
        };
        let file = |name: &'a String| match self.wheels.get(&normal(name)) {
            Some(file) => Ok(file.as_str()),
            None => Err(name.as_str()),
        };
        named.iter().map(file).collect()
    }

    /// The mount of the packages in a run.
    pub(crate) fn mount(&self) -> Mount {
        Mount {
            path: self.dir.clone(),
            at: AT.to_owned(),
            access: Access::Read,
        }
    }
}

/// A package's name as wheels spell it.
fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_any_spelling_of_their_name() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["Fancy_Text-1.0-py3-none-any.whl", "notes.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let packages = Packages::of(dir.path());
        assert_eq!(packages.names().collect::<Vec<_>>(), ["fancy_text"]);
        let named = ["fancy-text".to_owned()];
        let found = packages.files(Some(&named)).unwrap();
        assert_eq!(found, ["Fancy_Text-1.0-py3-none-any.whl"]);
        let absent = ["numpy".to_owned()];
        assert_eq!(packages.files(Some(&absent)), Err("numpy"));
        assert!(Packages::of(Path::new("")).files(None).unwrap().is_empty());
    }
}
