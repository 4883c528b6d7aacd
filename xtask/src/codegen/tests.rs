//! The promise of the committed code.

use super::*;

#[test]
fn generating_again_changes_nothing() {
    check(&crate::root::path()).unwrap();
}
