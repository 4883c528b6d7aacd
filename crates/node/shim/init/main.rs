//! `estiva-init`: the only program of Estiva's that runs inside a container's PID namespace.
//!
//! Whatever runs there can be looked into, and made to act, by a container with `CAP_SYS_PTRACE`. So it is a program of its own
//! with nothing of the shim's: no memory (it is executed, not forked), no descriptors, no capabilities beyond the container's. It is
//! static, because it runs in root directories that have no loader or one that cannot be trusted, and it uses nothing but `core`.
//!
//! `build.rs` compiles it; the shim carries its bytes (`src/init.rs`). What its first argument names:
//!
//! - `pause`: holds the namespaces that a task's containers share, and reaps.
//! - `init START PROGRAM ARGUMENTS…`: starts the program as its child, passes signals on, reaps, ends as the program does.
//! - `enter START PID TTY PROGRAM ARGUMENTS…`: starts the program as a sibling, in the PID namespace that was entered, writes its
//!   number (in the caller's namespace) to the descriptor PID, and ends.
//!
//! PROGRAM is a path; ARGUMENTS begin with the name that the program is called by.
//!
//! START is a descriptor that is closed by the program's exec; when that fails, `exec: PROGRAM: errno NUMBER` is written to it.
#![no_std]
#![no_main]
// Or the compiler would make a call of `strlen` of the loop that is `strlen`.
#![no_builtins]

mod kernel;

use core::ffi::CStr;
use kernel::{Arguments, Pid};

const SIGNALS_ALL: u64 = u64::MAX;
const SIGNALS_NONE: u64 = 0;
const SIGCHLD: i32 = 17;
/// As a shell numbers the end by a signal.
const CODE_SIGNAL_BASE: i32 = 128;
const CODE_USAGE: i32 = 2;

/// What the kernel's entry point calls with the stack as it found it.
///
/// # Safety
/// `stack` is the initial stack of the process (System V ABI: argument count, arguments, null, environment, null).
#[unsafe(no_mangle)]
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the caller's promise.
    let arguments = unsafe { Arguments::of(stack) };
    let code = match arguments.text(1).map(CStr::to_bytes) {
        Some(b"pause") => pause(),
        Some(b"init") => init(&arguments),
        Some(b"enter") => enter(&arguments),
        _ => CODE_USAGE,
    };
    kernel::exit(code)
}

fn pause() -> i32 {
    kernel::set_name(c"estiva-pause");
    kernel::set_undumpable();
    kernel::block_signals(SIGNALS_ALL);
    loop {
        kernel::wait_for_signal(1 << (SIGCHLD - 1));
        while kernel::reap().is_some() {}
    }
}

fn init(arguments: &Arguments) -> i32 {
    let (Some(start), Some(_)) = (arguments.number(2), arguments.text(3)) else { return CODE_USAGE };
    kernel::set_name(c"estiva-init");
    // Before the fork, so that no signal falls between.
    kernel::block_signals(SIGNALS_ALL);
    match kernel::fork(0) {
        Err(errno) => {
            report(start, c"fork", errno);
            CODE_SIGNAL_BASE
        }
        Ok(None) => {
            // The program is a process group of its own, in the foreground of its terminal if it has one.
            kernel::lead_process_group();
            execute(arguments, 3, start)
        }
        Ok(Some(program)) => {
            kernel::close(start);
            serve(program)
        }
    }
}

/// Until the program has ended: its exit code.
fn serve(program: Pid) -> i32 {
    loop {
        let signal = kernel::wait_for_signal(SIGNALS_ALL);
        if signal != SIGCHLD {
            // The program may have ended in this moment, which SIGCHLD tells.
            kernel::send_signal(program, signal);
            continue;
        }
        while let Some((pid, status)) = kernel::reap() {
            if pid == program {
                return match status & 0x7f {
                    0 => (status >> 8) & 0xff,
                    signal => CODE_SIGNAL_BASE + signal,
                };
            }
        }
    }
}

fn enter(arguments: &Arguments) -> i32 {
    let (Some(start), Some(pid), Some(tty)) = (arguments.number(2), arguments.number(3), arguments.number(4)) else {
        return CODE_USAGE;
    };
    match kernel::fork(kernel::CLONE_PARENT) {
        Err(errno) => report(start, c"fork", errno),
        Ok(None) => {
            kernel::close(pid);
            kernel::lead_session(tty != 0);
            return execute(arguments, 5, start);
        }
        Ok(Some(child)) => kernel::write(pid, &child.to_ne_bytes()),
    }
    0
}

/// Becomes the program that the argument at `place` names. Returns, with an exit code, only if it cannot.
fn execute(arguments: &Arguments, place: usize, start: i32) -> i32 {
    let Some(program) = arguments.text(place) else { return CODE_USAGE };
    kernel::close_on_exec(start);
    kernel::set_signal_mask(SIGNALS_NONE);
    let errno = kernel::execute(program, arguments, place + 1);
    report(start, program, errno);
    CODE_SIGNAL_BASE - 1
}

/// Writes `exec: SUBJECT: errno NUMBER` to the shim.
fn report(start: i32, subject: &CStr, errno: i32) {
    let mut digits = [0_u8; 10];
    let mut place = digits.len();
    let mut rest = errno.unsigned_abs();
    while place > 0 {
        place -= 1;
        if let Some(digit) = digits.get_mut(place) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    kernel::write(start, b"exec: ");
    kernel::write(start, subject.to_bytes());
    kernel::write(start, b": errno ");
    kernel::write(start, digits.get(place..).unwrap_or_default());
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit(CODE_SIGNAL_BASE)
}
