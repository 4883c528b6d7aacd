//! What the options `labels`, `labels-regex`, `env` and `env-regex` add to each line.

use std::collections::BTreeMap;

use regex::Regex;

use crate::container::ContainerInfo;
use crate::error::OptionError;
use crate::options::Options;

/// Names, as `rename` turns them into others, and values. A variable wins over a label of its name; names that become
/// empty are left out.
pub(crate) fn attributes(
    options: &Options<'_>,
    container: &ContainerInfo,
    rename: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, String>, OptionError> {
    let labels = container.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let variables = container.env.iter().filter_map(|variable| variable.split_once('=')).collect();
    let labels = selected(options, "labels", "labels-regex", &labels)?;
    let variables = selected(options, "env", "env-regex", &variables)?;
    let renamed = labels.into_iter().chain(variables).map(|(name, value)| (rename(name), value.to_owned()));
    Ok(renamed.filter(|(name, _)| !name.is_empty()).collect())
}

fn selected<'a>(
    options: &Options<'_>,
    names: &'static str,
    pattern: &'static str,
    from: &BTreeMap<&'a str, &'a str>,
) -> Result<Vec<(&'a str, &'a str)>, OptionError> {
    let names: Vec<&str> = options.text(names).map(|names| names.split(',').collect()).unwrap_or_default();
    let regex = options.text(pattern).map(Regex::new).transpose();
    let regex = regex.map_err(|error| OptionError::Invalid { option: pattern, reason: error.to_string() })?;
    let wanted = |name: &str| names.contains(&name) || regex.as_ref().is_some_and(|regex| regex.is_match(name));
    Ok(from.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (*name, *value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{container, options};

    fn extra(pairs: &[(&str, &str)]) -> Result<Vec<String>, OptionError> {
        let map = options(pairs);
        let extra = attributes(&Options::unchecked("test", &map), &container(), str::to_owned)?;
        Ok(extra.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn labels_and_variables_are_picked_by_name_and_pattern() {
        assert_eq!(extra(&[]).unwrap(), [""; 0]);
        assert_eq!(extra(&[("labels", "tier,absent"), ("env", "STAGE")]).unwrap(), ["STAGE=test=1", "tier=front"]);
        assert_eq!(extra(&[("labels-regex", "^com\\.")]).unwrap(), ["com.example.team=blue"]);
        assert_eq!(extra(&[("env-regex", "^(STAGE|SECRET)$")]).unwrap(), ["SECRET=hush", "STAGE=test=1"]);
    }

    #[test]
    fn a_malformed_pattern_is_refused() {
        let error = extra(&[("env-regex", "(")]).unwrap_err();
        assert!(error.to_string().starts_with("invalid value for env-regex: "), "{error}");
    }
}
