//! Which specs are refused.

use serde_json::json;

use super::*;

fn minimal() -> ContainerSpec {
    let spec = json!({ "name": "web", "id": "t-web", "rootfs": { "target": "/root/web" }, "args": ["sh"] });
    serde_json::from_value(spec).unwrap()
}

#[test]
fn the_least_spec_is_valid_and_survives_the_wire() {
    let spec = minimal();
    assert_eq!(validate_container(&spec), Ok(()));
    assert_eq!((spec.stop_signal, spec.cwd.to_str(), spec.privileged), (15, Some("/"), false));
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ContainerSpec>(&text).unwrap(), spec);
}

#[test]
fn unknown_fields_are_mistakes() {
    let spec = json!({ "name": "a", "id": "a", "rootfs": { "target": "/r" }, "args": ["sh"], "privilegd": true });
    assert!(serde_json::from_value::<ContainerSpec>(spec).unwrap_err().to_string().contains("privilegd"));
}

#[test]
fn each_rule_is_kept() {
    let spool = |segment_bytes| LogSink::Spool { dir: "/s".into(), segment_bytes, max_bytes: 10, blocking: true };
    let bind = |destination: &str| BindMount {
        source: "/s".into(),
        destination: destination.into(),
        read_only: true,
        populate: false,
    };
    #[rustfmt::skip]
    let broken: Vec<(&str, ContainerSpec)> = vec![
        ("name", ContainerSpec { name: "../up".into(), ..minimal() }),
        ("name", ContainerSpec { name: String::new(), ..minimal() }),
        ("id", ContainerSpec { id: "a/b".into(), ..minimal() }),
        ("args", ContainerSpec { args: vec![], ..minimal() }),
        ("args", ContainerSpec { args: vec!["a\0b".into()], ..minimal() }),
        ("env", ContainerSpec { env: vec!["=x".into()], ..minimal() }),
        ("cwd", ContainerSpec { cwd: "work".into(), ..minimal() }),
        ("cwd", ContainerSpec { cwd: "/work/../../etc".into(), ..minimal() }),
        ("mounts.destination", ContainerSpec { mounts: vec![bind("relative")], ..minimal() }),
        ("stop_signal", ContainerSpec { stop_signal: 65, ..minimal() }),
        ("log.segment_bytes", ContainerSpec { log: spool(6), ..minimal() }),
    ];
    for (field, spec) in broken {
        assert_eq!(validate_container(&spec).unwrap_err().field, field);
    }
    assert_eq!(validate_container(&ContainerSpec { log: spool(5), ..minimal() }), Ok(()));
}

#[test]
fn a_socket_path_must_fit() {
    let task = |socket: String| TaskSpec {
        task_id: "t".into(),
        socket: socket.into(),
        runtime_dir: "/run/t".into(),
        cgroup: "/estiva/t".into(),
        shared_pid_namespace: false,
        shared_ipc_namespace: false,
        resources: Resources::default(),
    };
    assert_eq!(validate_task(&task(format!("/{}", "s".repeat(106)))), Ok(()));
    assert_eq!(validate_task(&task(format!("/{}", "s".repeat(107)))).unwrap_err().field, "socket");
    assert_eq!(validate_task(&TaskSpec { cgroup: "/".into(), ..task("/s".into()) }).unwrap_err().field, "cgroup");
}
