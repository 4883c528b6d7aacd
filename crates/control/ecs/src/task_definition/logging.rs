//! Log configurations: the options of the drivers.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

const AWSLOGS_OPTIONS: [&str; 10] = [
    "awslogs-create-group",
    "awslogs-datetime-format",
    "awslogs-endpoint",
    "awslogs-group",
    "awslogs-multiline-pattern",
    "awslogs-region",
    "awslogs-stream",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
];
const JSON_FILE_OPTIONS: [&str; 2] = ["max-file", "max-size"];

/// Checks the log configuration of the container at `place`.
pub(super) fn check(place: usize, configuration: &api::LogConfiguration) -> Result<(), Error> {
    if configuration.log_driver == api::LogDriver::Awslogs {
        let group = configuration.options.as_ref().and_then(|options| options.get("awslogs-group"));
        if group.is_none_or(String::is_empty) {
            return Err(Error::client_exception("Log driver awslogs requires options: awslogs-group"));
        }
    }
    check_options(configuration).map_err(|text| field_error(place, "logConfiguration", text))
}

fn check_options(configuration: &api::LogConfiguration) -> Result<(), String> {
    let options = configuration.options.clone().unwrap_or_default();
    let option = |name: &str| options.get(name).map(String::as_str);
    let driver = configuration.log_driver;
    let known: &[&str] = match driver {
        api::LogDriver::Awslogs => &AWSLOGS_OPTIONS,
        api::LogDriver::JsonFile => &JSON_FILE_OPTIONS,
        // Docker's and Fluent Bit's own.
        _ => return Ok(()),
    };
    if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("the log driver {} has no option '{name}'", driver.as_str()));
    }
    if driver == api::LogDriver::Awslogs {
        if option("awslogs-multiline-pattern").is_some() && option("awslogs-datetime-format").is_some() {
            return Err("awslogs-multiline-pattern and awslogs-datetime-format exclude each other".to_owned());
        }
        if option("mode").is_some_and(|mode| mode != "blocking" && mode != "non-blocking") {
            return Err("mode must be blocking or non-blocking".to_owned());
        }
        if option("awslogs-create-group").is_some_and(|value| value != "true" && value != "false") {
            return Err("awslogs-create-group must be true or false".to_owned());
        }
    }
    for name in ["max-buffer-size", "max-size"] {
        if let Some(size) = option(name).filter(|size| !is_size(size)) {
            return Err(format!("{name}: '{size}' is no size such as 25m"));
        }
    }
    match option("max-file").filter(|number| !number.parse::<u32>().is_ok_and(|number| number > 0)) {
        Some(number) => Err(format!("max-file: '{number}' is no number above 0")),
        None => Ok(()),
    }
}

/// A number and b, k, m or g, each also with a b behind it: Docker's sizes.
fn is_size(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let unit = lower.trim_start_matches(|character: char| character.is_ascii_digit());
    unit.len() < lower.len() && ["", "b", "k", "kb", "m", "mb", "g", "gb"].contains(&unit)
}
