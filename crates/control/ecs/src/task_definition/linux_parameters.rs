//! What containers ask of the kernel: linuxParameters, ulimits, systemControls.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

/// Checks the settings of the container at `place`.
pub(super) fn check(place: usize, container: &api::ContainerDefinition) -> Result<(), Error> {
    if let Some(linux) = &container.linux_parameters {
        check_linux(linux).map_err(|(field, text)| field_error(place, &format!("linuxParameters.{field}"), text))?;
    }
    let mut names = BTreeSet::new();
    for ulimit in container.ulimits.iter().flatten() {
        if ulimit.soft_limit > ulimit.hard_limit && ulimit.hard_limit >= 0 {
            return Err(field_error(place, "ulimits", "softLimit must not be more than hardLimit"));
        }
        if !names.insert(ulimit.name.as_str()) {
            return Err(field_error(place, "ulimits", format!("{} is given twice", ulimit.name.as_str())));
        }
    }
    for control in container.system_controls.iter().flatten() {
        if control.namespace.as_deref().unwrap_or_default().is_empty() || control.value.is_none() {
            return Err(field_error(place, "systemControls", "namespace and value must be given"));
        }
    }
    Ok(())
}

fn check_linux(linux: &api::LinuxParameters) -> Result<(), (&'static str, &'static str)> {
    if linux.max_swap.is_some_and(|swap| swap < 0) {
        return Err(("maxSwap", "must not be negative"));
    }
    if linux.swappiness.is_some_and(|swappiness| !(0..=100).contains(&swappiness)) {
        return Err(("swappiness", "must be from 0 to 100"));
    }
    if linux.shared_memory_size.is_some_and(|size| size <= 0) {
        return Err(("sharedMemorySize", "must be above 0"));
    }
    if linux.devices.iter().flatten().any(|device| !device.host_path.starts_with('/')) {
        return Err(("devices", "hostPath must be an absolute path"));
    }
    for tmpfs in linux.tmpfs.iter().flatten() {
        if !tmpfs.container_path.starts_with('/') || tmpfs.size <= 0 {
            return Err(("tmpfs", "containerPath must be absolute, and size above 0"));
        }
    }
    Ok(())
}
