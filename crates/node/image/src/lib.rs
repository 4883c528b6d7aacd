//! OCI images on a node: pulled from registries or imported from files, unpacked into layers, kept while they are used.
//!
//! # Layout of the directory
//! - `layers/sha256/<hex>/`: a layer's files, as overlayfs takes them, named after the digest of its uncompressed tar
//!   (`diff_id`). Complete once it is there; never changed.
//! - `images/<hex>.json`: an image: its configuration and its layers. Its modification time is the image's last use.
//!   `names/<hash>.json`: a name and the image it stands for.
//! - `leases/<holder>`: the images that a holder, a task, uses.
//! - `tmp/<process>-<number>/`: what is being made, the layers that its maker claims, and what is being removed. Locked by
//!   its maker; swept when nobody holds it.
//!
//! Several processes use one directory at once, the agent and `estiva image`: what appears does so by rename, and what
//! disappears too, under the exclusive lock `lock`, which makers of names, leases and claims hold shared. Nobody holds it
//! while something is downloaded, unpacked or deleted.
//!
//! # Trust
//! Archives are hostile: every digest is checked, no path leaves the root it is unpacked to, and every size is bounded.

mod catalog;
mod clean_up;
mod config;
mod digest;
mod directory;
mod error;
mod image;
mod images;
mod import;
mod keyed;
mod layers;
mod limits;
mod progress;
mod reference;
mod registry;
mod unpack;
mod usage;

#[cfg(test)]
mod tests;

pub use clean_up::{CleanUpPolicy, CleanedUp, FreeSpace};
pub use config::ImageConfig;
pub use error::{CleanUpError, ImportError, LeaseError, OpenError, PullError, RemoveError};
pub use image::{Image, ImageSummary, PullPolicy, Removed, Source};
pub use images::Images;
pub use limits::Limits;
pub use progress::{Progress, Silent};
pub use registry::Credentials;
pub use unpack::UnpackError;
pub use usage::Usage;
