//! The shim's one loop: it sleeps in `poll` until an agent speaks, a container writes, ends or runs out of time.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    time::{Duration, Instant},
};

use libcgroups::common::{CgroupConfig, CgroupManager, ControllerOpt, create_cgroup_manager};
use libcontainer::oci_spec::runtime::LinuxResources;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    anchor::Anchor,
    container::{Container, exit_code, send_signal},
    create::{Places, create, io_failure},
    diagnostics::Diagnostics,
    exec::Exec,
    log_waits::{LogState, LogWait, LogWaits},
    output::CHUNK_BYTES,
    server::Server,
};
use crate::{
    cgroup::Cgroup,
    layout::{ShimProcess, TaskDir, write_durably},
    log::Sink,
    oci,
    protocol::{Answer, Command, Event, Failure, FailureKind, Message, Request},
    spec::{
        ContainerSpec, ExecSpec, NamespaceMode, Resources, TaskSpec, validate_container, validate_exec, validate_task,
    },
    status::TaskState,
};

/// A task definition has 10 containers; the agent adds a few of its own.
const CONTAINERS_MAX: usize = 128;
/// Health checks and shells that may run at once.
const EXECS_MAX: usize = 256;
const CGROUP_WAIT_MAX: Duration = Duration::from_secs(2);
/// Processes stop within a millisecond or two, unless one waits for a disk.
const FREEZE_WAIT_MAX: Duration = Duration::from_secs(2);

pub(super) struct Supervisor<'a> {
    dir: TaskDir,
    task: TaskSpec,
    cgroup: Cgroup,
    /// Of the namespaces that containers share.
    anchor: Option<Anchor>,
    server: Server,
    signals: SignalFd,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    log_waits: LogWaits,
    diagnostics: &'a mut Diagnostics,
    buffer: Vec<u8>,
    shut_down: bool,
    _only: Flock<File>,
}

/// What a descriptor in the poll set stands for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Connection(u64),
    Output(usize),
}

impl<'a> Supervisor<'a> {
    /// Reads the task, makes its cgroup, listens.
    pub(super) fn new(dir: TaskDir, diagnostics: &'a mut Diagnostics) -> io::Result<Self> {
        let task: TaskSpec = serde_json::from_slice(&fs::read(dir.task_file())?)?;
        validate_task(&task).map_err(io::Error::other)?;
        // An agent that was killed while it started a shim may come back before that one is to be seen.
        let only = Flock::lock(File::open(dir.path())?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::other(format!("the task has a shim already: {errno}")))?;
        // Before anything is made that somebody would have to clean up by it.
        let own = ShimProcess::inspect(std::process::id())?;
        write_durably(&dir.process_file(), &serde_json::to_vec(&own)?)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&task.runtime_dir)?;
        fs::create_dir_all(dir.containers())?;
        let cgroup = Cgroup::new(&task.cgroup)?;
        cgroup.create()?;
        limit(&task, cgroup.is_unified()).map_err(io::Error::other)?;
        let anchor = Anchor::of(&task)?;
        // Read from a descriptor or, those that would end an ordinary process, not at all: a shim ends when it is told
        // to by its agent. Not ignored, since that would be inherited.
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let server = Server::listen(&task.socket)?;
        let buffer = vec![0; CHUNK_BYTES];
        let (containers, execs) = (Vec::new(), Vec::new());
        Ok(Self {
            dir,
            task,
            cgroup,
            anchor,
            server,
            signals,
            containers,
            execs,
            log_waits: LogWaits::default(),
            diagnostics,
            buffer,
            shut_down: false,
            _only: only,
        })
    }

    /// Until [`Command::Shutdown`].
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.shut_down {
            for (source, ready) in self.wait()? {
                self.serve(source, ready);
            }
            self.run_timers();
            self.tell_of_logs();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::POLLIN)];
        sources.push((Source::Listener, self.server.listener(), PollFlags::POLLIN));
        for (number, connection) in self.server.connections() {
            let write = if connection.wants_to_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            sources.push((Source::Connection(number), connection.as_fd(), PollFlags::POLLIN | write));
        }
        for (index, container) in self.containers.iter().enumerate() {
            let readable = container.output.readable().map(|fd| (Source::Output(index), fd, PollFlags::POLLIN));
            sources.extend(readable);
        }
        let mut set: Vec<_> =
            sources.iter().map(|(_, fd, flags): &(_, BorrowedFd<'_>, _)| PollFd::new(*fd, *flags)).collect();
        loop {
            match poll(&mut set, self.timeout()) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let ready = sources
            .iter()
            .zip(&set)
            .map(|((source, ..), polled)| (*source, polled.revents().unwrap_or(PollFlags::all())));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let deadlines = self.containers.iter().flat_map(|container| [container.kill_at, container.output.deadline()]);
        let Some(next) = deadlines.flatten().min() else { return PollTimeout::NONE };
        // Rounded up: woken early, the loop would spin through the last millisecond.
        let millis = next.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
    }

    fn serve(&mut self, source: Source, ready: PollFlags) {
        match source {
            Source::Signals => self.reap(),
            Source::Listener => {
                let accepted = self.server.accept();
                self.report("accept", accepted);
            }
            Source::Connection(number) => {
                if ready.contains(PollFlags::POLLOUT) {
                    self.server.flush(number);
                }
                for request in self.server.receive(number) {
                    self.answer(number, request);
                }
            }
            // A command in the same round may have deleted the container that an index meant; the next round, which
            // follows at once, asks again.
            Source::Output(index) => {
                let Some(container) = self.containers.get_mut(index) else { return };
                let pumped = container.output.pump(&mut self.buffer);
                self.report("log", pumped);
            }
        }
    }

    fn answer(&mut self, connection: u64, request: Request) {
        if let Command::AwaitLog { name, position } = request.command {
            let replaced = self.log_waits.add(connection, request.id, name, position);
            return self.answer_waits(replaced);
        }
        let mut streams = Vec::new();
        let result = self.execute(request.command, &mut streams);
        self.server.send(connection, &Message::Reply { id: request.id, result }, &streams);
    }

    /// What is due: kills of containers that have not stopped in time, ends of logs.
    fn run_timers(&mut self) {
        let now = Instant::now();
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            if container.kill_at.is_some_and(|deadline| deadline <= now) {
                let killed = container.kill();
                self.report("kill", killed);
            }
            self.containers[index].output.look_if_due(now);
            if self.containers[index].output.is_over() {
                self.finish_log(index);
            }
        }
    }

    /// Answers those that wait for what has been written meanwhile.
    fn tell_of_logs(&mut self) {
        let due = self.log_waits.due(|name| match self.containers.iter().find(|container| container.name == name) {
            Some(container) => LogState::of(container.output.position()),
            // It was here and is deleted: all that it wrote is there to be read.
            None if self.dir.exit_file(name).exists() => LogState::Ended,
            None => LogState::ToCome,
        });
        self.answer_waits(due);
    }

    fn answer_waits(&mut self, waits: impl IntoIterator<Item = LogWait>) {
        for LogWait { connection, id, .. } in waits {
            self.server.send(connection, &Message::Reply { id, result: Ok(Answer::Done) }, &[]);
        }
    }

    fn finish_log(&mut self, index: usize) {
        let container = &mut self.containers[index];
        let Some((dropped, ended)) = container.output.finish(&mut self.buffer) else { return };
        let name = container.name.clone();
        self.report("log", ended);
        self.publish(Event::LogEnded { name, dropped });
    }

    /// Reaps every child that has ended: containers, and what they left behind.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(status) => {
                    if let Some(index) = self.execs.iter().position(|exec| Some(exec.pid) == status.pid()) {
                        let Exec { container, id, .. } = self.execs.swap_remove(index);
                        self.publish(Event::ExecEnded { container, id, code: exit_code(status).0 });
                        continue;
                    }
                    let ended = self.containers.iter_mut().find(|container| Some(container.pid) == status.pid());
                    let Some(container) = ended.filter(|container| !container.is_stopped()) else { continue };
                    let name = container.name.clone();
                    let (exit, recorded) = container.ended(&self.dir, status);
                    self.report("exit", recorded);
                    self.publish(Event::Exited { name, exit });
                }
                Err(Errno::EINTR) => {}
                Err(error) => return self.report("wait", Err::<(), _>(error)),
            }
        }
    }

    /// `streams` takes the descriptors that go along with the answer.
    fn execute(&mut self, command: Command, streams: &mut Vec<OwnedFd>) -> Result<Answer, Failure> {
        match command {
            Command::Create(spec) => self.create(&spec, None),
            Command::Restart { name } => self.restart(&name),
            Command::Start { name } => self.start(&name),
            Command::Signal { name, signal } => self.find(&name)?.signal(signal).map(|()| Answer::Done),
            Command::Stop { name, signal, timeout_ms } => {
                self.find(&name)?.stop(signal, Duration::from_millis(timeout_ms)).map(|()| Answer::Done)
            }
            Command::KillAll => {
                let killed: Vec<_> = self.containers.iter_mut().map(Container::kill).collect();
                killed.into_iter().collect::<Result<(), _>>().map(|()| Answer::Done)
            }
            Command::Delete { name } => self.delete(&name),
            Command::SignalExec { container, id, signal } => {
                let exec = self.execs.iter().find(|exec| exec.container == container && exec.id == id);
                let Some(exec) = exec else {
                    let message = format!("no program {id} in container {container}");
                    return Err(Failure { kind: FailureKind::NotFound, message });
                };
                send_signal(exec.pid, signal).map_err(|error| io_failure("signal the program", &error))?;
                Ok(Answer::Done)
            }
            Command::Exec(spec) => {
                *streams = self.exec(&spec)?;
                Ok(Answer::Done)
            }
            Command::LogFreed { name } => {
                self.find(&name)?.output.note_deletions();
                Ok(Answer::Done)
            }
            // Answered when there is something to tell.
            Command::AwaitLog { .. } => Ok(Answer::Done),
            Command::State => Ok(Answer::Task(TaskState {
                shim_pid: std::process::id(),
                tells_of_logs: true,
                containers: self.containers.iter().map(Container::state).collect(),
            })),
            Command::Shutdown => self.shut_down(),
        }
    }

    fn create(&mut self, spec: &ContainerSpec, sink: Option<Sink>) -> Result<Answer, Failure> {
        validate_container(spec)?;
        let taken = self.containers.iter().any(|container| container.name == spec.name || container.id == spec.id);
        if taken || self.containers.len() >= CONTAINERS_MAX {
            let message = format!("container {} ({}) exists, or there are too many", spec.name, spec.id);
            return Err(Failure { kind: FailureKind::AlreadyExists, message });
        }
        let places = Places { dir: &self.dir, task: &self.task };
        let failed = |error: io::Error| io_failure("prepare the container", &error);
        fs::create_dir_all(places.dir.container(&spec.name)).map_err(failed)?;
        // A container of this name that was deleted may have left its exit.
        match fs::remove_file(places.dir.exit_file(&spec.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let cgroup = Cgroup::new(&places.cgroup(&spec.name)).map_err(failed)?;
        let created = self.without_observers(spec, || {
            let created = create(&places, spec, self.anchor.as_ref(), &cgroup, sink);
            // What is half made must not be there when others may look again.
            created.inspect_err(|_| drop(cgroup.kill()))
        });
        release_memory();
        match created {
            Ok(created) => {
                let container = Container::new(spec, created, cgroup);
                let state = container.state();
                self.containers.push(container);
                Ok(Answer::Container(state))
            }
            Err(failure) => {
                let removed = cgroup.kill_and_remove(CGROUP_WAIT_MAX);
                let cleared = places.clear(&spec.name, &spec.id);
                self.report("clean up after a failed create", removed.and(cleared));
                Err(failure)
            }
        }
    }

    /// While a container is set up, its first process has the shim's memory, descriptors and capabilities. Containers of the
    /// same PID namespace that may look into it are stopped meanwhile.
    fn without_observers<T>(
        &self,
        spec: &ContainerSpec,
        setup: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if spec.pid_mode != NamespaceMode::Task {
            return setup();
        }
        let observers = self.containers.iter().filter_map(Container::observer);
        let frozen = observers.map(|cgroup| cgroup.frozen(FREEZE_WAIT_MAX)).collect::<io::Result<Vec<_>>>();
        let _frozen =
            frozen.map_err(|error| io_failure("stop the containers that could look into this one", &error))?;
        setup()
    }

    /// Makes a stopped container again and starts it.
    fn restart(&mut self, name: &str) -> Result<Answer, Failure> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let taken = self.find(name).and_then(|container| container.take_for_restart(&mut buffer));
        self.buffer = buffer;
        let (spec, sink) = taken?;
        self.delete(name)?;
        self.create(&spec, Some(sink))?;
        self.start(name)
    }

    fn start(&mut self, name: &str) -> Result<Answer, Failure> {
        let container = self.find(name)?;
        container.start()?;
        let state = container.state();
        if let crate::status::Status::Running { pid, started_at_ms } = state.status {
            self.publish(Event::Started { name: name.to_owned(), pid, at_ms: started_at_ms });
        }
        Ok(Answer::Container(state))
    }

    fn exec(&mut self, spec: &ExecSpec) -> Result<Vec<OwnedFd>, Failure> {
        validate_exec(spec)?;
        let taken = self.execs.iter().any(|exec| exec.container == spec.container && exec.id == spec.id);
        if taken || self.execs.len() >= EXECS_MAX {
            let message = format!("program {} of {} runs, or there are too many", spec.id, spec.container);
            return Err(Failure { kind: FailureKind::AlreadyExists, message });
        }
        let known: Vec<Pid> = self.children().collect();
        let (pid, streams) = self.find(&spec.container)?.exec(spec, &known)?;
        self.execs.push(Exec { container: spec.container.clone(), id: spec.id.clone(), pid });
        release_memory();
        Ok(streams)
    }

    /// Those that are known by their numbers; what a container left behind when its first process ended is not.
    fn children(&self) -> impl Iterator<Item = Pid> {
        let running = self.containers.iter().filter(|container| !container.is_stopped());
        let containers = running.map(|container| container.pid);
        let execs = self.execs.iter().map(|exec| exec.pid);
        containers.chain(execs).chain(self.anchor.as_ref().map(Anchor::process))
    }

    fn delete(&mut self, name: &str) -> Result<Answer, Failure> {
        self.find(name)?.remove_processes()?;
        let Some(index) = self.containers.iter().position(|container| container.name == name) else {
            return Ok(Answer::Done);
        };
        self.finish_log(index);
        let id = self.containers[index].id.clone();
        // Its mounts first: what is below them is not ours to remove.
        drop(self.containers.remove(index));
        let places = Places { dir: &self.dir, task: &self.task };
        places.clear(name, &id).map_err(|error| io_failure("remove the container's run-time files", &error))?;
        Ok(Answer::Done)
    }

    fn shut_down(&mut self) -> Result<Answer, Failure> {
        if !self.containers.is_empty() {
            let message = format!("{} containers are left", self.containers.len());
            return Err(Failure { kind: FailureKind::WrongState, message });
        }
        let failed = |error: io::Error| io_failure("shut down", &error);
        self.anchor = None;
        self.cgroup.kill_and_remove(CGROUP_WAIT_MAX).map_err(failed)?;
        fs::remove_file(&self.task.socket).map_err(failed)?;
        fs::remove_dir_all(&self.task.runtime_dir).map_err(failed)?;
        self.shut_down = true;
        Ok(Answer::Done)
    }

    fn find(&mut self, name: &str) -> Result<&mut Container, Failure> {
        let found = self.containers.iter_mut().find(|container| container.name == name);
        found.ok_or_else(|| Failure { kind: FailureKind::NotFound, message: format!("no container {name}") })
    }

    fn publish(&mut self, event: Event) {
        self.server.broadcast(&Message::Event(event));
    }

    fn report<E: std::fmt::Display>(&mut self, subject: &str, result: Result<(), E>) {
        if let Err(error) = result {
            self.diagnostics.report(subject, &error);
        }
    }
}

/// Sets the task's own limits on its cgroup.
fn limit(task: &TaskSpec, unified: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if task.resources == Resources::default() {
        return Ok(());
    }
    let resources: LinuxResources = serde_json::from_value(oci::resources(&task.resources, None, unified).into())?;
    let path = task.cgroup.clone().into();
    let config = CgroupConfig { cgroup_path: path, systemd_cgroup: false, container_name: task.task_id.clone() };
    let options =
        ControllerOpt { resources: &resources, disable_oom_killer: false, oom_score_adj: None, freezer_state: None };
    Ok(create_cgroup_manager(config)?.apply(&options)?)
}

/// Creating a container takes megabytes for a moment; a shim then waits for days.
fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and touches only free memory of this single-threaded process.
    unsafe {
        libc::malloc_trim(0);
    }
}
