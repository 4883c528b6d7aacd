//! Log configurations: the drivers that nodes have, and their options.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

const AWSLOGS_OPTIONS: [&str; 8] = [
    "awslogs-create-group",
    "awslogs-endpoint",
    "awslogs-group",
    "awslogs-region",
    "awslogs-stream",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
];
const JSON_FILE_OPTIONS: [&str; 2] = ["max-file", "max-size"];

/// Checks the log configuration of the container at `place`.
pub(super) fn check(place: usize, configuration: &api::LogConfiguration, fargate: bool) -> Result<(), Error> {
    let refuse =
        |text: String| Err(Error::client_exception(format!("containerDefinitions[{place}].logConfiguration: {text}")));
    let driver = configuration.log_driver.as_str();
    let options = configuration.options.clone().unwrap_or_default();
    let known: &[&str] = match driver {
        "awslogs" => &AWSLOGS_OPTIONS,
        "json-file" if !fargate => &JSON_FILE_OPTIONS,
        "json-file" => return refuse("Fargate supports the log driver awslogs alone".to_owned()),
        other => return refuse(format!("Estiva does not support the log driver {other} yet")),
    };
    if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return refuse(format!("the log driver {driver} has no option '{name}' here"));
    }
    if driver == "awslogs" {
        if options.get("awslogs-group").is_none_or(String::is_empty) {
            return refuse("Log driver awslogs requires options: awslogs-group".to_owned());
        }
        if fargate && options.get("awslogs-stream-prefix").is_none_or(String::is_empty) {
            return refuse("Log driver awslogs requires options: awslogs-stream-prefix".to_owned());
        }
        if options.get("mode").is_some_and(|mode| mode != "blocking" && mode != "non-blocking") {
            return refuse("mode must be blocking or non-blocking".to_owned());
        }
        if options.get("awslogs-create-group").is_some_and(|value| value != "true" && value != "false") {
            return refuse("awslogs-create-group must be true or false".to_owned());
        }
    }
    for name in ["max-buffer-size", "max-size"] {
        if let Some(size) = options.get(name).filter(|size| !is_size(size)) {
            return refuse(format!("{name}: '{size}' is no size such as 25m"));
        }
    }
    if let Some(number) = options.get("max-file").filter(|number| !number.parse::<u32>().is_ok_and(|number| number > 0))
    {
        return refuse(format!("max-file: '{number}' is no number above 0"));
    }
    Ok(())
}

/// A number and b, k, m or g, each also with a b behind it: Docker's sizes.
fn is_size(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let unit = lower.trim_start_matches(|character: char| character.is_ascii_digit());
    unit.len() < lower.len() && ["", "b", "k", "kb", "m", "mb", "g", "gb"].contains(&unit)
}
