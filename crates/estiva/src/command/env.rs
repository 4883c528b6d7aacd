//! `estiva env`: shell exports, so that any AWS tool finds the endpoint.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::credentials::InstallationCredentials;
use crate::installation::InstallationOptions;
use crate::output;

/// Print shell exports of endpoint, region and credentials
///
/// Use it as:  eval "$(estiva env)"
#[derive(Args)]
pub struct Options {
    /// Print a JSON object instead
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Environment {
    #[serde(rename = "AWS_ENDPOINT_URL")]
    endpoint_url: String,
    #[serde(rename = "AWS_REGION")]
    region: String,
    #[serde(rename = "AWS_DEFAULT_REGION")]
    default_region: String,
    #[serde(rename = "AWS_ACCESS_KEY_ID")]
    access_key_id: String,
    #[serde(rename = "AWS_SECRET_ACCESS_KEY")]
    secret_access_key: String,
}

/// Prints.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    let credentials = InstallationCredentials::load(&here.credentials_file())?;
    let environment = Environment {
        endpoint_url: here.running_endpoint().unwrap_or_else(|| installation.endpoint()),
        region: credentials.region.as_str().to_owned(),
        default_region: credentials.region.as_str().to_owned(),
        access_key_id: credentials.owner.access_key_id,
        secret_access_key: credentials.owner.secret.expose().to_owned(),
    };
    if options.json {
        return output::json(&environment);
    }
    let Environment { endpoint_url, region, default_region, access_key_id, secret_access_key } = environment;
    println!("export AWS_ENDPOINT_URL={endpoint_url}");
    println!("export AWS_REGION={region}");
    println!("export AWS_DEFAULT_REGION={default_region}");
    println!("export AWS_ACCESS_KEY_ID={access_key_id}");
    println!("export AWS_SECRET_ACCESS_KEY={secret_access_key}");
    // A token of another session must not be sent along with these.
    println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    Ok(())
}
