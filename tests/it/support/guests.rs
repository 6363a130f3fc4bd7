//! The guests: WAT files, and the modules that `cargo xtask guests` builds.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the package is in the repository")
}

/// A hostile or tiny guest of `tests/guests`, by file name. A file that has only a core module is
/// the core of a task module; the component around it is that of `echo.wat`.
#[track_caller]
pub(crate) fn wat(name: &str) -> Vec<u8> {
    let text = |name: &str| {
        let bytes = read(&root().join("tests/guests").join(name));
        String::from_utf8(bytes).expect("WAT is text")
    };
    let inside = text(name);
    if inside.contains("(component\n") || !inside.contains("(core module $code") {
        return inside.into_bytes();
    }
    let outside = text("echo.wat");
    let part = |mark: &str| outside.find(mark).expect("echo.wat has that part");
    let (begin, end) = (
        part("  (core module $code"),
        part("  (core instance $guest"),
    );
    format!("{}{inside}{}", &outside[..begin], &outside[end..]).into_bytes()
}

/// A task module that answers with its input and describes itself with these schemas.
pub(crate) fn described(input_schema: Option<&str>, output_schema: Option<&str>) -> Vec<u8> {
    use std::fmt::Write;
    const PART_BYTES: usize = 5 * 65_536;
    let mut data = String::new();
    let mut say = String::new();
    for (number, schema) in [input_schema, output_schema].into_iter().enumerate() {
        let Some(schema) = schema else { continue };
        let (from, option) = (PART_BYTES * (number + 1), 72 + 12 * number);
        assert!(schema.len() <= PART_BYTES, "the guest has no room for it");
        let escaped: String = schema.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(data, "(data (i32.const {from}) \"{escaped}\")").expect("memory");
        for (at, value) in [(option, 1), (option + 4, from), (option + 8, schema.len())] {
            writeln!(say, "(i32.store (i32.const {at}) (i32.const {value}))").expect("memory");
        }
    }
    let echo = String::from_utf8(wat("echo.wat")).expect("WAT is text");
    let free = 3 * PART_BYTES;
    let echo = echo
        .replacen("\"memory\") 2)", "\"memory\") 16)", 1)
        .replacen(
            "(mut i32) (i32.const 4096))",
            &format!("(mut i32) (i32.const {free})) {data}"),
            1,
        )
        .replacen("(i32.const 23))\n", &format!("(i32.const 23))\n{say}"), 1);
    assert!(echo.contains(&say), "echo.wat has changed");
    echo.into_bytes()
}

/// A built module, by name.
#[track_caller]
pub(crate) fn built(name: &str) -> Vec<u8> {
    read(&built_path(name))
}

/// The path of a built module.
pub(crate) fn built_path(name: &str) -> PathBuf {
    root().join("target/guests").join(format!("{name}.wasm"))
}

/// A file of the examples' sample data, e.g. `thumbnail/data/boat.png`.
#[track_caller]
pub(crate) fn sample(path: &str) -> Vec<u8> {
    read(&root().join("examples").join(path))
}

#[track_caller]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask guests` builds the modules",
            path.display()
        )
    })
}
