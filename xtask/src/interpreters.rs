//! The interpreter modules: installs the tools by package name and builds `python.wasm` and
//! `javascript.wasm`.
//!
//! A stamp over everything that goes into a build says whether it is up to date. The tools live
//! under `target/`; only the C compiler is installed for the whole machine.

mod python;

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::peers;
use crate::process::{exists, run, run_with, say};
use crate::set_up::{self, CLANG};

const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const TARGET: &str = "wasm32-wasip1";

/// The folders of the builds that a host is started from.
const PROFILES: [&str; 3] = ["release", "demo", "debug"];
/// The host and the program that snapshots an interpreter. They are built together, because a build
/// of one alone would choose other features of their common dependencies and compile those again.
const HOST_PACKAGES: [&str; 4] = ["-p", "cofferdam-server", "-p", "cofferdam-snapshot"];

/// Builds both interpreters and puts them where the host looks for them: beside the program.
pub(crate) fn install(root: &Path) -> anyhow::Result<()> {
    build_python_module(root)?;
    build_javascript_module(root)?;
    link(root)
}

/// Copies the built modules to where the host of each profile looks for them.
fn link(root: &Path) -> anyhow::Result<()> {
    for profile in PROFILES {
        let beside = root.join("target").join(profile);
        std::fs::create_dir_all(&beside)?;
        let link = beside.join("interpreters");
        std::fs::remove_file(&link).or_else(ignore_missing)?;
        std::os::unix::fs::symlink("../interpreters/modules", &link)
            .with_context(|| link.display().to_string())?;
    }
    Ok(())
}

/// Builds `python.wasm` if it is not up to date.
pub(crate) fn build_python_module(root: &Path) -> anyhow::Result<()> {
    let inputs = inputs(
        root,
        &[
            "interpreters/python",
            "interpreters/input.schema.json",
            "wit",
        ],
    );
    unless_current(root, &modules(root)?, "python.wasm", &inputs, python::build)
}

/// Builds `javascript.wasm` if it is not up to date.
fn build_javascript_module(root: &Path) -> anyhow::Result<()> {
    let inputs = inputs(
        root,
        &[
            "interpreters/javascript",
            "interpreters/input.schema.json",
            "wit",
            "xtask/snapshot/src",
        ],
    );
    let out = modules(root)?;
    unless_current(root, &out, "javascript.wasm", &inputs, build_javascript)
}

/// Where the finished modules are.
fn modules(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = workshop(root).join("modules");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn inputs(root: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| root.join(name)).collect()
}

/// Builds `out/name` unless the stamp beside it matches `inputs`.
pub(crate) fn unless_current(
    root: &Path,
    out: &Path,
    name: &str,
    inputs: &[PathBuf],
    build: fn(&Path, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let module = out.join(name);
    let stamp_path = out.join(format!("{name}.stamp"));
    let stamp = stamp(root, inputs)?;
    if module.exists() && std::fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
        say(&format!("{} is up to date.", module.display()));
        return Ok(());
    }
    say(&format!("Building {}.", module.display()));
    build(root, &module).with_context(|| format!("{name} cannot be built"))?;
    std::fs::write(stamp_path, stamp)?;
    Ok(())
}

/// A digest over the names and contents of the files, and over this program's own choices.
fn stamp(root: &Path, inputs: &[PathBuf]) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for input in inputs {
        collect(input, &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    hasher.write(include_bytes!("interpreters.rs"));
    hasher.write(include_bytes!("interpreters/python.rs"));
    hasher.write(include_bytes!("foreign.rs"));
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        hasher.write(name.as_os_str().as_encoded_bytes());
        hasher.write(&std::fs::read(&file).with_context(|| file.display().to_string())?);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        let made = ["target", "node_modules", "__pycache__"];
        if !made.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// The folder for tools and intermediate files.
fn workshop(root: &Path) -> PathBuf {
    root.join("target/interpreters")
}

/// componentize-py in its own virtual environment.
pub(crate) fn componentize_py(root: &Path) -> anyhow::Result<String> {
    let environment = workshop(root).join("python-tools");
    let tool = text(&environment.join("bin/componentize-py"));
    if exists(&tool, "--version") {
        return Ok(tool);
    }
    say("Installing componentize-py into a virtual environment.");
    peers::venv_at(root, &environment)?;
    peers::pip(root, &environment, COMPONENTIZE_PY)?;
    Ok(tool)
}

/// Installs the packages that `folder/package.json` names below `target/`; gives `node_modules`.
pub(crate) fn node_packages(
    root: &Path,
    package_json: &Path,
    name: &str,
) -> anyhow::Result<PathBuf> {
    let folder = workshop(root).join(name);
    let copy = folder.join("package.json");
    let wanted = std::fs::read(package_json).with_context(|| package_json.display().to_string())?;
    let modules = folder.join("node_modules");
    if modules.exists() && std::fs::read(&copy).is_ok_and(|present| present == wanted) {
        return Ok(modules);
    }
    set_up::programs(root, &[("node", "nodejs"), ("npm", "npm")])?;
    std::fs::create_dir_all(&folder)?;
    // The copy is written last: its presence means that the installation is complete.
    std::fs::remove_file(&copy).or_else(ignore_missing)?;
    let packages = dependencies(&String::from_utf8_lossy(&wanted));
    let mut arguments = vec![
        "install",
        "--no-save",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ];
    arguments.extend(packages.iter().map(String::as_str));
    run(&folder, "npm", &arguments)?;
    std::fs::write(copy, wanted)?;
    Ok(modules)
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// The pinned `name@version` of each dependency; every line of the form `"name": "1.2.3"` is one.
fn dependencies(package_json: &str) -> Vec<String> {
    let block = package_json
        .split_once("\"dependencies\"")
        .map_or("", |(_, rest)| rest);
    let pairs = block
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    pairs
        .map(|(name, version)| (name.trim_matches('"'), version.trim_matches('"')))
        .filter(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit()))
        .map(|(name, version)| format!("{name}@{version}"))
        .collect()
}

fn build_javascript(root: &Path, module: &Path) -> anyhow::Result<()> {
    let core = text(&build_javascript_core(root)?);
    let snapshot = text(&snapshot_program(root)?);
    run(root, &snapshot, &[&core, &text(module)])
}

/// Compiles the interpreter and its prelude: the module that is snapshotted afterwards.
pub(crate) fn build_javascript_core(root: &Path) -> anyhow::Result<PathBuf> {
    set_up::c_compiler(root)?;
    set_up::rust_targets(root, &[TARGET])?;
    let crate_folder = root.join("interpreters/javascript");
    let modules = node_packages(
        root,
        &crate_folder.join("package.json"),
        "javascript-packages",
    )?;
    let prelude = bundled(
        root,
        &crate_folder,
        &modules,
        "main.js",
        &[
            "--legal-comments=none",
            // The engine keeps the source of each function in the heap that is snapshotted.
            "--minify-whitespace",
            // The prelude already has what the streams package imports.
            "--alias:process=./js/streams-process.js",
            "--alias:abort-controller=./js/abort.js",
        ],
    )?;
    let typescript = bundled(
        root,
        &crate_folder,
        &modules,
        "typescript.js",
        &[
            "--legal-comments=none",
            "--minify",
            "--global-name=cofferdamTypes",
        ],
    )?;
    let target_dir = text(&workshop(root).join("javascript"));
    let flags = format!(
        "--target=wasm32-wasi -include {}",
        text(&crate_folder.join("quickjs-wasi.h"))
    );
    run_with(
        &crate_folder,
        "cargo",
        &[
            "build",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--target-dir",
            &target_dir,
        ],
        &[
            ("COFFERDAM_PRELUDE", &prelude),
            ("COFFERDAM_TYPESCRIPT", &typescript),
            ("RQUICKJS_SYS_NO_WASI_SDK", "1"),
            ("CC_wasm32_wasip1", CLANG),
            ("AR_wasm32_wasip1", "ar"),
            ("CFLAGS_wasm32_wasip1", &flags),
        ],
    )?;
    Ok(Path::new(&target_dir)
        .join(TARGET)
        .join("release/cofferdam_javascript.wasm"))
}

/// Bundles one of the interpreter's files with all that it imports.
fn bundled(
    root: &Path,
    crate_folder: &Path,
    modules: &Path,
    entry: &str,
    options: &[&str],
) -> anyhow::Result<String> {
    let bundle = text(&workshop(root).join(format!("bundle-{entry}")));
    let (entry, outfile) = (format!("js/{entry}"), format!("--outfile={bundle}"));
    let mut arguments = vec![
        entry.as_str(),
        "--bundle",
        "--format=iife",
        "--target=es2023",
        "--charset=utf8",
        "--log-level=warning",
        &outfile,
    ];
    arguments.extend_from_slice(options);
    run_with(
        crate_folder,
        &text(&modules.join("esbuild/bin/esbuild")),
        &arguments,
        &[("NODE_PATH", &text(modules))],
    )?;
    Ok(bundle)
}

/// The program that snapshots a module: from any build newer than its source, else from a build
/// together with the host, so that nothing is compiled twice.
fn snapshot_program(root: &Path) -> anyhow::Result<PathBuf> {
    let mut sources = Vec::new();
    collect(&root.join("xtask/snapshot/src"), &mut sources)?;
    let changed = sources.iter().filter_map(modified).max();
    let built = |profile: &str| root.join("target").join(profile).join("cofferdam-snapshot");
    if let Some(program) = PROFILES
        .map(built)
        .into_iter()
        .find(|path| modified(path) > changed)
    {
        return Ok(program);
    }
    build_host(root)?;
    Ok(built("demo"))
}

/// Builds the host and the program that snapshots with the profile `demo`: ready soon rather than
/// fast.
pub(crate) fn build_host(root: &Path) -> anyhow::Result<()> {
    let arguments = ["build", "--profile", "demo"];
    run(root, "cargo", &[&arguments[..], &HOST_PACKAGES].concat())
}

/// When the file was last written to; `None` if there is none.
fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// A path as an argument. Paths below the repository are the only ones, and cargo needs those to
/// be text anyway.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
