//! `python.wasm`: CPython with the files of `interpreters/python`, made by componentize-py.
//!
//! The tool gets folders that are put together here, so that nothing else gets into the module.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{componentize_py, ignore_missing, text, workshop};
use crate::process::run;
use crate::set_up::{self, CLANG};

/// The time zones of the IANA database as files, which the module holds.
const TZDATA: &str = "tzdata==2026.6";

/// Builds `python.wasm`.
pub(super) fn build(root: &Path, module: &Path) -> anyhow::Result<()> {
    let tool = componentize_py(root)?;
    // The tool mounts the folder it is given; a copy keeps everything else out of the module.
    let source = workshop(root).join("python");
    std::fs::remove_dir_all(&source).or_else(ignore_missing)?;
    std::fs::create_dir_all(&source)?;
    copy_files(&root.join("interpreters/python"), "py", &source)?;
    std::fs::copy(
        root.join("interpreters/input.schema.json"),
        source.join("input.schema.json"),
    )?;
    time_zones(root, &source.join("zoneinfo-data"))?;
    set_up::c_compiler(root)?;
    build_immortal(&root.join("interpreters/python/immortal.c"), &source)?;
    let wit = python_wit(root)?;
    let (wit, module) = (text(&wit), text(module));
    run(
        &source,
        &tool,
        &[
            "-d",
            &wit,
            "-w",
            "interpreter",
            "componentize",
            "interpreter",
            "-p",
            ".",
            "-o",
            &module,
        ],
    )
}

/// Puts the interpreter's world and the packages it names together, as the tool wants them.
fn python_wit(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = workshop(root).join("python-wit");
    std::fs::remove_dir_all(&folder).or_else(ignore_missing)?;
    let own = root.join("interpreters/python/wit");
    copy_files(
        &root.join("wit"),
        "wit",
        &folder.join("deps/cofferdam-task"),
    )?;
    for package in ["wasi-cli", "wasi-clocks", "wasi-http", "wasi-io"] {
        copy_files(
            &own.join(package),
            "wit",
            &folder.join("deps").join(package),
        )?;
    }
    copy_files(&own, "wit", &folder)?;
    Ok(folder)
}

/// Copies a folder's files that have an extension.
fn copy_files(from: &Path, extension: &str, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_name().expect("a file has a name");
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Puts the files of the time zones into a folder.
fn time_zones(root: &Path, to: &Path) -> anyhow::Result<()> {
    let packages = workshop(root).join("python-data");
    std::fs::remove_dir_all(&packages).or_else(ignore_missing)?;
    let python = text(&workshop(root).join("python-tools/bin/python"));
    let target = text(&packages);
    run(
        root,
        &python,
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            &target,
            TZDATA,
        ],
    )?;
    std::fs::rename(packages.join("tzdata/zoneinfo"), to).context("tzdata has no zones")
}

/// Builds the native module as a library that the tool links with CPython.
fn build_immortal(c: &Path, folder: &Path) -> anyhow::Result<()> {
    let (c, object) = (text(c), text(&folder.join("immortal.o")));
    let compile = [
        "--target=wasm32-wasip1",
        "-fPIC",
        "-O2",
        "-fvisibility=hidden",
        "-c",
        &c,
        "-o",
        &object,
    ];
    run(folder, CLANG, &compile)?;
    let library = text(&folder.join("immortal.cpython-314-wasm32-wasi.so"));
    let link = [
        "-shared",
        "--experimental-pic",
        "--no-entry",
        "--unresolved-symbols=import-dynamic",
        &object,
        "-o",
        &library,
    ];
    run(folder, "wasm-ld-19", &link)?;
    std::fs::remove_file(&object)?;
    Ok(())
}
