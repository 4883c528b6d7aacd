//! The system calls of `estiva-init`, and the entry point: what a C library would bring along.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};

/// A process, by its number in the caller's PID namespace.
pub(crate) type Pid = i32;

pub(crate) const CLONE_PARENT: usize = 0x8000;
const SIGCHLD: usize = 17;
const WNOHANG: usize = 1;
const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;
const SIG_BLOCK: usize = 0;
const SIG_SETMASK: usize = 2;
const TIOCSCTTY: usize = 0x540E;
const TIOCSPGRP: usize = 0x5410;
const PR_SET_DUMPABLE: usize = 4;
const PR_SET_NAME: usize = 15;
/// `sizeof(sigset_t)` of the kernel.
const SIGSET_BYTES: usize = 8;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const WRITE: usize = 1;
    pub(super) const CLOSE: usize = 3;
    pub(super) const RT_SIGPROCMASK: usize = 14;
    pub(super) const IOCTL: usize = 16;
    pub(super) const GETPID: usize = 39;
    pub(super) const CLONE: usize = 56;
    pub(super) const EXECVE: usize = 59;
    pub(super) const WAIT4: usize = 61;
    pub(super) const KILL: usize = 62;
    pub(super) const FCNTL: usize = 72;
    pub(super) const SETPGID: usize = 109;
    pub(super) const SETSID: usize = 112;
    pub(super) const RT_SIGTIMEDWAIT: usize = 128;
    pub(super) const PRCTL: usize = 157;
    pub(super) const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const FCNTL: usize = 25;
    pub(super) const IOCTL: usize = 29;
    pub(super) const CLOSE: usize = 57;
    pub(super) const WRITE: usize = 64;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const KILL: usize = 129;
    pub(super) const RT_SIGPROCMASK: usize = 135;
    pub(super) const RT_SIGTIMEDWAIT: usize = 137;
    pub(super) const SETPGID: usize = 154;
    pub(super) const SETSID: usize = 157;
    pub(super) const PRCTL: usize = 167;
    pub(super) const GETPID: usize = 172;
    pub(super) const CLONE: usize = 220;
    pub(super) const EXECVE: usize = 221;
    pub(super) const WAIT4: usize = 260;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call begin", "ud2");
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl begin", "brk #1");

/// # Safety
/// The arguments are what the call with this number takes; pointers are valid for its duration.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, arguments: [usize; 5]) -> isize {
    let [one, two, three, four, five] = arguments;
    let result: isize;
    // SAFETY: the kernel's calling convention: it changes rcx, r11 and the result's register.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") one, in("rsi") two, in("rdx") three, in("r10") four,
            in("r8") five, out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// # Safety
/// The arguments are what the call with this number takes; pointers are valid for its duration.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, arguments: [usize; 5]) -> isize {
    let [one, two, three, four, five] = arguments;
    let result: isize;
    // SAFETY: the kernel's calling convention: it changes the result's register alone.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") one => result, in("x1") two, in("x2") three, in("x3") four,
            in("x4") five, options(nostack));
    }
    result
}

/// A call whose arguments are numbers, or pointers to what outlives it.
fn plain(number: usize, arguments: [usize; 5]) -> isize {
    // SAFETY: every caller in this file passes numbers, or pointers to its own variables or to the initial stack.
    unsafe { call(number, arguments) }
}

/// What `CStr` asks a C library for.
///
/// # Safety
/// `text` ends with a null.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the caller's promise: the null comes before the end.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    length
}

/// The arguments and the environment that the process was given.
pub(crate) struct Arguments {
    count: usize,
    first: *const *const c_char,
}

impl Arguments {
    /// # Safety
    /// `stack` is the initial stack of the process.
    pub(crate) unsafe fn of(stack: *const usize) -> Self {
        // SAFETY: by the ABI the count comes first, and then the arguments.
        unsafe { Self { count: *stack, first: stack.add(1).cast() } }
    }

    pub(crate) fn text(&self, place: usize) -> Option<&CStr> {
        // SAFETY: the kernel has put `count` pointers to texts there, which nobody changes.
        (place < self.count).then(|| unsafe { CStr::from_ptr(*self.first.add(place)) })
    }

    /// A number without sign.
    pub(crate) fn number(&self, place: usize) -> Option<i32> {
        let digits = self.text(place)?.to_bytes();
        digits.iter().try_fold(0_i32, |number, digit| match digit {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(i32::from(digit - b'0')),
            _ => None,
        })
    }
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        plain(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0]);
    }
}

/// The child's number, or nothing in the child itself.
pub(crate) fn fork(flags: usize) -> Result<Option<Pid>, i32> {
    match plain(number::CLONE, [flags | SIGCHLD, 0, 0, 0, 0]) {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid as Pid)),
        errno => Err(-errno as i32),
    }
}

/// The error number; does not return if the program has been executed.
pub(crate) fn execute(program: &CStr, arguments: &Arguments, place: usize) -> i32 {
    // SAFETY: arguments end with a null, which the environment follows, as execve wants both.
    let (given, environment) = unsafe { (arguments.first.add(place), arguments.first.add(arguments.count + 1)) };
    -plain(number::EXECVE, [program.as_ptr() as usize, given as usize, environment as usize, 0, 0]) as i32
}

/// A child that has ended, with its wait status.
pub(crate) fn reap() -> Option<(Pid, i32)> {
    let mut status = 0_i32;
    let pid = plain(number::WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0]);
    (pid > 0).then_some((pid as Pid, status))
}

/// Waits for one of these signals, which are blocked: its number.
pub(crate) fn wait_for_signal(signals: u64) -> i32 {
    loop {
        let signal = plain(number::RT_SIGTIMEDWAIT, [&raw const signals as usize, 0, 0, SIGSET_BYTES, 0]);
        if signal > 0 {
            return signal as i32;
        }
    }
}

pub(crate) fn send_signal(pid: Pid, signal: i32) {
    plain(number::KILL, [pid as usize, signal as usize, 0, 0, 0]);
}

pub(crate) fn block_signals(signals: u64) {
    plain(number::RT_SIGPROCMASK, [SIG_BLOCK, &raw const signals as usize, 0, SIGSET_BYTES, 0]);
}

pub(crate) fn set_signal_mask(signals: u64) {
    plain(number::RT_SIGPROCMASK, [SIG_SETMASK, &raw const signals as usize, 0, SIGSET_BYTES, 0]);
}

/// SIGTTOU must be blocked.
pub(crate) fn lead_process_group() {
    plain(number::SETPGID, [0; 5]);
    let own = plain(number::GETPID, [0; 5]) as Pid;
    plain(number::IOCTL, [0, TIOCSPGRP, &raw const own as usize, 0, 0]);
}

/// With `terminal`, standard input is the session's.
pub(crate) fn lead_session(terminal: bool) {
    plain(number::SETSID, [0; 5]);
    if terminal {
        plain(number::IOCTL, [0, TIOCSCTTY, 0, 0, 0]);
    }
}

pub(crate) fn set_name(name: &CStr) {
    plain(number::PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0]);
}

pub(crate) fn set_undumpable() {
    plain(number::PRCTL, [PR_SET_DUMPABLE, 0, 0, 0, 0]);
}

pub(crate) fn write(fd: i32, bytes: &[u8]) {
    plain(number::WRITE, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0]);
}

pub(crate) fn close(fd: i32) {
    plain(number::CLOSE, [fd as usize, 0, 0, 0, 0]);
}

pub(crate) fn close_on_exec(fd: i32) {
    plain(number::FCNTL, [fd as usize, F_SETFD, FD_CLOEXEC, 0, 0]);
}
