//! Addresses that no registry may send us to: link-local ones, where machines in clouds keep their credentials.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Whether a URL's host is a link-local address, in whatever form: 169.254.0.0/16, fe80::/10, or the former in IPv6's clothes.
pub(super) fn is_link_local_host(host: &str) -> bool {
    let address = host.trim_start_matches('[');
    let address = address.split_once(']').map_or(address, |(inside, _port)| inside);
    let address = address.parse().or_else(|_| address.rsplit_once(':').map_or(address, |(name, _)| name).parse());
    address.is_ok_and(is_link_local)
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The system's resolver, without link-local addresses.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

impl Resolver {
    pub fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolved = self.0.call(name);
        Box::pin(async move {
            let allowed: Vec<_> = resolved.await?.filter(|address| !is_link_local(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the name leads to link-local addresses alone",
                ));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_link_local_host;

    #[test]
    fn link_local_addresses_are_known_in_every_form() {
        for host in [
            "169.254.169.254",
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]:443",
            "[fe80::1]",
            "[fe80::1]:5000",
        ] {
            assert!(is_link_local_host(host), "{host}");
        }
        for host in ["registry.example:5000", "127.0.0.1:5000", "[::1]:5000", "192.0.2.1", "", ":", "169.254.example"] {
            assert!(!is_link_local_host(host), "{host}");
        }
    }
}
