//! Why an instance does not take a task.

/// What keeps a task from an instance, from the farthest from being met to the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// The instance is not there any more.
    Inactive,
    /// Its agent is not connected.
    Agent,
    /// It is not of the launch type: an external instance, or not one.
    LaunchType,
    /// It has not an attribute that the task, or the strategy, needs.
    Attribute,
    /// The constraint memberOf is not true of it.
    MemberOf,
    /// Another task of the group is there.
    DistinctInstance,
    /// GPUs.
    Gpu,
    /// It runs as many tasks as it takes.
    TaskSlots,
    /// Memory.
    Memory,
    /// CPU units.
    Cpu,
    /// A host port that the task needs is taken.
    Ports,
    /// It has no address left for a network interface.
    NetworkInterface,
}

impl Lack {
    /// As ECS writes it in `failures[].reason` of RunTask and StartTask.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Agent => "AGENT",
            Self::LaunchType | Self::Attribute => "ATTRIBUTE",
            Self::MemberOf => "MemberOf placement constraint unsatisfied.",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
            Self::Gpu => "RESOURCE:GPU",
            Self::TaskSlots => "RESOURCE:TASKS",
            Self::Memory => "RESOURCE:MEMORY",
            Self::Cpu => "RESOURCE:CPU",
            Self::Ports => "RESOURCE:PORTS",
            Self::NetworkInterface => "RESOURCE:ENI",
        }
    }

    /// As a service's event says it of an instance: "The closest matching container-instance … " and this.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Inactive => "is not active",
            Self::Agent => "doesn't have the agent connected",
            Self::LaunchType => "is not of the launch type of your task",
            Self::Attribute => "is missing an attribute required by your task",
            Self::MemberOf => "does not satisfy a memberOf placement constraint of your task",
            Self::DistinctInstance => {
                "is already running a task of the same group, and each needs an instance of its own"
            }
            Self::Gpu => "has insufficient GPUs available",
            Self::TaskSlots => "is already running as many tasks as it may",
            Self::Memory => "has insufficient memory available",
            Self::Cpu => "has insufficient CPU units available",
            Self::Ports => "is already using a port required by your task",
            Self::NetworkInterface => "has no address left for a network interface of your task",
        }
    }
}

/// Of the candidates that a task was not placed on, the one that lacks least; the first of several.
pub fn closest(lacking: &[(usize, Lack)]) -> Option<(usize, Lack)> {
    lacking.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best })
}
