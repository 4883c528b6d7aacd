//! Tasks from RunTask to oblivion.

mod launches;
mod limits;
mod lists;
mod network;
mod oblivion;
mod placements;
mod protection;
mod reports;
mod tokens;
