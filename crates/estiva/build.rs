//! Links the binary at a fixed address.
//!
//! A position-independent one has some 50,000 pointers relocated at each start, which makes a megabyte of memory private to
//! every process: to every shim, of which there is one a task. Stack, heap and libraries are randomised all the same.

fn main() {
    println!("cargo:rustc-link-arg-bins=-no-pie");
    println!("cargo:rerun-if-changed=build.rs");
}
