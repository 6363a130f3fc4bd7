//! `cargo xtask test`: everything that can show a fault, cheapest first.
//!
//! A check whose tool is missing has not passed: the tool is installed, or the suite fails. Checks
//! that the machine cannot run at all are listed at the end as not checked.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::process::{self, run_with, say};
use crate::{guests, interpreters, peers, set_up, tools};

/// Runs the whole suite.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut not_checked = Vec::new();
    say("== tools");
    let nextest = tools::NEXTEST.get(root)?;
    let deny = tools::DENY.get(root)?;
    // The interpreters' output is compared with the output of these.
    set_up::programs(root, &[("python3", "python3"), ("node", "nodejs")])?;
    set_up::postgres(root)?;
    // A test shows hosts another time than the machine's.
    set_up::programs(root, &[("faketime", "faketime")])?;
    peers::of_tests(root)?;
    form(root)?;
    dependencies(root, &deny, &mut not_checked)?;
    say("== guests");
    guests::build(root)?;
    say("== lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--"];
    process::run(root, "cargo", &[&lints[..], &["-D", "warnings"]].concat())?;
    say("== builds");
    process::run(root, "cargo", &["build", "--workspace", "--all-targets"])?;
    interpreters::install(root)?;
    say("== tests");
    let arguments = ["nextest", "run", "--workspace", "--no-fail-fast"];
    process::run(root, &nextest, &arguments)?;
    not_checked.extend(full_disks());
    not_checked.extend(confinement(root)?);
    process::run(&root.join("examples"), "cargo", &["test", "--quiet"])?;
    process::run(root, "cargo", &["test", "--workspace", "--doc", "--quiet"])?;
    say("== documentation");
    let warnings_denied = [("RUSTDOCFLAGS", "-D warnings")];
    let arguments = ["doc", "--workspace", "--no-deps"];
    run_with(root, "cargo", &arguments, &warnings_denied)?;
    conclude(&not_checked);
    Ok(())
}

fn form(root: &Path) -> anyhow::Result<()> {
    say("== form");
    let arguments = ["fmt", "--all", "--check"];
    process::run(root, "cargo", &arguments)?;
    process::run(&root.join("examples"), "cargo", &arguments)
}

/// Checks what is linked into the host. The advisories come from a database on the network, which
/// not every machine may reach; the rest needs nothing but the sources.
fn dependencies(root: &Path, deny: &str, not_checked: &mut Vec<String>) -> anyhow::Result<()> {
    say("== dependencies");
    // Its warnings, hundreds of lines, are about crates present in two versions.
    let quiet = ["--log-level", "error", "check"];
    let check = |what: &[&str]| process::run(root, deny, &[&quiet, what].concat());
    check(&["licenses", "bans", "sources"])?;
    match process::output(root, deny, &["fetch", "db"]) {
        Ok(_) => check(&["advisories"]),
        Err(reason) => {
            say(&format!("{reason:#}"));
            not_checked.push(
                "advisories: their database could not be fetched from here; \
                 `cargo deny check advisories` checks them on a machine that reaches it"
                    .to_owned(),
            );
            Ok(())
        }
    }
}

/// The tests of full disks mount a small file system; they pass without testing where they may not
/// mount.
fn full_disks() -> Option<String> {
    let folder = std::env::temp_dir().join(format!("cofferdam-mount-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&folder);
        command.stderr(Stdio::null()).status()
    };
    let mounted = run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .is_ok_and(|status| status.success());
    if mounted {
        let _left_mounted = run("umount", &["--lazy"]);
    }
    let _left_behind = std::fs::remove_dir(&folder);
    (!mounted).then(|| "full disks: this user may not mount a file system; root may".to_owned())
}

/// The tests of the compiling child accept a kernel without Landlock or seccomp, as the host does.
/// A child says in its answer which of the two confine it.
fn confinement(root: &Path) -> anyhow::Result<Option<String>> {
    let module = b"(module)";
    let length = module.len().to_string();
    let mut child = Command::new(root.join("target/debug/cofferdam"))
        .args([
            "compile-child",
            "fast",
            "524288",
            &length,
            "3221225472",
            "60",
            "1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the program cannot be started")?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("the compiling child has no pipes");
    };
    input.write_all(module)?;
    let mut answer = Vec::new();
    output.read_to_end(&mut answer)?;
    // The child ends when its input does, so the input stays open until here.
    drop(input);
    child.wait()?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(
        answer.starts_with("CFD1"),
        "the compiling child answers {answer:?}"
    );
    let is_missing = |name: &&str| !answer.contains(&format!("\"{name}\":true"));
    let missing: Vec<&str> = ["landlock", "seccomp"]
        .into_iter()
        .filter(is_missing)
        .collect();
    Ok((!missing.is_empty()).then(|| {
        let missing = missing.join(" and ");
        format!("confinement of the compiling child: this kernel does not have {missing}")
    }))
}

fn conclude(not_checked: &[String]) {
    if not_checked.is_empty() {
        return say("Everything passed.");
    }
    say("Everything that was checked passed. NOT CHECKED on this machine:");
    for what in not_checked {
        say(&format!("- {what}"));
    }
}
