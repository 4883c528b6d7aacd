//! `estiva store`: the files of the control plane's state.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use estiva_store::BackendError;
use estiva_store::backend::Sqlite;

use crate::installation::InstallationOptions;
use crate::output;

/// Back up the control plane's state, and go on after a loss
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the state to a new directory, also while Estiva is up
    ///
    /// Log events, images and volumes are not part of it. To restore it, stop Estiva and put the directory's files in place of
    /// all files of DATA/server/store.
    Backup {
        /// Made if it is new; it must not hold a store
        dir: PathBuf,
    },
    /// Go on with what is left of a store that lost acknowledged changes
    ///
    /// For a store that `estiva up` refuses because changes are missing, when there is no backup. What was changed after the
    /// loss is gone: clusters and services may be missing, and tasks that the state does not know are stopped.
    AcceptLoss,
}

/// Works on the files; asks no server.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let store = installation.open()?.store_dir()?;
    match &options.command {
        Command::Backup { dir } => back_up(&store, dir),
        Command::AcceptLoss => accept_loss(&store),
    }
}

fn back_up(store: &Path, to: &Path) -> Result<()> {
    let revision = Sqlite::back_up(store, to).with_context(|| format!("cannot back up {}", store.display()))?;
    output::line(&format!("{} holds the state at revision {revision}", to.display()))
}

fn accept_loss(store: &Path) -> Result<()> {
    match Sqlite::accept_loss(store) {
        Ok(Some(lost)) => output::line(&format!("accepted: {lost}")),
        Ok(None) => output::line(&format!("{} has lost nothing", store.display())),
        Err(error @ BackendError::Locked { .. }) => bail!("{error}; stop Estiva first"),
        Err(error) => Err(error).with_context(|| format!("cannot go on with {}", store.display())),
    }
}
