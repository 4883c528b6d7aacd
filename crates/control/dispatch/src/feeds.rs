//! What dispatch has of others besides the store: where measurements go, and where tasks' credentials come from.

use std::sync::Arc;

use estiva_agent_protocol::task::Credentials;
use estiva_ecs::task::table::TaskRow;
use estiva_ecs::task::usage::Usages;
use estiva_model::Ambient;
use estiva_wire::sigv4::{SessionIssuer, SigningCredentials};

/// What dispatch has of others besides the store.
#[derive(Clone)]
pub struct Feeds {
    /// Takes what nodes measure.
    pub usages: Usages,
    /// Gives tasks' roles their credentials.
    pub issuer: Arc<dyn SessionIssuer>,
    /// The time, and what ids are drawn from.
    pub ambient: Ambient,
    /// The URL at which nodes reach the APIs.
    pub endpoint: String,
}

impl Feeds {
    /// Nobody measures, and no task has a role.
    #[cfg(test)]
    pub fn none() -> Self {
        struct Nobody;
        impl SessionIssuer for Nobody {
            fn issue(
                &self,
                _: &estiva_model::AccountId,
                _: &str,
                _: &str,
                _: estiva_model::Timestamp,
            ) -> Option<estiva_wire::sigv4::SessionCredentials> {
                None
            }
        }
        Self {
            usages: Usages::default(),
            issuer: Arc::new(Nobody),
            ambient: Ambient::system(),
            endpoint: String::new(),
        }
    }

    /// Fresh credentials of a role of a task, under this id on its node.
    pub(crate) fn credentials(&self, row: &TaskRow, credentials_id: &str, role_arn: &str) -> Option<Credentials> {
        let session = self.issuer.issue(&row.scope.account, role_arn, &row.id, self.ambient.now());
        if session.is_none() {
            tracing::warn!(task = row.arn(), role_arn, "no credentials can be given out for the task's role");
        }
        let session = session?;
        let SigningCredentials { access_key_id, secret, session_token } = session.credentials;
        Some(Credentials {
            credentials_id: credentials_id.to_owned(),
            role_arn: role_arn.to_owned(),
            access_key_id,
            secret_access_key: secret.expose().to_owned().into(),
            session_token: session_token.map(|token| token.expose().to_owned().into()).unwrap_or_default(),
            expiration: session.expires.to_rfc3339(),
        })
    }
}
