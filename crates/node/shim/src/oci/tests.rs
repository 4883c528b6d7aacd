//! What the OCI spec says for a container's spec.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::spec::Tmpfs;

fn spec(extra: &Value) -> ContainerSpec {
    let mut spec = json!({ "name": "web", "id": "t-web", "rootfs": { "target": "/root/web" }, "args": ["sh"] });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn configure(spec: &ContainerSpec, unified: bool) -> Result<Value, InvalidSpec> {
    let identity = Identity { uid: 5, gid: 6, additional_gids: vec![7], home: "/".into() };
    let context = Context {
        identity: &identity,
        cgroup: "/estiva/t/web",
        unified,
        cgroups_v1: if unified {
            Vec::new()
        } else {
            vec![("pids".to_owned(), "/sys/fs/cgroup/pids/estiva/t/web".into())]
        },
        shm: Path::new("/run/shm/web"),
        pid_namespace: None,
        ipc_namespace: None,
    };
    let document = configuration(spec, &context)?;
    // It is what the runtime reads.
    serde_json::from_value::<libcontainer::oci_spec::runtime::Spec>(document.clone()).unwrap();
    Ok(document)
}

fn kinds(document: &Value) -> Vec<&str> {
    document["linux"]["namespaces"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect()
}

#[test]
fn isolation_is_the_default() {
    let document = configure(&spec(&json!({})), false).unwrap();
    assert_eq!(kinds(&document), ["mount", "uts", "pid", "ipc"]);
    assert_eq!(kinds(&configure(&spec(&json!({})), true).unwrap()), ["mount", "uts", "pid", "ipc", "cgroup"]);
    assert_eq!(document["linux"]["resources"]["pids"]["limit"], 4096);
    assert_eq!(document["linux"]["resources"]["devices"], json!([{ "allow": false, "access": "rwm" }]));
    assert_eq!(document["process"]["user"], json!({ "uid": 5, "gid": 6, "additionalGids": [7] }));
    assert_eq!(document["process"].get("capabilities"), None, "the executor drops them");
    assert_eq!(document["hostname"], "t-web");
    let masked = document["linux"]["maskedPaths"].as_array().unwrap();
    assert!(masked.contains(&json!("/proc/kcore")) && masked.contains(&json!("/sys/firmware")));
}

#[test]
fn the_host_is_shared_only_on_demand() {
    let shared = spec(&json!({ "pid_mode": "host", "ipc_mode": "host", "host_uts": true, "privileged": true }));
    let document = configure(&shared, true).unwrap();
    assert_eq!(kinds(&document), ["mount"]);
    assert_eq!(document.get("hostname"), None);
    assert_eq!(document["linux"].get("maskedPaths"), None);
    assert_eq!(document["linux"]["resources"]["devices"], json!([{ "allow": true, "access": "rwm" }]));
}

#[test]
fn nobody_makes_device_nodes_where_no_cgroup_guards_them() {
    let asked = spec(&json!({ "cap_add": ["ALL"] }));
    assert!(granted(&asked, false).unwrap().contains(&Capability::Mknod));
    assert!(!granted(&asked, true).unwrap().contains(&Capability::Mknod));
    let privileged = spec(&json!({ "privileged": true }));
    assert!(granted(&privileged, true).unwrap().contains(&Capability::Mknod));
}

#[test]
fn nobody_reads_the_hosts_network_unasked() {
    let has_raw = |extra| granted(&spec(&extra), false).unwrap().contains(&Capability::NetRaw);
    assert!(!has_raw(json!({})));
    for own in [json!({ "network_namespace": "/run/netns" }), json!({ "network_disabled": true })] {
        assert!(has_raw(own));
    }
    for asked in [json!({ "cap_add": ["NET_RAW"] }), json!({ "cap_add": ["ALL"] }), json!({ "privileged": true })] {
        assert!(has_raw(asked));
    }
    let dropped = json!({ "network_namespace": "/run/netns", "cap_drop": ["NET_RAW"] });
    assert!(!has_raw(dropped));
}

#[test]
fn memory_without_swap_means_none() {
    let limits = |resources| self::resources(&serde_json::from_value(resources).unwrap(), None, false);
    assert_eq!(limits(json!({ "memory_limit_bytes": 10 }))["memory"], json!({ "limit": 10, "swap": 10 }));
    let both = json!({ "memory_limit_bytes": 10, "memory_swap_bytes": -1 });
    assert_eq!(limits(both)["memory"], json!({ "limit": 10, "swap": -1 }));
    assert!(limits(json!({})).is_empty());
    // With version 2 it has to be said in the kernel's own words.
    let unified = |resources| self::resources(&serde_json::from_value(resources).unwrap(), None, true);
    assert_eq!(unified(json!({ "memory_limit_bytes": 10 }))["unified"], json!({ "memory.swap.max": "0" }));
    let more = json!({ "memory_limit_bytes": 10, "memory_swap_bytes": 30 });
    assert!(!unified(more).contains_key("unified") && !unified(json!({})).contains_key("unified"));
}

#[test]
fn the_variables_that_programs_rely_on_are_there() {
    let env = |extra| environment(&spec(&extra), None);
    assert_eq!(env(json!({})), [PATH_DEFAULT, "HOSTNAME=t-web"]);
    assert_eq!(env(json!({ "env": ["PATH=/x", "HOSTNAME=y"] })), ["PATH=/x", "HOSTNAME=y"]);
    assert_eq!(env(json!({ "tty": true, "host_uts": true })), [PATH_DEFAULT, "TERM=xterm"]);
}

#[test]
fn nonsense_is_refused_by_name() {
    let field = |extra| configure(&spec(&extra), false).unwrap_err().field;
    assert_eq!(field(json!({ "ulimits": [{ "name": "files", "soft": 1, "hard": 1 }] })), "ulimits");
    assert_eq!(field(json!({ "ulimits": [{ "name": "nofile", "soft": 2, "hard": 1 }] })), "ulimits");
    assert_eq!(field(json!({ "tmpfs": [{ "destination": "/t", "options": ["huge=always,exec"] }] })), "tmpfs.options");
    let device = json!({ "host_path": "/etc/passwd", "container_path": "/dev/x", "permissions": "rwm" });
    assert_eq!(field(json!({ "devices": [device] })), "devices");
    let only_read = json!({ "host_path": "/dev/null", "container_path": "/dev/x", "permissions": "r" });
    let only_read = spec(&json!({ "devices": [only_read] }));
    assert!(configure(&only_read, false).is_ok());
    assert!(
        configure(&only_read, true).unwrap_err().reason.contains("cgroup v2"),
        "nothing would keep it from writing"
    );
    let unknown = spec(&json!({ "cap_add": ["SYS_EVERYTHING"] }));
    assert_eq!(granted(&unknown, false).unwrap_err().field, "cap_add");
}

#[test]
fn a_memory_file_system_is_hardened_first() {
    let mut spec = spec(&json!({}));
    spec.tmpfs = vec![Tmpfs { destination: "/t".into(), size_bytes: Some(9), options: vec!["exec".into()] }];
    let document = configure(&spec, false).unwrap();
    let mount = document["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/t").unwrap();
    assert_eq!(mount["options"], json!(["nosuid", "noexec", "nodev", "exec", "size=9"]));
}
