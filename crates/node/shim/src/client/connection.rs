//! One connection: requests out, replies matched to their callers, events passed on.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

use super::{Call, Client, ClientError, Events};
use crate::protocol::{Answer, Event, FRAME_BYTES_MAX, LENGTH_BYTES, Message, Request};

/// Commands that may wait for the socket before callers do.
const QUEUE: usize = 64;

type Callers = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Answer, ClientError>>>>>;

/// Connects to the shim that listens at `socket`. The connection lasts until every clone of the client is dropped, or the
/// shim ends. The caller knows the socket: what the task's own files say of it may be another installation's.
///
/// # Errors
/// [`ClientError::Unreachable`] when nobody listens, or somebody else's process does.
pub async fn connect(socket: &Path) -> Result<(Client, Events), ClientError> {
    let unreachable = |source| ClientError::Unreachable { socket: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
    let peer = stream.peer_cred().map_err(unreachable)?;
    if peer.uid() != nix::unistd::geteuid().as_raw() {
        return Err(unreachable(io::Error::new(io::ErrorKind::PermissionDenied, "another user listens there")));
    }
    let (read, write) = stream.into_split();
    let (commands, queue) = mpsc::channel(QUEUE);
    // At most three events a container: a slow reader cannot make this grow without bound.
    let (events, received) = mpsc::unbounded_channel();
    let callers = Callers::default();
    tokio::spawn(send(write, queue, Arc::clone(&callers)));
    tokio::spawn(receive(read, events, callers));
    Ok((Client { commands }, Events(received)))
}

async fn send(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Call>, callers: Callers) {
    let mut next_id = 0;
    while let Some(Call { command, reply }) = queue.recv().await {
        next_id += 1;
        let frame = match encode(&Request { id: next_id, command }) {
            Ok(frame) => frame,
            Err(error) => {
                // The caller may have gone; then nobody wants to know.
                let _ = reply.send(Err(error));
                continue;
            }
        };
        callers.lock().unwrap_or_else(PoisonError::into_inner).insert(next_id, reply);
        if socket.write_all(&frame).await.is_err() {
            break;
        }
    }
    // Dropping the write half shuts it down: the shim closes, `receive` ends and fails whoever still waits.
}

async fn receive(mut socket: OwnedReadHalf, events: mpsc::UnboundedSender<Event>, callers: Callers) {
    while let Ok(message) = read_message(&mut socket).await {
        match message {
            Message::Reply { id, result } => {
                let caller = callers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(caller) = caller {
                    // The caller may have stopped waiting.
                    let _ = caller.send(result.map_err(ClientError::Failed));
                }
            }
            Message::Event(event) => {
                // Whoever wants only commands drops the events.
                let _ = events.send(event);
            }
        }
    }
    callers.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// A request's frame.
pub(super) fn encode(request: &Request) -> Result<Vec<u8>, ClientError> {
    let mut frame = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut frame, request).map_err(|_| ClientError::Closed)?;
    let bytes = frame.len() - LENGTH_BYTES;
    let length =
        u32::try_from(bytes).ok().filter(|_| bytes <= FRAME_BYTES_MAX).ok_or(ClientError::TooLarge { bytes })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

async fn read_message(socket: &mut OwnedReadHalf) -> io::Result<Message> {
    let length = socket.read_u32().await? as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame).await?;
    Ok(serde_json::from_slice(&frame)?)
}
