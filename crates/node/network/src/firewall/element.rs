//! The elements of our sets and maps: all that changes in the firewall when a task comes or goes.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::nft::{Datatype, Family, Set, padded};
use crate::task::{Audience, HostService, Mac, Protocol};

// `nft`'s numbers of its types, for what `nft list` shows.
const IPV4_ADDR: u32 = 7;
const ETHER_ADDR: u32 = 9;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;
const IFNAME: u32 = 41;

const PROTOCOL_PORT: Datatype = Datatype { shown_as: INET_PROTO << 6 | INET_SERVICE, bytes: 8 };
const PROTOCOL_ADDRESS_PORT: Datatype =
    Datatype { shown_as: INET_PROTO << 12 | IPV4_ADDR << 6 | INET_SERVICE, bytes: 12 };
const ADDRESS_PORT: Datatype = Datatype { shown_as: IPV4_ADDR << 6 | INET_SERVICE, bytes: 8 };
const ADDRESS: Datatype = Datatype { shown_as: IPV4_ADDR, bytes: 4 };
const INTERFACE_MAC_ADDRESS: Datatype = Datatype { shown_as: IFNAME << 12 | ETHER_ADDR << 6 | IPV4_ADDR, bytes: 28 };

/// Published ports: protocol and host port to a task's address and port.
pub(crate) const PORTS: Set = Set { name: "ports", key: PROTOCOL_PORT, data: Some(ADDRESS_PORT) };
/// Services of the host: what a task addresses to where the host listens.
pub(crate) const SERVICES: Set = Set { name: "services", key: PROTOCOL_ADDRESS_PORT, data: Some(ADDRESS_PORT) };
/// As [`SERVICES`], for [`CLIENTS`] alone.
pub(crate) const RESERVED: Set = Set { name: "reserved", key: PROTOCOL_ADDRESS_PORT, data: Some(ADDRESS_PORT) };
/// The addresses of the tasks that may use [`RESERVED`] services.
pub(crate) const CLIENTS: Set = Set { name: "clients", key: ADDRESS, data: None };
/// Where the host listens for tasks: what the input chain lets through.
pub(crate) const LISTENERS: Set = Set { name: "listeners", key: PROTOCOL_ADDRESS_PORT, data: None };
/// The source that each task interface may use.
pub(crate) const ENDPOINTS: Set = Set { name: "endpoints", key: INTERFACE_MAC_ADDRESS, data: None };

/// The sets and their families.
pub(crate) const SETS: [(Family, Set); 6] = [
    (Family::Ip, PORTS),
    (Family::Ip, SERVICES),
    (Family::Ip, RESERVED),
    (Family::Ip, CLIENTS),
    (Family::Ip, LISTENERS),
    (Family::Bridge, ENDPOINTS),
];

/// One element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    Port {
        protocol: Protocol,
        host_port: u16,
        task: SocketAddrV4,
    },
    Service {
        protocol: Protocol,
        address: SocketAddrV4,
        target: SocketAddrV4,
    },
    Reserved {
        protocol: Protocol,
        address: SocketAddrV4,
        target: SocketAddrV4,
    },
    Client {
        ip: Ipv4Addr,
    },
    Listener {
        protocol: Protocol,
        target: SocketAddrV4,
    },
    Endpoint {
        interface: String,
        mac: Mac,
        ip: Ipv4Addr,
    },
    /// One that is none of the above: put there by somebody else.
    Foreign {
        set: &'static str,
        key: Vec<u8>,
    },
}

impl Element {
    /// The two elements that open a way from the tasks to a service of the host.
    pub(crate) fn of_service(service: HostService) -> [Self; 2] {
        let HostService { protocol, address, target, audience } = service;
        let way = match audience {
            Audience::All => Self::Service { protocol, address, target },
            Audience::Clients => Self::Reserved { protocol, address, target },
        };
        [way, Self::Listener { protocol, target }]
    }

    pub(crate) fn place(&self) -> (Family, &'static str) {
        match self {
            Self::Port { .. } => (Family::Ip, PORTS.name),
            Self::Service { .. } => (Family::Ip, SERVICES.name),
            Self::Reserved { .. } => (Family::Ip, RESERVED.name),
            Self::Client { .. } => (Family::Ip, CLIENTS.name),
            Self::Listener { .. } => (Family::Ip, LISTENERS.name),
            Self::Endpoint { .. } => (Family::Bridge, ENDPOINTS.name),
            Self::Foreign { set, .. } => {
                let family =
                    SETS.iter().find(|(_, known)| known.name == *set).map_or(Family::Ip, |(family, _)| *family);
                (family, set)
            }
        }
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Port { protocol, host_port, .. } => [register(&[protocol.number()]), port(*host_port)].concat(),
            Self::Client { ip } => ip.octets().to_vec(),
            Self::Service { protocol, address, .. } | Self::Reserved { protocol, address, .. } => {
                [&register(&[protocol.number()])[..], &socket(*address)].concat()
            }
            Self::Listener { protocol, target } => [&register(&[protocol.number()])[..], &socket(*target)].concat(),
            Self::Endpoint { interface, mac, ip } => [&padded(interface)[..], &mac.0, &[0, 0], &ip.octets()].concat(),
            Self::Foreign { key, .. } => key.clone(),
        }
    }

    pub(crate) fn data(&self) -> Option<Vec<u8>> {
        match self {
            Self::Port { task, .. } => Some(socket(*task).to_vec()),
            Self::Service { target, .. } | Self::Reserved { target, .. } => Some(socket(*target).to_vec()),
            Self::Client { .. } | Self::Listener { .. } | Self::Endpoint { .. } | Self::Foreign { .. } => None,
        }
    }

    /// The element that the kernel shows as this key and data of `set`.
    pub(crate) fn read(set: &'static str, key: &[u8], data: &[u8]) -> Self {
        let read = || match set {
            "endpoints" => Some(Self::Endpoint {
                interface: String::from_utf8(key.get(..16)?.to_vec()).ok()?.trim_end_matches('\0').to_owned(),
                mac: Mac(key.get(16..22)?.try_into().ok()?),
                ip: <[u8; 4]>::try_from(key.get(24..28)?).ok()?.into(),
            }),
            "ports" => Some(Self::Port {
                protocol: Protocol::from_number(*key.first()?)?,
                host_port: u16::from_be_bytes([*key.get(4)?, *key.get(5)?]),
                task: read_socket(data)?,
            }),
            "services" => Some(Self::Service {
                protocol: Protocol::from_number(*key.first()?)?,
                address: read_socket(key.get(4..)?)?,
                target: read_socket(data)?,
            }),
            "reserved" => Some(Self::Reserved {
                protocol: Protocol::from_number(*key.first()?)?,
                address: read_socket(key.get(4..)?)?,
                target: read_socket(data)?,
            }),
            "clients" => Some(Self::Client { ip: <[u8; 4]>::try_from(key.get(..4)?).ok()?.into() }),
            "listeners" => Some(Self::Listener {
                protocol: Protocol::from_number(*key.first()?)?,
                target: read_socket(key.get(4..)?)?,
            }),
            _ => None,
        };
        read().unwrap_or_else(|| Self::Foreign { set, key: key.to_vec() })
    }
}

/// A value at the start of a four-byte register.
fn register(value: &[u8]) -> [u8; 4] {
    let mut bytes = [0; 4];
    for (to, from) in bytes.iter_mut().zip(value) {
        *to = *from;
    }
    bytes
}

fn port(port: u16) -> [u8; 4] {
    register(&port.to_be_bytes())
}

fn socket(address: SocketAddrV4) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&address.ip().octets());
    bytes[4..].copy_from_slice(&port(address.port()));
    bytes
}

fn read_socket(bytes: &[u8]) -> Option<SocketAddrV4> {
    let ip: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(SocketAddrV4::new(ip.into(), u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = Element> {
        let protocol = || prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        let socket = || any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port));
        prop_oneof![
            (protocol(), any::<u16>(), socket()).prop_map(|(protocol, host_port, task)| Element::Port {
                protocol,
                host_port,
                task
            }),
            (protocol(), socket(), socket()).prop_map(|(protocol, address, target)| Element::Service {
                protocol,
                address,
                target
            }),
            (protocol(), socket(), socket()).prop_map(|(protocol, address, target)| Element::Reserved {
                protocol,
                address,
                target
            }),
            any::<u32>().prop_map(|ip| Element::Client { ip: ip.into() }),
            (protocol(), socket()).prop_map(|(protocol, target)| Element::Listener { protocol, target }),
            ("[a-z0-9]{1,15}", any::<[u8; 6]>(), any::<u32>()).prop_map(|(interface, mac, ip)| Element::Endpoint {
                interface,
                mac: Mac(mac),
                ip: ip.into()
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read(element in element()) {
            let (_, set) = element.place();
            let read = Element::read(set, &element.key(), &element.data().unwrap_or_default());
            prop_assert_eq!(&read, &element);
            let declared = SETS.iter().find(|(_, known)| known.name == set).expect("declared").1;
            prop_assert_eq!(element.key().len(), declared.key.bytes as usize);
        }

        #[test]
        fn any_bytes_are_read(key in prop::collection::vec(any::<u8>(), 0..32), data in prop::collection::vec(any::<u8>(), 0..12)) {
            for (_, set) in SETS {
                Element::read(set.name, &key, &data);
            }
        }
    }
}
