//! Created, running, stopped, deleted.

use std::{fs, time::Duration};

use estiva_shim::{
    protocol::{Event, FailureKind},
    spec::User,
    status::{Exit, Status},
};

use crate::fixture::{Task, failure};

#[tokio::test]
async fn exit_codes_come_through() {
    let mut task = Task::spawn().await;
    for (name, script, code) in [("zero", "exit 0", 0), ("seven", "exit 7", 7), ("most", "exit 255", 255)] {
        let spec = task.shell(name, script);
        let exit = task.run(&spec).await;
        assert_eq!((exit.code, exit.signal, exit.oom), (code, None, false));
        assert!(exit.started_at_ms.unwrap() <= exit.at_ms);
        let on_disk = fs::read(task.dir().join("containers").join(name).join("exit.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Exit>(&on_disk).unwrap(), exit);
    }
    task.close().await;
}

#[tokio::test]
async fn a_container_passes_through_its_states() {
    let mut task = Task::spawn().await;
    let spec = task.shell("one", "sleep 1000");
    let created = task.client.create(&spec).await.unwrap();
    assert!(matches!(created.status, Status::Created { .. }));
    assert_eq!(failure(&task.client.signal("one", 15).await.unwrap_err()), FailureKind::WrongState);
    assert_eq!(failure(&task.client.create(&spec).await.unwrap_err()), FailureKind::AlreadyExists);
    let running = task.client.start("one").await.unwrap();
    let Status::Running { pid, .. } = running.status else { panic!("{running:?}") };
    assert!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains("sleep"));
    assert!(matches!(task.event().await, Event::Started { name, .. } if name == "one"));
    assert_eq!(failure(&task.client.delete("one").await.unwrap_err()), FailureKind::WrongState);
    assert_eq!(failure(&task.client.shutdown().await.unwrap_err()), FailureKind::WrongState);
    task.client.kill_all().await.unwrap();
    let exit = task.ended("one").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let state = task.client.state().await.unwrap();
    assert_eq!(state.containers[0].status, Status::Stopped(exit));
    task.client.delete("one").await.unwrap();
    assert_eq!(failure(&task.client.start("one").await.unwrap_err()), FailureKind::NotFound);
    task.close().await;
}

#[tokio::test]
async fn a_container_that_was_never_started_is_deleted() {
    let task = Task::spawn().await;
    task.client.create(&task.shell("idle", "exit 0")).await.unwrap();
    task.close().await;
}

#[tokio::test]
async fn stop_asks_first() {
    let mut task = Task::spawn().await;
    let polite = task.shell("polite", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    task.start(&polite).await;
    task.wrote("polite", "ready").await;
    task.client.stop("polite", None, Duration::from_secs(60)).await.unwrap();
    assert_eq!(task.ended("polite").await.code, 3);
    // Stopping what is stopped is fine.
    task.client.stop("polite", None, Duration::ZERO).await.unwrap();
    task.close().await;
}

#[tokio::test]
async fn stop_kills_in_the_end_even_without_an_agent() {
    let mut task = Task::spawn().await;
    let deaf = task.shell("deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    task.start(&deaf).await;
    task.wrote("deaf", "ready").await;
    task.client.stop("deaf", None, Duration::from_millis(300)).await.unwrap();
    task.reconnect().await;
    // The new connection may have come before or after the end.
    let stopped = match task.client.state().await.unwrap().containers.remove(0).status {
        Status::Stopped(exit) => exit,
        _ => task.exited("deaf").await,
    };
    assert_eq!((stopped.code, stopped.signal), (137, Some(9)));
    task.close().await;
}

#[tokio::test]
async fn environment_directory_user_and_host_name() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("who", "id; pwd; hostname; env | sort; stat -c %a /work/deep");
    spec.user = User::Named("web".to_owned());
    spec.cwd = "/work/deep".into();
    spec.hostname = Some("harbour".to_owned());
    spec.env = ["A=1", "A=2", "EMPTY=", "TEXT=a b=c"].map(str::to_owned).to_vec();
    let output = task.run_output(&spec).await;
    assert!(output.contains("uid=1000(web) gid=1001(web) groups=1001(web),1002(log)"), "{output}");
    for line in ["/work/deep", "harbour", "HOSTNAME=harbour", "A=2", "EMPTY=", "TEXT=a b=c", "HOME=/home/web", "755"] {
        assert!(output.lines().any(|got| got == line), "{line} in {output}");
    }
    assert!(!output.contains("CARGO"), "the agent's environment leaks: {output}");
    task.close().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_said_at_once() {
    let task = Task::spawn().await;
    let cases = [
        ("absent", "/bin/no-such", FailureKind::ProgramNotFound),
        ("unknown", "no-such", FailureKind::ProgramNotFound),
        ("directory", "/etc", FailureKind::ProgramNotExecutable),
        ("plain", "/etc/not-executable", FailureKind::ProgramNotExecutable),
    ];
    for (name, program, kind) in cases {
        let mut spec = task.shell(name, "");
        spec.args = vec![program.to_owned()];
        let error = task.client.create(&spec).await.unwrap_err();
        assert_eq!(failure(&error), kind, "{error}");
        assert!(error.to_string().contains(program), "{error}");
    }
    let mut nobody = task.shell("nobody", "true");
    nobody.user = User::Named("nobody".to_owned());
    assert_eq!(failure(&task.client.create(&nobody).await.unwrap_err()), FailureKind::UserNotFound);
    assert!(task.client.state().await.unwrap().containers.is_empty());
    task.close().await;
}

#[tokio::test]
async fn a_broken_program_fails_the_start() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("broken", "");
    fs::write(spec.rootfs.upper.join("broken"), "\u{7f}ELF but not really").unwrap();
    std::process::Command::new("chmod").arg("755").arg(spec.rootfs.upper.join("broken")).status().unwrap();
    spec.args = vec!["/broken".to_owned()];
    task.client.create(&spec).await.unwrap();
    let error = task.client.start("broken").await.unwrap_err();
    assert_eq!(failure(&error), FailureKind::ProgramNotExecutable);
    assert!(error.to_string().contains("Exec format error"), "{error}");
    task.ended("broken").await;
    task.close().await;
}

#[tokio::test]
async fn the_same_name_can_be_used_again() {
    let mut task = Task::spawn().await;
    for round in 0..3 {
        let spec = task.shell("again", &format!("exit {round}"));
        assert_eq!(task.run(&spec).await.code, round);
        task.client.delete("again").await.unwrap();
    }
    task.close().await;
}

#[tokio::test]
async fn a_terminal_is_a_terminal() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("tty", "[ -t 0 ] && [ -t 1 ] && echo yes, $TERM");
    spec.tty = true;
    assert!(task.run_output(&spec).await.contains("yes, xterm"));
    task.close().await;
}

#[tokio::test]
async fn a_container_that_was_made_for_it_is_restarted_with_its_files() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("again", "echo run >> /tmp/runs; cat /tmp/runs; printf end; exit 3");
    spec.restartable = true;
    task.start(&spec).await;
    assert_eq!(task.exited("again").await.code, 3);
    task.client.restart("again").await.unwrap();
    assert_eq!(task.exited("again").await.code, 3);
    task.client.delete("again").await.unwrap();
    assert_eq!(task.output("again"), "run\nend\nrun\nrun\nend\n");
    let once = task.shell("once", "exit 0");
    task.run(&once).await;
    let refused = task.client.restart("once").await.unwrap_err();
    assert_eq!(failure(&refused), FailureKind::WrongState);
    task.close().await;
}
