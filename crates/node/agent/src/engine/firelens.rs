//! FireLens: a container of the task (Fluent Bit or Fluentd) routes the output of the others. The node writes its configuration
//! and hands it their lines over a Unix socket, as AWS's agent does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use estiva_agent_protocol::task::{Container, Task};
use estiva_shim::spec::BindMount;

use super::record::id_of;
use super::translate::docker_config;

/// Where the router finds the node's socket.
const SOCKET_DIR: &str = "/var/run";
const SOCKET: &str = "fluent.sock";
/// Where a router answers to FireLens' own health checks.
const HEALTH_TAG: &str = "firelens-healthcheck";
/// Options of awsfirelens that are not the router's.
const BUFFER_LIMIT: &str = "log-driver-buffer-limit";
const OWN_OPTIONS: [&str; 5] = [BUFFER_LIMIT, "mode", "max-buffer-size", "include-pattern", "exclude-pattern"];

/// Why a router cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum FirelensError {
    #[error("firelensConfiguration: config-file-type '{0}' is not supported on this node")]
    ConfigFileType(String),
    #[error("firelensConfiguration: a router's option must not have a line break")]
    LineBreak,
    #[error("firelensConfiguration: {0}")]
    Io(#[from] io::Error),
}

/// Where the task's socket is: a socket's path has at most 107 bytes, which a data directory's alone may have.
pub(crate) fn socket_dir(run_dir: &Path, task_id: &str) -> PathBuf {
    run_dir.join("firelens").join(task_id)
}

fn tag(container: &str, task_id: &str) -> String {
    format!("{container}-firelens-{task_id}")
}

/// How the output of a container with the driver awsfirelens gets to the task's router: options of the driver fluentd.
pub(crate) fn driver_options(container: &Container, task_id: &str, run_dir: &Path) -> BTreeMap<String, String> {
    let socket = socket_dir(run_dir, task_id).join(SOCKET);
    let options = docker_config(container).ok().and_then(|(_, host)| host.log_config).map(|log| log.config);
    let mut driver = BTreeMap::from([
        ("fluentd-address".to_owned(), format!("unix://{}", socket.display())),
        // The router starts before the others, and may still take a while to listen.
        ("fluentd-async".to_owned(), "true".to_owned()),
        ("fluentd-sub-second-precision".to_owned(), "true".to_owned()),
        ("tag".to_owned(), tag(&container.name, task_id)),
    ]);
    if let Some(limit) = options.and_then(|mut options| options.remove(BUFFER_LIMIT)) {
        driver.insert("fluentd-buffer-limit".to_owned(), limit);
    }
    driver
}

/// What every container of a task with a router is told.
pub(super) fn variables(task: &Task) -> BTreeMap<String, String> {
    if task.containers.iter().all(|it| it.firelens_configuration.is_none()) {
        return BTreeMap::new();
    }
    // The task's containers share one network.
    BTreeMap::from([("FLUENT_HOST".to_owned(), "127.0.0.1".to_owned()), ("FLUENT_PORT".to_owned(), "24224".to_owned())])
}

/// Writes the router's configuration; what it has to mount.
pub(super) fn prepare(
    task: &Task,
    router: &Container,
    task_dir: &Path,
    run_dir: &Path,
) -> Result<Vec<BindMount>, FirelensError> {
    let Some(firelens) = &router.firelens_configuration else { return Ok(Vec::new()) };
    let (inside, text) = match firelens.kind.as_str() {
        "fluentd" => ("/fluentd/etc/fluent.conf", configuration(task, &firelens.options, &Fluentd)?),
        _ => ("/fluent-bit/etc/fluent-bit.conf", configuration(task, &firelens.options, &FluentBit)?),
    };
    let socket = socket_dir(run_dir, id_of(&task.arn));
    DirBuilder::new().recursive(true).mode(0o755).create(&socket)?;
    // The router may run as any user.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o1777))?;
    let file = task_dir.join("router.conf");
    fs::write(&file, text)?;
    let mount = |source: PathBuf, destination: &str, read_only| BindMount {
        source,
        destination: destination.into(),
        read_only,
        populate: false,
    };
    Ok(vec![mount(socket, SOCKET_DIR, false), mount(file, inside, true)])
}

/// How a router's configuration is written.
trait Dialect {
    /// `name` is of an input, filter or output; `tag` what it is for.
    fn section(&self, text: &mut String, kind: &str, tag: Option<&str>, entries: &[(&str, &str)]);
    fn include(&self, text: &mut String, path: &str);
    /// Keeps, or drops, what fits the pattern.
    fn grep(&self, text: &mut String, tag: &str, pattern: &str, keeps: bool);
    fn records(&self, text: &mut String, records: &[(&str, &str)]);
    fn inputs(&self, text: &mut String);
    /// The options that name the kind of an output.
    fn output(&self, text: &mut String, tag: &str, options: &[(&str, &str)]);
}

fn configuration(
    task: &Task,
    options: &BTreeMap<String, String>,
    dialect: &impl Dialect,
) -> Result<String, FirelensError> {
    let mut text = String::new();
    dialect.inputs(&mut text);
    let logged: Vec<(&Container, BTreeMap<String, String>)> = task
        .containers
        .iter()
        .filter_map(|container| {
            let log = docker_config(container).ok()?.1.log_config?;
            (log.driver == "awsfirelens").then_some((container, log.config))
        })
        .collect();
    if logged.iter().flat_map(|(_, config)| config.values()).chain(options.values()).any(|it| it.contains(['\n', '\r']))
    {
        return Err(FirelensError::LineBreak);
    }
    for (container, config) in &logged {
        let tag = format!("{}-firelens*", container.name);
        for (name, keeps) in [("include-pattern", true), ("exclude-pattern", false)] {
            if let Some(pattern) = config.get(name) {
                dialect.grep(&mut text, &tag, pattern, keeps);
            }
        }
    }
    if options.get("enable-ecs-log-metadata").is_none_or(|value| value != "false") {
        let cluster = id_of(&task.task_cluster_arn);
        let definition = format!("{}:{}", task.family, task.version);
        dialect.records(
            &mut text,
            &[("ecs_cluster", cluster), ("ecs_task_arn", &task.arn), ("ecs_task_definition", &definition)],
        );
    }
    match (options.get("config-file-type").map(String::as_str), options.get("config-file-value")) {
        (None, _) => {}
        (Some("file"), Some(path)) => dialect.include(&mut text, path),
        (Some(kind), _) => return Err(FirelensError::ConfigFileType(kind.to_owned())),
    }
    for (container, config) in &logged {
        let own: Vec<(&str, &str)> = config
            .iter()
            .filter(|(name, _)| !OWN_OPTIONS.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        // Without options the configuration of the user's own has the outputs.
        if !own.is_empty() {
            dialect.output(&mut text, &format!("{}-firelens*", container.name), &own);
        }
    }
    Ok(text)
}

struct FluentBit;

impl Dialect for FluentBit {
    fn section(&self, text: &mut String, kind: &str, tag: Option<&str>, entries: &[(&str, &str)]) {
        let _ = writeln!(text, "[{kind}]");
        for (name, value) in entries {
            let _ = writeln!(text, "    {name} {value}");
        }
        if let Some(tag) = tag {
            let _ = writeln!(text, "    Match {tag}");
        }
        text.push('\n');
    }

    fn include(&self, text: &mut String, path: &str) {
        let _ = writeln!(text, "@INCLUDE {path}\n");
    }

    fn grep(&self, text: &mut String, tag: &str, pattern: &str, keeps: bool) {
        let rule = format!("log {pattern}");
        self.section(text, "FILTER", Some(tag), &[("Name", "grep"), (if keeps { "Regex" } else { "Exclude" }, &rule)]);
    }

    fn records(&self, text: &mut String, records: &[(&str, &str)]) {
        let records: Vec<String> = records.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let entries =
            std::iter::once(("Name", "record_modifier")).chain(records.iter().map(|it| ("Record", it.as_str())));
        self.section(text, "FILTER", Some("*"), &entries.collect::<Vec<_>>());
    }

    fn inputs(&self, text: &mut String) {
        let socket = format!("{SOCKET_DIR}/{SOCKET}");
        self.section(text, "INPUT", None, &[("Name", "forward"), ("unix_path", &socket)]);
        self.section(text, "INPUT", None, &[("Name", "forward"), ("Listen", "127.0.0.1"), ("Port", "24224")]);
        let health = [("Name", "tcp"), ("Tag", HEALTH_TAG), ("Listen", "127.0.0.1"), ("Port", "8877")];
        self.section(text, "INPUT", None, &health);
        self.section(text, "OUTPUT", Some(HEALTH_TAG), &[("Name", "null")]);
    }

    fn output(&self, text: &mut String, tag: &str, options: &[(&str, &str)]) {
        self.section(text, "OUTPUT", Some(tag), options);
    }
}

struct Fluentd;

impl Dialect for Fluentd {
    fn section(&self, text: &mut String, kind: &str, tag: Option<&str>, entries: &[(&str, &str)]) {
        let _ = writeln!(text, "<{kind}{}>", tag.map(|tag| format!(" {tag}")).unwrap_or_default());
        for (name, value) in entries {
            let _ = writeln!(text, "  {name} {value}");
        }
        let _ = writeln!(text, "</{kind}>\n");
    }

    fn include(&self, text: &mut String, path: &str) {
        let _ = writeln!(text, "@include {path}\n");
    }

    fn grep(&self, text: &mut String, tag: &str, pattern: &str, keeps: bool) {
        let kind = if keeps { "regexp" } else { "exclude" };
        let _ = writeln!(
            text,
            "<filter {tag}*>\n  @type grep\n  <{kind}>\n    key log\n    pattern /{}/\n  </{kind}>\n</filter>\n",
            pattern.replace('/', "\\/")
        );
    }

    fn records(&self, text: &mut String, records: &[(&str, &str)]) {
        let _ = writeln!(text, "<filter **>\n  @type record_transformer\n  <record>");
        for (name, value) in records {
            let _ = writeln!(text, "    {name} {value}");
        }
        let _ = writeln!(text, "  </record>\n</filter>\n");
    }

    fn inputs(&self, text: &mut String) {
        let socket = format!("{SOCKET_DIR}/{SOCKET}");
        self.section(text, "source", None, &[("@type", "unix"), ("path", &socket)]);
        self.section(text, "source", None, &[("@type", "forward"), ("bind", "127.0.0.1"), ("port", "24224")]);
    }

    fn output(&self, text: &mut String, tag: &str, options: &[(&str, &str)]) {
        self.section(text, "match", Some(&format!("{tag}*")), options);
    }
}

#[cfg(test)]
mod tests {
    use estiva_agent_protocol::task::{DockerConfig, FirelensConfiguration};

    use super::*;

    fn task(kind: &str, options: &[(&str, &str)], log: &str) -> Task {
        let host_config = format!(r#"{{"LogConfig":{{"Type":"awsfirelens","Config":{log}}}}}"#);
        let docker_config = DockerConfig { host_config: Some(host_config), ..DockerConfig::default() };
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let firelens = FirelensConfiguration { kind: kind.to_owned(), options };
        Task {
            arn: "arn:aws:ecs:us-east-1:1:task/c/abc".into(),
            task_cluster_arn: "arn:aws:ecs:us-east-1:1:cluster/c".into(),
            family: "web".into(),
            version: "3".into(),
            containers: vec![
                Container { name: "router".into(), firelens_configuration: Some(firelens), ..Container::default() },
                Container { name: "app".into(), docker_config, ..Container::default() },
            ],
            ..Task::default()
        }
    }

    fn written(task: &Task) -> String {
        let dir = tempfile::tempdir().unwrap();
        prepare(task, &task.containers[0], dir.path(), dir.path()).unwrap();
        fs::read_to_string(dir.path().join("router.conf")).unwrap()
    }

    #[test]
    fn fluent_bit_is_told_where_lines_come_from_and_go() {
        let text = written(&task("fluentbit", &[], r#"{"Name":"http","Host":"h","exclude-pattern":"^DEBUG"}"#));
        assert!(text.contains("    unix_path /var/run/fluent.sock"));
        assert!(text.contains("[FILTER]\n    Name grep\n    Exclude log ^DEBUG\n    Match app-firelens*"));
        assert!(text.contains("    Record ecs_task_definition web:3"));
        assert!(text.ends_with("[OUTPUT]\n    Host h\n    Name http\n    Match app-firelens*\n\n"), "{text}");
    }

    #[test]
    fn fluentd_has_its_own_words() {
        let options =
            [("enable-ecs-log-metadata", "false"), ("config-file-type", "file"), ("config-file-value", "/my.conf")];
        let text = written(&task("fluentd", &options, r#"{"@type":"stdout"}"#));
        assert!(text.contains("<source>\n  @type unix\n  path /var/run/fluent.sock\n</source>"));
        assert!(text.contains("@include /my.conf") && !text.contains("ecs_cluster"));
        assert!(text.contains("<match app-firelens**>\n  @type stdout\n</match>"));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let from_s3 = task("fluentbit", &[("config-file-type", "s3"), ("config-file-value", "arn")], "{}");
        assert!(matches!(
            prepare(&from_s3, &from_s3.containers[0], dir.path(), dir.path()),
            Err(FirelensError::ConfigFileType(_))
        ));
        let broken = task("fluentbit", &[], r#"{"Name":"http\n[OUTPUT]"}"#);
        assert!(matches!(
            prepare(&broken, &broken.containers[0], dir.path(), dir.path()),
            Err(FirelensError::LineBreak)
        ));
    }
}
