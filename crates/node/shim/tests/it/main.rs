//! Real shims with real containers. Needs root and a static busybox (Debian: `busybox-static`).

// All of it is test code, helpers included.
#![allow(clippy::unwrap_used)]

mod exec;
mod faults;
mod fixture;
mod isolation;
mod lifecycle;
mod logs;
