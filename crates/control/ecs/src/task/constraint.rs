//! Placement constraints: which container instances a caller and a task definition leave to choose from.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::expression::Expression;
use estiva_planning::placement::Lack;
use estiva_store::{Row, Snapshot};

use crate::container_instance::table::ContainerInstanceRow;
use crate::container_instance::{is_true_of, parse_expression};
use crate::error::invalid;

/// RunTask takes so many, a task definition too, and the two together are no more.
pub(crate) const CONSTRAINTS_MAX: usize = 10;

/// What the chosen instances have to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Constraints {
    /// Each task on an instance that has none of its group.
    pub distinct_instance: bool,
    /// The keys of the only instances that will do, if not all will.
    pub only_on: Option<BTreeSet<String>>,
    member_of: Vec<Expression>,
}

impl Constraints {
    /// Reads the constraints of a request and of the task definition.
    pub fn parse(
        requested: Option<&[api::PlacementConstraint]>,
        defined: Option<&[api::TaskDefinitionPlacementConstraint]>,
    ) -> Result<Self, Error> {
        let (requested, defined) = (requested.unwrap_or_default(), defined.unwrap_or_default());
        if requested.len() + defined.len() > CONSTRAINTS_MAX {
            return Err(invalid(format!(
                "placementConstraints: at most {CONSTRAINTS_MAX} are allowed, those of the task definition included."
            )));
        }
        let mut constraints = Self::default();
        for constraint in requested {
            match (constraint.r#type, constraint.expression.as_deref()) {
                (Some(api::PlacementConstraintType::DistinctInstance), None | Some("")) => {
                    constraints.distinct_instance = true;
                }
                (Some(api::PlacementConstraintType::DistinctInstance), Some(_)) => {
                    return Err(invalid("distinctInstance expression should not be specified."));
                }
                (Some(api::PlacementConstraintType::MemberOf), expression) => {
                    constraints.member_of.push(parse_expression(expression.unwrap_or_default())?);
                }
                (None, _) => return Err(invalid("placementConstraints: type must be distinctInstance or memberOf.")),
            }
        }
        for constraint in defined {
            constraints.member_of.push(parse_expression(constraint.expression.as_deref().unwrap_or_default())?);
        }
        Ok(constraints)
    }

    /// Whether tasks that start or stop may make another instance do.
    pub fn look_at_tasks(&self) -> bool {
        self.member_of.iter().any(Expression::looks_at_tasks)
    }

    /// Whether they hold for one call alone.
    pub fn are_of_the_moment(&self) -> bool {
        self.only_on.is_some() || self.look_at_tasks()
    }

    /// Why the instance may not be chosen, whatever runs on it.
    pub fn refusal(&self, view: &Snapshot, row: &ContainerInstanceRow) -> Option<Lack> {
        if self.only_on.as_ref().is_some_and(|keys| !keys.contains(&row.key())) {
            return Some(Lack::MemberOf);
        }
        let is_member = self.member_of.iter().all(|expression| is_true_of(expression, view, row));
        (!is_member).then_some(Lack::MemberOf)
    }
}
