//! Linux capabilities, by name and number, and the set that a container gets.

use crate::spec::{ContainerSpec, InvalidSpec};

macro_rules! capabilities {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A capability; its discriminant is the kernel's number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Capability { $(
            #[doc = concat!("`CAP_", $name, "`")]
            $variant
        ),* }

        const NAMES: &[(Capability, &str)] = &[$((Capability::$variant, $name)),*];
    };
}

// In the order of their numbers in <linux/capability.h>, from 0.
capabilities! {
    Chown "CHOWN", DacOverride "DAC_OVERRIDE", DacReadSearch "DAC_READ_SEARCH", Fowner "FOWNER", Fsetid "FSETID",
    Kill "KILL", Setgid "SETGID", Setuid "SETUID", Setpcap "SETPCAP", LinuxImmutable "LINUX_IMMUTABLE",
    NetBindService "NET_BIND_SERVICE", NetBroadcast "NET_BROADCAST", NetAdmin "NET_ADMIN", NetRaw "NET_RAW",
    IpcLock "IPC_LOCK", IpcOwner "IPC_OWNER", SysModule "SYS_MODULE", SysRawio "SYS_RAWIO", SysChroot "SYS_CHROOT",
    SysPtrace "SYS_PTRACE", SysPacct "SYS_PACCT", SysAdmin "SYS_ADMIN", SysBoot "SYS_BOOT", SysNice "SYS_NICE",
    SysResource "SYS_RESOURCE", SysTime "SYS_TIME", SysTtyConfig "SYS_TTY_CONFIG", Mknod "MKNOD", Lease "LEASE",
    AuditWrite "AUDIT_WRITE", AuditControl "AUDIT_CONTROL", Setfcap "SETFCAP", MacOverride "MAC_OVERRIDE",
    MacAdmin "MAC_ADMIN", Syslog "SYSLOG", WakeAlarm "WAKE_ALARM", BlockSuspend "BLOCK_SUSPEND",
    AuditRead "AUDIT_READ", Perfmon "PERFMON", Bpf "BPF", CheckpointRestore "CHECKPOINT_RESTORE",
}

impl Capability {
    /// What Docker gives: enough for images that start as root and change user, bind low ports, or chown files.
    pub(crate) const DEFAULT: [Self; 14] = [
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Setgid,
        Self::Setuid,
        Self::Setpcap,
        Self::NetBindService,
        Self::NetRaw,
        Self::SysChroot,
        Self::Mknod,
        Self::AuditWrite,
        Self::Setfcap,
    ];

    /// The kernel's bit in a capability set.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// By name, with or without `CAP_`, in any case.
    fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES.iter().find(|(_, known)| *known == short).map(|(capability, _)| *capability)
    }
}

/// The capabilities that a container runs with: the default ones, less those dropped, plus those added.
///
/// In the host's network `CAP_NET_RAW` is not among the default ones, though Docker leaves it there: whoever may open a raw
/// socket reads what everybody says on the host's loopback, where nothing is encrypted. It can be added.
///
/// On a machine with the v2 cgroup tree only (`unified`), `CAP_MKNOD` is never among them. There devices are restricted
/// by eBPF programs, for which libcontainer needs C libraries; without such a program, whoever can make a node for the
/// host's disk can read it. Who cannot has only the nodes that the shim has put into `/dev`.
pub(crate) fn granted(spec: &ContainerSpec, unified: bool) -> Result<Vec<Capability>, InvalidSpec> {
    let every = || NAMES.iter().map(|(capability, _)| *capability).collect::<Vec<_>>();
    if spec.privileged {
        return Ok(every());
    }
    let mut set = Capability::DEFAULT.to_vec();
    if spec.network_namespace.is_none() && !spec.network_disabled {
        set.retain(|capability| *capability != Capability::NetRaw);
    }
    for name in &spec.cap_drop {
        if name.eq_ignore_ascii_case("ALL") {
            set.clear();
        } else {
            let dropped = known("cap_drop", name)?;
            set.retain(|capability| *capability != dropped);
        }
    }
    for name in &spec.cap_add {
        if name.eq_ignore_ascii_case("ALL") {
            set = every();
        } else {
            set.push(known("cap_add", name)?);
        }
    }
    if unified {
        set.retain(|capability| *capability != Capability::Mknod);
    }
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

fn known(field: &'static str, name: &str) -> Result<Capability, InvalidSpec> {
    Capability::parse(name).ok_or_else(|| InvalidSpec { field, reason: format!("no capability {name:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        // Spot checks over the whole range of <linux/capability.h>.
        assert_eq!(Capability::SysAdmin as u8, 21);
        assert_eq!(Capability::Mknod as u8, 27);
        assert_eq!(Capability::CheckpointRestore as u8, 40);
        let default = Capability::DEFAULT.iter().fold(0, |set, capability| set | capability.bit());
        assert_eq!(default, 0xa804_25fb, "what /proc/self/status shows in a Docker container");
    }

    #[test]
    fn names_in_every_spelling() {
        for name in ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN"] {
            assert_eq!(Capability::parse(name), Some(Capability::NetAdmin));
        }
        assert_eq!(Capability::parse("NET"), None);
    }
}
