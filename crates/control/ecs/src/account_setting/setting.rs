//! Which settings there are, which values they take, and what holds where nobody has made one.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_store::Snapshot;

use super::table::{AccountSettingRow, key};
use crate::error::invalid;
use crate::scope::Scope;

/// All, in the order of their names.
pub(super) const ALL: [api::SettingName; 11] = [
    api::SettingName::AwsvpcTrunking,
    api::SettingName::ContainerInsights,
    api::SettingName::ContainerInstanceLongArnFormat,
    api::SettingName::DefaultLogDriverMode,
    api::SettingName::FargateEventWindows,
    api::SettingName::FargateFIPSMode,
    api::SettingName::FargateTaskRetirementWaitPeriod,
    api::SettingName::GuardDutyActivate,
    api::SettingName::ServiceLongArnFormat,
    api::SettingName::TagResourceAuthorization,
    api::SettingName::TaskLongArnFormat,
];

/// The values of a setting; the first holds where nobody has made one.
fn values(name: api::SettingName) -> &'static [&'static str] {
    use api::SettingName as Name;
    match name {
        // Since April 2021 every ARN is a long one, and nobody can opt out.
        Name::ServiceLongArnFormat | Name::TaskLongArnFormat | Name::ContainerInstanceLongArnFormat => &["enabled"],
        Name::ContainerInsights => &["disabled", "enabled", "enhanced"],
        Name::AwsvpcTrunking | Name::FargateFIPSMode | Name::FargateEventWindows => &["disabled", "enabled"],
        Name::TagResourceAuthorization => &["on", "off"],
        Name::FargateTaskRetirementWaitPeriod => &["7", "0", "14"],
        Name::GuardDutyActivate => &["off", "on"],
        Name::DefaultLogDriverMode => &["non-blocking", "blocking"],
    }
}

/// Whether AWS alone sets it.
pub(super) fn is_managed(name: api::SettingName) -> bool {
    name == api::SettingName::GuardDutyActivate
}

/// Checks a value that somebody wants to set.
pub(super) fn check(name: api::SettingName, value: &str) -> Result<(), Error> {
    if is_managed(name) {
        return Err(invalid(format!("The setting {} is managed by AWS and cannot be changed.", name.as_str())));
    }
    let values = values(name);
    if values.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("Invalid value '{value}' for setting {}: {}.", name.as_str(), values.join(" or "))))
}

/// The root user: its settings are the account's defaults.
pub(super) fn root(scope: &Scope) -> String {
    format!("arn:aws:iam::{}:root", scope.account)
}

/// What holds for the account as a whole.
pub fn of_account(view: &Snapshot, scope: &Scope, name: api::SettingName) -> String {
    effective(view, scope, &root(scope), name)
}

/// What holds for a principal: its own, else the account's, else ECS's.
pub fn effective(view: &Snapshot, scope: &Scope, principal: &str, name: api::SettingName) -> String {
    let made = |principal: &str| view.get::<AccountSettingRow>(&key(scope, principal, name.as_str()));
    let row = made(principal).or_else(|| made(&root(scope)));
    row.map_or_else(|| values(name)[0].to_owned(), |row| row.value.clone())
}
