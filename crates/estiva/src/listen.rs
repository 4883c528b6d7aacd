//! Where the control plane listens: at an address for AWS's tools, and at a socket in the file system for agents and commands of
//! this machine. What passes there no program sees that listens to the network.

use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::socket::{Backlog, listen};
use tracing::{debug, warn};

use crate::command::up::control;

/// Listens at an address, and where that is the loopback's, at the other loopback address that `localhost` may mean: else a
/// task with the host's network could answer there.
///
/// `SO_REUSEPORT` is not set, so that nobody can listen beside us: all processes of the machine that listen at a port must set it.
pub fn at_address(address: SocketAddr) -> io::Result<Vec<TcpListener>> {
    let mut listeners = vec![bind(address)?];
    let other = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
    if [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(Into::into).contains(&address.ip()) {
        match bind(other) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                warn!("another program listens at {other}; who connects to localhost:{port} may reach that instead");
            }
            Err(error) => debug!(%error, "there is no IPv6 loopback"),
        }
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // As many as the system allows wait while the server is started again.
    listen(&listener, Backlog::MAXALLOWABLE)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens at a path that only its owner may open, in place of what a process that was killed has left.
pub fn at_path(path: &Path) -> Result<UnixListener> {
    control::remove(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_listen_beside_us() {
        let ours = at_address("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = ours[0].local_addr().unwrap().port();
        for taken in ["127.0.0.1", "0.0.0.0"] {
            let error = TcpListener::bind((taken, port)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{taken}");
        }
    }

    #[test]
    fn localhost_is_ours_in_both_families() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ours = at_address(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(ours.len(), if ipv6 { 2 } else { 1 });
        assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_err());
        assert_eq!(at_address(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0))).unwrap().len(), 1);
    }

    #[test]
    fn a_socket_is_its_owners_and_takes_the_place_of_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(at_path(&path).unwrap());
        let _listener = at_path(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
