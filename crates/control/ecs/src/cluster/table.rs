//! The clusters' rows.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::capacity_provider::StrategyItem;
use crate::scope::Scope;
use crate::tag::Tags;

/// A cluster as its owner wants it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Whose.
    pub scope: Scope,
    /// Unique in the scope.
    pub name: String,
    /// Whether it takes tasks.
    pub status: ClusterStatus,
    /// Settings by name.
    pub settings: Vec<ClusterSetting>,
    /// Given back as it came.
    #[serde(with = "estiva_schema::json::verbatim_option", default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<api::ClusterConfiguration>,
    /// Given back as it came.
    #[serde(with = "estiva_schema::json::verbatim_option", default, skip_serializing_if = "Option::is_none")]
    pub service_connect_defaults: Option<api::ClusterServiceConnectDefaults>,
    /// Names of the capacity providers that tasks may ask for.
    #[serde(default)]
    pub capacity_providers: Vec<String>,
    /// For tasks that name neither a launch type nor a strategy.
    #[serde(default)]
    pub default_strategy: Vec<StrategyItem>,
    /// The owner's labels.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A cluster that was deleted stays described as INACTIVE for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStatus {
    /// Takes tasks.
    #[serde(rename = "ACTIVE")]
    Active,
    /// Deleted.
    #[serde(rename = "INACTIVE")]
    Inactive,
}

impl ClusterStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// A setting of a cluster, such as containerInsights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSetting {
    /// Which.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Row for ClusterRow {
    const TABLE: &'static str = "clusters";

    fn key(&self) -> String {
        self.scope.key(&[&self.name])
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        if self.status != ClusterStatus::Active {
            return Vec::new();
        }
        self.capacity_providers.iter().map(|name| (BY_CAPACITY_PROVIDER, self.scope.key(&[name]))).collect()
    }
}

/// The ACTIVE clusters that a capacity provider is associated with.
pub const BY_CAPACITY_PROVIDER: &str = "capacity_provider";

impl ClusterRow {
    /// Sets settings; those of other names stay.
    pub fn put_settings(&mut self, settings: Vec<ClusterSetting>) {
        for setting in settings {
            self.settings.retain(|known| known.name != setting.name);
            self.settings.push(setting);
        }
    }

    /// An ACTIVE cluster about which nothing was said.
    pub fn new(scope: &Scope, name: &str, now: Timestamp) -> Self {
        Self {
            scope: scope.clone(),
            name: name.to_owned(),
            status: ClusterStatus::Active,
            settings: vec![ClusterSetting { name: "containerInsights".to_owned(), value: "disabled".to_owned() }],
            configuration: None,
            service_connect_defaults: None,
            capacity_providers: Vec::new(),
            default_strategy: Vec::new(),
            tags: Tags::default(),
            created_at: now,
        }
    }

    /// `arn:aws:ecs:region:account:cluster/name`
    pub fn arn(&self) -> String {
        self.scope.arn(format!("cluster/{}", self.name))
    }
}
