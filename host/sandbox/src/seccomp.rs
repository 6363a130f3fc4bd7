//! Filters of system calls: of child processes, which may make few, and of the host, which makes some never.
//! Which calls these are, the confinement of each says.

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// System calls, each with the arguments that it is allowed with; all if there are none.
pub(crate) type Rules = Vec<(libc::c_long, Vec<SeccompRule>)>;

/// A rule about the lower half of one argument.
pub(crate) fn argument_is(
    argument: u8,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(argument, op, value)?])
}

/// The same as one of several conditions of a rule.
pub(crate) fn condition(
    argument: u8,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
}

/// Calls that name a process and are allowed on this one only: an abort signals its own thread, and
/// the C library asks for its own limits.
pub(crate) fn own_process() -> Result<Rules, BackendError> {
    let own = u64::from(std::process::id());
    Ok(vec![
        (
            libc::SYS_tgkill,
            vec![argument_is(0, SeccompCmpOp::Eq, own)?],
        ),
        (
            libc::SYS_prlimit64,
            vec![argument_is(0, SeccompCmpOp::Eq, 0)?],
        ),
    ])
}

/// Lets all threads make these calls, and those of `in_part` with their arguments; everything else
/// answers `EPERM`. False where the kernel or the processor has no filter.
pub(crate) fn allow_only(
    calls: impl IntoIterator<Item = libc::c_long>,
    in_part: Result<Rules, BackendError>,
) -> bool {
    let (Ok(arch), Ok(in_part)) = (TargetArch::try_from(std::env::consts::ARCH), in_part) else {
        return false;
    };
    let calls = calls.into_iter().map(|call| (call, Vec::new()));
    let rules = calls.chain(in_part).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)
        .and_then(BpfProgram::try_from)
        .is_ok_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
}

/// Lets this thread, and all that it starts, make every call but these, which answer with `errno`. False
/// where the kernel or the processor has no filter.
pub(crate) fn deny(calls: Result<Rules, BackendError>, errno: i32) -> bool {
    let (Ok(arch), Ok(calls)) = (TargetArch::try_from(std::env::consts::ARCH), calls) else {
        return false;
    };
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(
        calls.into_iter().collect(),
        SeccompAction::Allow,
        refuse,
        arch,
    )
    .and_then(BpfProgram::try_from)
    .is_ok_and(|program| seccompiler::apply_filter(&program).is_ok())
}
