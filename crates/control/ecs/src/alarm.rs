//! Alarms as deployments look at them. Whoever keeps alarms says which of them are in ALARM.

use crate::scope::Scope;

/// The states of alarms.
pub trait AlarmStates: Send + Sync {
    /// Of these alarms, those that are in ALARM.
    fn in_alarm(&self, scope: &Scope, names: &[String]) -> Vec<String>;
}

/// Nobody keeps alarms.
pub struct NoAlarms;

impl AlarmStates for NoAlarms {
    fn in_alarm(&self, _: &Scope, _: &[String]) -> Vec<String> {
        Vec::new()
    }
}
