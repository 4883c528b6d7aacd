//! The states, and their names on the wire.

use serde::{Deserialize, Serialize};

macro_rules! wire_names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $wire)] $variant,)*
        }

        impl $name {
            /// Every state, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As ECS writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// `None` for a text that names no state.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($wire => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

wire_names! {
    /// How far a task is. The order is the order of life.
    TaskStatus {
        /// Work before launch, such as a network interface.
        Provisioning = "PROVISIONING",
        /// Waits for the node.
        Pending = "PENDING",
        /// Work after launch, such as registration as a target.
        Activating = "ACTIVATING",
        /// Its containers run.
        Running = "RUNNING",
        /// Work before the stop, such as deregistration as a target.
        Deactivating = "DEACTIVATING",
        /// Its containers were told to end.
        Stopping = "STOPPING",
        /// Work after the stop, such as the network interface.
        Deprovisioning = "DEPROVISIONING",
        /// Nothing of it runs. Final.
        Stopped = "STOPPED",
    }
}

wire_names! {
    /// What the control plane wants of a task.
    DesiredStatus {
        /// The task is to run.
        Running = "RUNNING",
        /// The task is to end. Final.
        Stopped = "STOPPED",
    }
}

wire_names! {
    /// How far a container is.
    ContainerStatus {
        /// Not started yet.
        Pending = "PENDING",
        /// Its process runs.
        Running = "RUNNING",
        /// Its process ended, or never started. Final.
        Stopped = "STOPPED",
    }
}

wire_names! {
    /// Why a task ends.
    StopCode {
        /// It never reached RUNNING.
        TaskFailedToStart = "TaskFailedToStart",
        /// An essential container ended.
        EssentialContainerExited = "EssentialContainerExited",
        /// Someone called StopTask.
        UserInitiated = "UserInitiated",
        /// Its service has no more need of it.
        ServiceSchedulerInitiated = "ServiceSchedulerInitiated",
        /// Its node is gone.
        TerminationNotice = "TerminationNotice",
        /// Its node cannot be reached.
        InfrastructureHealth = "InfrastructureHealth",
    }
}

wire_names! {
    /// What a health check makes of a container.
    #[derive(Default)]
    HealthStatus {
        /// Not known yet, or there is no health check.
        #[default]
        Unknown = "UNKNOWN",
        /// The health check passes.
        Healthy = "HEALTHY",
        /// It failed as often in a row as its retries.
        Unhealthy = "UNHEALTHY",
    }
}
