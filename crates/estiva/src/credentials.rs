//! The installation's own access keys, as commands on this machine find them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use estiva_model::Region;
use estiva_wire::sigv4::{Secret, SigningCredentials};
use serde::{Deserialize, Serialize};

/// Keys of the account's owner and of this machine's node.
pub struct InstallationCredentials {
    /// Where clients look unless they say otherwise.
    pub region: Region,
    /// The account owner's.
    pub owner: SigningCredentials,
    /// The node's.
    pub node: SigningCredentials,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    region: String,
    owner: StoredKey,
    node: StoredKey,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    access_key_id: String,
    secret_access_key: String,
}

impl InstallationCredentials {
    /// Reads them.
    pub fn load(file: &Path) -> Result<Self> {
        let json = fs::read(file).with_context(|| {
            format!("cannot read {}; the first `estiva up` or `estiva server` makes it", file.display())
        })?;
        let stored: Stored =
            serde_json::from_slice(&json).with_context(|| format!("{} is malformed", file.display()))?;
        let region = Region::parse(&stored.region).with_context(|| format!("'{}' is no region", stored.region))?;
        Ok(Self { region, owner: stored.owner.into(), node: stored.node.into() })
    }

    /// Writes them for the file's owner alone.
    pub fn save(&self, file: &Path) -> Result<()> {
        let stored =
            Stored { region: self.region.as_str().to_owned(), owner: (&self.owner).into(), node: (&self.node).into() };
        let temporary = file.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            out.write_all(&serde_json::to_vec_pretty(&stored)?)?;
            out.sync_all()?;
            fs::rename(&temporary, file)?;
            file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

impl From<StoredKey> for SigningCredentials {
    fn from(key: StoredKey) -> Self {
        Self { access_key_id: key.access_key_id, secret: Secret::new(key.secret_access_key), session_token: None }
    }
}

impl From<&SigningCredentials> for StoredKey {
    fn from(key: &SigningCredentials) -> Self {
        Self { access_key_id: key.access_key_id.clone(), secret_access_key: key.secret.expose().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.json");
        let key = |name: &str| StoredKey { access_key_id: name.into(), secret_access_key: format!("{name}-secret") };
        let written =
            InstallationCredentials { region: Region::default(), owner: key("owner").into(), node: key("node").into() };
        written.save(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let read = InstallationCredentials::load(&file).unwrap();
        assert_eq!((read.owner.access_key_id, read.node.secret.expose()), ("owner".to_owned(), "node-secret"));
    }
}
