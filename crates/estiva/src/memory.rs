//! How this process has its memory from the C library.

use tracing::debug;

/// Larger pieces are mapped one by one, and go back to the kernel when they are freed.
const MAPPED_BYTES_MIN: i32 = 128 * 1024;
/// Free memory at a heap's end goes back beyond this.
const KEPT_BYTES: i32 = 4 * 1024 * 1024;

/// Has memory given back after many large requests. By default glibc takes the size of freed pieces as a hint to map none
/// of that size any more, and a server that was flooded once stays large for its life.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (libc::M_TRIM_THRESHOLD, KEPT_BYTES)] {
        // SAFETY: mallopt takes plain numbers and locks what it changes.
        let done = unsafe { libc::mallopt(parameter, value) };
        debug!(parameter, value, done, "told the C library how to keep memory");
    }
}
