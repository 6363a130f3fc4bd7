//! What the host never asks the kernel for, by seccomp. These calls fail with `EPERM`; all others go on, and
//! cost nothing, because the kernel remembers which calls its filters always allow.

use seccompiler::{BackendError, SeccompCmpOp, SeccompRule};

use crate::seccomp::{self, Rules, argument_is};

/// Other processes' memory and state, the machine and its kernel, devices and mounts, other users, keys,
/// and ways around the filter itself.
const DENIED: [libc::c_long; 62] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_execveat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
];

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: [libc::c_long; 6] = [
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: [libc::c_long; 0] = [];

/// The same calls of the kernel's second form on this processor have this bit.
#[cfg(target_arch = "x86_64")]
const SECOND_FORM: Option<libc::c_long> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const SECOND_FORM: Option<libc::c_long> = None;

/// The namespaces that a guest's process asks for, as it does: all at once.
pub(crate) const OF_GUESTS: i32 =
    libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Whether the filter holds from now on, for this thread and all that it starts.
pub(super) fn close() -> bool {
    // The arguments of the newer call are in memory, where no filter can look; the C library then uses the
    // older one.
    seccomp::deny(Ok(all_of(libc::SYS_clone3)), libc::ENOSYS) && seccomp::deny(rules(), libc::EPERM)
}

fn all_of(call: libc::c_long) -> Rules {
    vec![(call, Vec::new())]
}

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = DENIED
        .into_iter()
        .chain(DENIED_HERE)
        .map(|call| (call, Vec::new()))
        .collect();
    rules.push((libc::SYS_unshare, other_namespaces()?));
    rules.push((libc::SYS_clone, new_namespaces()?));
    rules.push((libc::SYS_socket, other_sockets()?));
    if let Some(bit) = SECOND_FORM {
        let again: Rules = rules
            .iter()
            .map(|(call, _)| (call | bit, Vec::new()))
            .collect();
        rules.extend(again);
        rules.push((libc::SYS_execve | bit, Vec::new()));
    }
    Ok(rules)
}

/// Everything but what a guest's process does for itself.
fn other_namespaces() -> Result<Vec<SeccompRule>, BackendError> {
    let both = [OF_GUESTS, OF_GUESTS | libc::CLONE_NEWUSER];
    let [alone, with_users] = both.map(|flags| u64::from(flags.unsigned_abs()));
    let conditions = [alone, with_users]
        .into_iter()
        .map(|flags| seccomp::condition(0, SeccompCmpOp::Ne, flags))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(vec![SeccompRule::new(conditions)?])
}

fn new_namespaces() -> Result<Vec<SeccompRule>, BackendError> {
    let flags = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let flags = flags.into_iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        argument_is(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    flags.collect()
}

/// Only what is of this machine, or of the network's own form; no raw packets.
fn other_sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let known = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        // The C library asks the kernel for its addresses there.
        libc::AF_NETLINK,
    ];
    let is_none = known
        .into_iter()
        .map(|family| seccomp::condition(0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())))
        .collect::<Result<Vec<_>, _>>()?;
    let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
    let other_netlink = vec![
        seccomp::condition(0, SeccompCmpOp::Eq, netlink)?,
        seccomp::condition(
            2,
            SeccompCmpOp::Ne,
            u64::from(libc::NETLINK_ROUTE.unsigned_abs()),
        )?,
    ];
    let inet = [libc::AF_INET, libc::AF_INET6];
    let mut rules = vec![SeccompRule::new(is_none)?, SeccompRule::new(other_netlink)?];
    for family in inet {
        let kind = SeccompCmpOp::MaskedEq(0xf);
        rules.push(SeccompRule::new(vec![
            seccomp::condition(0, SeccompCmpOp::Eq, u64::from(family.unsigned_abs()))?,
            seccomp::condition(1, kind, u64::from(libc::SOCK_RAW.unsigned_abs()))?,
        ])?);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_a_filter() {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
        let rules = rules().unwrap();
        let count = rules.len();
        let rules: std::collections::BTreeMap<_, _> = rules.into_iter().collect();
        assert_eq!(rules.len(), count, "no call is named twice");
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
        BpfProgram::try_from(filter).unwrap();
    }
}
