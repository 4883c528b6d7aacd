//! The host's name server within a further node, where the host has it on its loopback (as systemd-resolved does): the
//! node's agent pulls images by name.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use estiva_network::within;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tracing::debug;

use super::relay::Relay;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// Questions of one node at one time, which come from its agent and from tasks with its network.
const QUESTIONS_MAX: usize = 256;
/// How long the name server may take: resolvers ask again after as much.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What a datagram of DNS may have.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// After a datagram could not be received.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers for as long as it is kept.
pub struct NameServer {
    udp: JoinHandle<()>,
    _tcp: Relay,
}

impl NameServer {
    /// One for each name server that the host has on its loopback.
    pub async fn open_all(namespace: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let mut servers = Vec::new();
        for address in on_loopback(&text) {
            servers.push(Self::open(namespace.to_owned(), SocketAddrV4::new(address, PORT).into()).await?);
        }
        Ok(servers)
    }

    async fn open(namespace: PathBuf, server: SocketAddr) -> Result<Self> {
        let tcp = Relay::open(namespace.clone(), server, None).await?;
        let bind = move || within(&namespace, || StdSocket::bind(server));
        let socket = tokio::task::spawn_blocking(bind).await??;
        let socket = socket.with_context(|| format!("cannot listen at {server} within the node"))?;
        socket.set_nonblocking(true).context("cannot listen within the node")?;
        let socket = UdpSocket::from_std(socket).context("cannot listen within the node")?;
        Ok(Self { udp: tokio::spawn(relay(socket, server)), _tcp: tcp })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.udp.abort();
    }
}

async fn relay(inner: UdpSocket, server: SocketAddr) {
    let inner = Arc::new(inner);
    let mut under_way: VecDeque<JoinHandle<()>> = VecDeque::new();
    let mut question = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, asker)) = inner.recv_from(&mut question).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // The oldest is lost when there are too many, as datagrams may be: who asks now is answered, whoever has under_way.
        under_way.retain(|question| !question.is_finished());
        if under_way.len() >= QUESTIONS_MAX
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.abort();
        }
        let (inner, question) = (Arc::clone(&inner), question[..length].to_vec());
        under_way.push_back(tokio::spawn(async move {
            match ask(&question, server).await {
                Ok(answer) => drop(inner.send_to(&answer, asker).await),
                Err(error) => debug!(%error, "the host's name server did not answer a node"),
            }
        }));
    }
}

async fn ask(question: &[u8], server: SocketAddr) -> std::io::Result<Vec<u8>> {
    let outer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    outer.connect(server).await?;
    outer.send(question).await?;
    let mut answer = vec![0; DATAGRAM_BYTES_MAX];
    let length = tokio::time::timeout(ANSWER_MAX, outer.recv(&mut answer)).await??;
    answer.truncate(length);
    Ok(answer)
}

fn on_loopback(resolv_conf: &str) -> Vec<Ipv4Addr> {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|rest| rest.trim().parse::<Ipv4Addr>().ok());
    let mut found: Vec<Ipv4Addr> = addresses.filter(Ipv4Addr::is_loopback).collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_on_the_loopback_need_a_way() {
        let text =
            "# nameserver 127.0.0.9\nsearch example\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\n";
        assert_eq!(on_loopback(text), [Ipv4Addr::new(127, 0, 0, 53)]);
        assert_eq!(on_loopback(""), Vec::<Ipv4Addr>::new());
    }

    #[tokio::test]
    async fn unanswered_questions_leave_room_for_others() {
        let local = (Ipv4Addr::LOCALHOST, 0);
        let (server, inner) = (UdpSocket::bind(local).await.unwrap(), UdpSocket::bind(local).await.unwrap());
        let at = inner.local_addr().unwrap();
        let relayed = tokio::spawn(relay(inner, server.local_addr().unwrap()));
        let flood = UdpSocket::bind(local).await.unwrap();
        let mut question = [0; 8];
        for _ in 0..2 * QUESTIONS_MAX {
            flood.send_to(&[0], at).await.unwrap();
            server.recv_from(&mut question).await.unwrap();
        }
        let asker = UdpSocket::bind(local).await.unwrap();
        asker.send_to(&[1], at).await.unwrap();
        let (_, from) = server.recv_from(&mut question).await.unwrap();
        server.send_to(&[2], from).await.unwrap();
        let mut answer = [0; 8];
        let (length, _) = asker.recv_from(&mut answer).await.unwrap();
        assert_eq!(&answer[..length], [2]);
        relayed.abort();
    }

    #[tokio::test]
    async fn each_asker_gets_its_own_answer() {
        let local = (Ipv4Addr::LOCALHOST, 0);
        let server = UdpSocket::bind(local).await.unwrap();
        let inner = UdpSocket::bind(local).await.unwrap();
        let at = inner.local_addr().unwrap();
        let relayed = tokio::spawn(relay(inner, server.local_addr().unwrap()));
        let askers = [UdpSocket::bind(local).await.unwrap(), UdpSocket::bind(local).await.unwrap()];
        for (number, asker) in (0_u8..).zip(&askers) {
            asker.send_to(&[number], at).await.unwrap();
        }
        let mut asked = Vec::new();
        for _ in &askers {
            let mut question = [0; 8];
            let (length, from) = server.recv_from(&mut question).await.unwrap();
            asked.push((question[..length].to_vec(), from));
        }
        // In the other order than they were asked.
        for (question, from) in asked.into_iter().rev() {
            server.send_to(&[question, vec![9]].concat(), from).await.unwrap();
        }
        for (number, asker) in (0_u8..).zip(&askers) {
            let mut answer = [0; 8];
            let (length, from) = asker.recv_from(&mut answer).await.unwrap();
            assert_eq!((&answer[..length], from), (&[number, 9][..], at));
        }
        relayed.abort();
    }
}
