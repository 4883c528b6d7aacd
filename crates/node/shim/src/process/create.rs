//! Setting a container up: everything between a spec and a process that waits to become the program.

use std::{
    cell::RefCell,
    error::Error,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl, open},
    sys::stat::Mode,
    unistd::{Pid, pipe2},
};
use serde_json::Value;

use super::{
    anchor::Anchor,
    detach::{OOM_SCORE_CONTAINER, OOM_SCORE_SHIM, set_oom_score},
    exec::Template,
    output::Output,
    terminal::TerminalSocket,
};
use crate::{
    cgroup::Cgroup,
    executor::{self, ContainerExecutor, NOT_EXECUTABLE, NOT_FOUND, StartPipe},
    init,
    layout::TaskDir,
    log::Sink,
    oci,
    protocol::{Failure, FailureKind},
    rootfs::{self, IdentityError, Mounts},
    spec::{ContainerSpec, InvalidSpec, NamespaceMode, TaskSpec},
    spool::Stream,
};

/// Where a task keeps what its containers need at run time.
pub(super) struct Places<'a> {
    pub dir: &'a TaskDir,
    pub task: &'a TaskSpec,
}

impl Places<'_> {
    /// libcontainer's state.
    fn oci(&self) -> PathBuf {
        self.task.runtime_dir.join("oci")
    }

    /// The configuration, which holds the environment: in memory, and only until libcontainer has read it.
    fn bundle(&self, name: &str) -> PathBuf {
        self.task.runtime_dir.join("bundle").join(name)
    }

    fn shm(&self, name: &str) -> PathBuf {
        self.task.runtime_dir.join("shm").join(name)
    }

    /// The container's cgroup.
    pub(super) fn cgroup(&self, name: &str) -> String {
        format!("{}/{name}", self.task.cgroup)
    }

    /// Removes what a container had at run time.
    pub(super) fn clear(&self, spec_name: &str, id: &str) -> io::Result<()> {
        for dir in [self.oci().join(id), self.bundle(spec_name), self.shm(spec_name)] {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The parts of a container that has been set up.
pub(super) struct Created {
    pub pid: Pid,
    pub runtime: libcontainer::container::Container,
    pub output: Output,
    pub mounts: Mounts,
    pub start_pipe: OwnedFd,
    /// The writing end of stdin, if it is to stay open (a terminal is its own).
    pub stdin: Option<OwnedFd>,
    /// For further programs.
    pub template: Template,
}

/// The container's ends of the three standard streams.
struct Inside {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Sets `spec` up. On failure nothing of it is left but a cgroup and run-time files, for the caller to remove.
pub(super) fn create(
    places: &Places<'_>,
    spec: &ContainerSpec,
    anchor: Option<&Anchor>,
    cgroup: &Cgroup,
    sink: Option<Sink>,
) -> Result<Created, Failure> {
    let mut mounts = Mounts::default();
    mounts.rootfs(&spec.rootfs).map_err(|error| io_failure("mount the root file system", &error))?;
    let root = &spec.rootfs.target;
    rootfs::check_kernel_directories(root).map_err(|error| io_failure("use the root file system", &error))?;
    let identity = rootfs::identify(root, &spec.user)?;
    rootfs::make_cwd(root, &spec.cwd).map_err(|error| io_failure("make the working directory", &error))?;
    for volume in spec.mounts.iter().filter(|mount| mount.populate) {
        let populated = rootfs::populate(root, &volume.destination, &volume.source);
        populated
            .map_err(|error| io_failure(&format!("fill the volume at {}", volume.destination.display()), &error))?;
    }
    let (mut pid_namespace, mut ipc_namespace) = (None, None);
    if spec.pid_mode == NamespaceMode::Task {
        pid_namespace = Some(anchor.and_then(Anchor::pid_namespace).ok_or_else(|| not_shared("pid_mode"))?);
    }
    let shm = match &spec.ipc_mode {
        NamespaceMode::Host => PathBuf::from("/dev/shm"),
        NamespaceMode::Task => {
            let shared = anchor.and_then(Anchor::ipc_namespace).ok_or_else(|| not_shared("ipc_mode"))?;
            ipc_namespace = Some(shared.0);
            shared.1.to_owned()
        }
        NamespaceMode::Private => {
            let dir = places.shm(&spec.name);
            mounts.shm(&dir, spec.shm_size_bytes).map_err(|error| io_failure("mount /dev/shm", &error))?;
            dir
        }
    };
    let context = oci::Context {
        identity: &identity,
        cgroup: &places.cgroup(&spec.name),
        unified: cgroup.is_unified(),
        cgroups_v1: cgroup.named_dirs().map_err(|error| io_failure("find the cgroup hierarchies", &error))?,
        shm: &shm,
        pid_namespace,
        ipc_namespace,
    };
    let configuration = oci::configuration(spec, &context)?;
    let sink = match sink {
        Some(sink) => sink,
        None => Sink::open(&spec.log).map_err(|error| io_failure("open the log sink", &error))?,
    };
    let capabilities = oci::granted(spec, cgroup.is_unified())?;
    let template = Template::new(spec, oci::environment(spec, None), identity, capabilities, cgroup.procs_files());
    let created = build(places, spec, &configuration, template, sink, mounts)?;
    for rule in oci::withheld(spec) {
        cgroup.deny_device(rule).map_err(|error| io_failure("withhold a device", &error))?;
    }
    Ok(created)
}

fn not_shared(field: &'static str) -> Failure {
    InvalidSpec { field, reason: "the task's containers do not share this namespace".into() }.into()
}

fn build(
    places: &Places<'_>,
    spec: &ContainerSpec,
    configuration: &Value,
    template: Template,
    sink: Sink,
    mounts: Mounts,
) -> Result<Created, Failure> {
    let stdio = |error: io::Error| io_failure("open the standard streams", &error);
    let bundle = places.bundle(&spec.name);
    write_configuration(&bundle, configuration).map_err(|error| io_failure("write the configuration", &error))?;
    let inherited = open_descriptors().map_err(|error| io_failure("list descriptors", &error))?;
    let start = StartPipe::new().map_err(stdio)?;
    let init = if spec.init { Some(init::program().map_err(stdio)?) } else { None };
    let executor = ContainerExecutor {
        capabilities: template.capabilities.clone(),
        filter: template.filter,
        start_pipe: start.child_end(),
        init: init.as_ref().map(AsRawFd::as_raw_fd),
        inherited,
        arguments: executor::arguments(),
        program: Rc::new(RefCell::new(None)),
    };
    let mut builder = ContainerBuilder::new(spec.id.clone(), SyscallType::default())
        .with_root_path(places.oci())
        .map_err(|error| runtime_failure(&error))?
        .with_executor(executor);
    let terminal = if spec.tty {
        let socket = TerminalSocket::listen(places.task.runtime_dir.join("tty.sock")).map_err(stdio)?;
        builder = builder.with_console_socket(Some(socket.path()));
        Some(socket)
    } else {
        None
    };
    let (mut sources, mut kept_open) = (Vec::new(), None);
    if terminal.is_none() {
        let (inside, outside, input) = pipes(spec.stdin_open).map_err(stdio)?;
        builder = builder.with_stdin(inside.stdin).with_stdout(inside.stdout).with_stderr(inside.stderr);
        (sources, kept_open) = (outside, input);
    }
    set_oom_score(OOM_SCORE_CONTAINER);
    let built = builder.as_init(&bundle).with_systemd(false).with_detach(true).build();
    set_oom_score(OOM_SCORE_SHIM);
    fs::remove_dir_all(&bundle).map_err(|error| io_failure("remove the configuration", &error))?;
    let runtime = built.map_err(|error| runtime_failure(&error))?;
    let pid = runtime.pid().ok_or_else(|| Failure { kind: FailureKind::Runtime, message: "no process".into() })?;
    if let Some(socket) = terminal {
        sources.push((socket.receive().map_err(stdio)?, Stream::Stdout));
    }
    let output = Output::new(sources, sink, spec.restartable).map_err(stdio)?;
    Ok(Created { pid, runtime, output, mounts, start_pipe: start.into_read(), stdin: kept_open, template })
}

type Outside = Vec<(OwnedFd, Stream)>;

fn pipes(stdin_open: bool) -> io::Result<(Inside, Outside, Option<OwnedFd>)> {
    let (out, stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (err, stderr) = pipe2(OFlag::O_CLOEXEC)?;
    let (stdin, input) = if stdin_open {
        let (inside, outside) = pipe2(OFlag::O_CLOEXEC)?;
        (inside, Some(outside))
    } else {
        let null = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        // SAFETY: just opened.
        (unsafe { std::os::fd::FromRawFd::from_raw_fd(null) }, None)
    };
    Ok((Inside { stdin, stdout, stderr }, vec![(out, Stream::Stdout), (err, Stream::Stderr)], input))
}

/// The numbers of everything that this process has open, but for the standard streams.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let names = fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let numbers =
        names.iter().filter_map(|name| name.to_str()?.parse().ok()).filter(|number| *number > libc::STDERR_FILENO);
    // The list's own descriptor was among them.
    Ok(numbers.filter(|number| fcntl(*number, FcntlArg::F_GETFD).is_ok()).collect())
}

fn write_configuration(bundle: &Path, configuration: &Value) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(bundle)?;
    let text = serde_json::to_vec(configuration)?;
    let path = bundle.join("config.json");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&text)
}

/// What became of a program, with the kind that its message tells.
pub(super) fn program_failure(message: String) -> Failure {
    let kind = if message.contains(NOT_FOUND) {
        FailureKind::ProgramNotFound
    } else if message.contains(NOT_EXECUTABLE) {
        FailureKind::ProgramNotExecutable
    } else {
        FailureKind::Runtime
    };
    Failure { kind, message }
}

/// The runtime's message with all its causes: each alone says little.
pub(super) fn runtime_failure(error: &dyn Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    program_failure(message)
}

pub(super) fn io_failure(operation: &str, error: &io::Error) -> Failure {
    Failure { kind: FailureKind::Runtime, message: format!("cannot {operation}: {error}") }
}

impl From<InvalidSpec> for Failure {
    fn from(error: InvalidSpec) -> Self {
        Self { kind: FailureKind::InvalidSpec, message: error.to_string() }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let kind = match error {
            IdentityError::NoUser(_) | IdentityError::NoGroup(_) => FailureKind::UserNotFound,
            IdentityError::File { .. } => FailureKind::Runtime,
        };
        Self { kind, message: error.to_string() }
    }
}
