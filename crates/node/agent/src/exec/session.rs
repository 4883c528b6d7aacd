//! One session: the protocol on one side, the program on the other.

use std::time::Duration;

use estiva_agent_protocol::acs::StartSession;
use estiva_session_protocol::payload::SessionType;
use estiva_session_protocol::{DATA_BYTES_MAX, SendError, Server, ServerEvent, SessionError, SessionOptions};
use estiva_wire::Stream;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

use super::program::{Happened, Output, Program};
use super::transcript::Transcript;
use crate::engine::{ControlPlane, TaskView, with_sources};

/// As AWS has it: a session in which nothing happens ends.
const IDLE_MAX: Duration = Duration::from_secs(20 * 60);
/// What a program has written may still be on its way when its end is known.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// The least that a deadline which has passed is put off while something else is waited for.
const TICK: Duration = Duration::from_millis(50);
/// How long the caller may take for its last acknowledgements.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How the client of `estiva exec` calls itself when it has no terminal to give: it understands exit codes, and that an empty
/// input is the end of the input.
pub const PIPE_CLIENT: &str = "estiva-pipe";
/// The same with a terminal.
pub const TERMINAL_CLIENT: &str = "estiva-terminal";

pub(super) struct Session<'a> {
    view: &'a TaskView,
    request: &'a StartSession,
    server: Server,
    program: Option<Program>,
    transcript: Option<Transcript>,
    /// The client understands exit codes.
    tells_exit: bool,
    /// The program's exit code, if anybody knows it, and until when its last output is waited for.
    exit: Option<(Option<i32>, Instant)>,
    /// Nobody can write any more.
    drained: bool,
    is_closing: bool,
    active: Instant,
}

impl<'a> Session<'a> {
    pub fn new(control_plane: &ControlPlane, view: &'a TaskView, request: &'a StartSession) -> Result<Self, SendError> {
        let options = SessionOptions {
            session_id: request.session_id.clone(),
            destination_id: format!("ecs:{}", view.task.arn),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            session_type: SessionType::StandardStream,
            properties: serde_json::Value::Null,
            customer_message: String::new(),
        };
        let now_ms = u64::try_from(estiva_model::Timestamp::now().as_millis()).unwrap_or(1).max(1);
        let now = Instant::now();
        let server = Server::new(options, now.into_std(), now_ms)?;
        let transcript = Transcript::new(&control_plane.client, &request.log_group, &request.session_id);
        Ok(Self {
            view,
            request,
            server,
            program: None,
            transcript,
            tells_exit: false,
            exit: None,
            drained: false,
            is_closing: false,
            active: now,
        })
    }

    /// Until both ends have had enough.
    pub async fn run(mut self, mut socket: WebSocketStream<Stream>) {
        let mut closing: Option<Instant> = None;
        loop {
            for frame in self.server.take_frames() {
                if socket.send(Message::binary(frame)).await.is_err() {
                    return self.end().await;
                }
            }
            if self.server.is_closed() {
                break;
            }
            let due = self.server.deadline().map_or(self.active + IDLE_MAX, Instant::from_std);
            let due = due.min(closing.unwrap_or(self.active + IDLE_MAX));
            let due = due.min(self.exit.map_or(due, |(_, drained)| drained.max(Instant::now() + TICK)));
            let room = self.server.room_bytes() >= DATA_BYTES_MAX;
            tokio::select! {
                message = socket.next(), if !self.is_full() => match message {
                    Some(Ok(Message::Binary(frame))) => match self.server.receive(&frame, now()) {
                        Ok(events) => {
                            for event in events {
                                self.take(event).await;
                            }
                        }
                        Err(error) => return self.fail(error).await,
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return self.end().await,
                    Some(Ok(_)) => {}
                },
                happened = watch(&mut self.program, room) => match happened {
                    Happened::Wrote(output) => self.show(output).await,
                    Happened::Drained => self.drained = true,
                    Happened::Ended(code) => self.exit = Some((code, Instant::now() + DRAIN_MAX)),
                },
                () = sleep_until(due) => {
                    if let Err(error) = self.server.tick(now()) {
                        return self.fail(error).await;
                    }
                    if closing.is_some_and(|closing| Instant::now() >= closing) {
                        break;
                    }
                    if closing.is_none() && self.active.elapsed() >= IDLE_MAX {
                        self.kill().await;
                        self.close("The session was idle for 20 minutes.");
                    }
                }
            }
            self.finish();
            if closing.is_none() && self.is_closing {
                closing = Some(Instant::now() + CLOSE_MAX);
            }
        }
        let _ = timeout(CLOSE_MAX, socket.close(None)).await;
        self.end().await;
    }

    fn close(&mut self, text: &str) {
        self.is_closing = true;
        self.server.close(text, now());
    }

    fn is_full(&self) -> bool {
        self.program.as_ref().is_some_and(Program::is_full)
    }

    async fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::HandshakeDone { client_version } => self.start(&client_version).await,
            ServerEvent::Input(bytes) => {
                self.active = Instant::now();
                let ends = self.tells_exit && bytes.is_empty();
                if let Some(program) = &mut self.program {
                    if ends {
                        program.end_input();
                    } else {
                        program.type_in(bytes);
                    }
                }
            }
            ServerEvent::Size(size) => {
                if let Some(program) = &self.program {
                    program.resize(size);
                }
            }
            ServerEvent::Terminate => {
                self.kill().await;
                self.close("");
            }
            ServerEvent::Skipped(what) => debug!(session = self.request.session_id, what, "a message was passed over"),
        }
    }

    async fn start(&mut self, client_version: &str) {
        let tty = !client_version.starts_with(PIPE_CLIENT);
        self.tells_exit = !tty || client_version.starts_with(TERMINAL_CLIENT);
        let StartSession { session_id, container_name, command, .. } = self.request;
        let args = match shell_words::split(command) {
            Ok(args) if !args.is_empty() => args,
            Ok(_) => return self.refuse("there is no command"),
            Err(error) => return self.refuse(&format!("the command cannot be read: {error}")),
        };
        let (socket, execs) = (&self.view.socket, &self.view.execs);
        match Program::start(socket, execs, container_name, session_id, args, tty).await {
            Ok(program) => self.program = Some(program),
            Err(error) => self.refuse(&with_sources(&error)),
        }
    }

    fn refuse(&mut self, reason: &str) {
        warn!(session = self.request.session_id, reason, "the session's program was not started");
        if self.tells_exit {
            // The shells' code for what cannot be executed.
            let _ = self.server.exit_code(126, now());
        }
        self.close(&format!("cannot start the program: {reason}"));
    }

    async fn show(&mut self, output: Output) {
        self.active = Instant::now();
        if let Some((_, linger)) = &mut self.exit {
            *linger = self.active + DRAIN_MAX;
        }
        let (bytes, to_stderr) = match output {
            Output::Stdout(bytes) => (bytes, false),
            Output::Stderr(bytes) => (bytes, true),
        };
        if let Some(transcript) = &mut self.transcript {
            transcript.add(&bytes).await;
        }
        // There is room: that was asked before.
        let taken = if to_stderr { self.server.stderr(&bytes, now()) } else { self.server.output(&bytes, now()) };
        debug_assert_eq!(taken, bytes.len());
    }

    /// Tells how the program ended, once it has and everything that it wrote is sent; somebody else may hold its streams for
    /// ever, who is not waited for.
    fn finish(&mut self) {
        let Some((code, linger)) = self.exit else { return };
        let waits = self.server.room_bytes() < DATA_BYTES_MAX || Instant::now() < linger;
        if self.program.is_none() || (!self.drained && waits) {
            return;
        }
        self.program = None;
        if self.tells_exit
            && let Some(code) = code
            && let Err(error) = self.server.exit_code(code, now())
        {
            debug!(
                session = self.request.session_id,
                error = &error as &dyn std::error::Error,
                "no exit code was sent"
            );
        }
        self.close("");
    }

    async fn fail(self, error: SessionError) {
        warn!(session = self.request.session_id, error = &error as &dyn std::error::Error, "a session broke off");
        self.end().await;
    }

    async fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill().await;
        }
    }

    async fn end(mut self) {
        self.kill().await;
        if let Some(transcript) = &mut self.transcript {
            transcript.write().await;
        }
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Pending while there is no program.
async fn watch(program: &mut Option<Program>, room: bool) -> Happened {
    match program {
        Some(program) => program.next(room).await,
        None => std::future::pending().await,
    }
}
