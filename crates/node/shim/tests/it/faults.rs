//! What goes wrong: memory runs out, agents and shims are killed, processes stay behind.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use estiva_shim::{
    client::{self, ClientError, Liveness},
    spec::{NamespaceMode, Resources},
    status::Status,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::fixture::{SHIM, Task};

fn pid_of(status: &Status) -> i32 {
    match status {
        Status::Created { pid } | Status::Running { pid, .. } => i32::try_from(*pid).unwrap(),
        Status::Stopped(exit) => panic!("{exit:?}"),
    }
}

#[tokio::test]
async fn running_out_of_memory_is_told() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("greedy", "tail /dev/zero");
    spec.resources = Resources { memory_limit_bytes: Some(16 << 20), ..Resources::default() };
    let exit = task.run(&spec).await;
    assert_eq!((exit.code, exit.oom), (137, true));
    let neighbour = task.run(&task.shell("modest", "exit 137")).await;
    assert_eq!((neighbour.code, neighbour.oom), (137, false));
    task.close().await;
}

#[tokio::test]
async fn a_fork_bomb_ends_at_its_limit() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("bomb", "b() { b | b & }; b; sleep 1000");
    spec.resources = Resources { pids_limit: Some(50), ..Resources::default() };
    task.start(&spec).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    task.client.kill_all().await.unwrap();
    task.ended("bomb").await;
    task.close().await;
}

#[tokio::test]
async fn a_lost_agent_loses_nothing() {
    let mut task = Task::spawn().await;
    let volume = task.dir().join("go");
    fs::create_dir(&volume).unwrap();
    let mut spec = task.shell("on", "while [ ! -e /go/on ]; do sleep 0.01; done; exit 4");
    spec.mounts = vec![estiva_shim::spec::BindMount {
        source: volume.clone(),
        destination: "/go".into(),
        read_only: true,
        populate: false,
    }];
    task.start(&spec).await;
    let before = task.client.state().await.unwrap();
    task.reconnect().await;
    assert_eq!(task.client.state().await.unwrap(), before);
    fs::write(volume.join("on"), "").unwrap();
    assert_eq!(task.exited("on").await.code, 4);
    task.reconnect().await;
    let Status::Stopped(exit) = task.client.state().await.unwrap().containers.remove(0).status else {
        panic!("it runs")
    };
    assert_eq!(exit.code, 4);
    assert_eq!(client::liveness(task.dir()), Liveness::Alive);
    task.close().await;
}

#[tokio::test]
async fn a_task_has_one_shim() {
    let mut task = Task::spawn().await;
    let error = client::spawn(Path::new(SHIM), task.dir(), &task.spec).await.unwrap_err();
    assert!(error.to_string().contains("the task has a shim already"), "{error}");
    assert_eq!(task.run(&task.shell("undisturbed", "exit 3")).await.code, 3);
    // The second one complained there, as it should.
    fs::write(task.dir().join("shim.log"), "").unwrap();
    task.close().await;
}

#[tokio::test]
async fn a_killed_shim_leaves_orphans_that_can_be_killed() {
    let mut task = Task::spawn().await;
    task.run(&task.shell("done", "exit 6")).await;
    let shell = task.shell("on", "sleep 1000 & sleep 1000");
    task.start(&shell).await;
    let state = task.client.state().await.unwrap();
    let orphan = pid_of(&state.containers[1].status);
    kill(Pid::from_raw(i32::try_from(state.shim_pid).unwrap()), Signal::SIGKILL).unwrap();
    while task.events.next().await.is_some() {}
    assert!(Path::new(&format!("/proc/{orphan}")).exists(), "a container outlives its shim");
    // Its connections close a moment before it is dead.
    while client::liveness(task.dir()) == Liveness::Alive {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client::liveness(task.dir()), Liveness::Gone);
    assert!(matches!(client::connect(&task.spec.socket).await, Err(ClientError::Unreachable { .. })));
    assert!(matches!(task.client.state().await, Err(ClientError::Closed)));
    let orphans = client::kill_orphans(task.dir(), &task.spec).await.unwrap();
    assert_eq!(orphans.exits["done"].as_ref().unwrap().code, 6);
    assert_eq!(orphans.exits["on"], None);
    assert_eq!(task.leftovers(), Vec::<String>::new());
    assert_eq!(client::kill_orphans(task.dir(), &task.spec).await.unwrap(), orphans, "harmless when repeated");
}

/// As a shim leaves it that is killed while it sets up another container in the same PID namespace.
#[tokio::test]
async fn a_container_that_its_shim_has_left_frozen_is_killed() {
    let mut task = Task::spawn().await;
    task.start(&task.shell("frozen", "sleep 1000")).await;
    let state = task.client.state().await.unwrap();
    let group = format!("{}/frozen", &task.spec.cgroup[1..]);
    let unified = Path::new("/sys/fs/cgroup").join(&group).join("cgroup.freeze");
    let v1 = Path::new("/sys/fs/cgroup/freezer").join(&group).join("freezer.state");
    if unified.exists() { fs::write(unified, "1") } else { fs::write(v1, "FROZEN") }.unwrap();
    kill(Pid::from_raw(i32::try_from(state.shim_pid).unwrap()), Signal::SIGKILL).unwrap();
    while client::liveness(task.dir()) == Liveness::Alive {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client::kill_orphans(task.dir(), &task.spec).await.unwrap();
    assert_eq!(task.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn what_outlives_the_first_process_is_killed() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("parent", "(trap '' TERM HUP; sleep 1000 & sleep 1000) & echo $!; exit 0");
    spec.pid_mode = NamespaceMode::Host;
    // The log ends at once: nobody is left to hold the pipe.
    task.run(&spec).await;
    let child = task.output("parent").trim().to_owned();
    task.client.delete("parent").await.unwrap();
    assert!(!Path::new("/proc").join(child).exists());
    task.close().await;
}

#[tokio::test]
async fn the_socket_is_private_and_rejects_nonsense() {
    let task = Task::spawn().await;
    let mode = fs::metadata(&task.spec.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02{]", b"\0\0\0\x04null"] {
        let mut stream = UnixStream::connect(&task.spec.socket).unwrap();
        stream.write_all(nonsense).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "it hangs up");
    }
    task.client.state().await.unwrap();
    task.close().await;
}

#[tokio::test]
async fn fifty_containers_leave_nothing() {
    let mut task = Task::spawn().await;
    for number in 0..50 {
        let name = format!("c{number}");
        let spec = task.shell(&name, "exit 0");
        task.run(&spec).await;
        task.client.delete(&name).await.unwrap();
    }
    let shim = task.client.state().await.unwrap().shim_pid;
    let descriptors = fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    assert!(descriptors < 12, "{descriptors} descriptors");
    let mounts = fs::read_to_string(format!("/proc/{shim}/mountinfo")).unwrap();
    assert!(!mounts.contains(task.dir().to_str().unwrap()), "{mounts}");
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    assert_eq!(children, "");
    task.close().await;
}
