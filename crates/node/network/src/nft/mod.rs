//! nf_tables spoken over netlink: the messages for tables, chains, sets, rules and set elements, in batches.
//!
//! Our own encoding, because the crates there are for it drive the `nft` program or a C library, or are under the GPL;
//! a node needs neither to be installed. Numbers are those of `<linux/netfilter/nf_tables.h>`. What the rules are for
//! is the business of [`firewall`](crate::firewall).

mod expression;
mod uapi;

pub(crate) use expression::{Expressions, Field, Side, padded};

use crate::netlink::{Attributes, NetlinkError, Request, Socket, attributes};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// The subsystem's number once more, in the batch markers' resource field.
const BATCH_RESOURCE: u16 = 10;

const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 0xc;
const GET_ELEMENT: u16 = SUBSYSTEM | 0xd;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 0xe;
const GET_GENERATION: u16 = SUBSYSTEM | 0x10;

const CREATE: u16 = netlink_packet_core::NLM_F_CREATE;
const EXCLUSIVE: u16 = netlink_packet_core::NLM_F_EXCL;
const APPEND: u16 = netlink_packet_core::NLM_F_APPEND;
/// The answer's end, for what is no dump.
const ACKNOWLEDGED: u16 = netlink_packet_core::NLM_F_ACK;

/// `NFTA_SET_FLAGS`: the elements have data.
const SET_IS_MAP: u32 = 8;
/// A rule's user data as `nft` writes and shows comments: type 0, length, text with NUL.
const COMMENT: u8 = 0;

/// A protocol family of nf_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// IPv4 packets.
    Ip = 2,
    /// Frames that cross a bridge.
    Bridge = 7,
}

/// Where a base chain hangs in the stack (`NF_INET_*`, and the same numbers for a bridge).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A base chain with policy accept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

/// The type of a set's key or data: length in bytes and, for `nft list` alone, `nft`'s own type numbers, six bits each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datatype {
    pub(crate) shown_as: u32,
    pub(crate) bytes: u32,
}

/// A set, or a map if it has data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key: Datatype,
    pub(crate) data: Option<Datatype>,
}

/// A transaction on tables of one name, one for each family.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    table: &'a str,
    requests: Vec<Request>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(table: &'a str) -> Self {
        Self { table, requests: vec![marker(BATCH_BEGIN)] }
    }

    /// Makes the table anew, empty, whether or not it is there.
    pub(crate) fn renew_table(&mut self, family: Family) {
        for (kind, flags) in [(NEW_TABLE, CREATE), (DELETE_TABLE, 0), (NEW_TABLE, CREATE)] {
            self.push(kind, flags, family, |list| {
                list.text(uapi::table::NAME, self.table);
            });
        }
    }

    pub(crate) fn delete_table(&mut self, family: Family) {
        self.push(DELETE_TABLE, 0, family, |list| {
            list.text(uapi::table::NAME, self.table);
        });
    }

    pub(crate) fn add_chain(&mut self, family: Family, chain: Chain) {
        use uapi::chain::{HOOK, HOOK_NUMBER, HOOK_PRIORITY, NAME, TABLE, TYPE};
        self.push(NEW_CHAIN, CREATE, family, |list| {
            list.text(TABLE, self.table).text(NAME, chain.name).text(TYPE, chain.kind).nested(HOOK, |hook| {
                hook.number(HOOK_NUMBER, chain.hook as u32).number(HOOK_PRIORITY, chain.priority.cast_unsigned());
            });
        });
    }

    pub(crate) fn add_set(&mut self, family: Family, set: Set) {
        use uapi::set::{DATA_BYTES, DATA_TYPE, FLAGS, ID, KEY_BYTES, KEY_TYPE, NAME, TABLE};
        // Names the set within this transaction; any number does that no other set of the transaction has.
        let id = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        self.push(NEW_SET, CREATE, family, |list| {
            list.text(TABLE, self.table).text(NAME, set.name);
            list.number(FLAGS, if set.data.is_some() { SET_IS_MAP } else { 0 });
            list.number(KEY_TYPE, set.key.shown_as).number(KEY_BYTES, set.key.bytes).number(ID, id);
            if let Some(data) = set.data {
                list.number(DATA_TYPE, data.shown_as).number(DATA_BYTES, data.bytes);
            }
        });
    }

    pub(crate) fn add_rule(&mut self, family: Family, chain: &str, comment: &str, rule: Expressions) {
        use uapi::rule::{CHAIN, EXPRESSIONS, TABLE, USER_DATA};
        self.push(NEW_RULE, CREATE | APPEND, family, |list| {
            list.text(TABLE, self.table).text(CHAIN, chain).nested(EXPRESSIONS, |list| list.append(&rule.into_bytes()));
            list.bytes(USER_DATA, &encode_comment(comment));
        });
    }

    /// Adds an element; the batch fails with EEXIST if its key is there.
    pub(crate) fn add_element(&mut self, family: Family, set: &str, key: &[u8], data: Option<&[u8]>) {
        self.element(NEW_ELEMENT, CREATE | EXCLUSIVE, family, set, key, data);
    }

    /// Deletes an element; the batch fails with ENOENT if there is none.
    pub(crate) fn delete_element(&mut self, family: Family, set: &str, key: &[u8]) {
        self.element(DELETE_ELEMENT, 0, family, set, key, None);
    }

    /// Carries it all out, or nothing.
    pub(crate) fn commit(mut self, socket: &mut Socket) -> Result<(), NetlinkError> {
        if self.requests.len() == 1 {
            return Ok(());
        }
        self.requests.push(marker(BATCH_END));
        socket.commit(&self.requests)
    }

    fn element(&mut self, kind: u16, flags: u16, family: Family, set: &str, key: &[u8], content: Option<&[u8]>) {
        use uapi::{data, elements};
        self.push(kind, flags, family, |list| {
            list.text(elements::TABLE, self.table).text(elements::SET, set).nested(elements::LIST, |entries| {
                entries.nested(uapi::ENTRY, |element| {
                    element.nested(elements::KEY, |value| {
                        value.bytes(data::VALUE, key);
                    });
                    if let Some(content) = content {
                        element.nested(elements::DATA, |value| {
                            value.bytes(data::VALUE, content);
                        });
                    }
                });
            });
        });
    }

    fn push(&mut self, kind: u16, flags: u16, family: Family, fill: impl FnOnce(&mut Attributes)) {
        let mut list = Attributes::after(&header(family as u8, 0));
        fill(&mut list);
        self.requests.push(Request { kind, flags, body: list.into_bytes() });
    }
}

/// `struct nfgenmsg`: family, version 0, resource in network byte order.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn marker(kind: u16) -> Request {
    Request { kind, flags: 0, body: header(0, BATCH_RESOURCE).to_vec() }
}

fn encode_comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[COMMENT, length], text.as_bytes(), &[0]].concat()
}

/// A number that is another after each change of any table, whoever made it, of the network namespace.
pub(crate) fn generation(socket: &mut Socket) -> Result<u32, NetlinkError> {
    let request = Request { kind: GET_GENERATION, flags: ACKNOWLEDGED, body: header(0, 0).to_vec() };
    let messages = socket.dump(&request)?;
    let id = messages.iter().find_map(|message| attribute(&message.body, uapi::generation::ID)?.try_into().ok());
    id.map(u32::from_be_bytes).ok_or_else(|| NetlinkError::Malformed("a generation without a number".into()))
}

/// Names of the tables of a family.
pub(crate) fn tables(socket: &mut Socket, family: Family) -> Result<Vec<String>, NetlinkError> {
    let request = Request { kind: GET_TABLE, flags: 0, body: header(family as u8, 0).to_vec() };
    Ok(socket.dump(&request)?.iter().filter_map(|message| text(&message.body, uapi::table::NAME)).collect())
}

/// Chain and comment of every rule of a table, in order.
pub(crate) fn rules(socket: &mut Socket, family: Family, table: &str) -> Result<Vec<(String, String)>, NetlinkError> {
    use uapi::rule::{CHAIN, TABLE, USER_DATA};
    let mut list = Attributes::after(&header(family as u8, 0));
    list.text(TABLE, table);
    let request = Request { kind: GET_RULE, flags: 0, body: list.into_bytes() };
    let messages = socket.dump(&request)?;
    Ok(messages
        .iter()
        .filter(|message| text(&message.body, TABLE).as_deref() == Some(table))
        .map(|message| {
            let comment = attribute(&message.body, USER_DATA).and_then(|data| data.get(2..)).unwrap_or_default();
            let comment = String::from_utf8_lossy(comment).trim_end_matches('\0').to_owned();
            (text(&message.body, CHAIN).unwrap_or_default(), comment)
        })
        .collect())
}

/// Key and data of a set's element, as many bytes as the set's types have.
pub(crate) type RawElement = (Vec<u8>, Vec<u8>);

/// Every element of a set.
pub(crate) fn elements(
    socket: &mut Socket,
    family: Family,
    table: &str,
    set: &str,
) -> Result<Vec<RawElement>, NetlinkError> {
    use uapi::elements::{DATA, KEY, LIST, SET, TABLE};
    let mut list = Attributes::after(&header(family as u8, 0));
    list.text(TABLE, table).text(SET, set);
    let request = Request { kind: GET_ELEMENT, flags: 0, body: list.into_bytes() };
    let mut found = Vec::new();
    for message in socket.dump(&request)? {
        for (_, element) in attributes(attribute(&message.body, LIST).unwrap_or_default()) {
            let value = |kind| {
                let nested = attributes(element).find(|(found, _)| *found == kind).map(|(_, value)| value);
                nested.and_then(|list| attributes(list).next()).map(|(_, value)| value.to_vec())
            };
            found.push((value(KEY).unwrap_or_default(), value(DATA).unwrap_or_default()));
        }
    }
    Ok(found)
}

fn attribute(body: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(body.get(4..)?).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn text(body: &[u8], kind: u16) -> Option<String> {
    attribute(body, kind).map(|value| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned())
}
