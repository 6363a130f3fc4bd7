//! The browser of the tests of `/monitoring`: Debian's Chromium, and the packages that drive it.
//!
//! The packages are pinned, with their sums, in `tests/browser/package-lock.json`. They are installed below
//! `target/` and bring no browser of their own.

use std::path::Path;

use anyhow::Context;

use crate::process::run;
use crate::set_up;

/// What npm reads.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs both if they are absent.
pub(crate) fn install(root: &Path) -> anyhow::Result<()> {
    let wanted = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
    set_up::programs(root, &wanted)?;
    let (from, into) = (root.join("tests/browser"), root.join("target/browser"));
    std::fs::create_dir_all(&into)?;
    // npm writes this last.
    let mut is_current = into.join("node_modules/.package-lock.json").exists();
    for list in LISTS {
        let text = std::fs::read(from.join(list)).with_context(|| list.to_owned())?;
        is_current &= std::fs::read(into.join(list)).is_ok_and(|there| there == text);
        std::fs::write(into.join(list), text)?;
    }
    if is_current {
        return Ok(());
    }
    let quiet = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    run(&into, "npm", &quiet)
}
