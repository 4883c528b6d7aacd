//! Container instances that an expression of the cluster query language is true of.

use std::borrow::Cow;

use estiva_api_ecs::Error;
use estiva_planning::expression::{Expression, Instance};
use estiva_planning::lifecycle::DesiredStatus;
use estiva_store::{Row, Snapshot};

use super::table::{ContainerInstanceRow, ReservationRow};
use super::view::is_connected;
use crate::error::invalid;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow};

/// Reads an expression.
pub(crate) fn parse(text: &str) -> Result<Expression, Error> {
    Expression::parse(text).map_err(|error| invalid(format!("Invalid expression '{text}': {error}.")))
}

/// Whether the expression is true of the instance.
pub(crate) fn is_true_of(expression: &Expression, view: &Snapshot, row: &ContainerInstanceRow) -> bool {
    expression.holds(&Seen { view, row })
}

struct Seen<'a> {
    view: &'a Snapshot,
    row: &'a ContainerInstanceRow,
}

impl Instance for Seen<'_> {
    fn is_agent_connected(&self) -> bool {
        is_connected(self.view, &self.row.key())
    }

    fn agent_version(&self) -> Option<Cow<'_, str>> {
        self.row.version_info.as_ref()?.agent_version.as_deref().map(Cow::Borrowed)
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.row.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(Cow::Borrowed(found.value.as_deref().unwrap_or_default()))
    }

    fn ec2_instance_id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.row.ec2_instance_id)
    }

    fn registered_at_ms(&self) -> i64 {
        self.row.registered_at.as_millis()
    }

    fn running_tasks_count(&self) -> i64 {
        self.view.get::<ReservationRow>(&self.row.key()).map_or(0, |row| row.running_tasks)
    }

    fn has_task_group(&self, test: &dyn Fn(&str) -> bool) -> bool {
        let tasks = self.view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &self.row.key());
        let mut wanted = tasks.filter(|task| task.desired_status == DesiredStatus::Running);
        wanted.any(|task| test(&task.group))
    }
}
