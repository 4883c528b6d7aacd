//! Tasks from RunTask to oblivion.

mod kept_rankings;
mod launches;
mod limits;
mod lists;
mod network;
mod oblivion;
mod placements;
mod protection;
mod reports;
mod sessions;
mod tokens;
