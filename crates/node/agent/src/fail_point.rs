//! Places at which a test may have the agent die, as `kill -9` would have it: `ESTIVA_FAIL_POINT=NAME=FILE` in the environment
//! of a debug build. FILE is made, and while it is there nobody dies any more.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::sync::OnceLock;

static CHOSEN: OnceLock<Option<(String, OsString)>> = OnceLock::new();

fn chosen() -> Option<(String, OsString)> {
    let text = std::env::var("ESTIVA_FAIL_POINT").ok()?;
    let (name, file) = text.split_once('=')?;
    Some((name.to_owned(), file.into()))
}

/// Ends the process here if a test has chosen this place.
pub(crate) fn reach(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some((chosen, file)) = CHOSEN.get_or_init(chosen)
        && chosen == name
        && OpenOptions::new().write(true).create_new(true).open(file).is_ok()
    {
        std::process::abort();
    }
}
