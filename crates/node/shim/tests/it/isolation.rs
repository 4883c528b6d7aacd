//! What a container sees and may do, looked at from inside.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use estiva_shim::spec::{BindMount, ContainerSpec, NamespaceMode, Resources, Tmpfs, Ulimit, User};

use crate::fixture::{SHIM, Task};

/// The lines `key: value` of /proc/self/status.
fn status(output: &str) -> BTreeMap<&str, &str> {
    output.lines().filter_map(|line| line.split_once(":\t")).collect()
}

#[tokio::test]
async fn default_capabilities_filter_and_signals() {
    let mut task = Task::spawn().await;
    // Without a shell, which has its own ideas about signals.
    let mut spec = task.shell("caps", "");
    spec.args = ["cat", "/proc/self/status"].map(str::to_owned).to_vec();
    let output = task.run_output(&spec).await;
    let status = status(&output);
    // What Docker gives; without MKNOD where no device cgroup guards what it makes.
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    // Docker's, but for CAP_NET_RAW: it is in the host's network.
    let expected = if unified { "00000000a00405fb" } else { "00000000a80405fb" };
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(status[set], expected, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!((status["Seccomp"], status["Seccomp_filters"], status["NoNewPrivs"]), ("2", "1", "0"));
    // What the shim blocks and ignores for itself is not for containers.
    assert_eq!((status["SigBlk"], status["SigIgn"]), ("0000000000000000", "0000000000000000"));
    task.close().await;
}

#[tokio::test]
async fn capabilities_are_added_and_dropped() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("some", "cat /proc/self/status");
    spec.cap_drop = vec!["ALL".to_owned()];
    spec.cap_add = vec!["NET_ADMIN".to_owned(), "CAP_CHOWN".to_owned()];
    spec.no_new_privileges = true;
    let output = task.run_output(&spec).await;
    assert_eq!((status(&output)["CapEff"], status(&output)["NoNewPrivs"]), ("0000000000001001", "1"));
    let mut user = task.shell("user", "cat /proc/self/status");
    user.user = User::Named("web".to_owned());
    let output = task.run_output(&user).await;
    assert_eq!((status(&output)["CapEff"], status(&output)["CapPrm"]), ("0000000000000000", "0000000000000000"));
    task.close().await;
}

#[tokio::test]
async fn dangerous_calls_are_refused() {
    let mut task = Task::spawn().await;
    let script =
        "mount -t tmpfs x /tmp 2>&1; unshare -m true 2>&1; unshare -U true 2>&1; chroot / true && echo chroot works";
    let output = task.run_output(&task.shell("calls", script)).await;
    assert_eq!(
        output.matches("Operation not permitted").count() + output.matches("ermission denied").count(),
        3,
        "{output}"
    );
    assert!(output.contains("chroot works"), "{output}");
    task.close().await;
}

#[tokio::test]
async fn a_privileged_container_may_do_all() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("all", "grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted");
    spec.privileged = true;
    let output = task.run_output(&spec).await;
    assert!(output.contains("Seccomp:\t0") && output.contains("mounted"), "{output}");
    task.close().await;
}

#[tokio::test]
async fn kernel_interfaces_are_masked_or_read_only() {
    let mut task = Task::spawn().await;
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper; do
            (echo x > $f) 2>/dev/null && echo wrote $f; done
        [ -s /proc/keys ] && echo keys
        touch /sys/fs/cgroup/x 2>/dev/null && echo cgroup
        for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x 2>/dev/null && echo $d; done
        for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
            (echo 99999999 > $f) 2>/dev/null && echo wrote $f; done
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
        ls /sys/firmware
        echo end";
    let mut spec = task.shell("masked", script);
    spec.resources = Resources { memory_limit_bytes: Some(32 << 20), ..Resources::default() };
    assert_eq!(task.run_output(&spec).await, "33554432\nend\n");
    task.close().await;
}

#[tokio::test]
async fn nothing_of_the_shim_leaks_in() {
    let mut task = Task::spawn().await;
    let script = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/1/exe; ps -o pid,comm | wc -l";
    let output = task.run_output(&task.shell("fds", script)).await;
    // 3 is the directory that ls itself reads.
    assert_eq!(output.lines().next().unwrap(), "0 1 2 3 /bin/busybox", "{output}");
    task.close().await;
}

#[tokio::test]
async fn the_shims_program_cannot_be_overwritten_from_inside() {
    let mut task = Task::spawn().await;
    let before = fs::read(SHIM).unwrap();
    let inode = fs::metadata(SHIM).unwrap().ino();
    // The classic: make the runtime execute itself inside the container, then write to it. The program needs its
    // loader, which this root does not have, so it fails; whoever holds it open would get a read-only mount.
    let mut spec = task.shell("self", "");
    spec.args = vec!["/proc/self/exe".to_owned()];
    let created = task.client.create(&spec).await;
    if created.is_ok() {
        let _ = task.client.start("self").await;
        task.ended("self").await;
    }
    let shim = task.client.state().await.unwrap().shim_pid;
    let mount = nix::sys::statvfs::statvfs(format!("/proc/{shim}/exe").as_str()).unwrap();
    assert!(mount.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{mount:?}");
    assert_eq!((fs::read(SHIM).unwrap(), fs::metadata(SHIM).unwrap().ino()), (before, inode));
    task.close().await;
}

#[tokio::test]
async fn root_can_be_read_only() {
    let mut task = Task::spawn().await;
    let mut spec = task
        .shell("ro", "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo scratch; stat -f -c %b /scratch");
    spec.readonly_rootfs = true;
    let options = vec!["mode=1777".to_owned()];
    spec.tmpfs = vec![Tmpfs { destination: "/scratch".into(), size_bytes: Some(1 << 20), options }];
    assert_eq!(task.run_output(&spec).await, "refused\nscratch\n256\n");
    task.close().await;
}

#[tokio::test]
async fn volumes_limits_and_kernel_parameters() {
    let mut task = Task::spawn().await;
    let volume = task.dir().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("in"), "from the host\n").unwrap();
    let script = "cat /ro/in; touch /ro/x 2>/dev/null || echo refused; echo back > /rw/out; cat /etc/resolv.conf;
        ulimit -n; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni; stat -f -c %b /dev/shm";
    let mut spec = task.shell("mounts", script);
    fs::write(task.dir().join("resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    spec.mounts = vec![
        BindMount { source: volume.clone(), destination: "/ro".into(), read_only: true, populate: false },
        BindMount { source: volume.clone(), destination: "/rw".into(), read_only: false, populate: false },
        BindMount {
            source: task.dir().join("resolv.conf"),
            destination: "/etc/resolv.conf".into(),
            read_only: false,
            populate: false,
        },
    ];
    spec.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 321, hard: 400 }];
    spec.sysctls = BTreeMap::from([("kernel.shmmni".to_owned(), "77".to_owned())]);
    spec.shm_size_bytes = Some(1 << 20);
    let output = task.run_output(&spec).await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..4], ["from the host", "refused", "nameserver 192.0.2.1", "321"]);
    assert_eq!(lines[5..], ["77", "256"]);
    assert_eq!(fs::read_to_string(volume.join("out")).unwrap(), "back\n");
    task.close().await;
}

#[tokio::test]
async fn cgroup_limits_are_set() {
    let resources = Resources { memory_limit_bytes: Some(128 << 20), ..Resources::default() };
    let mut task = Task::spawn_with(|spec| spec.resources = resources).await;
    let mut spec = task.shell("limited", "sleep 1000");
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        pids_limit: Some(33),
        ..Resources::default()
    };
    task.start(&spec).await;
    let root = std::path::Path::new("/sys/fs/cgroup");
    let path = &task.spec.cgroup[1..];
    let read = |controller: &str, file: &str| fs::read_to_string(root.join(controller).join(path).join(file)).unwrap();
    if root.join("cgroup.controllers").exists() {
        assert_eq!(read("", "memory.max").trim(), (128 << 20).to_string());
        assert_eq!(read("", "limited/memory.max").trim(), (64 << 20).to_string());
        assert_eq!(read("", "limited/cpu.max").trim(), "50000 100000");
        assert_eq!(read("", "limited/pids.max").trim(), "33");
    } else {
        assert_eq!(read("memory", "memory.limit_in_bytes").trim(), (128 << 20).to_string());
        assert_eq!(read("memory", "limited/memory.limit_in_bytes").trim(), (64 << 20).to_string());
        assert_eq!(read("memory", "limited/memory.soft_limit_in_bytes").trim(), (32 << 20).to_string());
        assert_eq!(read("cpu", "limited/cpu.shares").trim(), "512");
        assert_eq!(read("cpu", "limited/cpu.cfs_quota_us").trim(), "50000");
        assert_eq!(read("pids", "limited/pids.max").trim(), "33");
    }
    task.client.kill_all().await.unwrap();
    task.ended("limited").await;
    task.close().await;
}

#[tokio::test]
async fn only_the_usual_devices_work() {
    let mut task = Task::spawn().await;
    // A node can be made (the capability is there by default), but the device cgroup does not let it be opened.
    let script = "echo x > /dev/null && head -c 1 /dev/zero | wc -c; mknod /tmp/disk b 254 0; head -c 1 /tmp/disk 2>&1; ls /dev | tr '\\n' ' '";
    let output = task.run_output(&task.shell("devices", script)).await;
    assert!(output.starts_with("1\n") && output.contains("not permitted") || output.contains("denied"), "{output}");
    task.close().await;
}

#[tokio::test]
async fn the_hosts_console_and_new_interfaces_are_not_for_containers() {
    let mut task = Task::spawn().await;
    let script = "mknod /tmp/console c 5 1 2>/dev/null; mknod /tmp/tun c 10 200 2>/dev/null
        for device in console tun; do [ -c /tmp/$device ] && (: <> /tmp/$device) 2>/dev/null && echo opened $device; done; echo end";
    assert_eq!(task.run_output(&task.shell("devices", script)).await, "end\n");
    task.close().await;
}

#[tokio::test]
async fn containers_of_a_task_can_share_namespaces() {
    let mut task = Task::spawn_with(|spec| {
        spec.shared_pid_namespace = true;
        spec.shared_ipc_namespace = true;
    })
    .await;
    let shared = |mut spec: ContainerSpec| {
        spec.pid_mode = NamespaceMode::Task;
        spec.ipc_mode = NamespaceMode::Task;
        spec
    };
    let first = shared(task.shell("first", "echo shared > /dev/shm/note; echo ready; exec sleep 1000"));
    task.start(&first).await;
    task.wrote("first", "ready").await;
    let output = task.run_output(&shared(task.shell("second", "cat /dev/shm/note; ps -o pid,args"))).await;
    assert!(output.contains("shared") && output.contains("sleep 1000"), "{output}");
    let third = task.run_output(&task.shell("third", "ls /dev/shm; ps -o args")).await;
    assert!(!third.contains("note") && !third.contains("sleep 1000"), "{third}");
    // The end of one leaves the others and the namespaces as they are, though it was not the first to go.
    task.client.stop("first", Some(9), std::time::Duration::ZERO).await.unwrap();
    task.ended("first").await;
    let output = task.run_output(&shared(task.shell("fourth", "cat /dev/shm/note; ps -o pid,args"))).await;
    assert!(output.contains("shared") && !output.contains("sleep 1000"), "{output}");
    task.close().await;
}

#[tokio::test]
async fn an_init_process_reaps_and_passes_signals_on() {
    let mut task = Task::spawn().await;
    // The orphan's parent ends first; without an init a shell as process 1 would leave it a zombie.
    let mut spec = task.shell(
        "init",
        "(sleep 0.05 & ) ; trap 'ps -o stat,comm; exit 7' TERM; echo ready; while :; do sleep 0.1; done",
    );
    spec.init = true;
    task.start(&spec).await;
    task.wrote("init", "ready").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    task.client.stop("init", None, std::time::Duration::from_secs(20)).await.unwrap();
    assert_eq!(task.ended("init").await.code, 7);
    let output = task.output("init");
    assert!(!output.contains("Z "), "{output}");
    let mut failing = task.shell("failing", "kill -9 $$");
    failing.init = true;
    assert_eq!(task.run(&failing).await.code, 137);
    let mut missing = task.shell("missing", "");
    (missing.init, missing.args) = (true, vec!["/etc/not-executable".to_owned()]);
    assert!(task.client.create(&missing).await.is_err());
    task.close().await;
}

#[tokio::test]
async fn a_container_without_a_network() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("alone", "ls /sys/class/net");
    spec.network_disabled = true;
    assert_eq!(task.run_output(&spec).await.trim(), "lo");
    task.close().await;
}

#[tokio::test]
async fn an_image_has_as_many_layers_as_registries_take() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("deep", "cat /top /bottom");
    let deep = task.dir().join("a, b: c").join("d".repeat(200));
    for number in 0..127 {
        let layer = deep.join(number.to_string());
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("top"), format!("{number}\n")).unwrap();
        spec.rootfs.lower.insert(0, layer);
    }
    fs::write(deep.join("0").join("bottom"), "0\n").unwrap();
    assert_eq!(task.run(&spec).await.code, 0);
    assert_eq!(task.output("deep"), "126\n0\n");
    task.close().await;
}
