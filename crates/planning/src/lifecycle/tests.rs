//! What reports make of a task, by example and as properties.

use estiva_model::Timestamp;
use proptest::prelude::*;

use super::*;

fn task() -> TaskState {
    TaskState::new(TaskStatus::Pending, ["web".to_owned(), "log".to_owned()])
}

fn status_report(status: TaskStatus) -> TaskReport {
    TaskReport { status: Some(status), ..TaskReport::default() }
}

#[test]
fn a_task_runs_and_ends() {
    let running = advance(&task(), &status_report(TaskStatus::Running), Timestamp(10)).unwrap();
    assert_eq!(
        (running.last_status, running.started_at, running.version),
        (TaskStatus::Running, Some(Timestamp(10)), 2)
    );
    let report = TaskReport {
        status: Some(TaskStatus::Stopped),
        containers: vec![ContainerReport {
            name: "web".into(),
            status: Some(ContainerStatus::Stopped),
            exit_code: Some(3),
            ..ContainerReport::default()
        }],
        ..TaskReport::default()
    };
    let stopped = advance(&running, &report, Timestamp(20)).unwrap();
    assert_eq!((stopped.last_status, stopped.stopped_at), (TaskStatus::Stopped, Some(Timestamp(20))));
    assert_eq!(stopped.containers[0].exit_code, Some(3));
    assert_eq!(stopped.containers[1].last_status, ContainerStatus::Stopped);
}

#[test]
fn a_history_in_one_report_is_taken_in_order() {
    let entry = |status, exit_code| ContainerReport {
        name: "web".into(),
        status: Some(status),
        exit_code,
        ..ContainerReport::default()
    };
    let containers = vec![entry(ContainerStatus::Running, Some(1)), entry(ContainerStatus::Stopped, Some(7))];
    let next = advance(&task(), &TaskReport { containers, ..TaskReport::default() }, Timestamp(1)).unwrap();
    assert_eq!((next.containers[0].last_status, next.containers[0].exit_code), (ContainerStatus::Stopped, Some(7)));
}

#[test]
fn a_task_that_no_node_has_stops_at_once() {
    let stopped = begin_stopping(&task(), false, Timestamp(5)).unwrap();
    assert_eq!((stopped.last_status, stopped.stopped_at), (TaskStatus::Stopped, Some(Timestamp(5))));
    assert_eq!(begin_stopping(&stopped, true, Timestamp(6)), None);
}

#[test]
fn a_task_on_a_node_waits_for_the_nodes_word() {
    let pending = begin_stopping(&task(), true, Timestamp(5)).unwrap();
    assert_eq!((pending.last_status, pending.stopping_at), (TaskStatus::Pending, Some(Timestamp(5))));
    let running = advance(&task(), &status_report(TaskStatus::Running), Timestamp(1)).unwrap();
    assert_eq!(begin_stopping(&running, true, Timestamp(5)).unwrap().last_status, TaskStatus::Stopping);
}

fn any_status() -> impl Strategy<Value = TaskStatus> {
    proptest::sample::select(TaskStatus::ALL)
}

fn any_container_report() -> impl Strategy<Value = ContainerReport> {
    let status = proptest::option::of(proptest::sample::select(ContainerStatus::ALL));
    (proptest::sample::select(&["web", "log", "stranger"]), status, proptest::option::of(any::<i32>())).prop_map(
        |(name, status, exit_code)| ContainerReport {
            name: name.to_owned(),
            status,
            exit_code,
            ..ContainerReport::default()
        },
    )
}

fn any_report() -> impl Strategy<Value = TaskReport> {
    let containers = proptest::collection::vec(any_container_report(), 0..4);
    (proptest::option::of(any_status()), containers, proptest::option::of((0..99_i64).prop_map(Timestamp))).prop_map(
        |(status, containers, time)| TaskReport {
            status,
            containers,
            pull_started_at: time,
            pull_stopped_at: time,
            execution_stopped_at: time,
        },
    )
}

proptest! {
    #[test]
    fn nothing_goes_backwards_and_repeats_are_harmless(reports in proptest::collection::vec(any_report(), 1..20)) {
        let mut state = task();
        for (time, report) in (0..).zip(&reports) {
            let Some(next) = advance(&state, report, Timestamp(time)) else { continue };
            prop_assert!(follows(&state, &next));
            prop_assert!(!follows(&next, &state));
            prop_assert_eq!(next.version, state.version + 1);
            prop_assert_eq!(advance(&next, report, Timestamp(time + 1)), None);
            prop_assert_eq!(next.stopped_at.is_some(), next.last_status == TaskStatus::Stopped);
            state = next;
        }
    }
}

#[test]
fn the_timeline_has_every_change_once() {
    let mut task = TaskState::new(TaskStatus::Pending, ["app".to_owned()]);
    let at = Timestamp;
    let container = |status, exit_code, reason: Option<&str>| ContainerReport {
        name: "app".to_owned(),
        status: Some(status),
        exit_code,
        reason: reason.map(str::to_owned),
        ..ContainerReport::default()
    };
    let running = TaskReport {
        status: Some(TaskStatus::Running),
        containers: vec![container(ContainerStatus::Running, None, None)],
        pull_started_at: Some(at(1)),
        pull_stopped_at: Some(at(2)),
        ..TaskReport::default()
    };
    task = advance(&task, &running, at(3)).unwrap();
    assert_eq!(advance(&task, &running, at(4)), None, "a repeated report is no change");
    task = begin_stopping(&task, true, at(5)).unwrap();
    let stopped = TaskReport {
        status: Some(TaskStatus::Stopped),
        containers: vec![container(ContainerStatus::Stopped, Some(137), Some("OutOfMemoryError"))],
        ..TaskReport::default()
    };
    task = advance(&task, &stopped, at(6)).unwrap();
    let told: Vec<_> = task
        .timeline
        .iter()
        .map(|it| (it.at.0, it.container.as_deref(), it.status.as_str(), it.exit_code, it.reason.as_deref()))
        .collect();
    let expected = [
        (1, None, "PULL_STARTED", None, None),
        (2, None, "PULL_STOPPED", None, None),
        (3, Some("app"), "RUNNING", None, None),
        (3, None, "RUNNING", None, None),
        (5, None, "STOP_REQUESTED", None, None),
        (5, None, "STOPPING", None, None),
        (6, Some("app"), "STOPPED", Some(137), Some("OutOfMemoryError")),
        (6, None, "STOPPED", None, None),
    ];
    assert_eq!(told, expected);
}
