//! What a node writes in a report, read: AWS's agent has more states than ECS shows, and a node is a stranger to limits.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::{ContainerReport, ContainerStatus, NetworkBinding, TaskStatus};

use crate::error::invalid;

/// Characters of a reason: the whole of what a node has to say, within bounds.
const REASON_CHARS_MAX: usize = 8192;
/// Characters of a reason as ECS's own fields show it.
const REASON_CHARS_SHOWN: usize = 1024;
/// Characters of a runtime's id, an image's digest, and an address.
const ID_CHARS_MAX: usize = 255;
/// Containers in one report. A task has at most ten, and each is told of a few times.
const CONTAINERS_MAX: usize = 100;
/// Published ports of one container, the most that ECS allows.
const BINDINGS_MAX: usize = 100;

pub(super) fn task_status(text: &str) -> Result<TaskStatus, Error> {
    TaskStatus::parse(text).ok_or_else(|| invalid(format!("status: '{text}' is no status of a task")))
}

/// The reason, cut to the length that is kept. AWS's agent says "" where it has none.
pub(super) fn reason(text: Option<String>) -> Option<String> {
    said(text).map(cut_reason)
}

/// A reason, cut to the length that is kept.
pub(super) fn cut_reason(text: String) -> String {
    cut(text, REASON_CHARS_MAX)
}

/// The reason, cut to what ECS shows of it.
pub(super) fn shown_reason(text: &str) -> String {
    cut(text.to_owned(), REASON_CHARS_SHOWN)
}

pub(super) fn containers(changes: Vec<api::ContainerStateChange>) -> Result<Vec<ContainerReport>, Error> {
    if changes.len() > CONTAINERS_MAX {
        return Err(invalid(format!("containers: at most {CONTAINERS_MAX} are allowed")));
    }
    changes.into_iter().map(container).collect()
}

fn container(change: api::ContainerStateChange) -> Result<ContainerReport, Error> {
    let status = |text: &str| match text {
        // AWS's agent has states in between, and says so at times.
        "RUNNING" => ContainerStatus::Running,
        "STOPPED" => ContainerStatus::Stopped,
        _ => ContainerStatus::Pending,
    };
    let id = |text: Option<String>| said(text).map(|text| cut(text, ID_CHARS_MAX));
    let bindings = change.network_bindings.unwrap_or_default().into_iter().take(BINDINGS_MAX);
    Ok(ContainerReport {
        name: change.container_name.ok_or_else(|| invalid("containerName: must not be empty"))?,
        status: change.status.as_deref().map(status),
        exit_code: change.exit_code,
        reason: reason(change.reason),
        runtime_id: id(change.runtime_id),
        image_digest: id(change.image_digest),
        network_bindings: bindings.filter_map(binding).collect(),
        health: None,
    })
}

fn binding(binding: api::NetworkBinding) -> Option<NetworkBinding> {
    Some(NetworkBinding {
        bind_ip: cut(binding.bind_ip.unwrap_or_default(), ID_CHARS_MAX),
        container_port: u16::try_from(binding.container_port?).ok()?,
        host_port: u16::try_from(binding.host_port?).ok()?,
        protocol: binding.protocol.map_or("tcp", |protocol| protocol.as_str()).to_owned(),
    })
}

/// A text that says something.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("ação".to_owned(), 3), "açã");
        assert_eq!(cut("ação".to_owned(), 4), "ação");
    }

    #[test]
    fn states_of_the_agent_alone_count_as_pending() {
        let change = |status: &str| api::ContainerStateChange {
            container_name: Some("c".to_owned()),
            status: Some(status.to_owned()),
            ..api::ContainerStateChange::default()
        };
        let read = containers(["RESOURCES_PROVISIONED", "RUNNING", "STOPPED"].map(change).to_vec()).unwrap();
        let statuses: Vec<_> = read.iter().filter_map(|it| it.status).collect();
        assert_eq!(statuses, ContainerStatus::ALL);
    }

    #[test]
    fn a_flood_is_refused() {
        let change = api::ContainerStateChange { container_name: Some("c".to_owned()), ..Default::default() };
        assert!(containers(vec![change; CONTAINERS_MAX + 1]).is_err());
    }
}
