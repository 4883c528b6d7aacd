//! `estiva exec`: a program in a container, at this terminal.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use estiva_agent::{PIPE_CLIENT, TERMINAL_CLIENT};
use estiva_api_ecs::ExecuteCommand;
use estiva_api_ecs::types::ExecuteCommandRequest;
use estiva_session_protocol::payload::Size;
use estiva_session_protocol::{Client as Session, ClientEvent, DATA_BYTES_MAX, FRAME_BYTES_MAX};
use estiva_wire::Stream;
use estiva_wire::client::Client;
use futures_util::{SinkExt, StreamExt};
use nix::sys::termios::{self, SetArg, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::installation::InstallationOptions;
use crate::{output, owner};

/// Run a program in a running container; without one, a shell
///
/// The task must have been run with execute command enabled (aws ecs run-task --enable-execute-command). The program runs as
/// root, with a terminal if this command has one, and its exit code is this command's.
#[derive(Args)]
pub struct Options {
    /// The task's id or ARN
    task: String,
    /// The task's cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The container; may be left out for a task that has one
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, default_value = "/bin/sh")]
    command: Vec<String>,
}

/// What is waited for when nothing else is due.
const LONG: Duration = Duration::from_secs(3600);
/// Lines that were typed and not sent yet.
const QUEUE: usize = 16;

/// Runs the program and ends as it does.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let client = owner::client(installation)?;
    let of_arn = options.task.rsplit('/').nth(1).filter(|_| options.task.starts_with("arn:")).map(str::to_owned);
    let request = ExecuteCommandRequest {
        cluster: options.cluster.clone().or(of_arn),
        container: options.container.clone(),
        command: shell_words::join(&options.command),
        interactive: true,
        task: options.task.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let answer = client.call::<ExecuteCommand>(&request).await.context("the program was not started")?;
        let session = answer.session.context("the answer has no session")?;
        let socket = connect(&client, &session.stream_url.unwrap_or_default()).await?;
        attach(socket, &session.token_value.unwrap_or_default()).await
    })?;
    // A thread still waits for input.
    std::process::exit(code)
}

async fn connect(client: &Client, url: &str) -> Result<WebSocketStream<Stream>> {
    let authority = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
    let Some(authority) = authority else { bail!("cannot connect to {url}: the session's URL must begin with ws://") };
    let stream = client.connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
    let config =
        WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
    let connected = client_async_with_config(url, stream, Some(config)).await;
    Ok(connected.with_context(|| format!("{authority} does not open the session"))?.0)
}

/// Speaks with the program until one of both ends: the exit code.
async fn attach(mut socket: WebSocketStream<Stream>, token: &str) -> Result<i32> {
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let kind = if has_terminal { TERMINAL_CLIENT } else { PIPE_CLIENT };
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(LONG);
    let now_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(1);
    let mut session = Session::new(&format!("{kind}/{}", env!("CARGO_PKG_VERSION")), Instant::now(), now_ms);
    socket.send(Message::text(session.opening_frame(token))).await?;
    let raw = if has_terminal { Some(RawTerminal::enter()?) } else { None };
    let mut resized = signal(SignalKind::window_change())?;
    let mut typed = typed();
    let (mut open, mut waiting, mut code) = (false, Vec::new(), 0);
    let (mut input_ended, mut end_told) = (false, false);
    loop {
        for frame in session.take_frames() {
            // An end that has gone may have said before how the program ended: that is read below.
            let _ = socket.send(Message::binary(frame)).await;
        }
        if session.is_closed() {
            break;
        }
        let due = session.deadline().unwrap_or_else(|| Instant::now() + LONG);
        let may_type = open && waiting.is_empty() && !input_ended;
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(frame))) => {
                    for event in session.receive(&frame, Instant::now())? {
                        match event {
                            ClientEvent::HandshakeDone { .. } => {
                                open = true;
                                tell_size(&mut session, has_terminal);
                            }
                            ClientEvent::Output(bytes) => show(&mut io::stdout(), &bytes)?,
                            ClientEvent::StdErr(bytes) => show(&mut io::stderr(), &bytes)?,
                            ClientEvent::ExitCode(exit) => code = exit,
                            ClientEvent::Closed(text) if !text.is_empty() => output::complain(&text),
                            ClientEvent::Closed(_) | ClientEvent::Skipped(_) => {}
                        }
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => bail!("the session was closed"),
                Some(Ok(_)) => {}
            },
            bytes = typed.recv(), if may_type => match bytes {
                Some(bytes) if !bytes.is_empty() => waiting = bytes,
                // The program's own input ends too.
                _ => input_ended = true,
            },
            () = changed(&mut resized) => tell_size(&mut session, has_terminal),
            () = tokio::time::sleep_until(due.into()) => session.tick(Instant::now())?,
        }
        if open && !waiting.is_empty() && session.room_bytes() >= DATA_BYTES_MAX {
            let sent = session.input(&waiting, Instant::now());
            waiting.drain(..sent);
        }
        if open && input_ended && !end_told && session.room_bytes() >= DATA_BYTES_MAX {
            end_told = session.end_input(Instant::now()).is_ok();
        }
    }
    drop(raw);
    Ok(code)
}

/// What is typed, from a thread that can wait for it.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut buffer = [0; DATA_BYTES_MAX];
        while let Ok(count) = io::stdin().read(&mut buffer) {
            // Nothing is the end, and is passed on as such.
            if sender.blocking_send(buffer[..count].to_vec()).is_err() || count == 0 {
                return;
            }
        }
    });
    receiver
}

async fn changed(resized: &mut Signal) {
    if resized.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn show(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn tell_size(session: &mut Session, has_terminal: bool) {
    if let Some(size) = has_terminal.then(terminal_size).flatten() {
        // The next change tells it again.
        let _ = session.size(size, Instant::now());
    }
}

fn terminal_size() -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is the kernel's and outlives the call.
    let known = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    known.then(|| Size { cols: size.ws_col.into(), rows: size.ws_row.into() })
}

/// Keys go to the program as they are typed, until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
