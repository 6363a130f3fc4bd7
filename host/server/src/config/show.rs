//! A whole configuration as the file that means it, with what each key decides beside it.

use std::fmt::Write as _;

use crate::config::Config;
use crate::config::keys::{self, quoted};

/// Every key with its value, and the directories; [`crate::config::read::read`] makes the same
/// configuration of it.
pub fn shown(config: &Config) -> String {
    let (mut text, mut section) = (String::new(), "");
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a String takes it");
    };
    for key in keys::all() {
        if key.section != section {
            section = key.section;
            line(format_args!("\n[{section}]"));
        }
        let setting = format!("{} = {}", key.name, key.value(config));
        line(format_args!(
            "{setting:<44} # {} ({})",
            key.doc,
            key.accepts()
        ));
    }
    for (name, dir) in &config.dirs {
        line(format_args!("\n[dirs.{}]", quoted(name)));
        line(format_args!(
            "path = {}",
            quoted(&dir.path.to_string_lossy())
        ));
        line(format_args!("access = {}", quoted(dir.access.as_str())));
    }
    text
}
