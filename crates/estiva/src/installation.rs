//! One installation on this machine: its data directory, its endpoint, and the files that commands share.

use std::fmt::Write;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use estiva_wire::client::SOCKET_SCHEME;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::supervisor_state::SupervisorState;

const DATA_DEFAULT: &str = "/var/lib/estiva";
/// Where each installation of the machine, and each further node, has a directory.
const RUN_DIR: &str = "/run/estiva";

/// Which installation a command is about.
#[derive(Args)]
pub struct InstallationOptions {
    /// Where everything is kept; each directory is an installation of its own
    #[arg(long, global = true, value_name = "DIR", env = "ESTIVA_DATA", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// Where the AWS endpoint listens
    #[arg(long, global = true, value_name = "ADDR", env = "ESTIVA_LISTEN", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
}

/// The directories of an installation. Nothing is kept outside of them.
#[derive(Debug, Clone)]
pub struct Installation {
    data: PathBuf,
    /// Twelve hexadecimal digits that follow from the data directory: they name what the kernel has of this
    /// installation (interfaces, cgroups, sockets).
    pub name: String,
}

impl InstallationOptions {
    /// The installation, made if it is new; only its owner may look inside.
    pub fn open(&self) -> Result<Installation> {
        private_dir(&self.data)?;
        let data = fs::canonicalize(&self.data).with_context(|| format!("cannot find {}", self.data.display()))?;
        let name = name_of(&data);
        Ok(Installation { data, name })
    }

    /// What tells this installation from the default one, as arguments with a space before them.
    pub fn arguments_where_not_default(&self) -> String {
        let mut arguments = String::new();
        if self.data != Path::new(DATA_DEFAULT) {
            let _ = write!(arguments, " --data {}", self.data.display());
        }
        arguments
    }

    /// Where agents and commands of this machine reach the control plane: at its socket if it has one, which no program sees
    /// that listens to the network; otherwise at the endpoint's address.
    pub fn server(&self, here: &Installation) -> String {
        let socket = here.api_socket();
        if socket.exists() {
            return format!("{SOCKET_SCHEME}{}", socket.display());
        }
        here.running_endpoint().unwrap_or_else(|| self.endpoint())
    }

    /// The endpoint's URL as clients on this machine use it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.endpoint_address())
    }

    /// Where clients on this machine connect to.
    pub fn endpoint_address(&self) -> SocketAddr {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        address
    }
}

impl Installation {
    /// The control plane's directory.
    pub fn server_dir(&self) -> Result<PathBuf> {
        self.private("server")
    }

    /// The directory of the control plane's state.
    pub fn store_dir(&self) -> Result<PathBuf> {
        Ok(self.server_dir()?.join("store"))
    }

    /// The node's directory.
    pub fn node_dir(&self) -> Result<PathBuf> {
        self.private("node")
    }

    /// The node's images.
    pub fn image_dir(&self) -> Result<PathBuf> {
        self.private("node/images")
    }

    /// Sockets and namespaces: what need not survive a reboot.
    pub fn run_dir(&self) -> Result<PathBuf> {
        run_dir(&self.name)
    }

    /// Removes the directory of sockets and namespaces, unless there is something in it: that is somebody else's, or will be
    /// found by the next start.
    pub fn leave_run_dir(&self) {
        // A control plane that was killed may have left it.
        let _ = fs::remove_file(self.api_socket());
        let _ = fs::remove_dir(Path::new(RUN_DIR).join(&self.name));
    }

    /// A directory for each further node of this machine.
    pub fn nodes_dir(&self) -> Result<PathBuf> {
        self.private("nodes")
    }

    /// As [`node_dir`](Self::node_dir), of a further node.
    pub fn further_node_dir(&self, node: &str) -> Result<PathBuf> {
        self.nodes_dir()?;
        self.private(&format!("nodes/{node}"))
    }

    /// As [`run_dir`](Self::run_dir), of a further node.
    pub fn further_run_dir(&self, node: &str) -> Result<PathBuf> {
        run_dir(&self.further_name(node))
    }

    /// What the kernel's objects of a further node are named by.
    pub fn further_name(&self, node: &str) -> String {
        name_of(&self.data.join("nodes").join(node))
    }

    /// Where `estiva up` hears what is to become of its further nodes.
    pub fn control_socket(&self) -> Result<PathBuf> {
        Ok(self.run_dir()?.join("up.sock"))
    }

    /// Where the control plane listens for agents and commands of this machine. [`run_dir`](Self::run_dir) makes the directory.
    pub fn api_socket(&self) -> PathBuf {
        Path::new(RUN_DIR).join(&self.name).join("api.sock")
    }

    /// The further nodes' network namespaces.
    pub fn namespaces_dir(&self) -> Result<PathBuf> {
        Ok(self.run_dir()?.join("nodes"))
    }

    /// Credentials of the account's owner and of the node, and where the endpoint is.
    pub fn credentials_file(&self) -> PathBuf {
        self.data.join("credentials.json")
    }

    /// What `estiva up` says of itself while it runs.
    pub fn supervisor_file(&self) -> PathBuf {
        self.data.join("up.json")
    }

    /// Where the endpoint of an `estiva up` that runs is; `None` if none does.
    pub fn running_endpoint(&self) -> Option<String> {
        Some(SupervisorState::load(&self.supervisor_file()).ok()??.endpoint)
    }

    /// Held by whoever starts and stops the installation's processes, until it is dropped or its process ends.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.lock_file();
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        locked.map_err(|(_, errno)| errno).with_context(|| format!("{} is locked by another process", path.display()))
    }

    /// The file behind [`lock`](Self::lock).
    pub fn lock_file(&self) -> PathBuf {
        self.data.join("up.lock")
    }

    /// Where the output of a detached `estiva up` goes.
    pub fn log_file(&self) -> PathBuf {
        self.data.join("estiva.log")
    }

    /// The log file, to be written at its end.
    pub fn append_log(&self) -> Result<File> {
        let path = self.log_file();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        file.with_context(|| format!("cannot open {}", path.display()))
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn private(&self, name: &str) -> Result<PathBuf> {
        let dir = self.data.join(name);
        private_dir(&dir)?;
        Ok(dir)
    }
}

/// Twelve hexadecimal digits that follow from a directory.
fn name_of(dir: &Path) -> String {
    hex::encode(&Sha256::digest(dir.as_os_str().as_encoded_bytes())[..6])
}

fn run_dir(name: &str) -> Result<PathBuf> {
    let all = Path::new(RUN_DIR);
    let dir = all.join(name);
    private_dir(all)?;
    private_dir(&dir)?;
    Ok(dir)
}

fn private_dir(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the directory {}", dir.display()))
}
