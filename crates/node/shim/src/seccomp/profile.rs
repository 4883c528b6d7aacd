//! The default profile as data: which system calls a container may make.
//!
//! It allows and refuses what Docker's default profile does on its native architecture, since that is what images are
//! tested under. Not carried over: 32-bit programs (a foreign architecture's call ends the process).

#![allow(non_upper_case_globals)] // The names are the kernel's.
#![allow(clippy::wildcard_imports)] // Three hundred of them.

use libc::{c_long, *};

use crate::oci::Capability;

/// The number of `clone3`, the same on all architectures.
pub(super) const CLONE3: u32 = 435;
/// The newest call that this profile has an opinion on (`mseal`); anything above does not exist for containers.
pub(super) const NEWEST: u32 = 462;

// What the libc crate does not name yet; since 424 the numbers are the same on all architectures.
const SYS_cachestat: c_long = 451;
const SYS_map_shadow_stack: c_long = 453;
const SYS_futex_wake: c_long = 454;
const SYS_futex_wait: c_long = 455;
const SYS_futex_requeue: c_long = 456;
#[cfg(target_arch = "x86_64")]
const SYS_io_pgetevents: c_long = 333;
#[cfg(target_arch = "aarch64")]
const SYS_io_pgetevents: c_long = 292;

/// The calls that a container with `capabilities` may make whatever the arguments.
pub(super) fn allowed(capabilities: &[Capability]) -> impl Iterator<Item = i64> {
    let by_capability = BY_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability));
    ALWAYS.iter().chain(LEGACY).chain(by_capability.flat_map(|(_, calls)| calls.iter())).copied()
}

/// A call that is allowed if one argument passes a test. Several entries for a call are alternatives.
pub(super) struct Conditional {
    pub number: c_long,
    pub argument: u8,
    pub test: Test,
}

/// A test of an argument's low 32 bits.
pub(super) enum Test {
    Equal(u64),
    Differs(u64),
    /// No bit of this mask is set.
    NoneOf(u64),
}

const fn personality(value: u64) -> Conditional {
    Conditional { number: SYS_personality, argument: 0, test: Test::Equal(value) }
}

/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`: new namespaces are not for containers.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
/// Virtual machine sockets reach the hypervisor past every network rule.
const AF_VSOCK_NUMBER: u64 = 40;

pub(super) const CONDITIONAL: &[Conditional] = &[
    Conditional { number: SYS_clone, argument: 0, test: Test::NoneOf(NEW_NAMESPACES) },
    Conditional { number: SYS_socket, argument: 0, test: Test::Differs(AF_VSOCK_NUMBER) },
    // PER_LINUX, PER_LINUX32, each with UNAME26, and the query.
    personality(0),
    personality(0x0008),
    personality(0x0002_0000),
    personality(0x0002_0008),
    personality(0xFFFF_FFFF),
];

#[rustfmt::skip]
const BY_CAPABILITY: &[(Capability, &[c_long])] = &[
    (Capability::DacReadSearch, &[SYS_open_by_handle_at]),
    (Capability::SysAdmin, &[
        SYS_bpf, SYS_clone, SYS_clone3, SYS_fanotify_init, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick,
        SYS_lookup_dcookie, SYS_mount, SYS_mount_setattr, SYS_move_mount, SYS_open_tree, SYS_perf_event_open,
        SYS_quotactl, SYS_quotactl_fd, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_syslog, SYS_umount2,
        SYS_unshare,
    ]),
    (Capability::Bpf, &[SYS_bpf]),
    (Capability::Perfmon, &[SYS_perf_event_open]),
    (Capability::SysBoot, &[SYS_reboot]),
    (Capability::SysChroot, &[SYS_chroot]),
    (Capability::SysModule, &[SYS_delete_module, SYS_init_module, SYS_finit_module]),
    (Capability::SysPacct, &[SYS_acct]),
    (Capability::SysPtrace, &[SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise]),
    #[cfg(target_arch = "x86_64")]
    (Capability::SysRawio, &[SYS_iopl, SYS_ioperm]),
    (Capability::SysTime, &[SYS_settimeofday, SYS_clock_settime]),
    (Capability::SysTtyConfig, &[SYS_vhangup]),
    (Capability::SysNice, &[SYS_get_mempolicy, SYS_mbind, SYS_set_mempolicy, SYS_set_mempolicy_home_node]),
    (Capability::Syslog, &[SYS_syslog]),
];

#[rustfmt::skip]
const ALWAYS: &[c_long] = &[
    SYS_accept, SYS_accept4, SYS_adjtimex, SYS_bind, SYS_brk, SYS_cachestat, SYS_capget, SYS_capset, SYS_chdir,
    SYS_clock_adjtime, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_close, SYS_close_range,
    SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_faccessat, SYS_faccessat2,
    SYS_fadvise64, SYS_fallocate, SYS_fanotify_mark, SYS_fchdir, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_fchown,
    SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock, SYS_fremovexattr, SYS_fsetxattr,
    SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_requeue, SYS_futex_wait, SYS_futex_waitv,
    SYS_futex_wake, SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid,
    SYS_getgroups, SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_getxattr, SYS_inotify_add_watch, SYS_inotify_init1,
    SYS_inotify_rm_watch, SYS_io_cancel, SYS_io_destroy, SYS_io_getevents, SYS_io_pgetevents, SYS_io_setup,
    SYS_io_submit, SYS_ioctl, SYS_ioprio_get, SYS_ioprio_set, SYS_kill, SYS_landlock_add_rule,
    SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_lgetxattr, SYS_linkat, SYS_listen, SYS_listxattr,
    SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_madvise, SYS_map_shadow_stack, SYS_membarrier,
    SYS_memfd_create, SYS_memfd_secret, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock, SYS_mlock2, SYS_mlockall,
    SYS_mmap, SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive, SYS_mq_timedsend,
    SYS_mq_unlink, SYS_mremap, SYS_mseal, SYS_msgctl, SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_msync, SYS_munlock,
    SYS_munlockall, SYS_munmap, SYS_name_to_handle_at, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_openat2,
    SYS_pidfd_open, SYS_pidfd_send_signal, SYS_pipe2, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_ppoll,
    SYS_prctl, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_prlimit64, SYS_process_mrelease, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_pselect6, SYS_ptrace, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead,
    SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_remap_file_pages, SYS_removexattr,
    SYS_renameat2, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo,
    SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr,
    SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr,
    SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_yield, SYS_seccomp, SYS_semctl, SYS_semget, SYS_semop,
    SYS_semtimedop, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_set_robust_list, SYS_set_tid_address,
    SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups, SYS_setitimer, SYS_setpgid, SYS_setpriority, SYS_setregid,
    SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setrlimit, SYS_setsid, SYS_setsockopt, SYS_setuid, SYS_setxattr,
    SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget, SYS_shutdown, SYS_sigaltstack, SYS_signalfd4, SYS_socketpair,
    SYS_splice, SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sync, SYS_sync_file_range, SYS_syncfs, SYS_sysinfo, SYS_tee,
    SYS_tgkill, SYS_timer_create, SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime,
    SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times, SYS_tkill, SYS_truncate, SYS_umask,
    SYS_uname, SYS_unlinkat, SYS_utimensat, SYS_vmsplice, SYS_wait4, SYS_waitid, SYS_write, SYS_writev,
];

/// Calls that newer architectures were born without.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const LEGACY: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create,
    SYS_epoll_ctl_old, SYS_epoll_wait, SYS_epoll_wait_old, SYS_eventfd, SYS_fork, SYS_futimesat, SYS_get_thread_area,
    SYS_getdents, SYS_getpgrp, SYS_inotify_init, SYS_lchown, SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod,
    SYS_modify_ldt, SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename, SYS_renameat, SYS_rmdir,
    SYS_select, SYS_set_thread_area, SYS_signalfd, SYS_stat, SYS_symlink, SYS_time, SYS_unlink, SYS_utime, SYS_utimes,
    SYS_vfork,
];
#[cfg(target_arch = "aarch64")]
const LEGACY: &[c_long] = &[SYS_renameat];
