//! How far the kernel confines the host and the processes of its guests, seen from inside and from outside.
//! Where a kernel lacks a part of it, the host says so, and these tests hold it to what it says.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::guests;
use crate::support::host::{Host, program};

/// How long processes may take to come and go.
const PATIENCE: Duration = Duration::from_secs(20);

const EPERM: i32 = 1;
const EACCES: i32 = 13;
/// What Landlock refuses, and with which errno.
const BY_LANDLOCK: [(&str, i32); 8] = [
    ("read_shadow", EACCES),
    ("list_root", EACCES),
    ("write_tmp", EACCES),
    ("exec_other", EACCES),
    ("exec_shell", EACCES),
    ("connect", EACCES),
    ("listen", EACCES),
    ("signal_parent", EPERM),
];
/// What seccomp refuses.
const BY_SECCOMP: [&str; 16] = [
    "ptrace",
    "process_vm_readv",
    "mount",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "keyctl",
    "setns",
    "perf_event_open",
    "kexec_load",
    "init_module",
    "setuid",
    "user_namespace",
    "packet_socket",
    "raw_socket",
    "netfilter",
];

fn readiness(host: &Host) -> Value {
    host.client.get("/readyz").expect(200).json()
}

fn holds(host: &Host, layer: &str) -> bool {
    readiness(host)["confinement"][layer].as_bool().unwrap()
}

#[test]
fn whoever_takes_over_the_host_gets_little() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = listener.local_addr().unwrap().to_string();
    let host = Host::with_environment("", vec![("CONFINEMENT_PROBE", asked)]);
    let log = host.log();
    let told = log
        .lines()
        .find_map(|line| line.strip_prefix("confinement probe: "));
    let told: BTreeMap<&str, i32> = told
        .unwrap_or_else(|| panic!("{log}"))
        .split(' ')
        .map(|one| one.split_once('=').unwrap())
        .map(|(name, errno)| (name, errno.parse().unwrap()))
        .collect();
    println!("{told:?}");
    if holds(&host, "landlock") {
        for (name, errno) in BY_LANDLOCK {
            assert_eq!(told[name], errno, "{name}");
        }
        assert_ne!(told["write_kernel"], 0);
    }
    if holds(&host, "seccomp") {
        for name in BY_SECCOMP {
            assert_eq!(told[name], EPERM, "{name}");
        }
    }
    // What it does all day.
    for name in ["thread", "exec_self"] {
        assert_eq!(told[name], 0, "{name}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.pid())).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let cores: Vec<&str> = cores.split_whitespace().collect();
    assert_eq!(cores[4..6], ["0", "0"], "{limits}");
}

#[test]
fn the_host_says_what_is_in_force() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    host.client
        .run("echo?isolation=process", "text/plain", b"here")
        .expect(200);
    let told = readiness(&host);
    let metrics = host.client.get("/metrics").text();
    for (of, section, layers) in [
        ("host", "confinement", &["landlock", "seccomp"][..]),
        (
            "guest_processes",
            "guest_processes",
            &["landlock", "seccomp", "namespaces"],
        ),
    ] {
        for layer in layers {
            let holds = told[section][layer].as_bool().unwrap();
            let line = format!(
                "cofferdam_confinement{{of=\"{of}\",layer=\"{layer}\"}} {}",
                u8::from(holds)
            );
            assert!(metrics.contains(&line), "{line}\n{metrics}");
        }
    }
}

/// The host's children.
fn children(host: &Host) -> Vec<PathBuf> {
    let parent = format!("PPid:\t{}\n", host.pid());
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let is_child = |path: &PathBuf| {
        std::fs::read_to_string(path.join("status")).is_ok_and(|status| status.contains(&parent))
    };
    processes.filter(is_child).collect()
}

#[test]
fn a_process_of_guests_has_a_network_and_mounts_of_its_own() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    host.client
        .run("echo?isolation=process", "text/plain", b"here")
        .expect(200);
    if readiness(&host)["guest_processes"]["namespaces"] == false {
        println!("skipped: the kernel gives this user no namespaces");
        return;
    }
    let of_host = PathBuf::from(format!("/proc/{}", host.pid()));
    let deadline = Instant::now() + PATIENCE;
    // A process that has just been started is its parent's copy for a moment, and one may end meanwhile.
    loop {
        let of_children = children(&host).into_iter().filter_map(|it| namespaces(&it));
        let of_children: Vec<_> = of_children.collect();
        let of_host = namespaces(&of_host).unwrap();
        let own = |of: &[PathBuf; 4]| of.iter().zip(&of_host).all(|(its, hosts)| its != hosts);
        if !of_children.is_empty() && of_children.iter().all(own) {
            return;
        }
        assert!(Instant::now() < deadline, "{of_host:?}: {of_children:?}");
    }
}

/// The namespaces of a process; none of one that has ended.
fn namespaces(process: &Path) -> Option<[PathBuf; 4]> {
    let read = |kind: &str| std::fs::read_link(process.join("ns").join(kind)).ok();
    Some([read("net")?, read("mnt")?, read("ipc")?, read("uts")?])
}

#[test]
fn a_host_that_must_be_confined_does_not_start_without() {
    let required = "[confinement]\nrequired = true\n";
    let usual = Host::start();
    if holds(&usual, "landlock") && holds(&usual, "seccomp") {
        Host::with_config(required)
            .client
            .get("/readyz")
            .expect(200);
    }
    // As on a kernel that has none of it.
    let lacks = ("CONFINEMENT_LACKS", "landlock".to_owned());
    let told = Host::with_environment("", vec![lacks.clone()]);
    assert!(!holds(&told, "landlock"));
    let line = "cofferdam_confinement{of=\"host\",layer=\"landlock\"} 0";
    assert!(told.client.get("/metrics").text().contains(line));

    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("cofferdam.toml"), required).unwrap();
    let mut command = Command::new(program());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path());
    let output = command.env(lacks.0, lacks.1).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("confinement.required"), "{told}");
}
