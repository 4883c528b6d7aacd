//! Calls of the installation's owner.

use anyhow::Result;
use estiva_wire::client::Client;

use crate::credentials::InstallationCredentials;
use crate::installation::InstallationOptions;

/// A client of the installation's control plane, with its owner's keys.
pub fn client(installation: &InstallationOptions) -> Result<Client> {
    let here = installation.open()?;
    let credentials = InstallationCredentials::load(&here.credentials_file())?;
    Ok(Client::of_server(&installation.server(&here), credentials.owner, credentials.region)?)
}
