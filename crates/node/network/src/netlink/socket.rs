//! A blocking netlink socket that sends many requests in one system call.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::SocketAddr;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::{NetlinkError, attributes};

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_ACK_TLVS`: the error is followed by attributes.
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const ERROR_TEXT: u16 = 1;
/// A whole ruleset goes out in one message; netlink refuses what is larger than the send buffer.
const SEND_BUFFER_BYTES: usize = 16 << 20;
/// The kernel answers within the call, unless a bug ate the answer: then fail rather than hang for ever.
const ANSWER_SECONDS: i64 = 20;
/// A dump that changes under our eyes is read again, this many times.
const DUMP_ATTEMPTS: usize = 8;

/// A request before it has its number: the message type, its flags, and all that follows the netlink header.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: u16,
    /// `NLM_F_*` besides `NLM_F_REQUEST` and `NLM_F_ACK`, which the socket adds.
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
}

/// An answer: the message type and all that follows the netlink header.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

struct Answer {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: Vec<u8>,
}

/// One netlink socket. It belongs for ever to the network namespace in which it was opened, whatever thread uses it.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
}

impl Socket {
    /// Opens a socket of `protocol` (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut inner = netlink_sys::Socket::new(protocol)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?;
        inner.set_ext_ack(true)?;
        inner.set_cap_ack(true)?;
        // SAFETY: the descriptor is open for as long as `inner` lives, and the borrow ends before this function does.
        let fd = unsafe { BorrowedFd::borrow_raw(inner.as_raw_fd()) };
        setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER_BYTES)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0))?;
        Ok(Self { inner, sequence: 0 })
    }

    /// Sends `requests` together and waits for an acknowledgement of each. The kernel goes on after a refusal, so the
    /// others are in force all the same; the first refusal is returned.
    pub(crate) fn transact(&mut self, requests: &[Request]) -> Result<(), NetlinkError> {
        self.transact_each(requests)?.into_iter().next().map_or(Ok(()), Err)
    }

    /// As [`transact`](Self::transact), but returns every refusal.
    pub(crate) fn transact_each(&mut self, requests: &[Request]) -> Result<Vec<NetlinkError>, NetlinkError> {
        let mut refused = Vec::new();
        if requests.is_empty() {
            return Ok(refused);
        }
        let first = self.send(requests, |_| NLM_F_ACK)?;
        let mut missing = requests.len();
        while missing > 0 {
            for answer in self.receive()? {
                let Some(index) = position(answer.sequence, first, requests.len()) else { continue };
                if answer.kind == NLMSG_ERROR {
                    missing -= 1;
                    refused.extend(refusal(&answer, index)?);
                }
            }
        }
        Ok(refused)
    }

    /// Sends an nfnetlink batch, which the kernel carries out as a whole or not at all. The first and the last request
    /// are the batch's own begin and end markers; a refusal's index counts from the first request between them.
    pub(crate) fn commit(&mut self, batch: &[Request]) -> Result<(), NetlinkError> {
        let last = batch.len().saturating_sub(2);
        let first = self.send(batch, |index| if index == last { NLM_F_ACK } else { 0 })?;
        let mut refused: Option<NetlinkError> = None;
        loop {
            for answer in self.receive()? {
                let Some(index) = position(answer.sequence, first, batch.len()) else { continue };
                if answer.kind != NLMSG_ERROR {
                    continue;
                }
                refused = refused.or(refusal(&answer, index.saturating_sub(1))?);
                // An error of the begin marker alone means that nothing after it is answered.
                if index == last || (index == 0 && refused.is_some()) {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// All objects that `request` asks for.
    pub(crate) fn dump(&mut self, request: &Request) -> Result<Vec<Message>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(messages) = self.dump_once(request)? {
                return Ok(messages);
            }
        }
        Err(NetlinkError::Malformed("the table changed during every attempt to read it".into()))
    }

    fn dump_once(&mut self, request: &Request) -> Result<Option<Vec<Message>>, NetlinkError> {
        let first = self.send(std::slice::from_ref(request), |_| NLM_F_DUMP)?;
        let (mut messages, mut whole) = (Vec::new(), true);
        loop {
            for answer in self.receive()? {
                if answer.sequence != first {
                    continue;
                }
                whole &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_DONE => return Ok(whole.then_some(messages)),
                    NLMSG_ERROR => {
                        return match refusal(&answer, 0)? {
                            Some(error) => Err(error),
                            None => Ok(Some(messages)),
                        };
                    }
                    kind => messages.push(Message { kind, body: answer.body }),
                }
            }
        }
    }

    /// Sends all requests in one message and returns the sequence number of the first.
    fn send(&mut self, requests: &[Request], extra: impl Fn(usize) -> u16) -> Result<u32, NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut buffer = Vec::with_capacity(requests.iter().map(|request| HEADER_BYTES + request.body.len() + 3).sum());
        for (index, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let length = u32::try_from(HEADER_BYTES + request.body.len())
                .map_err(|_| NetlinkError::Malformed("request too large".into()))?;
            buffer.extend_from_slice(&length.to_ne_bytes());
            buffer.extend_from_slice(&request.kind.to_ne_bytes());
            buffer.extend_from_slice(&(request.flags | NLM_F_REQUEST | extra(index)).to_ne_bytes());
            buffer.extend_from_slice(&self.sequence.to_ne_bytes());
            buffer.extend_from_slice(&0u32.to_ne_bytes());
            buffer.extend_from_slice(&request.body);
            buffer.resize(buffer.len().next_multiple_of(4), 0);
        }
        self.inner.send(&buffer, 0)?;
        Ok(first)
    }

    fn receive(&self) -> Result<Vec<Answer>, NetlinkError> {
        let (datagram, _) = self.inner.recv_from_full()?;
        let mut answers = Vec::new();
        let mut rest = datagram.as_slice();
        while rest.len() >= HEADER_BYTES {
            let length = word(rest, 0)? as usize;
            let body = rest
                .get(HEADER_BYTES..length)
                .ok_or_else(|| NetlinkError::Malformed(format!("length {length} in a datagram of {}", rest.len())))?;
            answers.push(Answer {
                kind: u16::from_ne_bytes([rest[4], rest[5]]),
                flags: u16::from_ne_bytes([rest[6], rest[7]]),
                sequence: word(rest, 8)?,
                body: body.to_vec(),
            });
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(answers)
    }
}

fn position(sequence: u32, first: u32, count: usize) -> Option<usize> {
    let index = sequence.wrapping_sub(first) as usize;
    (index < count).then_some(index)
}

/// Reads `struct nlmsgerr`: nothing for an acknowledgement.
fn refusal(answer: &Answer, index: usize) -> Result<Option<NetlinkError>, NetlinkError> {
    let code = word(&answer.body, 0)?.cast_signed();
    if code == 0 {
        return Ok(None);
    }
    let message = (answer.flags & ACK_ATTRIBUTES != 0)
        .then(|| attributes(answer.body.get(4 + HEADER_BYTES..).unwrap_or_default()))
        .and_then(|mut list| list.find(|(kind, _)| *kind == ERROR_TEXT))
        .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    let source = io::Error::from_raw_os_error(code.saturating_neg());
    Ok(Some(NetlinkError::Refused { index, message, source }))
}

fn word(buffer: &[u8], at: usize) -> Result<u32, NetlinkError> {
    buffer
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_ne_bytes)
        .ok_or_else(|| NetlinkError::Malformed("truncated".into()))
}
