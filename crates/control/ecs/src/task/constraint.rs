//! Placement constraints: which container instances a caller leaves to choose from.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_store::Snapshot;

use crate::container_instance::Filter;
use crate::container_instance::table::ContainerInstanceRow;
use crate::error::invalid;

/// RunTask takes so many.
const CONSTRAINTS_MAX: usize = 10;
/// Characters of an expression.
const EXPRESSION_CHARS_MAX: usize = 2000;

/// What every chosen instance has to be a member of.
#[derive(Default)]
pub(super) struct Constraints(Vec<Filter>);

impl Constraints {
    /// Reads a request's constraints: memberOf alone, so far.
    pub fn parse(constraints: Option<&[api::PlacementConstraint]>) -> Result<Self, Error> {
        let constraints = constraints.unwrap_or_default();
        if constraints.len() > CONSTRAINTS_MAX {
            return Err(invalid(format!("placementConstraints: at most {CONSTRAINTS_MAX} are allowed")));
        }
        constraints.iter().map(member_of).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the instance may be chosen.
    pub fn allow(&self, view: &Snapshot, row: &ContainerInstanceRow) -> bool {
        self.0.iter().all(|filter| filter.matches(view, row))
    }
}

fn member_of(constraint: &api::PlacementConstraint) -> Result<Filter, Error> {
    if constraint.r#type != Some(api::PlacementConstraintType::MemberOf) {
        return Err(invalid("placementConstraints: Estiva supports the type memberOf alone yet"));
    }
    let expression = constraint.expression.as_deref().unwrap_or_default();
    if expression.chars().count() > EXPRESSION_CHARS_MAX {
        return Err(invalid(format!(
            "placementConstraints: an expression has at most {EXPRESSION_CHARS_MAX} characters"
        )));
    }
    Filter::parse(expression)
}
