//! How a deployment goes on: its stages in their order, what holds it up, and how it ends.

use std::time::Duration;

use estiva_model::Timestamp;
use serde::{Deserialize, Serialize};

/// A stage of a deployment, in ECS's order (Amazon ECS API Reference, ServiceDeployment and DeploymentLifecycleHook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "ECS's names")]
pub enum Stage {
    #[serde(rename = "RECONCILE_SERVICE")]
    ReconcileService,
    #[serde(rename = "PRE_SCALE_UP")]
    PreScaleUp,
    #[serde(rename = "SCALE_UP")]
    ScaleUp,
    #[serde(rename = "POST_SCALE_UP")]
    PostScaleUp,
    #[serde(rename = "PRE_PRODUCTION_TRAFFIC_SHIFT")]
    PreProductionTrafficShift,
    #[serde(rename = "PRODUCTION_TRAFFIC_SHIFT")]
    ProductionTrafficShift,
    #[serde(rename = "POST_PRODUCTION_TRAFFIC_SHIFT")]
    PostProductionTrafficShift,
    #[serde(rename = "BAKE_TIME")]
    BakeTime,
    #[serde(rename = "CLEAN_UP")]
    CleanUp,
}

/// The stages of a rolling deployment. New tasks get production traffic as they become healthy, within SCALE_UP: its stages of
/// traffic are for hooks alone.
pub const STAGES: [Stage; 9] = [
    Stage::ReconcileService,
    Stage::PreScaleUp,
    Stage::ScaleUp,
    Stage::PostScaleUp,
    Stage::PreProductionTrafficShift,
    Stage::ProductionTrafficShift,
    Stage::PostProductionTrafficShift,
    Stage::BakeTime,
    Stage::CleanUp,
];

impl Stage {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReconcileService => "RECONCILE_SERVICE",
            Self::PreScaleUp => "PRE_SCALE_UP",
            Self::ScaleUp => "SCALE_UP",
            Self::PostScaleUp => "POST_SCALE_UP",
            Self::PreProductionTrafficShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Self::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Self::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Self::BakeTime => "BAKE_TIME",
            Self::CleanUp => "CLEAN_UP",
        }
    }

    fn next(self) -> Option<Self> {
        STAGES.into_iter().find(|stage| *stage > self)
    }
}

/// What the hooks of a stage say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// There are none, or all have succeeded.
    Open,
    /// One is under way, or waits for an answer.
    Waiting,
    /// One has failed, and why.
    Failed(String),
}

/// What a deployment is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signals {
    /// The hooks of the stage.
    pub gate: Gate,
    /// Enough healthy tasks of the deployment run.
    pub is_scaled_up: bool,
    /// And no others.
    pub is_cleaned_up: bool,
    /// The circuit breaker's: tasks that failed, and how many are too many. `None` without a breaker.
    pub breaker: Option<(usize, usize)>,
    /// Names of the deployment's alarms that are in ALARM.
    pub alarms: Vec<String>,
    /// How long the deployment is watched once it has scaled up, and since when it is.
    pub bake: Duration,
    /// When the watching ends, once it has begun.
    pub bake_until: Option<Timestamp>,
}

/// How a deployment ends, as far as its stages decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every stage is behind it.
    Successful,
    /// Too many tasks failed.
    BreakerTripped,
    /// These alarms went off.
    Alarmed(Vec<String>),
    /// A hook failed, and why.
    HookFailed(String),
}

/// One step of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Nothing has changed.
    Stay,
    /// On to a stage.
    Enter(Stage),
    /// The watching begins, and ends at this time.
    BakeUntil(Timestamp),
    /// It is over.
    End(Outcome),
}

/// One transition at most. Failures come before progress.
pub fn advance(stage: Stage, signals: &Signals, now: Timestamp) -> Advance {
    if let Gate::Failed(reason) = &signals.gate {
        return Advance::End(Outcome::HookFailed(reason.clone()));
    }
    if !signals.alarms.is_empty() && stage >= Stage::ScaleUp {
        return Advance::End(Outcome::Alarmed(signals.alarms.clone()));
    }
    if signals.breaker.is_some_and(|(failed, most)| failed >= most) {
        return Advance::End(Outcome::BreakerTripped);
    }
    let is_done = match stage {
        Stage::ScaleUp => signals.is_scaled_up,
        Stage::BakeTime => match signals.bake_until {
            None if signals.bake.is_zero() => true,
            None => return Advance::BakeUntil(now.plus(signals.bake)),
            Some(until) => until <= now,
        },
        Stage::CleanUp => signals.is_cleaned_up,
        _ => true,
    };
    if !is_done || signals.gate == Gate::Waiting {
        return Advance::Stay;
    }
    stage.next().map_or(Advance::End(Outcome::Successful), Advance::Enter)
}
