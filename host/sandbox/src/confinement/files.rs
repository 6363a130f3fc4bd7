//! What the host can open and reach, by Landlock: its own directories, what its configuration names, and
//! what every program needs to find others by name and to start itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::Access as Wanted;

use super::Reach;

const NEWEST: ABI = ABI::V6;

/// What resolving names, TLS, the C library and the standard library read.
const READ_BY_ALL: [&str; 25] = [
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/urandom",
    "/dev/random",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
];
/// Variables that name where certificates of authorities are.
const CERTIFICATE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// What is in the way of all who may write below `/proc`, if they may write to these as well.
const OF_THE_MACHINE: [&str; 2] = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"];

/// Whether Landlock holds from now on.
pub(super) fn close(reach: &Reach) -> bool {
    let status = rules(reach).and_then(|rules| rules.restrict_self());
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

fn rules(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let mut net = BitFlags::from(AccessNet::BindTcp);
    if !reach.calls_out {
        net |= AccessNet::ConnectTcp;
    }
    let mut rules = Ruleset::default()
        .handle_access(all)?
        .handle_access(net)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in &reach.written {
        rules = allow(rules, path, all & !never)?;
    }
    for path in reach.read.iter().chain(&of_environment()) {
        rules = allow(rules, path, read)?;
    }
    for path in READ_BY_ALL {
        rules = allow(rules, path.as_ref(), read)?;
    }
    for path in mapped() {
        let starts = is_program(&path);
        rules = allow(
            rules,
            &path,
            if starts {
                read | AccessFs::Execute
            } else {
                read
            },
        )?;
    }
    rules = allow(rules, "/dev/null".as_ref(), read | AccessFs::WriteFile)?;
    if may_write_of_processes() {
        let written = read | AccessFs::WriteFile | AccessFs::Truncate;
        rules = allow(rules, "/proc".as_ref(), written)?;
    }
    Ok(rules)
}

/// An absent path needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(at) = PathFd::new(path) else {
        return Ok(rules);
    };
    // Some rights are those of directories.
    let access = match path.is_dir() {
        true => access,
        false => access & AccessFs::from_file(NEWEST),
    };
    rules.add_rule(PathBeneath::new(at, access))
}

fn of_environment() -> Vec<PathBuf> {
    let named = CERTIFICATE_VARIABLES.iter().filter_map(std::env::var_os);
    named.map(PathBuf::from).collect()
}

/// The program, its loader and its libraries, which its children open anew.
fn mapped() -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let files = maps
        .lines()
        .filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
    files.chain(std::env::current_exe()).collect()
}

/// Whether a mapped file is what the kernel starts: the program, or the loader that it names.
fn is_program(path: &Path) -> bool {
    let is_loader = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld"));
    is_loader || std::env::current_exe().is_ok_and(|program| program == path)
}

/// A child tells the kernel of itself by writing below `/proc`: that it should be ended first when memory
/// runs out, and who it is in its own namespaces. The host allows that where what is not of a process there
/// cannot be written to anyway.
fn may_write_of_processes() -> bool {
    OF_THE_MACHINE
        .iter()
        .all(|path| rustix::fs::access(*path, Wanted::WRITE_OK).is_err())
}
