//! Which launch types a task definition is fit for, and what it asks of container instances.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

/// Fargate's sizes: CPU units, and MiB of memory from, to, in steps of (AWS Fargate, "task CPU and memory").
const FARGATE_SIZES: [(i64, i64, i64, i64); 6] = [
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];
/// The smallest size has three memories that follow no step.
const FARGATE_SMALLEST: (i64, [i64; 3]) = (256, [512, 1024, 2048]);

/// The launch types that the definition is fit for; an error if it requires one that it is not fit for.
pub(super) fn of(
    definition: &api::TaskDefinition,
    cpu: Option<i64>,
    memory: Option<i64>,
) -> Result<Vec<api::Compatibility>, Error> {
    let required = definition.requires_compatibilities.as_deref().unwrap_or_default();
    let fargate = check_fargate(definition, cpu, memory);
    if required.contains(&api::Compatibility::Fargate) {
        fargate?;
    }
    let awsvpc = definition.network_mode == Some(api::NetworkMode::Awsvpc);
    if awsvpc && required.contains(&api::Compatibility::External) {
        return Err(Error::client_exception("Network mode awsvpc is not supported for EXTERNAL tasks."));
    }
    let mut compatibilities = if awsvpc {
        vec![api::Compatibility::Ec2]
    } else {
        vec![api::Compatibility::External, api::Compatibility::Ec2]
    };
    if check_fargate(definition, cpu, memory).is_ok() {
        compatibilities.push(api::Compatibility::Fargate);
    }
    Ok(compatibilities)
}

fn check_fargate(definition: &api::TaskDefinition, cpu: Option<i64>, memory: Option<i64>) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::client_exception(text));
    if definition.network_mode != Some(api::NetworkMode::Awsvpc) {
        return refuse("Fargate only supports network mode 'awsvpc'.".to_owned());
    }
    let (Some(cpu), Some(memory)) = (cpu, memory) else {
        return refuse("Fargate requires task definition to have 'cpu' and 'memory'.".to_owned());
    };
    let smallest = cpu == FARGATE_SMALLEST.0 && FARGATE_SMALLEST.1.contains(&memory);
    let regular = FARGATE_SIZES
        .iter()
        .any(|(units, from, to, step)| cpu == *units && (*from..=*to).contains(&memory) && (memory - from) % step == 0);
    if smallest || regular {
        return Ok(());
    }
    refuse("No Fargate configuration exists for given values.".to_owned())
}

/// The attributes that an instance needs, as ECS derives them.
pub(super) fn required_attributes(definition: &api::TaskDefinition) -> Vec<api::Attribute> {
    let mut names = Vec::new();
    for container in definition.container_definitions.iter().flatten() {
        if let Some(configuration) = &container.log_configuration {
            names.push(format!("com.amazonaws.ecs.capability.logging-driver.{}", configuration.log_driver.as_str()));
        }
        if container.privileged == Some(true) {
            names.push("com.amazonaws.ecs.capability.privileged-container".to_owned());
        }
    }
    if definition.network_mode == Some(api::NetworkMode::Awsvpc) {
        names.push("ecs.capability.task-eni".to_owned());
    }
    names.sort();
    names.dedup();
    let attribute = |name| api::Attribute { name, ..api::Attribute::default() };
    let mut attributes: Vec<_> = names.into_iter().map(attribute).collect();
    let architecture = definition.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture);
    if let Some(architecture) = architecture {
        let value = if architecture.as_str() == "ARM64" { "arm64" } else { "x86_64" };
        attributes.push(api::Attribute {
            name: "ecs.cpu-architecture".to_owned(),
            value: Some(value.to_owned()),
            ..api::Attribute::default()
        });
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fargates_sizes_are_fargates() {
        let definition =
            api::TaskDefinition { network_mode: Some(api::NetworkMode::Awsvpc), ..api::TaskDefinition::default() };
        let fits = |cpu, memory| check_fargate(&definition, Some(cpu), Some(memory)).is_ok();
        for (cpu, memory) in [(256, 512), (256, 2048), (512, 3072), (4096, 30_720), (8192, 20_480), (16_384, 122_880)] {
            assert!(fits(cpu, memory), "{cpu} {memory}");
        }
        for (cpu, memory) in [(256, 3072), (512, 512), (1024, 1024), (4096, 31_744), (8192, 17_408), (300, 512)] {
            assert!(!fits(cpu, memory), "{cpu} {memory}");
        }
    }
}
