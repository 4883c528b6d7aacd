//! Further programs in a running container.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    time::Duration,
};

use estiva_shim::{
    client::{self, ExecStreams},
    protocol::{Event, FailureKind},
    spec::{ExecSpec, Ulimit, User},
};

use crate::fixture::{Task, failure};

fn shell(script: &str) -> ExecSpec {
    ExecSpec {
        container: "main".to_owned(),
        id: "check".to_owned(),
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: false,
    }
}

async fn main_container(task: &mut Task) {
    let mut spec = task.shell("main", "sleep 1000");
    spec.env.push("FROM=container".to_owned());
    spec.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 321, hard: 400 }];
    task.start(&spec).await;
}

async fn end(task: &mut Task) -> i32 {
    loop {
        if let Event::ExecEnded { container, id, code } = task.event().await {
            assert_eq!((container.as_str(), id.as_str()), ("main", "check"));
            return code;
        }
    }
}

fn text(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

async fn pipes(task: &Task, spec: &ExecSpec) -> (File, String, String) {
    match client::exec(&task.spec.socket, spec).await.unwrap() {
        ExecStreams::Pipes { stdin, stdout, stderr } => {
            let input = File::from(stdin);
            let read = tokio::task::spawn_blocking(|| (text(stdout), text(stderr)));
            let (out, err) = tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
            (input, out, err)
        }
        ExecStreams::Terminal(_) => panic!("a terminal"),
    }
}

#[tokio::test]
async fn a_program_runs_in_the_container_and_its_end_is_told() {
    let mut task = Task::spawn().await;
    main_container(&mut task).await;
    let mut spec = shell("echo out $FROM $MORE $HOME; ulimit -n; echo err >&2; ps -o args; pwd; hostname; exit 9");
    spec.env = vec!["MORE=exec".to_owned()];
    spec.cwd = Some("/tmp".into());
    let (_, out, err) = pipes(&task, &spec).await;
    assert_eq!((end(&mut task).await, err.as_str()), (9, "err\n"));
    assert!(out.starts_with("out container exec /root\n321\n") && out.contains("sleep 1000"), "{out}");
    assert!(out.contains(&format!("/tmp\n{}-main\n", task.spec.task_id)), "{out}");
    task.client.kill_all().await.unwrap();
    task.ended("main").await;
    task.close().await;
}

#[tokio::test]
async fn it_is_locked_in_like_the_container_itself() {
    let mut task = Task::spawn().await;
    main_container(&mut task).await;
    let mut spec = shell("");
    spec.args = ["cat", "/proc/self/status", "/proc/self/cgroup"].map(str::to_owned).to_vec();
    let (_, root, _) = pipes(&task, &spec).await;
    assert_eq!(end(&mut task).await, 0);
    assert!(root.contains("Seccomp:\t2\n") && root.contains("CapInh:\t0000000000000000\n"), "{root}");
    assert!(root.contains("CapBnd:\t00000000a80405fb\n") || root.contains("CapBnd:\t00000000a00405fb\n"), "{root}");
    assert!(root.contains(&format!("{}/main\n", task.spec.cgroup)) || root.contains("0::/\n"), "{root}");
    assert!(root.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"), "{root}");
    spec.user = Some(User::Named("web".to_owned()));
    let (_, user, _) = pipes(&task, &spec).await;
    assert_eq!(end(&mut task).await, 0);
    assert!(user.contains("Uid:\t1000\t1000\t1000\t1000\n") && user.contains("CapEff:\t0000000000000000\n"), "{user}");
    let (_, fds, _) = pipes(&task, &shell("ls /proc/self/fd | tr '\\n' ' '")).await;
    assert_eq!(fds, "0 1 2 3 ");
    task.client.kill_all().await.unwrap();
    task.ended("main").await;
    task.close().await;
}

#[tokio::test]
async fn a_terminal_takes_input() {
    let mut task = Task::spawn().await;
    main_container(&mut task).await;
    let mut spec = shell("[ -t 0 ] && read word && echo got $word");
    spec.tty = true;
    let ExecStreams::Terminal(terminal) = client::exec(&task.spec.socket, &spec).await.unwrap() else {
        panic!("pipes")
    };
    let mut terminal = File::from(terminal);
    terminal.write_all(b"anchor\n").unwrap();
    assert_eq!(end(&mut task).await, 0);
    let mut output = [0; 256];
    let count = terminal.read(&mut output).unwrap();
    assert!(String::from_utf8_lossy(&output[..count]).contains("got anchor"));
    task.client.kill_all().await.unwrap();
    task.ended("main").await;
    task.close().await;
}

#[tokio::test]
async fn what_cannot_run_is_said_and_what_hangs_is_killed() {
    let mut task = Task::spawn().await;
    main_container(&mut task).await;
    let refused = async |spec: ExecSpec| failure(&client::exec(&task.spec.socket, &spec).await.unwrap_err());
    assert_eq!(refused(ExecSpec { args: vec!["no-such".to_owned()], ..shell("") }).await, FailureKind::ProgramNotFound);
    assert_eq!(refused(ExecSpec { container: "other".to_owned(), ..shell("") }).await, FailureKind::NotFound);
    assert_eq!(refused(ExecSpec { cwd: Some("/proc/self/fd/9".into()), ..shell("") }).await, FailureKind::Runtime);
    let hanging = client::exec(&task.spec.socket, &shell("sleep 1000")).await.unwrap();
    assert_eq!(
        failure(&client::exec(&task.spec.socket, &shell("true")).await.unwrap_err()),
        FailureKind::AlreadyExists
    );
    task.client.signal_exec("main", "check", 9).await.unwrap();
    assert_eq!(end(&mut task).await, 137);
    drop(hanging);
    assert_eq!(failure(&task.client.signal_exec("main", "check", 9).await.unwrap_err()), FailureKind::NotFound);
    // The container's end is the end of all in it.
    let _streams = client::exec(&task.spec.socket, &shell("sleep 1000")).await.unwrap();
    task.client.kill_all().await.unwrap();
    task.ended("main").await;
    task.close().await;
}
