//! A container's output on its way from the pipes (or the terminal) to the sink.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::read,
};

use crate::{
    log::{LineSplitter, Now, Sink},
    spool::{Line, Position, Stream},
};

/// What is read at once.
pub(super) const CHUNK_BYTES: usize = 32 * 1024;
/// How long the pipes may stay open after the container's end: everything in its cgroup is killed, so whoever still
/// holds them has left it.
const LINGER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Output {
    sources: Vec<Source>,
    sink: Sink,
    deadline: Option<Instant>,
    ended: bool,
    /// Another run of the container may write to the sink: a last line without an end ends here.
    goes_on: bool,
}

#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    lines: LineSplitter,
}

impl Output {
    pub(super) fn new(sources: Vec<(OwnedFd, Stream)>, sink: Sink, goes_on: bool) -> io::Result<Self> {
        let sources = sources.into_iter().map(|(fd, stream)| {
            let flags = OFlag::from_bits_retain(fcntl(fd.as_raw_fd(), FcntlArg::F_GETFL)?);
            fcntl(fd.as_raw_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            Ok(Source { fd, lines: LineSplitter::new(stream) })
        });
        Ok(Self { sources: sources.collect::<io::Result<_>>()?, sink, deadline: None, ended: false, goes_on })
    }

    /// What to wait for: the sources to become readable, unless the sink is full.
    pub(super) fn readable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let blocked = self.sink.must_block();
        self.sources.iter().filter(move |_| !blocked).map(|source| source.fd.as_fd())
    }

    /// The sink may have room again.
    pub(super) fn note_deletions(&mut self) {
        self.sink.note_deletions();
    }

    /// Looks whether the sink has room again though nobody said so, when it is time to.
    pub(super) fn look_if_due(&mut self, now: Instant) {
        self.sink.look_if_due(now);
    }

    /// Up to where the agent has something to read; `None` when nothing will follow.
    pub(super) fn position(&self) -> Option<Position> {
        self.sink.position()
    }

    /// Reads once from every source. An error is the sink's: it has lost lines.
    pub(super) fn pump(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        if self.sink.must_block() {
            return Ok(());
        }
        self.pump_regardless(buffer).1
    }

    /// Returns whether anything was read, and what the sink said.
    fn pump_regardless(&mut self, buffer: &mut [u8]) -> (bool, io::Result<()>) {
        let Self { sources, sink, goes_on, .. } = self;
        let mut any = false;
        sources.retain_mut(|Source { fd, lines }| {
            match read(fd.as_raw_fd(), buffer) {
                Ok(count) if count > 0 => {
                    any = true;
                    let now = Now::read();
                    lines.push(&buffer[..count], |line| sink.append(now, line));
                    return true;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return true,
                // A pipe's end, or a terminal whose last user is gone (EIO).
                Ok(_) | Err(_) => {}
            }
            lines.finish(|line| sink.append(Now::read(), &Line { partial: !*goes_on, ..*line }));
            false
        });
        (any, sink.flush())
    }

    /// The container has ended: its pipes may linger for so long.
    pub(super) fn container_ended(&mut self) {
        self.deadline = Some(Instant::now() + LINGER);
    }

    /// When [`Self::is_over`] may change without anything having been read, or a full sink is to be looked at again. A full
    /// sink is waited for for ever: what is in the pipes would be lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ended { None } else { self.sink.look_at().or(self.deadline) }
    }

    /// The container has ended, and its output too: [`Self::finish`] is due.
    pub(super) fn is_over(&self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        !self.ended && (self.sources.is_empty() || (!self.sink.must_block() && Instant::now() >= deadline))
    }

    /// Writes what is still in the pipes; the sink is somebody else's from now on.
    pub(super) fn take_sink(&mut self, buffer: &mut [u8]) -> Sink {
        // What the disk refuses is counted as dropped.
        let _ = self.drain(buffer);
        self.ended = true;
        std::mem::replace(&mut self.sink, Sink::None)
    }

    fn drain(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        // A pipe holds 64 KiB at most by default; whoever keeps filling it does not get to hold us up.
        for _ in 0..=(1 << 20) / CHUNK_BYTES {
            if !self.pump_regardless(buffer).0 {
                break;
            }
        }
        for Source { mut lines, .. } in self.sources.drain(..) {
            lines.finish(|line| self.sink.append(Now::read(), &Line { partial: !self.goes_on, ..*line }));
        }
        self.sink.flush()
    }

    /// Writes what is still in the pipes, whatever the sink's limits (it is little), and closes everything. Returns
    /// the lines dropped in all, once.
    pub(super) fn finish(&mut self, buffer: &mut [u8]) -> Option<(u64, io::Result<()>)> {
        if self.ended {
            return None;
        }
        self.ended = true;
        let flushed = self.drain(buffer);
        let (dropped, ended) = self.sink.end(Now::read());
        self.sink = Sink::None;
        Some((dropped, flushed.and(ended)))
    }
}
