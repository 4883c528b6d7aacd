//! A task with its shim, its root file system and its clean-up.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use estiva_shim::{
    client::{self, Client, ClientError, Events},
    protocol::{Event, FailureKind},
    spec::{ContainerSpec, LogSink, NamespaceMode, Resources, Rootfs, TaskSpec, User},
    status::Exit,
};
use tempfile::TempDir;

pub const SHIM: &str = env!("CARGO_BIN_EXE_estiva-shim");
const BUSYBOX: &str = "/bin/busybox";
/// A test that waits longer for an event has failed.
const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Task {
    pub client: Client,
    pub events: Events,
    pub spec: TaskSpec,
    dir: TempDir,
}

impl Task {
    pub async fn spawn() -> Self {
        Self::spawn_with(|_| ()).await
    }

    pub async fn spawn_with(adjust: impl FnOnce(&mut TaskSpec)) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make namespaces and cgroups: run them as root");
        assert!(Path::new(BUSYBOX).exists(), "no {BUSYBOX}: apt-get install busybox-static");
        let dir = tempfile::Builder::new().prefix("estiva-shim-").tempdir().unwrap();
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let run = PathBuf::from(format!("/run/estiva-shim-tests-{id}"));
        let mut spec = TaskSpec {
            socket: run.join("shim.sock"),
            runtime_dir: run.join("task"),
            cgroup: format!("/estiva-shim-tests-{id}"),
            task_id: id,
            shared_pid_namespace: false,
            shared_ipc_namespace: false,
            resources: Resources::default(),
        };
        adjust(&mut spec);
        make_layer(&dir.path().join("layer"));
        client::spawn(Path::new(SHIM), dir.path(), &spec).await.unwrap();
        let (client, events) = client::connect(&spec.socket).await.unwrap();
        Self { client, events, spec, dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A container that runs `script` and logs to a file.
    pub fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        let place = self.dir().join("fs").join(name);
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(place.join(part)).unwrap();
        }
        ContainerSpec {
            name: name.to_owned(),
            id: format!("{}-{name}", self.spec.task_id),
            rootfs: Rootfs {
                lower: vec![self.dir().join("layer")],
                upper: place.join("upper"),
                work: place.join("work"),
                target: place.join("root"),
            },
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".into(),
            user: User::default(),
            hostname: None,
            host_uts: false,
            network_namespace: None,
            pid_mode: NamespaceMode::Private,
            ipc_mode: NamespaceMode::Private,
            readonly_rootfs: false,
            tty: false,
            stdin_open: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            privileged: false,
            no_new_privileges: false,
            seccomp_unconfined: false,
            resources: Resources::default(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            devices: Vec::new(),
            tmpfs: Vec::new(),
            shm_size_bytes: None,
            mounts: Vec::new(),
            stop_signal: 15,
            network_disabled: false,
            init: false,
            restartable: false,
            log: LogSink::JsonFile { path: self.log_path(name), max_size_bytes: 0, max_files: 1 },
        }
    }

    pub fn log_path(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.log"))
    }

    /// What a container has written to its file, both streams.
    pub fn output(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log_path(name)).unwrap();
        let log =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned();
        text.lines().map(log).collect()
    }

    pub async fn start(&mut self, spec: &ContainerSpec) {
        self.client.create(spec).await.unwrap();
        self.client.start(&spec.name).await.unwrap();
    }

    /// Runs a container to its end, and the end of its log.
    pub async fn run(&mut self, spec: &ContainerSpec) -> Exit {
        self.start(spec).await;
        self.ended(&spec.name).await
    }

    /// Runs a container and returns what it wrote.
    pub async fn run_output(&mut self, spec: &ContainerSpec) -> String {
        let exit = self.run(spec).await;
        let output = self.output(&spec.name);
        assert_eq!(exit.code, 0, "{output}");
        output
    }

    pub async fn exited(&mut self, container: &str) -> Exit {
        loop {
            if let Event::Exited { name, exit } = self.event().await
                && name == container
            {
                return exit;
            }
        }
    }

    pub async fn ended(&mut self, container: &str) -> Exit {
        let exit = self.exited(container).await;
        while !matches!(self.event().await, Event::LogEnded { name, .. } if name == container) {}
        exit
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.next()).await.expect("no event came").expect("connection lost")
    }

    /// Drops the connection as a killed agent would, and makes a new one.
    pub async fn reconnect(&mut self) {
        (self.client, self.events) = client::connect(&self.spec.socket).await.unwrap();
    }

    /// Waits until a container has written `text`.
    pub async fn wrote(&self, name: &str, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !fs::read_to_string(self.log_path(name)).unwrap_or_default().contains(text) {
            assert!(tokio::time::Instant::now() < deadline, "{name} never wrote {text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Deletes everything, ends the shim, and looks for what may be left.
    pub async fn close(self) {
        for container in self.client.state().await.unwrap().containers {
            self.client.delete(&container.name).await.unwrap();
        }
        self.client.shutdown().await.unwrap();
        assert_eq!(self.leftovers(), Vec::<String>::new());
        assert_eq!(fs::read_to_string(self.dir().join("shim.log")).unwrap(), "");
    }

    /// Everything of the task that is still on the machine.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for path in [&self.spec.socket, &self.spec.runtime_dir] {
            left.extend(path.exists().then(|| path.display().to_string()));
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let group = hierarchy.unwrap().path().join(&self.spec.cgroup[1..]);
            left.extend(group.exists().then(|| group.display().to_string()));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(self.dir().to_str().unwrap())).map(str::to_owned));
        left
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // A test has failed, or the clean-up is itself the test's subject: leave nothing either way.
        let (dir, spec) = (self.dir.path().to_owned(), self.spec.clone());
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(client::kill_orphans(&dir, &spec)).map(drop)
        });
        let _ = cleaner.join();
        // The socket's directory is for many tasks, so no shim removes it.
        let _ = self.spec.socket.parent().map(fs::remove_dir);
    }
}

pub fn failure(error: &ClientError) -> FailureKind {
    match error {
        ClientError::Failed(failure) => failure.kind,
        other => panic!("{other}"),
    }
}

fn make_layer(layer: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(layer.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, layer.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "echo", "id", "hostname", "pwd", "env", "sleep", "grep", "ls", "mount", "unshare", "mknod",
        "touch", "seq", "kill", "head", "dd", "stat", "readlink", "yes", "tail", "tr", "sort", "wc", "ps", "true",
        "mkdir", "chroot", "chmod",
    ] {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n").unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\nweb:x:1001:\nlog:x:1002:web\n").unwrap();
    fs::write(layer.join("etc/not-executable"), "text").unwrap();
}
