//! This program, as it is started again: for the parts of `estiva up`, and by agents for shims.

/// Names the program that runs, also once its file was replaced, moved or removed, as every upgrade does: so all parts
/// of an installation that is up are of one version. The new one comes with the next `estiva up`.
pub const PATH: &str = "/proc/self/exe";

/// How processes of this program are called. One that was started by [`PATH`] would be called `exe`.
pub const NAME: &str = "estiva";
