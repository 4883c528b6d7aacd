//! Clusters as callers refer to them: by name, by ARN, or not at all.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_store::Snapshot;

use super::table::{ClusterRow, ClusterStatus};
use crate::error::{INVALID_REGION, invalid};
use crate::name;
use crate::scope::Scope;

/// The cluster of a caller who names none.
pub const DEFAULT_CLUSTER: &str = "default";

/// The name that `reference` means.
pub fn name_of<'a>(scope: &Scope, reference: Option<&'a str>) -> Result<&'a str, Error> {
    let reference = reference.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_CLUSTER);
    let name = scope.name_in("cluster", reference).filter(|name| name::is_legal(name) && !has_arn_inside(reference));
    name.ok_or_else(|| refusal(scope, reference))
}

/// Whether the text is an ARN in an ARN, or in quotes.
fn has_arn_inside(reference: &str) -> bool {
    reference.get(1..).is_some_and(|rest| rest.contains("arn:")) && reference.contains(":cluster/")
}

fn refusal(scope: &Scope, reference: &str) -> Error {
    if scope.is_of_other_region(reference) {
        return invalid(INVALID_REGION);
    }
    if has_arn_inside(reference) {
        return invalid("Unsupported resource type: cluster");
    }
    if reference.starts_with("arn:") {
        return invalid(format!("Invalid cluster name: {reference}"));
    }
    invalid(name::mismatch("Cluster", reference))
}

/// Refuses the ARN of something in another cluster than the one that a call is about: there may be one of its name here too.
pub fn check_same(cluster: &str, reference: &str) -> Result<(), Error> {
    match Scope::cluster_in(reference).filter(|other| other != cluster) {
        Some(other) => Err(Error::invalid_parameter_exception(format!(
            "Invalid identifier: Identifier is for cluster {other}. Your cluster is {cluster}."
        ))),
        None => Ok(()),
    }
}

/// The ACTIVE cluster that `reference` means, or ClusterNotFoundException.
pub fn active(view: &Snapshot, scope: &Scope, reference: Option<&str>) -> Result<Arc<ClusterRow>, Error> {
    let row = view.get::<ClusterRow>(&scope.key(&[name_of(scope, reference)?]));
    row.filter(|row| row.status == ClusterStatus::Active)
        .ok_or_else(|| Error::cluster_not_found_exception("Cluster not found."))
}
