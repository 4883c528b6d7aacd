//! The attributes that a container instance needs for a task definition, as ECS derives them. The names are those that AWS's
//! agent registers.

use estiva_api_ecs::types as api;

/// The attributes, in order.
pub(super) fn of(definition: &api::TaskDefinition) -> Vec<api::Attribute> {
    let mut names = Vec::new();
    task(definition, &mut names);
    for container in definition.container_definitions.iter().flatten() {
        self::container(container, definition.execution_role_arn.is_some(), &mut names);
    }
    names.sort();
    names.dedup();
    let attribute = |name| api::Attribute { name, ..api::Attribute::default() };
    let mut attributes: Vec<_> = names.into_iter().map(attribute).collect();
    let architecture = definition.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture);
    if let Some(architecture) = architecture {
        let value = if architecture == api::CPUArchitecture::Arm64 { "arm64" } else { "x86_64" };
        let value = Some(value.to_owned());
        attributes.push(api::Attribute { name: "ecs.cpu-architecture".to_owned(), value, ..api::Attribute::default() });
    }
    attributes
}

fn task(definition: &api::TaskDefinition, names: &mut Vec<String>) {
    let host = definition.network_mode == Some(api::NetworkMode::Host);
    let volumes = || definition.volumes.iter().flatten();
    let docker = volumes().filter_map(|volume| volume.docker_volume_configuration.as_ref());
    for (needed, name) in [
        (definition.task_role_arn.is_some(), "com.amazonaws.ecs.capability.task-iam-role"),
        (definition.task_role_arn.is_some() && host, "com.amazonaws.ecs.capability.task-iam-role-network-host"),
        (definition.network_mode == Some(api::NetworkMode::Awsvpc), "ecs.capability.task-eni"),
        (definition.pid_mode.is_some() || definition.ipc_mode.is_some(), "ecs.capability.pid-ipc-namespace-sharing"),
        (definition.cpu.is_some() || definition.memory.is_some(), "ecs.capability.task-cpu-mem-limit"),
        (definition.proxy_configuration.is_some(), "ecs.capability.aws-appmesh"),
        (volumes().any(|volume| volume.efs_volume_configuration.is_some()), "ecs.capability.efs"),
    ] {
        if needed {
            names.push(name.to_owned());
        }
    }
    names.extend(
        docker.map(|docker| format!("ecs.capability.docker-plugin.{}", docker.driver.as_deref().unwrap_or("local"))),
    );
}

fn container(container: &api::ContainerDefinition, has_execution_role: bool, names: &mut Vec<String>) {
    let driver = container.log_configuration.as_ref().map(|configuration| configuration.log_driver);
    names.extend(driver.map(|driver| format!("com.amazonaws.ecs.capability.logging-driver.{}", driver.as_str())));
    let some = |count: Option<usize>| count.is_some_and(|count| count > 0);
    let secret = |from: fn(&str) -> bool| container.secrets.iter().flatten().any(|secret| from(&secret.value_from));
    for (needed, name) in [
        (container.privileged == Some(true), "com.amazonaws.ecs.capability.privileged-container"),
        (driver == Some(api::LogDriver::Awslogs) && has_execution_role, "ecs.capability.execution-role-awslogs"),
        (container.health_check.is_some(), "ecs.capability.container-health-check"),
        (some(container.depends_on.as_ref().map(Vec::len)), "ecs.capability.container-ordering"),
        (
            secret(|from| from.starts_with("arn:aws:secretsmanager:")),
            "ecs.capability.secrets.asm.environment-variables",
        ),
        (
            secret(|from| !from.starts_with("arn:aws:secretsmanager:")),
            "ecs.capability.secrets.ssm.environment-variables",
        ),
        (some(container.environment_files.as_ref().map(Vec::len)), "ecs.capability.env-files.s3"),
        (container.repository_credentials.is_some(), "ecs.capability.private-registry-authentication.secretsmanager"),
        (
            container.restart_policy.as_ref().is_some_and(|policy| policy.enabled),
            "ecs.capability.container-restart-policy",
        ),
    ] {
        if needed {
            names.push(name.to_owned());
        }
    }
    if let Some(firelens) = &container.firelens_configuration {
        names.push(format!("ecs.capability.firelens.{}", firelens.r#type.as_str()));
    }
}
