//! Calls of the installation's owner.

use anyhow::Result;
use estiva_wire::client::Client;

use crate::credentials::InstallationCredentials;
use crate::installation::InstallationOptions;

/// A client of the installation's control plane, with its owner's keys.
pub fn client(installation: &InstallationOptions) -> Result<Client> {
    let here = installation.open()?;
    let endpoint = here.running_endpoint().unwrap_or_else(|| installation.endpoint());
    let credentials = InstallationCredentials::load(&here.credentials_file())?;
    Ok(Client::new(&endpoint, credentials.owner, credentials.region)?)
}
