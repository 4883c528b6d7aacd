//! Links, addresses and routes: the rtnetlink requests of this crate and what it reads back.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;

use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressMessageBuffer};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, LinkMessageBuffer,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMessageBuffer, RouteProtocol, RouteScope, RouteType,
};

use crate::Subnet;
use crate::netlink::{Message, NetlinkError, Request, Socket};
use crate::task::Mac;

// <linux/rtnetlink.h>
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

/// The loopback interface has this number in every network namespace.
const LOOPBACK_INDEX: u32 = 1;
/// The link group that nothing is put into but what is to be deleted at once; "esti" in ASCII. Two installations that
/// use it at the same time delete for one another.
const DOOMED_GROUP: u32 = 0x6573_7469;
/// The interface's name within the task.
pub(crate) const TASK_INTERFACE: &str = "eth0";

const ETHERNET_MTU: u32 = 1500;

/// A link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) mtu: u32,
    /// The bridge that it is a port of.
    pub(crate) controller: Option<u32>,
}

/// A network that the host knows by an address or a route of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) subnet: Subnet,
    /// For an address: the address.
    pub(crate) address: Option<Ipv4Addr>,
    /// The interface's number.
    pub(crate) interface: Option<u32>,
}

fn request(kind: u16, flags: u16, message: &impl Emitable) -> Request {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    Request { kind, flags, body }
}

fn link_message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// Makes a bridge that is up. Its MAC is given, as it would otherwise change with the ports that come and go.
pub(crate) fn new_bridge(name: &str, mac: Mac, mtu: u32) -> Request {
    let attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up(link_message(0, attributes)))
}

/// Makes an interface pair: the host's end `name`, up, a port of `bridge`; the task's end straight in `namespace`.
pub(crate) fn new_veth(name: &str, bridge: u32, mtu: u32, mac: Mac, namespace: &File) -> Request {
    let peer = link_message(
        0,
        vec![
            LinkAttribute::IfName(TASK_INTERFACE.to_owned()),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ],
    );
    let attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up(link_message(0, attributes)))
}

/// Makes an interface pair without a bridge: the host's end `name`, up; the other end straight in `namespace`.
pub(crate) fn new_pair(name: &str, mtu: u32, namespace: &File) -> Request {
    let peer = link_message(
        0,
        vec![
            LinkAttribute::IfName(TASK_INTERFACE.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ],
    );
    let attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up(link_message(0, attributes)))
}

/// Lets a port of the bridge get its own frames back: with bridge netfilter, a task that calls its own published port is
/// not routed but bridged to where it came from.
pub(crate) fn allow_hairpin(name: &str) -> Request {
    let info = vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
    ];
    let attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)];
    request(RTM_NEWLINK, 0, &link_message(0, attributes))
}

/// Brings the loopback interface up.
pub(crate) fn loopback_up() -> Request {
    set_up(LOOPBACK_INDEX)
}

/// Brings a link up.
pub(crate) fn set_up(index: u32) -> Request {
    request(RTM_SETLINK, 0, &up(link_message(index, Vec::new())))
}

/// Makes a link a port of `bridge`, and brings it up.
pub(crate) fn attach(index: u32, bridge: u32) -> Request {
    request(RTM_SETLINK, 0, &up(link_message(index, vec![LinkAttribute::Controller(bridge)])))
}

/// Puts a link into the group of those that are to be deleted.
pub(crate) fn doom(name: &str) -> Request {
    let attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Group(DOOMED_GROUP)];
    request(RTM_SETLINK, 0, &link_message(0, attributes))
}

/// Deletes all links of the group of [`doom`].
pub(crate) fn delete_doomed() -> Request {
    request(RTM_DELLINK, 0, &link_message(0, vec![LinkAttribute::Group(DOOMED_GROUP)]))
}

/// Deletes a link, and with one end of a pair the other.
pub(crate) fn delete(name: &str) -> Request {
    request(RTM_DELLINK, 0, &link_message(0, vec![LinkAttribute::IfName(name.to_owned())]))
}

/// Gives the loopback interface a further address.
pub(crate) fn new_loopback_address(ip: Ipv4Addr) -> Request {
    new_address(LOOPBACK_INDEX, ip, Subnet::new(ip, 32))
}

/// Gives a link an address.
pub(crate) fn new_address(index: u32, ip: Ipv4Addr, subnet: Subnet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = subnet.prefix();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(ip.into()),
        AddressAttribute::Address(ip.into()),
        AddressAttribute::Broadcast(subnet.broadcast()),
    ];
    request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message)
}

/// Sets the default route.
pub(crate) fn new_default_route(index: u32, gateway: Ipv4Addr) -> Request {
    let mut message = route_message(RouteType::Unicast);
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)];
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message)
}

/// Leads a subnet to a gateway, whatever led it before.
pub(crate) fn replace_route(subnet: Subnet, index: u32, gateway: Ipv4Addr) -> Request {
    let mut message = route_to(subnet, RouteType::Unicast);
    message.attributes.extend([RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)]);
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &message)
}

/// Leads a subnet nowhere, as far as no longer route leads on; whatever led it before.
pub(crate) fn replace_unreachable_route(subnet: Subnet) -> Request {
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route_to(subnet, RouteType::Unreachable))
}

/// Takes a route of [`replace_unreachable_route`] away.
pub(crate) fn delete_unreachable_route(subnet: Subnet) -> Request {
    request(RTM_DELROUTE, 0, &route_to(subnet, RouteType::Unreachable))
}

fn route_to(subnet: Subnet, kind: RouteType) -> RouteMessage {
    let mut message = route_message(kind);
    message.header.destination_prefix_length = subnet.prefix();
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(subnet.address())));
    message
}

fn route_message(kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = kind;
    message
}

/// The size of packets that the host's way out carries: larger ones would be lost or cut.
pub(crate) fn mtu_outwards(links: &[Link], routes: &[Known]) -> u32 {
    let uplink = routes.iter().find(|known| known.subnet.prefix() == 0).and_then(|known| known.interface);
    links.iter().find(|link| Some(link.index) == uplink).map_or(ETHERNET_MTU, |link| link.mtu)
}

/// Every link of the socket's namespace.
pub(crate) fn links(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    let messages = socket.dump(&request(RTM_GETLINK, 0, &LinkMessage::default()))?;
    messages.iter().filter(|message| message.kind == RTM_NEWLINK).map(read_link).collect()
}

fn read_link(message: &Message) -> Result<Link, NetlinkError> {
    let malformed = |error: netlink_packet_core::DecodeError| NetlinkError::Malformed(error.to_string());
    let buffer = LinkMessageBuffer::new_checked(&message.body).map_err(malformed)?;
    let message = LinkMessage::parse(&buffer).map_err(malformed)?;
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { index: message.header.index, name: String::new(), up, mtu: 0, controller: None };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            _ => {}
        }
    }
    Ok(link)
}

/// Every IPv4 address of the socket's namespace.
pub(crate) fn addresses(socket: &mut Socket) -> Result<Vec<Known>, NetlinkError> {
    let mut all = AddressMessage::default();
    all.header.family = AddressFamily::Inet;
    let mut known = Vec::new();
    for message in socket.dump(&request(RTM_GETADDR, 0, &all))? {
        let malformed = |error: netlink_packet_core::DecodeError| NetlinkError::Malformed(error.to_string());
        let buffer = AddressMessageBuffer::new_checked(&message.body).map_err(malformed)?;
        let message = AddressMessage::parse(&buffer).map_err(malformed)?;
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(ip)) = attribute {
                known.push(Known {
                    subnet: Subnet::new(*ip, message.header.prefix_len),
                    address: Some(*ip),
                    interface: Some(message.header.index),
                });
            }
        }
    }
    Ok(known)
}

/// Every IPv4 route of the socket's namespace, the default routes with prefix 0.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Known>, NetlinkError> {
    let mut all = RouteMessage::default();
    all.header.address_family = AddressFamily::Inet;
    let mut known = Vec::new();
    for message in socket.dump(&request(RTM_GETROUTE, 0, &all))? {
        let malformed = |error: netlink_packet_core::DecodeError| NetlinkError::Malformed(error.to_string());
        let buffer = RouteMessageBuffer::new_checked(&message.body).map_err(malformed)?;
        let message = RouteMessage::parse(&buffer).map_err(malformed)?;
        let mut destination = Ipv4Addr::UNSPECIFIED;
        let mut interface = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = *ip,
                RouteAttribute::Oif(index) => interface = Some(*index),
                _ => {}
            }
        }
        let subnet = Subnet::new(destination, message.header.destination_prefix_length);
        known.push(Known { subnet, address: None, interface });
    }
    Ok(known)
}
