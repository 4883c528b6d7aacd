//! The program of a session: its streams as messages.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use estiva_session_protocol::DATA_BYTES_MAX;
use estiva_session_protocol::payload::Size;
use estiva_shim::client::{self, ClientError, ExecStreams};
use estiva_shim::spec::{ExecSpec, User};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::engine::Execs;

/// Chunks that wait for the session before the program does.
const QUEUE: usize = 4;
/// What is kept for a program that does not read.
const UNREAD_BYTES_MAX: usize = 16 << 20;
const SIGKILL: i32 = 9;
/// How long a shim may take to say that it has killed a program.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a program wrote.
pub(super) enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// What a program did.
pub(super) enum Happened {
    Wrote(Output),
    /// Nobody can write any more.
    Drained,
    /// With this exit code, if anybody knows it.
    Ended(Option<i32>),
}

/// A program that runs.
pub(super) struct Program {
    socket: PathBuf,
    container: String,
    id: String,
    /// `None` once it has been heard.
    ended: Option<oneshot::Receiver<i32>>,
    /// `None` once nobody can write any more.
    output: Option<mpsc::Receiver<Output>>,
    /// What it reads; dropped, its standard input ends. Bounded by [`Self::is_full`]: a program that waits for its output to
    /// be read before it reads on must not stop the session.
    input: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// Bytes that were typed and that it has not read.
    unread: Arc<AtomicUsize>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

impl Program {
    /// Starts `args` as root in the container, as ECS does, with a terminal or without.
    pub async fn start(
        socket: &Path,
        execs: &Execs,
        container: &str,
        id: &str,
        args: Vec<String>,
        tty: bool,
    ) -> Result<Self, ClientError> {
        let term = tty.then(|| "TERM=xterm-256color".to_owned());
        let spec = ExecSpec {
            container: container.to_owned(),
            id: id.to_owned(),
            args,
            env: term.into_iter().collect(),
            cwd: None,
            user: Some(User::Ids { uid: 0, gid: 0, additional_gids: vec![0] }),
            tty,
        };
        let ended = execs.expect(container, id);
        let streams = client::exec(socket, &spec).await?;
        let (out, output) = mpsc::channel(QUEUE);
        let (input, typed) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let broken = |source| ClientError::File { path: socket.to_owned(), source };
        let terminal = match streams {
            ExecStreams::Terminal(fd) => {
                let terminal = Arc::new(asynchronous(fd).map_err(broken)?);
                tokio::spawn(pump(Arc::clone(&terminal), out, Output::Stdout));
                tokio::spawn(write(Arc::clone(&terminal), typed, Arc::clone(&unread)));
                Some(terminal)
            }
            ExecStreams::Pipes { stdin, stdout, stderr } => {
                let (stdout, stderr) = (asynchronous(stdout).map_err(broken)?, asynchronous(stderr).map_err(broken)?);
                tokio::spawn(pump(Arc::new(stdout), out.clone(), Output::Stdout));
                tokio::spawn(pump(Arc::new(stderr), out, Output::Stderr));
                let stdin = Arc::new(asynchronous(stdin).map_err(broken)?);
                tokio::spawn(write(stdin, typed, Arc::clone(&unread)));
                None
            }
        };
        let (socket, container, id) = (socket.to_owned(), container.to_owned(), id.to_owned());
        let (ended, output) = (Some(ended), Some(output));
        Ok(Self { socket, container, id, ended, output, input: Some(input), unread, terminal })
    }

    /// What happens next: it writes (if `room` says that this is wanted), or it ends. Pending for ever after its end.
    pub async fn next(&mut self, room: bool) -> Happened {
        let Self { output, ended, .. } = self;
        tokio::select! {
            biased;
            written = read(output), if room && output.is_some() => {
                if let Some(written) = written {
                    return Happened::Wrote(written);
                }
                *output = None;
                Happened::Drained
            }
            code = end(ended) => {
                *ended = None;
                Happened::Ended(code)
            }
        }
    }

    /// Hands over what was typed.
    pub fn type_in(&mut self, bytes: Vec<u8>) {
        let count = bytes.len();
        // It may have closed its input.
        if self.input.as_ref().is_some_and(|input| input.send(bytes).is_ok()) {
            self.unread.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// More has been typed than is kept for a program that does not read.
    pub fn is_full(&self) -> bool {
        self.unread.load(Ordering::Relaxed) >= UNREAD_BYTES_MAX
    }

    /// Nothing more will be typed.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The window has another size.
    pub fn resize(&self, size: Size) {
        let Some(terminal) = &self.terminal else { return };
        let number = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let size = libc::winsize { ws_row: number(size.rows), ws_col: number(size.cols), ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the structure is the kernel's and outlives the call; the descriptor is a terminal's.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }

    /// Ends it.
    pub async fn kill(&self) {
        if let Ok((client, _)) = client::connect(&self.socket).await {
            // It may have ended by itself, and a shim that hangs is its driver's to end.
            let _ = timeout(KILL_WAIT_MAX, client.signal_exec(&self.container, &self.id, SIGKILL)).await;
        }
    }
}

async fn read(output: &mut Option<mpsc::Receiver<Output>>) -> Option<Output> {
    match output {
        Some(output) => output.recv().await,
        None => None,
    }
}

async fn end(ended: &mut Option<oneshot::Receiver<i32>>) -> Option<i32> {
    match ended {
        Some(ended) => ended.await.ok(),
        None => std::future::pending().await,
    }
}

fn asynchronous(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_raw_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_raw_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: the descriptor is owned by what is registered, and open for as long as that lives.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

async fn pump(from: Arc<AsyncFd<OwnedFd>>, to: mpsc::Sender<Output>, kind: fn(Vec<u8>) -> Output) {
    let mut buffer = [0; DATA_BYTES_MAX];
    loop {
        let Ok(mut ready) = from.readable().await else { return };
        let read = ready.try_io(|fd| nix::unistd::read(fd.as_raw_fd(), &mut buffer).map_err(io::Error::from));
        match read {
            Err(_would_block) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // The end of a pipe, or (EIO) of a terminal that nobody has open any more.
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(count)) => {
                if to.send(kind(buffer[..count].to_vec())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn write(to: Arc<AsyncFd<OwnedFd>>, mut typed: mpsc::UnboundedReceiver<Vec<u8>>, unread: Arc<AtomicUsize>) {
    while let Some(bytes) = typed.recv().await {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Ok(mut ready) = to.writable().await else { return };
            match ready.try_io(|fd| nix::unistd::write(fd, rest).map_err(io::Error::from)) {
                Err(_would_block) => {}
                Ok(Ok(count)) => {
                    unread.fetch_sub(count, Ordering::Relaxed);
                    rest = &rest[count..];
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return,
            }
        }
    }
}
