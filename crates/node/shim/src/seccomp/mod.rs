//! The default system call filter: compiled here, installed by the container's own process right before its program.
//!
//! Why not libcontainer's `libseccomp` feature: it links a C library that must be present on every build and target
//! machine (Estiva is one binary), for a profile that needs comparing numbers only. `seccompiler`, the pure Rust
//! compiler of Firecracker, does that.
//!
//! Why it is installed by our [`executor`](crate::executor) and not by `seccompiler::apply_filter`: that sets
//! `no_new_privs`, which would break set-user-id programs (sudo, ping) in every container. Without `no_new_privs` the
//! kernel demands `CAP_SYS_ADMIN` at that moment, hence before capabilities are dropped.

mod profile;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

use crate::oci::Capability;

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_JMP | BPF_JGT | BPF_K`, `BPF_RET | BPF_K`.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

/// The default profile for a container with these capabilities, as a program for the kernel.
///
/// # Errors
/// The profile does not compile (a defect of this crate; a test compiles it).
pub(crate) fn compile(capabilities: &[Capability]) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for number in profile::allowed(capabilities) {
        // A call without conditions is always allowed.
        rules.insert(number, Vec::new());
    }
    for condition in profile::CONDITIONAL {
        let op = match condition.test {
            profile::Test::Equal(value) => (SeccompCmpOp::Eq, value),
            profile::Test::Differs(value) => (SeccompCmpOp::Ne, value),
            profile::Test::NoneOf(mask) => (SeccompCmpOp::MaskedEq(mask), 0),
        };
        let rule =
            SeccompRule::new(vec![SeccompCondition::new(condition.argument, SeccompCmpArgLen::Dword, op.0, op.1)?])?;
        // Allowed without conditions already, by a capability: leave it.
        let conditions = rules.entry(condition.number).or_insert_with(|| vec![rule.clone()]);
        if !conditions.is_empty() && conditions.last() != Some(&rule) {
            conditions.push(rule);
        }
    }
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter: BpfProgram = SeccompFilter::new(rules, errno, SeccompAction::Allow, arch)?.try_into()?;
    Ok(unknown_calls(capabilities).into_iter().chain(filter).collect())
}

/// A filter that lets these calls pass, whatever their arguments; every other one fails with EPERM.
///
/// # Errors
/// As [`compile`].
pub(crate) fn only(calls: &[libc::c_long]) -> Result<BpfProgram, seccompiler::Error> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().map(|number| (*number, Vec::new())).collect();
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, errno, SeccompAction::Allow, arch)?.try_into()?)
}

/// What goes before the filter: "no such call" instead of "not permitted", for calls that programs try in the hope of
/// a newer kernel and then replace by older ones. EPERM would make them give up (glibc does so for `clone3`).
fn unknown_calls(capabilities: &[Capability]) -> Vec<sock_filter> {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    // clone3's flags lie in memory, where a filter cannot see them: it is there with CAP_SYS_ADMIN only.
    let hidden = if capabilities.contains(&Capability::SysAdmin) { u32::MAX } else { profile::CLONE3 };
    vec![
        instruction(LOAD, 0, 0, OFFSET_ARCH),
        instruction(JUMP_IF_EQUAL, 0, 4, AUDIT_ARCH),
        instruction(LOAD, 0, 0, OFFSET_NUMBER),
        instruction(JUMP_IF_EQUAL, 1, 0, hidden),
        instruction(JUMP_IF_GREATER, 0, 1, profile::NEWEST),
        instruction(RETURN, 0, 0, enosys),
    ]
}

/// Installs `program` on the calling thread and all that it becomes.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` or `no_new_privs`; the kernel may be built without filters.
pub(crate) fn install(program: &BpfProgram) -> std::io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let mut header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the header points to `length` instructions (both types are the kernel's `struct sock_filter`), which the
    // kernel only reads, during the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw mut header) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_compiles_and_fits() {
        let program = compile(&Capability::DEFAULT).unwrap();
        assert!(program.len() < 4096, "{} instructions", program.len());
    }

    /// What a process under the default filter gets from a call: 0, or the error number.
    fn errno_of(program: &BpfProgram, call: libc::c_long, args: [libc::c_long; 3]) -> i32 {
        // SAFETY: the child makes system calls only, none of which returns into this function, and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let installed = install(program).is_ok();
                let result = libc::syscall(call, args[0], args[1], args[2], 0, 0);
                let errno = if result < 0 { *libc::__errno_location() } else { 0 };
                libc::_exit(if installed { errno } else { 255 });
            }
            let mut status = 0;
            libc::waitpid(child, &raw mut status, 0);
            libc::WEXITSTATUS(status)
        }
    }

    #[test]
    fn the_kernel_enforces_the_default_profile() {
        let program = compile(&Capability::DEFAULT).unwrap();
        let gets = |call, args| errno_of(&program, call, args);
        // Root's calls, with all capabilities: only the filter is in the way.
        for call in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_add_key] {
            assert_eq!(gets(call, [0; 3]), libc::EPERM, "call {call}");
        }
        assert_eq!(gets(libc::SYS_clone3, [0; 3]), libc::ENOSYS);
        assert_eq!(gets(100_000, [0; 3]), libc::ENOSYS, "a call that is not invented yet");
        assert_eq!(gets(libc::SYS_clone, [libc::CLONE_NEWUSER.into(), 0, 0]), libc::EPERM);
        assert_eq!(gets(libc::SYS_socket, [libc::AF_VSOCK.into(), libc::SOCK_STREAM.into(), 0]), libc::EPERM);
        assert_eq!(gets(libc::SYS_personality, [0x0040_0000, 0, 0]), libc::EPERM);
        assert_eq!(gets(libc::SYS_personality, [0xFFFF_FFFF, 0, 0]), 0);
        assert_eq!(gets(libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0]), 0);
        assert_eq!(gets(libc::SYS_getpid, [0; 3]), 0);
    }

    #[test]
    fn capabilities_open_calls() {
        let mount = libc::SYS_mount;
        assert!(!profile::allowed(&Capability::DEFAULT).any(|number| number == mount));
        assert!(profile::allowed(&[Capability::SysAdmin]).any(|number| number == mount));
    }
}
