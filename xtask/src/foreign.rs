//! The examples that are not written in Rust: C, JavaScript and Python.
//!
//! Each needs its own toolchain. If one cannot be installed, the reason is printed and the others
//! are still built.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::interpreters::{componentize_py, node_packages, text, unless_current};
use crate::process::{run, say};
use crate::set_up::{self, CLANG};

type Builder = fn(&Path, &Path) -> anyhow::Result<()>;

/// Module, source folder, and the function that builds the module from the folder.
const EXAMPLES: [(&str, &str, Builder); 3] = [
    ("crc.wasm", "examples/c", build_c),
    ("markdown.wasm", "examples/javascript", build_javascript),
    ("statistics.wasm", "examples/python", build_python),
];

/// Builds the examples into `out`; an error names those that could not be built.
pub(crate) fn build(root: &Path, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let mut failed = Vec::new();
    for (name, folder, builder) in EXAMPLES {
        let inputs: [PathBuf; 2] = [root.join(folder), root.join("wit")];
        if let Err(error) = unless_current(root, out, name, &inputs, builder) {
            say(&format!("{name}: {error:#}"));
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not built, for the reasons above: {}", failed.join(", "))
}

/// A WASI 0.1 command. The host runs it as it is.
fn build_c(root: &Path, module: &Path) -> anyhow::Result<()> {
    set_up::c_compiler(root)?;
    let arguments = [
        "--target=wasm32-wasi",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-s",
    ];
    let mut arguments = Vec::from(arguments);
    let module = text(module);
    arguments.extend(["examples/c/crc.c", "-o", &module]);
    run(root, CLANG, &arguments)
}

fn build_javascript(root: &Path, module: &Path) -> anyhow::Result<()> {
    let folder = root.join("examples/javascript");
    let modules = node_packages(root, &folder.join("package.json"), "componentize-qjs")?;
    let tool = text(&modules.join("componentize-qjs/bin/componentize-qjs"));
    let (wit, module) = (text(&root.join("wit")), text(module));
    // Without --sync the module would need the component model's asynchronous calls.
    run(
        &folder,
        "node",
        &[
            &tool,
            "--wit",
            &wit,
            "-n",
            "task",
            "--js",
            "markdown.js",
            "--sync",
            "-o",
            &module,
        ],
    )
}

fn build_python(root: &Path, module: &Path) -> anyhow::Result<()> {
    let tool = componentize_py(root)?;
    let (wit, module) = (text(&root.join("wit")), text(module));
    let folder = root.join("examples/python");
    run(
        &folder,
        &tool,
        &[
            "-d",
            &wit,
            "-w",
            "task",
            "componentize",
            "statistics_task",
            "-p",
            ".",
            "-o",
            &module,
        ],
    )
}
